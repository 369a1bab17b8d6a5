//! The server's transactions on PostgreSQL: a connection of the pool, used by a thread that may block.
//!
//! Writes take turns as those of SQLite do, by advisory locks: the code above was written for a database in
//! which one writes at a time. What belongs to one workspace waits for that workspace alone.

use std::{cell::Cell, collections::BTreeSet, fmt, sync::Arc, time::Duration};

use rusqlite::types::ValueRef;
use tokio::{
    runtime::Handle,
    sync::Semaphore,
    time::{Instant, timeout, timeout_at},
};
use tower_workspace_token::{
    id::{SlotKey, WorkspaceId},
    store::{StoreError, StoreErrorKind},
};
use tower_workspace_token_postgres::{
    SlotGeneration,
    deadpool_postgres::{Object, Pool},
    slot_generation_on,
    tokio_postgres::{
        self,
        row::RowIndex,
        types::{FromSql, IsNull, ToSql, Type, private::BytesMut},
    },
};

use super::{
    DatabaseError, Transaction,
    dialect::{Translated, translate},
    parameters::{self, Values},
};

/// Whom a write has to wait for.
#[derive(Clone, Debug)]
pub(crate) enum Turn {
    /// Nobody: it only adds rows that nobody counts on.
    Adding,
    /// Everybody: it may look at or change anything.
    All,
    /// Those who write to these workspaces: it looks at nothing else that they change. In their order, so that no
    /// two wait for each other.
    Workspaces(BTreeSet<WorkspaceId>),
}

/// The connections to the database, and the runtime that drives them. Cheap to clone.
#[derive(Clone)]
pub(super) struct Connections {
    pool: Pool,
    /// Half of them: those who write wait for each other with a connection in hand, and checks of tokens must not
    /// wait for them.
    turns: Arc<Semaphore>,
    runtime: Handle,
}

impl Connections {
    /// Is called within the runtime that drives the connections.
    pub(super) fn new(pool: Pool) -> Self {
        let turns = (pool.status().max_size / 2).max(1);
        Self {
            pool,
            turns: Arc::new(Semaphore::new(turns)),
            runtime: Handle::current(),
        }
    }

