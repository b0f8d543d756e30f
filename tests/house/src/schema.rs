//! The schema's rules, asked of SQLite itself after the migrations, and of its README.

use crate::repo::{assert_none, files, read};
use crate::workers;
use rusqlite::Connection;

/// The migrations in order, as (path, text).
fn migrations() -> Vec<(String, String)> {
    files(&["schema"], ".sql")
}

struct TableFacts {
    name: String,
    strict: bool,
    sql: String,
    /// Not made by a migration of the directory, which says so in its name.
    tenant: bool,
    first_column: String,
    first_of_key: String,
}

fn tables(migrations: &[(String, String)]) -> Vec<TableFacts> {
    let db = Connection::open_in_memory().unwrap();
    let mut found: Vec<TableFacts> = Vec::new();
    for (path, text) in migrations {
        db.execute_batch(text).unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut statement = db
            .prepare(
                "SELECT t.name, t.strict, s.sql, c.name,
                     COALESCE((SELECT k.name FROM pragma_table_info(t.name) k WHERE k.pk = 1), '')
                 FROM pragma_table_list t JOIN sqlite_schema s ON s.name = t.name
                 JOIN pragma_table_info(t.name) c ON c.cid = 0
                 WHERE t.schema = 'main' AND t.type = 'table' ORDER BY t.name",
            )
            .unwrap();
        let facts = statement.query_map([], |row| {
            Ok(TableFacts {
                name: row.get(0)?,
                strict: row.get(1)?,
                sql: row.get(2)?,
                tenant: !path.contains("directory"),
                first_column: row.get(3)?,
                first_of_key: row.get(4)?,
            })
        });
        let new = facts.unwrap().map(Result::unwrap).filter(|t| !found.iter().any(|f| f.name == t.name));
        let new: Vec<TableFacts> = new.collect();
        found.extend(new);
    }
    found
}

fn not_strict(tables: &[TableFacts]) -> Vec<String> {
    tables.iter().filter(|t| !t.strict).map(|t| format!("{} is not STRICT", t.name)).collect()
}

fn tenant_tables_without_their_workspace(tables: &[TableFacts]) -> Vec<String> {
    let wrong =
        tables.iter().filter(|t| t.tenant && (t.first_column != "workspace_id" || t.first_of_key != "workspace_id"));
    wrong.map(|t| format!("{}: workspace_id must be the first column and the first of the key", t.name)).collect()
}

/// Columns whose values are a closed list of words.
const CLOSED: [&str; 5] = ["crm", "flow", "kind", "role", "status"];

fn states_without_a_check(tables: &[TableFacts]) -> Vec<String> {
    let mut violations = Vec::new();
    for table in tables {
        let words: Vec<&str> = table.sql.split_whitespace().collect();
        let text = words.join(" ");
        for column in CLOSED {
            let declared = text.contains(&format!("{column} TEXT"));
            if declared && !text.contains(&format!("CHECK ({column} IN (")) {
                violations.push(format!("{}.{column} has no CHECK ({column} IN (…))", table.name));
            }
        }
    }
    violations
}

fn with_triggers(migrations: &[(String, String)]) -> Vec<String> {
    let wrong = migrations.iter().filter(|(_, text)| text.to_uppercase().contains("CREATE TRIGGER"));
    wrong.map(|(path, _)| format!("{path}: a trigger would falsify changes()")).collect()
}

fn misnumbered(migrations: &[(String, String)]) -> Vec<String> {
    let wrong = (1..).zip(migrations).filter(|(number, (path, _))| !path.starts_with(&format!("schema/{number:04}_")));
    wrong.map(|(number, (path, _))| format!("{path} should be number {number:04}")).collect()
}

fn tables_not_in(readme: &str, tables: &[TableFacts]) -> Vec<String> {
    let missing = tables.iter().filter(|t| !readme.contains(&format!("`{}`", t.name)));
    missing.map(|t| format!("schema/README.md does not speak of `{}`", t.name)).collect()
}

