// The local D1: migrations and the first workspace. Works on any D1 handle, so `npm start` and the tests share it.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { at } from "./repo.mjs";
import { serviceTokenHash } from "./tokens.mjs";

/**
 * Applies the migrations of schema/ that are not there yet, each in one transaction, and returns their names. It keeps
 * the books `wrangler d1 migrations apply` keeps, so either can go on where the other stopped.
 */
export async function migrate(db) {
  await db.exec(
    "CREATE TABLE IF NOT EXISTS d1_migrations (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL)",
  );
  const { results } = await db.prepare("SELECT name FROM d1_migrations").all();
  const applied = new Set(results.map((row) => row.name));
  const files = readdirSync(at("schema")).filter((name) => name.endsWith(".sql")).sort();
  const missing = files.filter((name) => !applied.has(name));
  for (const name of missing) {
    const sql = statements(readFileSync(join(at("schema"), name), "utf8"));
    const booked = db.prepare("INSERT INTO d1_migrations (name) VALUES (?1)").bind(name);
    await db.batch([...sql.map((statement) => db.prepare(statement)), booked]);
  }
  return missing;
}

// The schema has no triggers, so a semicolon at a line's end always ends a statement.
const statements = (sql) =>
  sql
    .replace(/--.*$/gm, "")
    .split(/;\s*$/m)
    .map((statement) => statement.trim())
    .filter((statement) => statement !== "");

/** A workspace with one owner and one service token of the same rights. Changes nothing that is there already. */
export async function seedWorkspace(db, { workspace, user, token, name = "Local workspace", now = Date.now() }) {
  await db.batch([
    db.prepare("INSERT OR IGNORE INTO workspaces (id, name, created_at) VALUES (?1, ?2, ?3)").bind(workspace, name, now),
    db
      .prepare("INSERT OR IGNORE INTO workspace_members (workspace_id, user_id, role, created_at) VALUES (?1, ?2, 'owner', ?3)")
      .bind(workspace, user, now),
    db
      .prepare("INSERT OR IGNORE INTO service_tokens (token_hash, workspace_id, name, role, created_at) VALUES (?1, ?2, 'local', 'owner', ?3)")
      .bind(serviceTokenHash(token), workspace, now),
  ]);
}
