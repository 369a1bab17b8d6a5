//! Which databases are opened, and what is said of the others.

use std::time::Duration;

use tower_workspace_token::{
    clock::{Clock, SystemClock},
    store::{TokenStore, conformance::Watcher},
};
use tower_workspace_token_postgres::{OpenErrorKind, Options, PostgresStore};

use crate::support::{Database, connect, database, generation, rotate_to, row, slot};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_may_open_a_new_database_at_once_and_again_later() {
    let database = database!();
    let opening: Vec<_> = (0..8)
        .map(|_| tokio::spawn(PostgresStore::connect(database.url())))
        .collect();
    let mut stores = Vec::new();
    for opened in opening {
        stores.push(opened.await.unwrap().unwrap());
    }
    rotate_to(&stores[0], slot("primary"), 1).await.unwrap();
    let later = database.store().await;
    let row = later.get(&slot("primary")).await.unwrap().unwrap();
    assert_eq!(row.generation, generation(1));
    assert_eq!(database.number("SELECT count(*) FROM wst_meta").await, 1);
}

#[tokio::test]
async fn schemas_of_one_database_are_stores_of_their_own() {
    let database = database!();
    let url = |schema: &str| {
        let separator = if database.url().ends_with('?') {
            ""
        } else {
            "&"
        };
        format!(
            "{}{separator}options=-c%20search_path%3D{schema}",
            database.url()
        )
    };
    database
        .execute("CREATE SCHEMA one; CREATE SCHEMA other")
        .await;
    let one = PostgresStore::connect(url("one")).await.unwrap();
    let other = PostgresStore::connect(url("other")).await.unwrap();
    rotate_to(&one, slot("primary"), 1).await.unwrap();
    assert!(one.get(&slot("primary")).await.unwrap().is_some());
    assert!(other.get(&slot("primary")).await.unwrap().is_none());
    assert_eq!(refusal(&url("missing")).await, OpenErrorKind::Permission);
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let database = database!();
    drop(database.store().await);
    database
        .execute("UPDATE wst_meta SET schema_version = 2")
        .await;
    assert_eq!(refusal(&database.url()).await, OpenErrorKind::Newer);
}

#[tokio::test]
async fn tables_of_something_else_are_refused_and_left_as_they_are() {
    for tables in [
        "CREATE TABLE wst_slots (a int)",
        "CREATE TABLE wst_meta (a int)",
        "CREATE TABLE wst_meta (schema_version text)",
        "CREATE TABLE wst_meta (schema_version int); INSERT INTO wst_meta VALUES (0)",
        "CREATE VIEW wst_meta AS SELECT 1 AS a",
    ] {
        let database = database!();
        database.execute(tables).await;
        assert_eq!(
            refusal(&database.url()).await,
            OpenErrorKind::Foreign,
            "{tables}"
        );
        let count = "SELECT count(*) FROM pg_class WHERE relname LIKE 'wst%'";
        assert_eq!(database.number(count).await, 1, "{tables}");
    }
}

/// It becomes part of statements.
#[tokio::test]
async fn a_database_whose_id_is_none_is_refused() {
    let database = database!();
    drop(database.store().await);
    database
        .execute("ALTER TABLE wst_meta DROP CONSTRAINT wst_meta_database_id_check")
        .await;
    for (id, is_one) in [
        ("", false),
        ("0123456789abcdef0123456789abcde", false),
        ("0123456789abcdef0123456789abcdef0", false),
        ("0123456789ABCDEF0123456789ABCDEF", false),
        ("0123456789abcdef; DROP TABLE wst_", false),
        ("0; DROP TABLE wst_history; -----", false),
        ("0123456789abcdef0123456789abcdef", true),
    ] {
        let change = format!("UPDATE wst_meta SET database_id = '{id}'");
        database.execute(&change).await;
        match PostgresStore::connect(database.url()).await {
            Ok(_) => assert!(is_one, "{id}"),
            Err(error) => assert!(!is_one && error.kind() == OpenErrorKind::Foreign, "{id}"),
        }
    }
    database.execute("SELECT FROM wst_history").await;
}

#[tokio::test]
async fn a_database_that_is_not_in_utf8_is_refused() {
    let latin = "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0";
    let Some(database) = Database::with(latin).await else {
        return;
    };
    assert_eq!(refusal(&database.url()).await, OpenErrorKind::Encoding);
}

