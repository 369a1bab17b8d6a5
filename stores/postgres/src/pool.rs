//! The connections that operations share, and how long an operation may take.

use std::{fmt, sync::Arc, time::Duration};

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime,
};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_postgres::{Config, Row, types::ToSql};

use crate::{connector::Connector, error::Failure, session};

/// Runs statements on pooled connections, each within a limit of time.
#[derive(Clone)]
pub(crate) struct Connections {
    pool: Pool,
    limit: Duration,
}

impl Connections {
    pub(crate) fn new(
        connector: &Connector,
        database_id: &str,
        size: usize,
        connect_timeout: Duration,
        limit: Duration,
    ) -> Result<Self, deadpool_postgres::BuildError> {
        // A look at whether the connection is closed costs nothing; a statement would be a second round trip.
        let recycling_method = RecyclingMethod::Fast;
        let manager = Manager::from_connect(
            // The connector has its own, and nobody else needs the password.
            Config::new(),
            connector.clone(),
            ManagerConfig { recycling_method },
        );
        let pool = Pool::builder(manager)
            .max_size(size)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(limit))
            .create_timeout(Some(connect_timeout))
            .recycle_timeout(Some(limit))
            .post_create(set_up(database_id, limit))
            .build()?;
        Ok(Self { pool, limit })
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// Reads; once more if the connection turns out to be one that a server left behind when it restarted.
    pub(crate) async fn read(
        &self,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Failure> {
        let deadline = self.deadline();
        match self.try_once(sql, parameters, deadline).await {
            Err(failure) if failure.is_lost() => self.try_once(sql, parameters, deadline).await,
            answered => answered,
        }
    }

    /// Runs a statement, once, as a transaction of its own.
    pub(crate) async fn run(
        &self,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Failure> {
        let deadline = self.deadline();
        match self.try_once(sql, parameters, deadline).await {
            Err(failure @ Failure::Unprepared(_)) if failure.is_lost() => {
                self.try_once(sql, parameters, deadline).await
            }
            answered => answered,
        }
    }

    async fn try_once(
        &self,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
        deadline: Instant,
    ) -> Result<Vec<Row>, Failure> {
        let mut is_sent = false;
        let answered = timeout_at(deadline, async {
            let lent = self.lend().await?;
            let client = lent.client();
            let statement = client
                .prepare_cached(sql)
                .await
                .map_err(Failure::Unprepared)?;
            is_sent = true;
            let rows = client.query(&statement, parameters).await?;
            lent.give_back();
            Ok(rows)
        })
        .await;
        match answered {
            Ok(answered) => answered,
            Err(_) if is_sent => Err(Failure::TimedOut),
            Err(elapsed) => Err(Failure::NotSent(elapsed.into())),
        }
    }

    /// Takes a connection for as long as the value lives.
    pub(crate) async fn lend(&self) -> Result<Lent, Failure> {
        let object = timeout(self.limit, self.pool.get())
            .await
            .map_err(|elapsed| Failure::NotSent(elapsed.into()))??;
        Ok(Lent(Some(object)))
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.limit
    }
}

/// A connection that goes back to the pool only if its last statement was answered, and is closed otherwise.
pub(crate) struct Lent(Option<Object>);

impl Lent {
    pub(crate) fn client(&self) -> &Object {
        self.0.as_ref().expect("it is there until it is given back")
    }

    pub(crate) fn client_mut(&mut self) -> &mut Object {
        self.0.as_mut().expect("it is there until it is given back")
    }

    pub(crate) fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(Object::take(object));
        }
    }
}

/// Sets up each new connection, and refuses one to another database than the one that was opened.
fn set_up(database_id: &str, limit: Duration) -> Hook {
    let expected: Arc<str> = database_id.into();
    Hook::async_fn(move |client, _| {
        let expected = Arc::clone(&expected);
        Box::pin(async move {
            let set_up = session::set_up(client, limit).await;
            set_up.map_err(HookError::Backend)?;
            let found = session::database_of(client).await;
            match found.map_err(HookError::Backend)? {
                Some(found) if *found == *expected => Ok(()),
                Some(_) => Err(HookError::message("this is another database than before")),
                None => Err(HookError::message("this server takes no writes")),
            }
        })
    })
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections")
            .field("limit", &self.limit)
            .field("status", &self.pool.status())
            .finish_non_exhaustive()
    }
}
