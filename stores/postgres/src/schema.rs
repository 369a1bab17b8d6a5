//! The tables, whose they are, and how older ones become current.
//!
//! They lie in the first schema of the connection's `search_path`. All steps are run in one transaction under an
//! advisory lock, so that several processes may open at once, and a database has either none of the tables or all.
//!
//! `wst_meta`, one row:
//!
//! | column | holds |
//! |---|---|
//! | `is_only` | true |
//! | `schema_version` | the number of migrations that were run |
//! | `database_id` | random, made once: names the channel of notifications, and tells one database from another |
//! | `lease_millis` | the lease of all processes on the database |
//!
//! `wst_slots`, one row per slot, never deleted:
//!
//! | column | holds |
//! |---|---|
//! | `workspace`, `name` | the slot; primary key |
//! | `revision` | raised by one with each write but those of `last_used_at` |
//! | `generation` | raised by one with each rotation and with each revocation |
//! | `token_id` | the public id of the token; of the last one, in a tombstone |
//! | `sealed` | the token at rest; NULL marks a tombstone |
//! | `key_id` | the key of the envelope in `sealed`; NULL if that is no envelope we know |
//! | `changed_at`, `last_used_at` | milliseconds since 1970; `last_used_at` is NULL until the first use |
//! | `changed_in` | the transaction that left the row as it is, but for its `last_used_at`: what the feed reads by |
//!
//! `wst_history`, one row per event, never changed:
//!
//! | column | holds |
//! |---|---|
//! | `workspace`, `name` | the slot |
//! | `revision` | the one that the write of the event gave to the slot; with the slot, the primary key, and so the order; of imported events, numbers that end with that of the row |
//! | `kind` | `issued`, `revoked` or `rotated` |
//! | `generation`, `token_id`, `at` | of the event |
//! | `actor`, `reason` | in the application's own words; NULL if it said nothing |
//!
//! `wst_nodes`, one row per process that trusts its memory:
//!
//! | column | holds |
//! |---|---|
//! | `node` | random, made when the store was opened |
//! | `beat`, `beat_at` | raised every two seconds at most; when that was, for people to read |
//! | `acknowledged` | the snapshot of which it has reported everything; NULL at first |

use std::time::Duration;

use tokio_postgres::{Client, Transaction, error::SqlState};

use crate::{
    error::{OpenError, OpenErrorKind},
    options::DEFAULT_LEASE,
};

/// What the tables say of the database.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) id: String,
    pub(crate) lease: Duration,
}

/// Makes the tables, brings those of an older version up to date, and agrees on a lease.
///
/// # Errors
/// The tables are not ours, newer, or can't be written; or others have another lease. They are as they were.
pub(crate) async fn prepare(
    client: &mut Client,
    lease: Option<Duration>,
) -> Result<Database, OpenError> {
    prepare_with(client, lease, &MIGRATIONS).await
}

async fn prepare_with(
    client: &mut Client,
    lease: Option<Duration>,
    migrations: &[&str],
) -> Result<Database, OpenError> {
    let transaction = client.transaction().await?;
    transaction.query_typed(LOCK, &[]).await?;
    migrate(&transaction, migrations).await?;
    take_in_restored_rows(&transaction).await?;
    let database = agree(&transaction, lease).await?;
    transaction.commit().await?;
    Ok(database)
}

async fn migrate(transaction: &Transaction<'_>, migrations: &[&str]) -> Result<(), OpenError> {
    let version = version(transaction).await?;
    if version > migrations.len() {
        return Err(OpenError::new(OpenErrorKind::Newer));
    }
    for migration in &migrations[version..] {
        transaction.batch_execute(migration).await?;
    }
    if version < migrations.len() {
        let reached = i32::try_from(migrations.len()).unwrap_or(i32::MAX);
        transaction
            .execute("UPDATE wst_meta SET schema_version = $1", &[&reached])
            .await?;
    }
    Ok(())
}

/// Returns the version of the tables; 0 if there are none.
async fn version(transaction: &Transaction<'_>) -> Result<usize, OpenError> {
    let found = transaction.query_typed_one(TABLES, &[]).await?;
    let (tables, has_meta): (i64, bool) = (found.try_get(0)?, found.try_get(1)?);
    if tables == 0 {
        return Ok(0);
    }
    if !has_meta {
        return Err(OpenError::new(OpenErrorKind::Foreign));
    }
    let read = transaction
        .query_typed_one("SELECT schema_version FROM wst_meta", &[])
        .await;
    let version = match read {
        Err(error) if error.code() != Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            return Err(OpenError::with_source(OpenErrorKind::Foreign, error));
        }
        read => read?.try_get::<_, i32>(0),
    };
    version
        .ok()
        .and_then(|version| usize::try_from(version).ok())
        .filter(|version| *version > 0)
        .ok_or_else(|| OpenError::new(OpenErrorKind::Foreign))
}