    /// Runs `work` in a transaction that is committed if it returns `Ok`, and then `then`.
    pub(super) async fn write<T, E>(
        &self,
        turn: Turn,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
        then: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DatabaseError> + Send + 'static,
    {
        self.blocking(Some(LONGEST), move |session| {
            session.run(&begin_write(&turn))?;
            let outcome = session.finish(work)?;
            then(&outcome);
            Ok(outcome)
        })
        .await
    }

    /// The same, alone and for as long as it takes: for steps of the schema, which may write every row anew.
    pub(super) async fn write_unhurried<T, E>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DatabaseError> + Send + 'static,
    {
        self.blocking(None, move |session| {
            session.run(&format!(
                "BEGIN; {UNHURRIED} SELECT pg_advisory_xact_lock({EVERYBODY})"
            ))?;
            session.finish(work)
        })
        .await
    }

    /// Runs `work` on a snapshot.
    pub(super) async fn read<T, E>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DatabaseError> + Send + 'static,
    {
        self.blocking(Some(LONGEST), |session| {
            session.run(BEGIN_READ)?;
            session.finish(work)
        })
        .await
    }

    async fn blocking<T, E>(
        &self,
        longest: Option<Duration>,
        work: impl FnOnce(&Session) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DatabaseError> + Send + 'static,
    {
        let turn = timeout(PATIENCE, Arc::clone(&self.turns).acquire_owned()).await;
        let turn = turn.map_err(|_| DatabaseError::no_answer())?;
        let client = self
            .pool
            .get()
            .await
            .map_err(DatabaseError::no_connection)?;
        let runtime = self.runtime.clone();
        let work = move || {
            let session = Session {
                client: Some(client),
                runtime,
                deadline: longest.map(|longest| Instant::now() + longest),
                has_failed: Cell::new(false),
                is_idle: Cell::new(false),
            };
            let done = work(&session);
            // The connection first: whoever has the turn next wants it.
            drop(session);
            drop(turn);
            done
        };
        // It goes on if nobody waits for it any longer, as a write that was begun has to.
        let done = self.runtime.spawn_blocking(work).await;
        done.map_err(|_| DatabaseError::stopped())?
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A pool knows the password.
        f.debug_struct("Connections").finish_non_exhaustive()
    }
}

/// A connection in the hands of one thread. Unless it came to the end of its transaction, it is closed and
/// not used again.
pub(crate) struct Session {
    /// There until it is dropped.
    client: Option<Object>,
    runtime: Handle,
    /// When whoever waits for its turn has waited long enough; none for what may take its time.
    deadline: Option<Instant>,
    /// A statement has failed, and with it, to PostgreSQL, the transaction.
    has_failed: Cell<bool>,
    is_idle: Cell<bool>,
}

impl Session {
    /// Runs statements that have no parameters.
    pub(super) fn run(&self, sql: &str) -> Result<(), DatabaseError> {
        self.wait(self.client().batch_execute(sql))
    }

    /// Prepares a statement, once for each connection.
    pub(super) fn prepare(&self, sql: &str) -> Result<Statement<'_>, DatabaseError> {
        let Translated { text, names } = translate(sql);
        Ok(Statement {
            session: self,
            statement: self.wait(self.client().prepare_cached(&text))?,
            names,
        })
    }

    /// Waits for something that is done with the connection.
    fn wait<T>(
        &self,
        work: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, DatabaseError> {
        let done = match self.wait_in_time(work) {
            Some(done) => done.map_err(DatabaseError::from),
            None => Err(DatabaseError::no_answer()),
        };
        done.inspect_err(|_| self.has_failed.set(true))
    }

    /// Waits for [`PATIENCE`] at most, and not beyond the deadline; however long it takes if there is none.
    fn wait_in_time<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.runtime.block_on(async {
            match self.deadline {
                None => Some(work.await),
                Some(deadline) => {
                    let deadline = deadline.min(Instant::now() + PATIENCE);
                    timeout_at(deadline, work).await.ok()
                }
            }
        })
    }

    /// Asks the token store for a slot's generation, which a rotation changes only after the transaction.
    pub(super) fn slot_generation(
        &self,
        key: &SlotKey,
    ) -> Result<Option<SlotGeneration>, StoreError> {
        let client: &tokio_postgres::Client = self.client();
        let asked = self.wait_in_time(slot_generation_on(client, key));
        let asked = asked.unwrap_or_else(|| {
            let late = DatabaseError::no_answer();
            Err(StoreError::with_source(StoreErrorKind::Unavailable, late))
        });
        asked.inspect_err(|_| self.has_failed.set(true))
    }

    fn client(&self) -> &Object {
        self.client
            .as_ref()
            .expect("it is taken when it is dropped")
    }

    /// Does `work` in the transaction that was begun, and ends it.
    fn finish<T, E: From<DatabaseError>>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        match work(&Transaction::of_session(self)) {
            // `COMMIT` would answer as if all were well, and undo everything.
            Ok(_) if self.has_failed.get() => Err(DatabaseError::went_on_after_failure().into()),
            Ok(outcome) => {
                self.run("COMMIT").map_err(DatabaseError::of_commit)?;
                self.is_idle.set(true);
                Ok(outcome)
            }
            Err(error) => {
                self.is_idle.set(self.run("ROLLBACK").is_ok());
                Err(error)
            }
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(client) = self.client.take()
            && !self.is_idle.get()
        {
            // Whatever is in the midst of something ends with its connection.
            drop(Object::take(client));
        }
    }
}

/// A statement that PostgreSQL knows.
pub(super) struct Statement<'s> {
    session: &'s Session,
    statement: tokio_postgres::Statement,
    names: Vec<String>,
}

