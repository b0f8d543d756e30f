//! The schema's rules, asked of SQLite itself after the migrations, and of its README.

use crate::repo::{assert_none, files, read};
use crate::workers;
use rusqlite::Connection;
use std::collections::BTreeSet;

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
    /// In their order.
    columns: Vec<String>,
    first_of_key: String,
}

fn table_names(db: &Connection) -> BTreeSet<String> {
    let sql = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite%'";
    db.prepare(sql).unwrap().query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// The tables after all migrations.
fn tables(migrations: &[(String, String)]) -> Vec<TableFacts> {
    let db = Connection::open_in_memory().unwrap();
    let mut of_the_directory = BTreeSet::new();
    for (path, text) in migrations {
        let before = table_names(&db);
        db.execute_batch(text).unwrap_or_else(|error| panic!("{path}: {error}"));
        if path.contains("directory") {
            of_the_directory.extend(table_names(&db).difference(&before).cloned());
        }
    }
    let facts = |name: &String| {
        let sql = "SELECT t.strict, s.sql,
                 COALESCE((SELECT k.name FROM pragma_table_info(t.name) k WHERE k.pk = 1), '')
             FROM pragma_table_list t JOIN sqlite_schema s ON s.name = t.name WHERE t.schema = 'main' AND t.name = ?1";
        let (strict, sql, first_of_key) =
            db.query_row(sql, [name], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        let mut columns = db.prepare("SELECT name FROM pragma_table_info(?1) ORDER BY cid").unwrap();
        let columns = columns.query_map([name], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        TableFacts { name: name.clone(), strict, sql, tenant: !of_the_directory.contains(name), columns, first_of_key }
    };
    table_names(&db).iter().map(facts).collect()
}

fn not_strict(tables: &[TableFacts]) -> Vec<String> {
    tables.iter().filter(|t| !t.strict).map(|t| format!("{} is not STRICT", t.name)).collect()
}

fn tenant_tables_without_their_workspace(tables: &[TableFacts]) -> Vec<String> {
    let wrong =
        tables.iter().filter(|t| t.tenant && (t.columns[0] != "workspace_id" || t.first_of_key != "workspace_id"));
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
            let declared = words.windows(2).any(|pair| pair[0].trim_start_matches('(') == column && pair[1] == "TEXT");
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

/// Four digits, each number once. Gaps close as branches land.
fn misnumbered(migrations: &[(String, String)]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let number = |path: &str| path.strip_prefix("schema/")?.get(..5)?.strip_suffix('_')?.parse::<u32>().ok();
    let wrong = migrations.iter().filter(|(path, _)| number(path).is_none_or(|number| !seen.insert(number)));
    wrong.map(|(path, _)| format!("{path} should have four digits of its own")).collect()
}

fn tables_not_in(readme: &str, tables: &[TableFacts]) -> Vec<String> {
    let missing = tables.iter().filter(|t| !readme.contains(&format!("`{}`", t.name)));
    missing.map(|t| format!("schema/README.md does not speak of `{}`", t.name)).collect()
}

/// Columns whose name says it all, or whose meaning the README gives once for every table.
const PLAIN: [&str; 17] = [
    "at",
    "checked_at",
    "connected_at",
    "created_at",
    "crm",
    "detail",
    "detail_json",
    "expires_at",
    "id",
    "name",
    "revoked_at",
    "role",
    "started_at",
    "status",
    "token_hash",
    "updated_at",
    "workspace_id",
];

fn columns_not_in(readme: &str, tables: &[TableFacts]) -> Vec<String> {
    let all = tables.iter().flat_map(|table| table.columns.iter().map(move |column| (table, column)));
    let missing = all.filter(|(_, column)| {
        let sealed = column.strip_suffix("_token_sealed").is_some();
        !PLAIN.contains(&column.as_str()) && !sealed && !readme.contains(&format!("`{column}`"))
    });
    missing.map(|(table, column)| format!("schema/README.md does not say what {}.{column} is", table.name)).collect()
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
fn every_migration_has_a_number_of_its_own() {
    assert!(!migrations().is_empty());
    assert_none(&misnumbered(&migrations()));
}

#[test]
fn every_table_is_in_the_readme() {
    assert_none(&tables_not_in(&read("schema/README.md"), &tables(&migrations())));
}

#[test]
fn every_column_whose_name_does_not_say_it_all_is_in_the_readme() {
    assert_none(&columns_not_in(&read("schema/README.md"), &tables(&migrations())));
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
    fn a_trigger_and_a_number_given_twice_are_found() {
        assert_eq!(with_triggers(&schema("create trigger x after insert on workspaces begin select 1; end;")).len(), 1);
        for wrong in ["schema/0002_a.sql", "schema/2_a.sql"] {
            let twice = [("schema/0002_b.sql".into(), String::new()), (wrong.into(), String::new())];
            assert_eq!(misnumbered(&twice).len(), 1);
        }
    }

    #[test]
    fn a_table_missing_from_the_readme_is_found() {
        let tables = tables(&schema("CREATE TABLE a (workspace_id TEXT PRIMARY KEY) STRICT;"));
        assert_eq!(tables_not_in("| `workspaces` |", &tables), ["schema/README.md does not speak of `a`"]);
    }
    #[test]
    fn a_column_missing_from_the_readme_is_found_also_when_a_later_migration_adds_it() {
        let mut migrations = schema("CREATE TABLE a (workspace_id TEXT PRIMARY KEY) STRICT;");
        migrations.push(("schema/0003_c.sql".into(), "ALTER TABLE a ADD COLUMN odd INTEGER;".into()));
        assert_eq!(columns_not_in("`a`", &tables(&migrations)), ["schema/README.md does not say what a.odd is"]);
        assert_none(&columns_not_in("`odd`", &tables(&migrations)));
    }
}
