//! The PostgreSQL database that everything is moved to: whose it is, and its rows.
//!
//! How far a move has come is told by the rows themselves: they come in the order of their primary keys, so the
//! last one there is where it goes on. There is no position beside them that could disagree.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::bail;
use rusqlite::types::Value;
use tower_workspace_token_postgres::PostgresStore;

use super::{
    plan::{LEFT_OUT, Table, quoted},
    source::{self, Record, facts, key_of, parameters, places},
};
use crate::{
    db::{Database, DatabaseError, Transaction, meta, params},
    error::{AppError, ErrorCode},
    time,
};

/// The database that is moved to.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) store: PostgresStore,
    pub(super) database: Database,
}

/// How far the move is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It was done at that time.
    Complete(i64),
    /// It was begun.
    Copying,
    /// There is nothing.
    Empty,
}

impl Target {
    /// Returns how far the move from the database `id` is.
    ///
    /// # Errors
    /// The database holds what is from elsewhere.
    pub(super) async fn standing(&self, id: &str, tables: &[Table]) -> Result<Standing, AppError> {
        let (from, at) = self
            .database
            .read(|snapshot| {
                let from = meta::get(snapshot, meta::MOVED_FROM)?;
                Ok::<_, DatabaseError>((from, meta::get(snapshot, meta::MOVED_AT)?))
            })
            .await?;
        match (from, at) {
            (Some(from), _) if from != id => {
                Err(foreign("was moved there from another data directory"))
            }
            (Some(_), None) => Ok(Standing::Copying),
            (Some(_), Some(at)) => Ok(Standing::Complete(at.parse().unwrap_or_default())),
            (None, _) => {
                self.check_empty(tables).await?;
                Ok(Standing::Empty)
            }
        }
    }

    /// Refuses a database in which there is anything.
    async fn check_empty(&self, tables: &[Table]) -> Result<(), AppError> {
        let tables: Vec<String> = names(tables).collect();
        let filled = self.database.read(move |snapshot| {
            for table in tables {
                if exists(snapshot, &table)? {
                    return Ok(Some(table));
                }
            }
            Ok::<_, DatabaseError>(None)
        });
        if let Some(table) = filled.await? {
            return Err(foreign(&format!("is in its table {table}")));
        }
        let mut has_slots = false;
        self.store
            .for_each_slot(|_| {
                has_slots = true;
                Ok::<_, anyhow::Error>(())
            })
            .await?;
        match has_slots {
            true => Err(foreign("is in its tokens")),
            false => Ok(()),
        }
    }

    /// Marks an empty database as the one that `id` is moved to: no server uses it from here on, until all is there.
    pub(super) async fn begin(&self, id: &str, tables: &[Table]) -> Result<(), AppError> {
        let id = id.to_owned();
        let tables: Vec<String> = names(tables).collect();
        let begun = self.database.write(move |transaction| {
            // Asked again, now that nobody else can write.
            let is_taken = meta::get(transaction, meta::MOVED_FROM)?.is_some();
            for table in tables {
                if is_taken || exists(transaction, &table)? {
                    return Ok(false);
                }
            }
            meta::set(transaction, meta::MOVED_FROM, &id)?;
            Ok::<_, DatabaseError>(true)
        });
        match begun.await? {
            true => Ok(()),
            false => Err(foreign("has just come there from elsewhere")),
        }
    }

    /// Refuses to go on where a table of the file is not here, or another one.
    pub(super) async fn check_tables(&self, tables: &[Table]) -> anyhow::Result<()> {
        for table in tables {
            let name = table.name.clone();
            let here: BTreeSet<String> = self
                .database
                .read(move |snapshot| {
                    let mut statement = snapshot.prepare_cached(
                        "SELECT CAST(attname AS TEXT) FROM pg_attribute
                         WHERE attrelid = to_regclass(quote_ident(CAST(?1 AS TEXT)))
                             AND attnum > 0 AND NOT attisdropped",
                    )?;
                    let columns = statement.query_map([&*name], |row| row.get(0))?;
                    columns.collect::<Result<_, DatabaseError>>()
                })
                .await?;
            let there: BTreeSet<String> = table.columns.iter().cloned().collect();
            if here != there {
                bail!(
                    "the table {} of the file has no counterpart in PostgreSQL: this version of `wst` cannot move it; nothing was changed",
                    table.name
                );
            }
        }
        Ok(())
    }