impl Statement<'_> {
    pub(super) fn execute(&self, values: &Values<'_>) -> Result<usize, DatabaseError> {
        let values = self.in_order(values)?;
        let client = self.session.client();
        let changed = client.execute_raw(&self.statement, values.iter());
        // A number that no table can have.
        Ok(usize::try_from(self.session.wait(changed)?).unwrap_or(usize::MAX))
    }

    pub(super) fn query(
        &self,
        values: &Values<'_>,
    ) -> Result<Vec<tokio_postgres::Row>, DatabaseError> {
        let values = self.in_order(values)?;
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
        let client = self.session.client();
        self.session.wait(client.query(&self.statement, &values))
    }

    /// Returns the values in the order of `$1`, `$2` and so on.
    fn in_order<'v>(&self, values: &'v Values<'_>) -> Result<Vec<Sent<'v>>, DatabaseError> {
        let sent = |output| Sent::new(parameters::value(output)?);
        match values {
            Values::Placed(values) => values.iter().map(sent).collect(),
            Values::Named(values) => {
                let find = |name: &String| {
                    let is_it = |given: &&(&str, _)| given.0.strip_prefix(':') == Some(name);
                    let found = values.iter().find(is_it);
                    found.ok_or_else(|| DatabaseError::unsuitable("a parameter is missing"))
                };
                self.names.iter().map(|name| sent(&find(name)?.1)).collect()
            }
        }
    }
}

/// A value on its way to PostgreSQL.
#[derive(Debug)]
struct Sent<'v>(ValueRef<'v>);

impl<'v> Sent<'v> {
    fn new(value: ValueRef<'v>) -> Result<Self, DatabaseError> {
        match value {
            ValueRef::Text(text) if text.contains(&0) => Err(DatabaseError::nul_in_text()),
            value => Ok(Self(value)),
        }
    }
}

type SendError = Box<dyn std::error::Error + Sync + Send>;

impl ToSql for Sent<'_> {
    fn to_sql(&self, column: &Type, out: &mut BytesMut) -> Result<IsNull, SendError> {
        match (self.0, column) {
            (ValueRef::Null, _) => Ok(IsNull::Yes),
            (ValueRef::Integer(number), &Type::INT8) => number.to_sql(column, out),
            (ValueRef::Integer(number), &Type::INT4) => i32::try_from(number)?.to_sql(column, out),
            (ValueRef::Integer(number), &Type::BOOL) => (number != 0).to_sql(column, out),
            (ValueRef::Real(number), &Type::FLOAT8) => number.to_sql(column, out),
            (ValueRef::Text(text), &Type::TEXT) => std::str::from_utf8(text)?.to_sql(column, out),
            (ValueRef::Blob(bytes), &Type::BYTEA) => bytes.to_sql(column, out),
            (value, column) => {
                Err(format!("a value of type {} is no {column}", value.data_type()).into())
            }
        }
    }

    fn accepts(_: &Type) -> bool {
        // Which values go with which columns is said above.
        true
    }

    tower_workspace_token_postgres::tokio_postgres::types::to_sql_checked!();
}

/// Reads a column as SQLite would have returned it.
pub(super) fn value(
    row: &tokio_postgres::Row,
    column: impl RowIndex + fmt::Display,
) -> Result<ValueRef<'_>, DatabaseError> {
    let value = row.try_get::<_, Option<Received<'_>>>(column)?;
    Ok(value.map_or(ValueRef::Null, |Received(value)| value))
}

/// A value that came from PostgreSQL.
struct Received<'r>(ValueRef<'r>);