/// Takes rows as changed now that were brought in from another cluster, by a dump: its transactions have other
/// numbers, and by one that is still to come, no row would ever be seen.
async fn take_in_restored_rows(transaction: &Transaction<'_>) -> Result<(), OpenError> {
    transaction.batch_execute(RESTORED).await?;
    Ok(())
}

async fn agree(
    transaction: &Transaction<'_>,
    lease: Option<Duration>,
) -> Result<Database, OpenError> {
    // Locked, so that nobody registers with the present lease while it is changed.
    let meta = transaction
        .query_typed_one(
            "SELECT database_id, lease_millis FROM wst_meta FOR UPDATE",
            &[],
        )
        .await?;
    let id: String = meta.try_get(0)?;
    // Statements are made of it: a name is no parameter of LISTEN.
    if id.len() != 32
        || !id
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    {
        return Err(OpenError::new(OpenErrorKind::Foreign));
    }
    let present = from_millis(meta.try_get(1)?);
    let lease = lease.unwrap_or(present);
    if lease != present {
        let nodes = transaction
            .query_typed_opt("SELECT FROM wst_nodes LIMIT 1", &[])
            .await?;
        if nodes.is_some() {
            return Err(OpenError::new(OpenErrorKind::LeaseDiffers));
        }
        // Nobody is in the table who trusts anything, yet somebody may write. Whoever has read the present lease holds
        // ROW EXCLUSIVE, is waited for here, and is seen by all who register with the new one; whoever comes later takes the
        // snapshot of its statement when it has that lock, and so reads the new lease, and refuses to write.
        transaction
            .batch_execute("LOCK TABLE wst_slots IN SHARE MODE")
            .await?;
        transaction
            .execute("UPDATE wst_meta SET lease_millis = $1", &[&millis(lease)])
            .await?;
    }
    Ok(Database { id, lease })
}

pub(crate) fn millis(lease: Duration) -> i32 {
    i32::try_from(lease.as_millis()).unwrap_or(i32::MAX)
}

fn from_millis(millis: i32) -> Duration {
    // The table has a check; what is no duration is taken for the default.
    u64::try_from(millis).map_or(DEFAULT_LEASE, Duration::from_millis)
}

/// Numbers of our own, and the schema, so that those who open another one don't wait.
const LOCK: &str = "SELECT pg_advisory_xact_lock(1465078785, hashtext(current_schema()::text))";

// As elsewhere, operators and functions are given the very types that they are made for: where that is not so, one of
// that name in any schema of the `search_path` may fit better than that of PostgreSQL, and whoever may write there has it run.
const TABLES: &str = "
SELECT count(*), coalesce(bool_or(c.relname = 'wst_meta'), false)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = current_schema() AND c.relname::text LIKE 'wst\\_%' AND c.relkind IN ('r', 'p', 'v', 'm', 'f')";

const RESTORED: &str = "
UPDATE wst_slots SET changed_in = pg_current_xact_id()
    WHERE changed_in >= pg_snapshot_xmax(pg_current_snapshot());
DELETE FROM wst_nodes
    WHERE pg_snapshot_xmax(acknowledged) > pg_snapshot_xmax(pg_current_snapshot());";

/// The steps from one version to the next; what was released is never edited.
const MIGRATIONS: [&str; 1] = [VERSION_1];

const VERSION_1: &str = r#"
CREATE TABLE wst_meta (
    is_only boolean PRIMARY KEY CHECK (is_only),
    schema_version integer NOT NULL CHECK (schema_version > 0),
    database_id text COLLATE "C" NOT NULL CHECK (database_id ~ '^[0-9a-f]{32}$'),
    lease_millis integer NOT NULL CHECK (lease_millis BETWEEN 100 AND 5000)
);
INSERT INTO wst_meta VALUES (true, 1, replace(gen_random_uuid()::text, '-', ''), 1000);

CREATE TABLE wst_slots (
    workspace text COLLATE "C" NOT NULL CHECK (workspace ~ '^[-a-z0-9]{1,63}$'),
    name text COLLATE "C" NOT NULL CHECK (name ~ '^[-a-z0-9]{1,63}$'),
    revision bigint NOT NULL CHECK (revision > 0),
    generation bigint NOT NULL CHECK (generation > 0),
    token_id text COLLATE "C" NOT NULL CHECK (length(token_id) = 16),
    sealed bytea,
    key_id text COLLATE "C" CHECK (key_id IS NULL OR length(key_id) = 8 AND sealed IS NOT NULL),
    changed_at bigint NOT NULL CHECK (changed_at >= 0),
    last_used_at bigint CHECK (last_used_at >= 0),
    changed_in xid8 NOT NULL,
    PRIMARY KEY (workspace, name)
);
CREATE INDEX wst_slots_changed_in ON wst_slots (changed_in);