#[test]
fn every_table_is_strict() {
    assert_none(&not_strict(&tables(&migrations())));
}

#[test]
fn every_tenant_table_begins_with_its_workspace() {
    assert_none(&tenant_tables_without_their_workspace(&tables(&migrations())));
}

#[test]
fn every_state_has_a_check() {
    assert_none(&states_without_a_check(&tables(&migrations())));
}

#[test]
fn no_table_has_a_trigger() {
    assert_none(&with_triggers(&migrations()));
}

#[test]
fn migrations_are_numbered_without_a_gap() {
    assert!(!migrations().is_empty());
    assert_none(&misnumbered(&migrations()));
}

#[test]
fn every_table_is_in_the_readme() {
    assert_none(&tables_not_in(&read("schema/README.md"), &tables(&migrations())));
}

#[test]
fn every_namespace_object_and_queue_is_in_the_readme() {
    let readme = read("schema/README.md");
    let missing = workers::stored_names(&workers::doors()).into_iter().filter(|n| !readme.contains(&format!("`{n}`")));
    assert_none(&missing.map(|name| format!("schema/README.md does not speak of `{name}`")).collect::<Vec<_>>());
}

#[cfg(test)]
mod wrong_examples {
    use super::*;

    fn schema(tenant: &str) -> Vec<(String, String)> {
        let directory = "CREATE TABLE workspaces (id TEXT PRIMARY KEY) STRICT;";
        vec![("schema/0001_directory.sql".into(), directory.into()), ("schema/0002_b.sql".into(), tenant.into())]
    }

    #[test]
    fn a_table_that_is_not_strict_is_found() {
        let found = not_strict(&tables(&schema("CREATE TABLE a (workspace_id TEXT PRIMARY KEY);")));
        assert_eq!(found, ["a is not STRICT"]);
    }

    #[test]
    fn a_tenant_table_without_its_workspace_first_is_found() {
        for wrong in [
            "CREATE TABLE a (id TEXT PRIMARY KEY) STRICT;",
            "CREATE TABLE a (id TEXT, workspace_id TEXT, PRIMARY KEY (workspace_id, id)) STRICT;",
            "CREATE TABLE a (workspace_id TEXT, id TEXT PRIMARY KEY) STRICT;",
            "CREATE TABLE a (workspace_id TEXT) STRICT;",
        ] {
            assert_eq!(tenant_tables_without_their_workspace(&tables(&schema(wrong))).len(), 1, "{wrong}");
        }
        let right = "CREATE TABLE a (workspace_id TEXT, id TEXT, PRIMARY KEY (workspace_id, id)) STRICT;";
        assert_none(&tenant_tables_without_their_workspace(&tables(&schema(right))));
    }

    #[test]
    fn a_state_without_a_check_is_found() {
        let wrong = "CREATE TABLE a (workspace_id TEXT PRIMARY KEY, status  TEXT NOT NULL) STRICT;";
        assert_eq!(states_without_a_check(&tables(&schema(wrong))).len(), 1);
        let right = "CREATE TABLE a (workspace_id TEXT PRIMARY KEY, status TEXT\n CHECK (status IN ('a'))) STRICT;";
        assert_none(&states_without_a_check(&tables(&schema(right))));
    }

    #[test]
    fn a_trigger_and_a_gap_are_found() {
        assert_eq!(with_triggers(&schema("create trigger x after insert on workspaces begin select 1; end;")).len(), 1);
        assert_eq!(misnumbered(&[("schema/0002_a.sql".into(), String::new())]).len(), 1);
    }

    #[test]
    fn a_table_missing_from_the_readme_is_found() {
        let tables = tables(&schema("CREATE TABLE a (workspace_id TEXT PRIMARY KEY) STRICT;"));
        assert_eq!(tables_not_in("| `workspaces` |", &tables), ["schema/README.md does not speak of `a`"]);
    }
}