impl<'r> FromSql<'r> for Received<'r> {
    fn from_sql(column: &Type, raw: &'r [u8]) -> Result<Self, SendError> {
        Ok(Self(match *column {
            Type::BOOL => ValueRef::Integer(bool::from_sql(column, raw)?.into()),
            Type::INT8 => ValueRef::Integer(i64::from_sql(column, raw)?),
            Type::INT4 => ValueRef::Integer(i32::from_sql(column, raw)?.into()),
            Type::FLOAT8 => ValueRef::Real(f64::from_sql(column, raw)?),
            Type::BYTEA => ValueRef::Blob(raw),
            _ => ValueRef::Text(raw),
        }))
    }

    fn accepts(column: &Type) -> bool {
        let known = [
            Type::BOOL,
            Type::INT8,
            Type::INT4,
            Type::FLOAT8,
            Type::BYTEA,
        ];
        known.contains(column) || <&str as FromSql<'_>>::accepts(column)
    }
}

/// Begins a transaction that waits for its turn. Whatever holds it up for longer than [`PATIENCE`], a process
/// that was stopped in the midst of one included, ends by itself.
fn begin_write(turn: &Turn) -> String {
    let mut begin = format!("BEGIN; {LIMITS}");
    match turn {
        Turn::Adding => {}
        Turn::All => begin.push_str(&format!(" SELECT pg_advisory_xact_lock({EVERYBODY})")),
        Turn::Workspaces(workspaces) => {
            begin.push_str(&format!(
                " SELECT pg_advisory_xact_lock_shared({EVERYBODY});"
            ));
            for workspace in workspaces {
                // Its characters are letters, digits and hyphens.
                begin.push_str(&format!(
                    " SELECT pg_advisory_xact_lock(hashtextextended('wst/' || current_schema() || '/{workspace}', 0));"
                ));
            }
        }
    }
    begin
}

/// The lock that everybody takes, each alone or with others.
const EVERYBODY: &str = "hashtextextended('wst/' || current_schema(), 0)";

const LIMITS: &str = "SET LOCAL lock_timeout = '8s'; SET LOCAL statement_timeout = '9s'; \
     SET LOCAL idle_in_transaction_session_timeout = '5s';";

/// A process that was stopped in between still gives the lock back.
const UNHURRIED: &str = "SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0; \
     SET LOCAL idle_in_transaction_session_timeout = '5s';";

const BEGIN_READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
     SET LOCAL statement_timeout = '9s'; SET LOCAL idle_in_transaction_session_timeout = '5s'";

/// How long a statement is waited for: longer than the database itself does.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a transaction may take with all of its statements: others wait for it.
const LONGEST: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{Kind, scratch::Scratch};

    async fn connections() -> Option<(Connections, Scratch)> {
        let scratch = Scratch::postgres().await?;
        let Kind::Postgres(connections) = scratch.connect().await.kind else {
            panic!("it is in PostgreSQL");
        };
        Some((connections, scratch))
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_transaction_of_many_statements_ends_in_time_though_each_of_them_does() {
        let Some((connections, _scratch)) = connections().await else {
            return;
        };
        let in_time = Some(Duration::from_millis(500));
        let sleeping = connections.blocking(in_time, |session| {
            session.run("BEGIN")?;
            session.finish(|transaction| {
                (0..100).try_for_each(|_| transaction.execute_batch("SELECT pg_sleep(0.1)"))
            })
        });
        assert!(sleeping.await.unwrap_err().may_pass());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_step_of_the_schema_may_take_its_time() {
        let Some((connections, _scratch)) = connections().await else {
            return;
        };
        let limits = |transaction: &Transaction<'_>| {
            transaction
                .prepare_cached(
                    "SELECT current_setting('statement_timeout') || ' ' || current_setting('lock_timeout') || ' '
                         || current_setting('idle_in_transaction_session_timeout')",
                )?
                .query_row((), |row| row.get::<_, String>(0))
        };
        assert_eq!(connections.write_unhurried(limits).await.unwrap(), "0 0 5s");
        let usual = connections.write(Turn::All, limits, |_| ()).await;
        assert_eq!(usual.unwrap(), "9s 8s 5s");
    }
}