CREATE TABLE wst_history (
    workspace text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    revision bigint NOT NULL,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('issued', 'revoked', 'rotated')),
    generation bigint NOT NULL CHECK (generation > 0),
    token_id text COLLATE "C" NOT NULL CHECK (length(token_id) = 16),
    at bigint NOT NULL CHECK (at >= 0),
    actor text,
    reason text,
    PRIMARY KEY (workspace, name, revision),
    FOREIGN KEY (workspace, name) REFERENCES wst_slots
);

CREATE TABLE wst_nodes (
    node text COLLATE "C" PRIMARY KEY,
    beat bigint NOT NULL,
    beat_at timestamptz NOT NULL,
    acknowledged pg_snapshot
);
"#;

#[cfg(test)]
mod tests {
    use tokio_postgres::{Config, NoTls};

    use super::*;

    /// A session on the server of the tests whose schema is of its own and is gone with it: that of temporary tables.
    async fn session() -> Option<Client> {
        let named = std::env::var("WST_TEST_POSTGRES_URL");
        let url =
            named.unwrap_or_else(|_| "postgres://postgres@127.0.0.1:5432/postgres".to_owned());
        let mut config: Config = url.parse().unwrap();
        config.options("-c search_path=pg_temp");
        let Ok((client, connection)) = config.connect(NoTls).await else {
            println!("skipped: no PostgreSQL server");
            return None;
        };
        tokio::spawn(connection);
        // A session has no such schema before its first temporary table.
        let first = "CREATE TEMPORARY TABLE first (a int)";
        client.batch_execute(first).await.unwrap();
        Some(client)
    }

    async fn number(client: &Client, sql: &str) -> i64 {
        client.query_one(sql, &[]).await.unwrap().get(0)
    }

    #[tokio::test]
    async fn an_older_schema_is_brought_forward_and_keeps_its_rows() {
        let Some(mut client) = session().await else {
            return;
        };
        prepare_with(&mut client, None, &MIGRATIONS).await.unwrap();
        client.batch_execute(ONE_SLOT).await.unwrap();
        let version_2 = "ALTER TABLE wst_slots ADD COLUMN note text";
        let migrations = [MIGRATIONS.as_slice(), &[version_2]].concat();
        for _ in 0..2 {
            prepare_with(&mut client, None, &migrations).await.unwrap();
            let version = "SELECT schema_version::int8 FROM wst_meta";
            assert_eq!(number(&client, version).await, 2);
        }
        let rows = "SELECT count(*) FROM wst_slots WHERE note IS NULL";
        assert_eq!(number(&client, rows).await, 1);
        let error = prepare(&mut client, None).await.unwrap_err();
        assert_eq!(error.kind(), OpenErrorKind::Newer);
    }

    #[tokio::test]
    async fn a_migration_that_fails_changes_nothing() {
        let Some(mut client) = session().await else {
            return;
        };
        prepare_with(&mut client, None, &MIGRATIONS).await.unwrap();
        let version_2 = "CREATE TABLE wst_new (a int); this is no SQL";
        let migrations = [MIGRATIONS.as_slice(), &[version_2]].concat();
        let failed = prepare_with(&mut client, None, &migrations).await;
        assert_eq!(failed.unwrap_err().kind(), OpenErrorKind::Unavailable);
        prepare(&mut client, None).await.unwrap();
        let new = "SELECT count(*) FROM pg_class WHERE relname = 'wst_new'";
        assert_eq!(number(&client, new).await, 0);
    }

    #[tokio::test]
    async fn the_tables_refuse_rows_that_make_no_sense() {
        let Some(mut client) = session().await else {
            return;
        };
        prepare(&mut client, None).await.unwrap();
        client.batch_execute(ONE_SLOT).await.unwrap();
        let cases = [
            ("capital letters", "workspace = 'ACME'"),
            ("a line feed", "workspace = E'acme\\n'"),
            ("no name", "name = ''"),
            ("a long name", "name = repeat('z', 64)"),
            ("revision 0", "revision = 0"),
            ("generation 0", "generation = 0"),
            ("a short token id", "token_id = 'short'"),
            (
                "a key without a token",
                "sealed = NULL, key_id = 'mzxw6ytb'",
            ),
            ("a time before 1970", "changed_at = -1"),
            ("no transaction", "changed_in = NULL"),
        ];
        for (name, change) in cases {
            let update = format!("UPDATE wst_slots SET {change}");
            assert!(client.batch_execute(&update).await.is_err(), "{name}");
        }
    }

    const ONE_SLOT: &str = "
        INSERT INTO wst_slots VALUES
            ('acme', 'primary', 1, 1, 'mzxw6ytbmzxw6ytb', 'sealed', NULL, 1, NULL, '7')";
}