    /// Returns the key of the last row, and how many there are.
    pub(super) async fn reached(
        &self,
        table: &Table,
    ) -> Result<(Option<Vec<Value>>, u64), DatabaseError> {
        let descending: Vec<String> = table
            .key_columns()
            .map(|column| format!("{} DESC", quoted(column)))
            .collect();
        let last = format!(
            "SELECT {} FROM {} ORDER BY {} LIMIT 1",
            table.key_list(),
            table.quoted(),
            descending.join(", ")
        );
        let count = format!("SELECT count(*) FROM {}", table.quoted());
        let columns = table.key.len();
        let read = move |snapshot: &Transaction<'_>| {
            let mut statement = snapshot.prepare_cached(&last)?;
            let mut rows = statement.query_map((), |row| {
                (0..columns).map(|column| row.get(column)).collect()
            })?;
            Ok((rows.next().transpose()?, source::count(snapshot, &count)?))
        };
        self.database.read(read).await
    }

    /// Writes rows, all or none.
    pub(super) async fn insert(&self, table: &Table, page: &[Record]) -> Result<(), DatabaseError> {
        let columns = table.columns.len();
        // PostgreSQL takes 65,535 parameters.
        for part in page.chunks(usize::from(u16::MAX) / columns) {
            let rows: Vec<String> = (0..part.len())
                .map(|row| format!("({})", places(row * columns, columns)))
                .collect();
            let sql = format!(
                "INSERT INTO {} ({}) VALUES {}",
                table.quoted(),
                table.column_list(),
                rows.join(", ")
            );
            let values: Vec<Value> = part.iter().flatten().cloned().collect();
            let write = move |transaction: &Transaction<'_>| {
                transaction.execute(&sql, parameters(&values).as_slice())?;
                Ok::<_, DatabaseError>(())
            };
            self.database.write(write).await?;
        }
        Ok(())
    }

    /// Returns the rows behind `after`, up to that of `last` or to the end; one more than `most` at most.
    pub(super) async fn between(
        &self,
        table: &Table,
        after: Option<&[Value]>,
        last: Option<&Record>,
        most: usize,
    ) -> Result<Vec<Record>, DatabaseError> {
        let (key, length) = (table.key_list(), table.key.len());
        let mut values: Vec<Value> = Vec::new();
        let mut conditions = Vec::new();
        if let Some(after) = after {
            conditions.push(format!("({key}) > ({})", places(0, length)));
            values.extend_from_slice(after);
        }
        if let Some(last) = last {
            conditions.push(format!("({key}) <= ({})", places(values.len(), length)));
            values.extend(key_of(table, last));
        }
        let condition = match conditions.is_empty() {
            true => String::new(),
            false => format!("WHERE {}", conditions.join(" AND ")),
        };
        let sql = format!(
            "SELECT {} FROM {} {condition} ORDER BY {key} LIMIT {}",
            table.column_list(),
            table.quoted(),
            most + 1
        );
        let columns = table.columns.len();
        let read = move |snapshot: &Transaction<'_>| {
            let mut statement = snapshot.prepare_cached(&sql)?;
            let rows = statement.query_map(parameters(&values).as_slice(), |row| {
                (0..columns).map(|column| row.get(column)).collect()
            })?;
            rows.collect()
        };
        self.database.read(read).await
    }

    /// Writes the facts.
    pub(super) async fn set_facts(
        &self,
        facts: BTreeMap<String, String>,
    ) -> Result<(), DatabaseError> {
        let write = move |transaction: &Transaction<'_>| {
            for (key, value) in &facts {
                meta::set(transaction, key, value)?;
            }
            Ok(())
        };
        self.database.write(write).await
    }

    pub(super) async fn facts(&self) -> Result<BTreeMap<String, String>, DatabaseError> {
        self.database.read(facts).await
    }

    /// Has the next row of a table numbered higher than `last`.
    pub(super) async fn number_after(&self, table: &Table, last: i64) -> Result<(), DatabaseError> {
        if last == 0 {
            return Ok(());
        }
        let (name, column) = (table.quoted(), table.columns[table.key[0]].clone());
        let write = move |transaction: &Transaction<'_>| {
            transaction.query_row(
                "SELECT setval(CAST(pg_get_serial_sequence(CAST(?1 AS TEXT), CAST(?2 AS TEXT)) AS regclass), ?3)",
                params![name, column, last],
                |row| row.get::<_, i64>(0),
            )
        };
        self.database.write(write).await.map(|_| ())
    }

    /// Returns the last number that a table has given to a row, or that was set; 0 if there is none.
    pub(super) async fn last_number(&self, table: &Table) -> Result<i64, DatabaseError> {
        let (name, column) = (table.quoted(), table.columns[table.key[0]].clone());
        let read = move |snapshot: &Transaction<'_>| {
            snapshot.query_row(
                "SELECT coalesce(pg_sequence_last_value(CAST(pg_get_serial_sequence(CAST(?1 AS TEXT), CAST(?2 AS TEXT)) AS regclass)), 0)",
                params![name, column],
                |row| row.get(0),
            )
        };
        self.database.read(read).await
    }

    /// Marks the move as done: servers may use the database from here on.
    pub(super) async fn complete(&self) -> Result<(), DatabaseError> {
        let now = time::now().to_string();
        let write =
            move |transaction: &Transaction<'_>| meta::set(transaction, meta::MOVED_AT, &now);
        self.database.write(write).await
    }
}

/// Returns the tables that are empty where nobody has worked yet, in words of ours.
fn names(tables: &[Table]) -> impl Iterator<Item = String> {
    let moved = tables.iter().map(|table| table.name.as_str());
    moved.chain(LEFT_OUT).map(str::to_owned)
}

fn exists(snapshot: &Transaction<'_>, table: &str) -> Result<bool, DatabaseError> {
    let sql = format!("SELECT 1 FROM {} LIMIT 1", quoted(table));
    snapshot.prepare_cached(&sql)?.exists(())
}

fn foreign(what: &str) -> AppError {
    AppError::new(
        ErrorCode::AlreadyExists,
        format!(
            "the PostgreSQL database holds other data, which {what}: give an empty one (`CREATE DATABASE`), or drop that one and make it again if nobody needs it; nothing was changed"
        ),
    )
}
