//! [`Transaction`]: what the server's statements run in, whichever database it is.
//!
//! Its shape is rusqlite's, and so are its values. A closure that is given one runs on a thread of its own and
//! may block: that is what lets a statement after the other be written down as plainly as it is.

use rusqlite::types::{FromSql, FromSqlError};
use tower_workspace_token_postgres::tokio_postgres;

use super::{
    DatabaseError,
    parameters::{Parameters, Values},
    postgres::{self, Session},
};

/// A transaction of the server's database, or a snapshot of it that is only read.
#[derive(Debug)]
pub(crate) struct Transaction<'t> {
    engine: Engine<'t>,
}

#[derive(Debug)]
pub(crate) enum Engine<'t> {
    Postgres(&'t Session),
    Sqlite(&'t rusqlite::Connection),
}

/// A statement that is ready to be run.
pub(crate) struct Statement<'s> {
    prepared: Prepared<'s>,
}

enum Prepared<'s> {
    Postgres(postgres::Statement<'s>),
    Sqlite(rusqlite::CachedStatement<'s>),
}

/// A row that a statement has found.
pub(crate) struct Row<'r> {
    found: Found<'r>,
}

enum Found<'r> {
    Postgres(&'r tokio_postgres::Row),
    Sqlite(&'r rusqlite::Row<'r>),
}

/// What was made of the rows, in their order.
pub(crate) type Rows<T> = std::vec::IntoIter<Result<T, DatabaseError>>;

/// Names a column: by its place or by its name.
pub(crate) trait Column:
    rusqlite::RowIndex + tokio_postgres::row::RowIndex + Copy + std::fmt::Display
{
}

impl Column for usize {}
impl Column for &str {}

/// Takes "there is no such row" for an answer.
pub(crate) trait OptionalExtension<T> {
    fn optional(self) -> Result<Option<T>, DatabaseError>;
}

impl<T> OptionalExtension<T> for Result<T, DatabaseError> {
    fn optional(self) -> Result<Option<T>, DatabaseError> {
        match self {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_no_row() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl<'t> Transaction<'t> {
    /// Works on a connection to an SQLite file, in the transaction that it is in.
    pub(crate) fn of(connection: &'t rusqlite::Connection) -> Self {
        Self {
            engine: Engine::Sqlite(connection),
        }
    }

    pub(super) fn of_session(session: &'t Session) -> Self {
        Self {
            engine: Engine::Postgres(session),
        }
    }

    /// Returns which database it is, for the few who ask for what only one of them has.
    pub(crate) fn engine(&self) -> &Engine<'t> {
        &self.engine
    }

    /// Prepares a statement; the connection keeps it for the next time.
    pub(crate) fn prepare_cached(&self, sql: &str) -> Result<Statement<'_>, DatabaseError> {
        let prepared = match &self.engine {
            Engine::Postgres(session) => Prepared::Postgres(session.prepare(sql)?),
            Engine::Sqlite(connection) => Prepared::Sqlite(connection.prepare_cached(sql)?),
        };
        Ok(Statement { prepared })
    }

    pub(crate) fn execute(
        &self,
        sql: &str,
        parameters: impl Parameters,
    ) -> Result<usize, DatabaseError> {
        self.prepare_cached(sql)?.execute(parameters)
    }

    pub(crate) fn query_row<T>(
        &self,
        sql: &str,
        parameters: impl Parameters,
        read: impl FnOnce(&Row<'_>) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        self.prepare_cached(sql)?.query_row(parameters, read)
    }

    /// Runs statements that have no parameters and whose rows nobody wants.
    pub(crate) fn execute_batch(&self, sql: &str) -> Result<(), DatabaseError> {
        match &self.engine {
            Engine::Postgres(session) => session.run(sql),
            Engine::Sqlite(connection) => Ok(connection.execute_batch(sql)?),
        }
    }
}

impl Statement<'_> {
    /// Runs it and returns how many rows it has changed.
    pub(crate) fn execute(&mut self, parameters: impl Parameters) -> Result<usize, DatabaseError> {
        let values = parameters.values()?;
        match &mut self.prepared {
            Prepared::Postgres(statement) => statement.execute(&values),
            Prepared::Sqlite(statement) => Ok(match &values {
                Values::Named(values) => statement.execute(&*named(values))?,
                Values::Placed(values) => statement.execute(rusqlite::params_from_iter(values))?,
            }),
        }
    }

    /// Runs it and reads its first row; that there is none is an error, see [`OptionalExtension`].
    pub(crate) fn query_row<T>(
        &mut self,
        parameters: impl Parameters,
        read: impl FnOnce(&Row<'_>) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        let values = parameters.values()?;
        match &mut self.prepared {
            Prepared::Postgres(statement) => {
                let rows = statement.query(&values)?;
                let row = rows.first().ok_or_else(DatabaseError::no_row)?;
                read(&Row {
                    found: Found::Postgres(row),
                })
            }
            Prepared::Sqlite(statement) => {
                let mut rows = query(statement, &values)?;
                let row = rows.next()?.ok_or_else(DatabaseError::no_row)?;
                read(&Row {
                    found: Found::Sqlite(row),
                })
            }
        }
    }

    /// Runs it and makes something of each row.
    pub(crate) fn query_map<T>(
        &mut self,
        parameters: impl Parameters,
        mut read: impl FnMut(&Row<'_>) -> Result<T, DatabaseError>,
    ) -> Result<Rows<T>, DatabaseError> {
        let values = parameters.values()?;
        let made: Vec<_> = match &mut self.prepared {
            Prepared::Postgres(statement) => {
                let rows = statement.query(&values)?;
                let rows = rows.iter().map(|row| Row {
                    found: Found::Postgres(row),
                });
                rows.map(|row| read(&row)).collect()
            }
            Prepared::Sqlite(statement) => {
                let mut rows = query(statement, &values)?;
                let mut made = Vec::new();
                while let Some(row) = rows.next()? {
                    made.push(read(&Row {
                        found: Found::Sqlite(row),
                    }));
                }
                made
            }
        };
        Ok(made.into_iter())
    }

    /// Returns whether it finds any row.
    pub(crate) fn exists(&mut self, parameters: impl Parameters) -> Result<bool, DatabaseError> {
        let found = self.query_row(parameters, |_| Ok(())).optional()?;
        Ok(found.is_some())
    }
}

impl Row<'_> {
    /// Reads a column.
    pub(crate) fn get<C: Column, T: FromSql>(&self, column: C) -> Result<T, DatabaseError> {
        let value = match self.found {
            Found::Postgres(row) => postgres::value(row, column)?,
            Found::Sqlite(row) => row.get_ref(column)?,
        };
        T::column_result(value).map_err(|error: FromSqlError| DatabaseError::unreadable(error))
    }
}

fn query<'q>(
    statement: &'q mut rusqlite::CachedStatement<'_>,
    values: &Values<'_>,
) -> Result<rusqlite::Rows<'q>, DatabaseError> {
    Ok(match values {
        Values::Named(values) => statement.query(&*named(values))?,
        Values::Placed(values) => statement.query(rusqlite::params_from_iter(values))?,
    })
}

fn named<'v>(
    values: &'v [(&'v str, rusqlite::types::ToSqlOutput<'v>)],
) -> Vec<(&'v str, &'v dyn rusqlite::ToSql)> {
    values
        .iter()
        .map(|(name, value)| (*name, value as &dyn rusqlite::ToSql))
        .collect()
}
