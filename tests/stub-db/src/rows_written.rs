//! How many rows D1 bills for one changed row: the row itself and an entry per index of its table.

use rusqlite::Connection;
use std::collections::BTreeMap;

/// Entries per row, by table.
pub struct IndexCount(BTreeMap<String, u32>);

impl IndexCount {
    /// Counts the indexes there are. The primary key of a WITHOUT ROWID table is the table itself, so it costs nothing more.
    pub fn of(connection: &Connection) -> Self {
        let counted = connection
            .prepare(
                "SELECT t.name, 1 + COUNT(i.name) FROM pragma_table_list t
                 LEFT JOIN pragma_index_list(t.name) i ON NOT (t.wr = 1 AND i.origin = 'pk')
                 WHERE t.schema = 'main' AND t.type = 'table' GROUP BY t.name",
            )
            .and_then(|mut s| s.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect());
        Self(counted.expect("SQLite lists its indexes"))
    }

    /// For the table a statement writes to; 1 when it cannot be told.
    pub fn entries_per_row(&self, sql: &str) -> u64 {
        table_written(sql).and_then(|table| self.0.get(table)).copied().map_or(1, u64::from)
    }
}

/// The word after INTO, UPDATE or DELETE FROM, whichever comes first.
fn table_written(sql: &str) -> Option<&str> {
    let mut words = sql.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
    words.find(|word| matches!(*word, "INTO" | "UPDATE" | "DELETE"))?;
    words.find(|word| *word != "FROM" && *word != "OR" && *word != "IGNORE")
}

#[cfg(test)]
mod tests {
    use super::table_written;

    #[test]
    fn the_written_table_is_found_in_every_kind_of_statement() {
        for (sql, table) in [
            ("INSERT INTO a (x) VALUES (1)", Some("a")),
            ("INSERT INTO a (x) SELECT 1 FROM b", Some("a")),
            ("UPDATE a\n SET x = 1", Some("a")),
            ("DELETE FROM a WHERE x = 1", Some("a")),
            ("WITH c AS (SELECT 1 FROM b) INSERT INTO a(x) SELECT * FROM c", Some("a")),
            ("SELECT x FROM a", None),
        ] {
            assert_eq!(table_written(sql), table, "{sql}");
        }
    }
}
