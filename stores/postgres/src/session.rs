//! What each session is set to before it is used, and which servers are refused.

use std::time::Duration;

use tokio_postgres::{Client, GenericClient, types::Type};

use crate::error::{OpenError, OpenErrorKind};

/// The oldest server that has `pg_snapshot`, `xid8` and `gen_random_uuid`.
const OLDEST: i32 = 130_000;

/// Sets up a session: what is acknowledged to it is durable, and no statement outlives `limit`.
///
/// A weaker `synchronous_commit` of the role or the database is overruled, a stronger one is kept. The statements
/// of this crate rely on READ COMMITTED, where a row that was waited for is looked at again.
pub(crate) async fn set_up(client: &Client, limit: Duration) -> Result<(), tokio_postgres::Error> {
    // Before the client gives up, so that the answer says that nothing was written.
    let timeout = (limit * 4 / 5).as_millis().max(1).to_string();
    client
        .query_typed_one(SETTINGS, &[(&timeout, Type::TEXT)])
        .await?;
    Ok(())
}

// A commit that notifies takes a lock of all databases, when the statement is over and its timeout with it: one on locks still
// counts, and what it ends is not written. One that was set already is as long as somebody wants it.
const SETTINGS: &str = "
SELECT set_config('synchronous_commit',
           CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END,
           false),
       set_config('statement_timeout', $1, false),
       set_config('lock_timeout',
           CASE current_setting('lock_timeout') WHEN '0' THEN $1 ELSE current_setting('lock_timeout') END,
           false),
       set_config('default_transaction_isolation', 'read committed', false)";

/// Refuses a pooler that lends sessions for one transaction at a time: settings, among them that of what is durable, would be lost, or
/// become those of somebody else's session.
///
/// Between transactions, a connection has the session that it had, and nobody else has it meanwhile. Whoever lends sessions
/// lends the one that was given back last, as a rule, and so the same to both. In a pool where it is another one each time, `one`
/// has another one itself; only chance in the midst of other traffic hides both.
pub(crate) async fn refuse_lent(one: &Client, other: &mut Client) -> Result<(), OpenError> {
    let own = backend(one).await?;
    let transaction = other.transaction().await?;
    // First: a pool of one session would not have any for `one` until the transaction has ended.
    let is_lent = own == backend(&transaction).await? || own != backend(one).await?;
    transaction.rollback().await?;
    match is_lent {
        true => Err(OpenError::new(OpenErrorKind::Pooler)),
        false => Ok(()),
    }
}

async fn backend(client: &impl GenericClient) -> Result<i32, tokio_postgres::Error> {
    let row = client
        .query_typed_one("SELECT pg_backend_pid()", &[])
        .await?;
    row.try_get(0)
}

/// Returns which database this is, as its tables say; `None` on a server that takes no writes.
pub(crate) async fn database_of(client: &Client) -> Result<Option<String>, tokio_postgres::Error> {
    let row = client
        .query_typed_opt(
            "SELECT database_id FROM wst_meta WHERE NOT pg_is_in_recovery()",
            &[],
        )
        .await?;
    row.map(|row| row.try_get(0)).transpose()
}

/// Refuses a server that can't keep what it acknowledges, or that this crate can't work with.
pub(crate) async fn inspect(client: &Client, may_forget: bool) -> Result<(), OpenError> {
    inspect_with(client, may_forget, OLDEST).await
}

async fn inspect_with(client: &Client, may_forget: bool, oldest: i32) -> Result<(), OpenError> {
    let server = client.query_typed_one(SERVER, &[]).await?;
    let refused = |kind| Err(OpenError::new(kind));
    if server.try_get::<_, i32>("version")? < oldest {
        return refused(OpenErrorKind::TooOld);
    }
    if server.try_get("is_standby")? || server.try_get("is_read_only")? {
        return refused(OpenErrorKind::Standby);
    }
    if server.try_get::<_, &str>("encoding")? != "UTF8" {
        return refused(OpenErrorKind::Encoding);
    }
    let forgets = server.try_get::<_, &str>("fsync")? == "off"
        || server.try_get::<_, &str>("synchronous_commit")? == "off";
    if forgets && !may_forget {
        return refused(OpenErrorKind::NotDurable);
    }
    if server.try_get::<_, Option<&str>>("schema")?.is_none() {
        return Err(OpenError::with_source(
            OpenErrorKind::Permission,
            "no schema of the search_path exists that the user may use",
        ));
    }
    Ok(())
}

const SERVER: &str = "
SELECT current_setting('server_version_num')::int4 AS version,
       pg_is_in_recovery() AS is_standby,
       current_setting('transaction_read_only')::bool AS is_read_only,
       current_setting('server_encoding') AS encoding,
       current_setting('fsync') AS fsync,
       current_setting('synchronous_commit') AS synchronous_commit,
       current_schema()::text AS schema";

#[cfg(test)]
mod tests {
    use tokio_postgres::NoTls;

    use super::*;

    #[tokio::test]
    async fn an_older_server_is_refused() {
        let named = std::env::var("WST_TEST_POSTGRES_URL");
        let url =
            named.unwrap_or_else(|_| "postgres://postgres@127.0.0.1:5432/postgres".to_owned());
        let Ok((client, connection)) = tokio_postgres::connect(&url, NoTls).await else {
            println!("skipped: no PostgreSQL server");
            return;
        };
        tokio::spawn(connection);
        let number = "SELECT current_setting('server_version_num')::int4";
        let version = client.query_one(number, &[]).await.unwrap().get(0);
        inspect_with(&client, true, version).await.unwrap();
        let refused = inspect_with(&client, true, version + 1).await.unwrap_err();
        assert_eq!(refused.kind(), OpenErrorKind::TooOld);
        let named = format!("PostgreSQL {}", OLDEST / 10_000);
        assert!(refused.to_string().contains(&named), "{refused}");
    }
}
