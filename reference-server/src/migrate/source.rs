//! The SQLite file that is moved: read in pages, by primary key.

use std::collections::BTreeMap;

use anyhow::Context as _;
use rusqlite::{ToSql, types::Value};
use tower_workspace_token::id::SlotKey;
use tower_workspace_token_sqlite::{SqliteStore, for_each_slot};

use super::plan::{STAYS, Table, quoted};
use crate::{
    db::{Database, DatabaseError, Engine, Transaction, ids, meta},
    error::{AppError, ErrorCode},
};

/// A row, in the order of its table's columns.
pub(super) type Record = Vec<Value>;

/// The database in the data directory, which nobody else uses.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) store: SqliteStore,
    pub(super) database: Database,
}

impl Source {
    /// Returns the id of the database, by which a move that was broken off is known again; makes one where there
    /// is none.
    pub(super) async fn id(&self) -> anyhow::Result<String> {
        let made = ids::random_id()?;
        let id = self.database.write(move |transaction| {
            if let Some(id) = meta::get(transaction, meta::SOURCE_ID)? {
                return Ok(id);
            }
            meta::set(transaction, meta::SOURCE_ID, &made)?;
            Ok::<_, DatabaseError>(made)
        });
        Ok(id.await?)
    }

    pub(super) async fn tables(&self) -> anyhow::Result<Vec<Table>> {
        self.database.read(super::plan::tables).await
    }

    /// Returns how many rows a table has.
    pub(super) async fn count(&self, table: &Table) -> Result<u64, DatabaseError> {
        let sql = format!("SELECT count(*) FROM {}", table.quoted());
        let read = move |snapshot: &Transaction<'_>| count(snapshot, &sql);
        self.database.read(read).await
    }

    /// Returns the rows behind `after`, as many as are moved at once; none at the end.
    pub(super) async fn page(
        &self,
        table: &Table,
        after: Option<Vec<Value>>,
    ) -> Result<Vec<Record>, DatabaseError> {
        let sql = page_sql(table, after.is_some());
        let columns = table.columns.len();
        let read = move |snapshot: &Transaction<'_>| {
            let Engine::Sqlite(connection) = snapshot.engine() else {
                return Ok(Vec::new());
            };
            let mut statement = connection.prepare_cached(&sql)?;
            let after = after.unwrap_or_default();
            let mut rows = statement.query(rusqlite::params_from_iter(&after))?;
            let (mut page, mut bytes) = (Vec::new(), 0);
            while let Some(row) = rows.next()? {
                let record = (0..columns)
                    .map(|column| row.get(column))
                    .collect::<Result<Record, _>>()?;
                bytes += record.iter().map(length).sum::<usize>();
                page.push(record);
                if bytes >= PAGE_BYTES {
                    break;
                }
            }
            Ok(page)
        };
        self.database.read(read).await
    }

    /// Returns the facts that are moved.
    pub(super) async fn facts(&self) -> Result<BTreeMap<String, String>, DatabaseError> {
        self.database.read(facts).await
    }

    /// Returns the highest number that a table has ever given to a row; 0 if it has given none.
    pub(super) async fn last_number(&self, table: &Table) -> Result<i64, DatabaseError> {
        let name = table.name.clone();
        let sql = format!(
            "SELECT max(coalesce((SELECT seq FROM sqlite_sequence WHERE name = ?1), 0),
                 coalesce((SELECT max({}) FROM {}), 0))",
            table.key_list(),
            table.quoted()
        );
        let read =
            move |snapshot: &Transaction<'_>| snapshot.query_row(&sql, [&*name], |row| row.get(0));
        self.database.read(read).await
    }

    /// Returns all slots, in order.
    pub(super) async fn slots(&self) -> anyhow::Result<Vec<SlotKey>> {
        let connection = self.store.connection()?;
        let mut slots = Vec::new();
        for_each_slot(&connection, |slot| {
            slots.push(slot.key);
            Ok::<_, anyhow::Error>(())
        })?;
        slots.sort_unstable();
        Ok(slots)
    }

    /// Refuses texts that PostgreSQL cannot keep, and names each.
    pub(super) async fn refuse_nul(&self, tables: &[Table]) -> Result<(), AppError> {
        let tables = tables.to_vec();
        let read = move |snapshot: &Transaction<'_>| {
            let mut found = Vec::new();
            for table in &tables {
                find_nul(snapshot, table, &mut found)?;
            }
            find_nul(snapshot, &history(), &mut found)?;
            Ok::<_, DatabaseError>(found)
        };
        let found = self.database.read(read).await?;
        if found.is_empty() {
            return Ok(());
        }
        let more = match found.len() > MOST_NAMED {
            true => " and more",
            false => "",
        };
        let named: Vec<&str> = found.iter().take(MOST_NAMED).map(String::as_str).collect();
        Err(AppError::new(
            ErrorCode::Failed,
            format!(
                "texts hold the character U+0000, which PostgreSQL cannot keep: {}{more}; take it out of them, then try again; nothing was changed",
                named.join("; ")
            ),
        ))
    }
}