/// Whoever may write to a schema of the `search_path` could otherwise have the user of the store run what they like.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_operator_or_function_of_somebody_else_is_run() {
    let database = database!();
    // Each fits better than that of PostgreSQL where the types are not the very ones that it has.
    database
        .execute(
            "CREATE FUNCTION trap(name, name) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RAISE ''trapped''; END';
             CREATE FUNCTION trap(numeric, integer) RETURNS numeric LANGUAGE plpgsql AS 'BEGIN RAISE ''trapped''; END';
             CREATE FUNCTION trap(float8, integer) RETURNS float8 LANGUAGE plpgsql AS 'BEGIN RAISE ''trapped''; END';
             CREATE FUNCTION trap(bigint, numeric) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RAISE ''trapped''; END';
             CREATE FUNCTION trap(text, name) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RAISE ''trapped''; END';
             CREATE FUNCTION trap(text, varchar) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RAISE ''trapped''; END';
             CREATE OPERATOR ~~ (FUNCTION = trap, LEFTARG = name, RIGHTARG = name);
             CREATE OPERATOR * (FUNCTION = trap, LEFTARG = numeric, RIGHTARG = integer);
             CREATE OPERATOR * (FUNCTION = trap, LEFTARG = float8, RIGHTARG = integer);
             CREATE OPERATOR >= (FUNCTION = trap, LEFTARG = bigint, RIGHTARG = numeric);
             CREATE OPERATOR = (FUNCTION = trap, LEFTARG = text, RIGHTARG = varchar);
             CREATE OPERATOR <> (FUNCTION = trap, LEFTARG = text, RIGHTARG = varchar);
             CREATE FUNCTION pg_notify(text, varchar) RETURNS void LANGUAGE plpgsql AS 'BEGIN RAISE ''trapped''; END';
             CREATE FUNCTION set_config(varchar, text, bool) RETURNS text LANGUAGE plpgsql AS 'BEGIN RAISE ''trapped''; END';
             CREATE FUNCTION current_setting(varchar) RETURNS text LANGUAGE plpgsql AS 'BEGIN RAISE ''trapped''; END';
             CREATE FUNCTION date_part(varchar, interval) RETURNS float8 LANGUAGE plpgsql AS 'BEGIN RAISE ''trapped''; END';
             CREATE FUNCTION replace(text, varchar, varchar) RETURNS text LANGUAGE plpgsql AS 'BEGIN RAISE ''trapped''; END';",
        )
        .await;
    let (one, other) = (database.store().await, database.store().await);
    let watcher = Watcher::of(&other);
    assert!(watcher.is_confirmed_after(SystemClock.moment()).await);
    let key = slot("primary");
    let mark = watcher.mark();
    for number in 1..=2 {
        rotate_to(&one, key, number).await.unwrap();
    }
    assert!(watcher.is_told(mark, key, generation(2)).await);
    one.touch(&[(key, SystemClock.now())]).await.unwrap();
    assert_eq!(one.list(&key.workspace).await.unwrap().len(), 1);
    assert_eq!(one.history(&key).await.unwrap().len(), 2);
    assert_eq!(one.live_slots().await.unwrap().len(), 1);
    let imported = [(row(slot("imported"), 1), Vec::new())];
    for inserted in [1, 0] {
        let outcome = one.import(&imported).await.unwrap();
        assert_eq!(outcome.inserted, inserted);
    }
    let known = one.acknowledged(&key, generation(2));
    tokio::time::timeout(one.lease() * 10, known).await.unwrap();
    let nodes = one.nodes().await.unwrap();
    assert_eq!(nodes.len(), 1);
    assert!(nodes[0].silent_for < Duration::from_secs(60));
    let lease = database.options().with_lease(Duration::from_millis(200));
    drop(watcher);
    other.close().await;
    lease.connect().await.unwrap();
}

#[tokio::test]
async fn who_may_not_make_tables_is_told_so() {
    let database = database!();
    let role = format!("wst_role_{}", std::process::id());
    database
        .execute(&format!(
            "CREATE ROLE {role} LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC"
        ))
        .await;
    let url = database.url().replacen("postgres@", &format!("{role}@"), 1);
    let refused = match connect(&url).await {
        Ok(_) => Some(refusal(&url).await),
        // A server that lets in by password alone.
        Err(_) => None,
    };
    database.execute(&format!("DROP ROLE {role}")).await;
    assert!(matches!(refused, None | Some(OpenErrorKind::Permission)));
}

