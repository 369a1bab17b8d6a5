//! What the process that holds the data directory can say of its health, and nobody else: for `wst doctor`.

use http::Method;
use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use workspace_token_key_memory::{self as key_memory, Protection};

use super::{Access, Action};
use crate::{
    app::App,
    caller::Caller,
    db::{DatabaseError, Engine, Transaction},
    error::AppError,
    time,
};

/// Reads all of the database once, and looks at the process.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServerCheck {}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ServerChecked {
    /// What SQLite finds wrong with the file.
    pub(crate) damage: Option<String>,
    /// The latest time that a row has, in RFC 3339.
    pub(crate) latest_row: Option<String>,
    /// How many seconds that is ahead of the clock.
    pub(crate) seconds_ahead: i64,
    /// Whether core dumps and debuggers are kept out.
    pub(crate) is_undumpable: bool,
    /// Whether keys lie where they cannot be swapped out.
    pub(crate) are_keys_locked: bool,
    /// How many files and connections may be open.
    pub(crate) open_files: Option<u64>,
}

impl Action for ServerCheck {
    type Outcome = ServerChecked;
    const METHOD: Method = Method::GET;
    const ROUTE: &'static str = "/server/check";
    const ACCESS: Access = Access::Administrator;

    async fn run(self, app: &App, _caller: &Caller) -> Result<ServerChecked, AppError> {
        let (damage, latest) = app
            .database()
            .read(|snapshot| Ok::<_, DatabaseError>((damage(snapshot)?, latest(snapshot)?)))
            .await?;
        let ahead = latest.map_or(0, |latest| latest.saturating_sub(time::now()) / 1000);
        Ok(ServerChecked {
            damage,
            latest_row: latest.map(time::rfc3339),
            seconds_ahead: ahead.max(0),
            is_undumpable: matches!(dumpable_behavior(), Ok(DumpableBehavior::NotDumpable)),
            are_keys_locked: matches!(key_memory::open(), Protection::Secret | Protection::Locked),
            open_files: getrlimit(Resource::Nofile).current,
        })
    }
}

/// Returns the first thing that SQLite finds wrong.
fn damage(connection: &Transaction<'_>) -> Result<Option<String>, DatabaseError> {
    if let Engine::Postgres(_) = connection.engine() {
        // It has checksums of its own, and tools that read all of it.
        return Ok(None);
    }
    let said: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok((said != "ok").then_some(said))
}

/// Returns the latest time of what is written as it happens.
fn latest(connection: &Transaction<'_>) -> Result<Option<i64>, DatabaseError> {
    let latest = connection.query_row(
        "SELECT max(at) FROM (
            SELECT max(at) AS at FROM audit
            UNION ALL SELECT max(created_at) FROM workspaces
            UNION ALL SELECT max(updated_at) FROM tasks
            UNION ALL SELECT max(changed_at) FROM wst_slots
        ) AS written",
        [],
        |row| row.get(0),
    )?;
    Ok(latest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_told_in_the_words_of_sqlite() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        let table = "CREATE TABLE numbers (number INTEGER CHECK (number > 0)) STRICT";
        connection.execute_batch(table).unwrap();
        assert_eq!(damage(&Transaction::of(&connection)).unwrap(), None);
        connection
            .pragma_update(None, "ignore_check_constraints", true)
            .unwrap();
        let wrong = "INSERT INTO numbers VALUES (-1)";
        connection.execute_batch(wrong).unwrap();
        connection
            .pragma_update(None, "ignore_check_constraints", false)
            .unwrap();
        let damage = damage(&Transaction::of(&connection)).unwrap().unwrap();
        assert!(damage.contains("numbers"), "{damage}");
    }
}