/// Runs a statement that counts.
pub(super) fn count(snapshot: &Transaction<'_>, sql: &str) -> Result<u64, DatabaseError> {
    let count: i64 = snapshot.query_row(sql, (), |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

/// Returns the facts of either database that are not about it alone.
pub(super) fn facts(snapshot: &Transaction<'_>) -> Result<BTreeMap<String, String>, DatabaseError> {
    let mut statement = snapshot.prepare_cached("SELECT key, value FROM meta")?;
    let facts = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?;
    facts
        .filter(|fact: &Result<(String, String), _>| {
            !fact
                .as_ref()
                .is_ok_and(|(key, _)| STAYS.contains(&key.as_str()))
        })
        .collect()
}

fn page_sql(table: &Table, has_begun: bool) -> String {
    let condition = match has_begun {
        true => format!(
            "WHERE ({}) > ({})",
            table.key_list(),
            places(0, table.key.len())
        ),
        false => String::new(),
    };
    format!(
        "SELECT {} FROM {} {condition} ORDER BY {} LIMIT {PAGE_ROWS}",
        table.column_list(),
        table.quoted(),
        table.key_list()
    )
}

/// Returns `?1, ?2` and so on: as many as `count`, the first of them behind `before` others.
pub(super) fn places(before: usize, count: usize) -> String {
    let places: Vec<String> = (before + 1..=before + count)
        .map(|place| format!("?{place}"))
        .collect();
    places.join(", ")
}

/// The events of tokens hold words of whoever acted.
fn history() -> Table {
    let columns = ["workspace", "name", "revision", "actor", "reason"];
    Table {
        name: "wst_history".to_owned(),
        columns: columns.map(str::to_owned).to_vec(),
        key: vec![0, 1, 2],
        is_numbered: false,
    }
}

fn find_nul(
    snapshot: &Transaction<'_>,
    table: &Table,
    found: &mut Vec<String>,
) -> Result<(), DatabaseError> {
    for column in &table.columns {
        let holds_it = format!(
            "typeof({0}) = 'text' AND instr({0}, char(0)) > 0",
            quoted(column)
        );
        let sql = format!(
            "SELECT {} FROM {} WHERE {holds_it} ORDER BY {} LIMIT {}",
            table.column_list(),
            table.quoted(),
            table.key_list(),
            MOST_NAMED + 1
        );
        let columns = table.columns.len();
        let mut statement = snapshot.prepare_cached(&sql)?;
        let rows = statement.query_map((), |row| {
            (0..columns).map(|column| row.get(column)).collect()
        })?;
        for row in rows {
            found.push(format!("{}, column {column}", row_name(table, &row?)));
        }
    }
    Ok(())
}

/// Names a row for people: by its table, and its id or key.
pub(super) fn row_name(table: &Table, record: &Record) -> String {
    let id = table.columns.iter().position(|column| column == "id");
    let places = match id {
        Some(id) => vec![id],
        None => table.key.clone(),
    };
    let named: Vec<String> = places
        .iter()
        .map(|place| {
            let value = match &record[*place] {
                Value::Text(text) => text.escape_debug().to_string(),
                Value::Integer(number) => number.to_string(),
                _ => "?".to_owned(),
            };
            format!("{} {value}", table.columns[*place])
        })
        .collect();
    format!("table {}, {}", table.name, named.join(", "))
}

/// Returns the key of a row.
pub(super) fn key_of(table: &Table, record: &Record) -> Vec<Value> {
    table
        .key
        .iter()
        .map(|place| record[*place].clone())
        .collect()
}

/// Returns values as a statement takes them.
pub(super) fn parameters(values: &[Value]) -> Vec<&dyn ToSql> {
    values.iter().map(|value| value as &dyn ToSql).collect()
}

fn length(value: &Value) -> usize {
    match value {
        Value::Blob(bytes) => bytes.len(),
        Value::Text(text) => text.len(),
        _ => 8,
    }
}

/// Opens the database of the data directory, and brings it up to date.
pub(super) fn open(path: &std::path::Path) -> anyhow::Result<Source> {
    // Exclusive: the lock of the data directory says that there is nobody else.
    let store = tower_workspace_token_sqlite::Options::new(path)
        .exclusive()
        .open()
        .with_context(|| format!("cannot use the database {}", path.display()))?;
    let database = Database::open(&store)?;
    Ok(Source { store, database })
}

/// How many rows are moved in one transaction, at most.
pub(super) const PAGE_ROWS: usize = 1_000;

/// How many bytes they have before no more of them are taken: files may be large.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// How many texts are named that cannot be moved.
const MOST_NAMED: usize = 20;