#[tokio::test]
async fn a_session_that_may_only_read_is_refused() {
    let database = database!();
    database
        .execute("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$")
        .await;
    assert_eq!(refusal(&database.url()).await, OpenErrorKind::Standby);
}

#[tokio::test]
async fn what_is_not_there_is_told_apart() {
    let database = database!();
    let url = database.url().replacen("/wst_test_", "/wst_no_", 1);
    assert_eq!(refusal(&url).await, OpenErrorKind::NoDatabase);
    let nowhere = "postgres://u:hunter2@127.0.0.1:1/d";
    assert_eq!(refusal(nowhere).await, OpenErrorKind::Unavailable);
    // It listens, and never answers.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://u:hunter2@{}/d", mute.local_addr().unwrap());
    let options = Options::new(url).with_connect_timeout(Duration::from_millis(200));
    let started = SystemClock.moment();
    let refused = options.connect().await.unwrap_err();
    assert_eq!(refused.kind(), OpenErrorKind::Unavailable);
    assert!(SystemClock.moment().saturating_since(started) < Duration::from_secs(10));
}

#[tokio::test]
async fn a_weak_commit_of_the_database_is_overruled_and_a_strong_one_kept() {
    let database = database!();
    for (set, used) in [
        ("off", "on"),
        ("local", "on"),
        ("remote_apply", "remote_apply"),
    ] {
        database
            .execute(&format!(
                "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = {set}', current_database());
                 EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = serializable', current_database()); END $$"
            ))
            .await;
        let store = database.store().await;
        let client = store.pool().get().await.unwrap();
        for (setting, value) in [
            ("synchronous_commit", used),
            ("default_transaction_isolation", "read committed"),
        ] {
            let row = client
                .query_one("SELECT current_setting($1)", &[&setting])
                .await;
            assert_eq!(row.unwrap().get::<_, &str>(0), value, "{set}");
        }
    }
}

/// In another cluster, the numbers of transactions begin anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_a_dump_of_another_cluster_are_seen() {
    let database = database!();
    let store = database.store().await;
    rotate_to(&store, slot("primary"), 1).await.unwrap();
    drop(store);
    database
        .execute(
            "UPDATE wst_slots SET changed_in = '1152921504606847976';
             INSERT INTO wst_nodes VALUES ('of-then', 1, now(), '1152921504606847976:1152921504606847976:')",
        )
        .await;
    let (one, other) = (database.store().await, database.store().await);
    assert!(one.nodes().await.unwrap().is_empty());
    let watcher = Watcher::of(&other);
    assert!(watcher.is_confirmed_after(SystemClock.moment()).await);
    let mark = watcher.mark();
    rotate_to(&one, slot("second"), 1).await.unwrap();
    assert!(watcher.is_told(mark, slot("second"), generation(1)).await);
    let key = slot("primary");
    let known = one.acknowledged(&key, generation(1));
    tokio::time::timeout(one.lease(), known).await.unwrap();
}

#[tokio::test]
async fn no_password_is_printed() {
    let database = database!();
    let url = database.url().replacen("postgres@", "postgres:hunter2@", 1);
    let options = Options::new(url.clone());
    let mut printed = format!("{options:?}");
    // A server that asks for a password does not let this one in, which is as good.
    match options.connect().await {
        Ok(store) => {
            let _watcher = Watcher::of(&store);
            printed += &format!("{store:?} {:?}", store.pool());
        }
        Err(error) => printed += &format!("{error:?} {error}"),
    }
    for address in [
        "postgres://u:hunter2@127.0.0.1:1/d",
        "postgres://u:hunter2@host:port/",
    ] {
        let error = PostgresStore::connect(address).await.unwrap_err();
        printed += &format!("{error:?} {error}");
    }
    assert!(!printed.contains("hunter2"), "{printed}");
}

async fn refusal(url: &str) -> OpenErrorKind {
    match PostgresStore::connect(url).await {
        Ok(_) => panic!("{url} was opened"),
        Err(error) => error.kind(),
    }
}
