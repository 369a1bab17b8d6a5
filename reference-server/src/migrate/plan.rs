//! What is moved: the list of tables comes from the SQLite file itself, so that a table that is added to it later
//! is moved too, or the move refuses to begin.

use anyhow::bail;

use crate::db::{DatabaseError, Transaction, meta};

/// A table as both databases have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<String>,
    /// The columns of the primary key, in its order, as places in `columns`.
    pub(super) key: Vec<usize>,
    /// The database itself numbers its rows.
    pub(super) is_numbered: bool,
}

/// The tables of the token store, which has a way of its own for its rows.
#[cfg(test)]
const TABLES_OF_TOKENS: [&str; 3] = ["wst_history", "wst_meta", "wst_slots"];

/// Facts about a database: some are about this one and no other.
pub(super) const META: &str = "meta";

/// What of `meta` stays behind: what is about the file, and about moves.
pub(super) const STAYS: [&str; 6] = [
    meta::SCHEMA_VERSION,
    meta::SOURCE_ID,
    meta::MOVED_FROM,
    meta::MOVED_AT,
    meta::ROLLBACK_JOURNAL,
    meta::ROLLBACK_JOURNAL_ID,
];

/// Tables whose rows are not moved.
///
/// One-time links: that each opens something once can be promised in one place only, and whoever waits for one is
/// given another. Logins are moved, as tokens are: unlike a backup, which is put back when much has ended since, a
/// move is of this moment, and what it leaves behind is not served again.
pub(super) const LEFT_OUT: [&str; 1] = ["links"];

impl Table {
    /// Returns the names of the columns as a statement has them.
    pub(super) fn column_list(&self) -> String {
        list(self.columns.iter())
    }

    /// Returns the columns of the key as a statement has them.
    pub(super) fn key_list(&self) -> String {
        list(self.key_columns())
    }

    pub(super) fn key_columns(&self) -> impl DoubleEndedIterator<Item = &String> {
        self.key.iter().map(|place| &self.columns[*place])
    }

    /// Returns the name as a statement has it.
    pub(super) fn quoted(&self) -> String {
        quoted(&self.name)
    }
}

fn list<'n>(names: impl Iterator<Item = &'n String>) -> String {
    let names: Vec<String> = names.map(|name| quoted(name)).collect();
    names.join(", ")
}

/// Puts a name of ours into quotation marks, since some are words of SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns the tables whose rows are moved, each behind those that it refers to; [`META`] is not among them.
pub(super) fn tables(snapshot: &Transaction<'_>) -> anyhow::Result<Vec<Table>> {
    let mut waiting: Vec<(Table, Vec<String>)> = names(snapshot)?
        .into_iter()
        .filter(|name| name != META && !LEFT_OUT.contains(&name.as_str()))
        .map(|name| Ok((table(snapshot, &name)?, refers_to(snapshot, &name)?)))
        .collect::<Result<_, DatabaseError>>()?;
    let mut ordered: Vec<Table> = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let is_waiting = |name: &String| waiting.iter().any(|(table, _)| table.name == *name);
        let next = waiting
            .iter()
            .position(|(_, references)| !references.iter().any(is_waiting));
        let Some(next) = next else {
            bail!("the tables refer to each other in a circle");
        };
        ordered.push(waiting.remove(next).0);
    }
    if let Some(table) = ordered.iter().find(|table| table.key.is_empty()) {
        bail!("the table {} has no primary key", table.name);
    }
    Ok(ordered)
}

/// Returns the names of the server's own tables.
fn names(snapshot: &Transaction<'_>) -> Result<Vec<String>, DatabaseError> {
    let mut statement = snapshot.prepare_cached(
        "SELECT name FROM sqlite_schema
         WHERE type = 'table' AND name NOT GLOB 'sqlite_*' AND name NOT GLOB 'wst_*' ORDER BY name",
    )?;
    statement.query_map((), |row| row.get(0))?.collect()
}

fn table(snapshot: &Transaction<'_>, name: &str) -> Result<Table, DatabaseError> {
    let mut statement =
        snapshot.prepare_cached("SELECT name, pk FROM pragma_table_info(?1) ORDER BY cid")?;
    let columns: Vec<(String, i64)> = statement
        .query_map([name], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let mut key: Vec<(i64, usize)> = columns
        .iter()
        .enumerate()
        .filter(|(_, (_, part))| *part > 0)
        .map(|(place, (_, part))| (*part, place))
        .collect();
    key.sort_unstable();
    let is_numbered = snapshot.query_row(
        "SELECT sql LIKE '%AUTOINCREMENT%' FROM sqlite_schema WHERE type = 'table' AND name = ?1",
        [name],
        |row| row.get(0),
    )?;
    Ok(Table {
        name: name.to_owned(),
        columns: columns.into_iter().map(|(name, _)| name).collect(),
        key: key.into_iter().map(|(_, place)| place).collect(),
        is_numbered,
    })
}

/// Returns the tables that `name` refers to, itself left out.
fn refers_to(snapshot: &Transaction<'_>, name: &str) -> Result<Vec<String>, DatabaseError> {
    let mut statement = snapshot.prepare_cached(
        "SELECT DISTINCT \"table\" FROM pragma_foreign_key_list(?1) WHERE \"table\" <> ?1",
    )?;
    statement.query_map([name], |row| row.get(0))?.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::testing;

    async fn of_schema<T: Send + 'static>(
        read: impl FnOnce(&Transaction<'_>) -> anyhow::Result<T> + Send + 'static,
    ) -> T {
        let directory = tempfile::tempdir().unwrap();
        let (_store, database) = testing::open_file(directory.path()).await;
        database.read(read).await.unwrap()
    }

    #[tokio::test]
    async fn every_table_is_moved_or_named_as_left_out() {
        let (all, tables) = of_schema(|snapshot| {
            let mut statement = snapshot.prepare_cached(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB 'sqlite_*'",
            )?;
            let all: Vec<String> = statement
                .query_map((), |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            Ok((all, tables(snapshot)?))
        })
        .await;
        let mut known: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
        known.extend(LEFT_OUT);
        known.extend(TABLES_OF_TOKENS);
        known.push(META);
        known.sort_unstable();
        let mut all: Vec<&str> = all.iter().map(String::as_str).collect();
        all.sort_unstable();
        assert_eq!(all, known);
        assert!(tables.len() > 15, "{tables:?}");
    }

    #[tokio::test]
    async fn a_table_comes_behind_those_that_it_refers_to() {
        let tables: Vec<(String, Vec<String>)> = of_schema(|snapshot| {
            let tables = tables(snapshot)?;
            let with_references = |table: Table| {
                let references = refers_to(snapshot, &table.name)?;
                Ok((table.name, references))
            };
            tables.into_iter().map(with_references).collect()
        })
        .await;
        let place = |name: &str| tables.iter().position(|(other, _)| other == name).unwrap();
        for (name, references) in &tables {
            for reference in references {
                assert!(
                    place(reference) < place(name),
                    "{name} refers to {reference}"
                );
            }
        }
        assert!(place("workspaces") < place("tasks"));
        assert!(place("messages") < place("attachments"));
    }

    #[tokio::test]
    async fn keys_and_numbers_are_known() {
        let tables = of_schema(tables).await;
        let find = |name: &str| tables.iter().find(|table| table.name == name).unwrap();
        assert_eq!(find("members").key_list(), "\"workspace\", \"user\"");
        assert!(find("audit").is_numbered);
        assert!(!find("workspaces").is_numbered);
    }
}
