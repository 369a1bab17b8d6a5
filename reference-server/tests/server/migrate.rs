//! Moves to PostgreSQL: what is moved, what is refused, and that one which was killed goes on.
//!
//! Each test makes a database of its own in the cluster of `WST_TEST_POSTGRES_URL`, and drops it.

use std::{collections::BTreeMap, env, fs, process::Stdio, thread, time::Duration};

use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::Value;
use tokio::runtime::Runtime;
use tower_workspace_token_postgres::tokio_postgres::{self, Client, NoTls};

use crate::common::{Answer, Done, Home, Server, Workspace, text};

const CLUSTER: &str = "postgres://postgres@127.0.0.1:5432/postgres";

/// A database that is dropped in the end.
struct Postgres {
    runtime: Runtime,
    cluster: String,
    name: String,
}

impl Postgres {
    /// Returns `None`, and says why, where there is no cluster to ask.
    fn new() -> Option<Self> {
        let runtime = Runtime::new().unwrap();
        let given = env::var("WST_TEST_POSTGRES_URL").ok();
        let cluster = given.clone().unwrap_or_else(|| CLUSTER.to_owned());
        let name = format!("wst_migrate_{:016x}", fastrand::u64(..));
        let made = Self {
            runtime,
            cluster,
            name,
        };
        match made.try_connect(&made.cluster) {
            Ok(client) => {
                made.batch(&client, &format!("CREATE DATABASE {}", made.name));
                Some(made)
            }
            Err(error) if given.is_none() => {
                println!("skipped: no PostgreSQL answers at {CLUSTER}: {error}");
                None
            }
            Err(error) => panic!("WST_TEST_POSTGRES_URL: {error}"),
        }
    }

    fn url(&self) -> String {
        let (server, _) = self.cluster.rsplit_once('/').unwrap();
        format!("{server}/{}", self.name)
    }

    fn try_connect(&self, url: &str) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = self.runtime.block_on(tokio_postgres::connect(url, NoTls))?;
        self.runtime.spawn(connection);
        Ok(client)
    }

    fn batch(&self, client: &Client, sql: &str) {
        self.runtime.block_on(client.batch_execute(sql)).unwrap();
    }

    /// Runs statements in the database.
    fn run(&self, sql: &str) {
        self.batch(&self.try_connect(&self.url()).unwrap(), sql);
    }

    fn number(&self, sql: &str) -> i64 {
        let client = self.try_connect(&self.url()).unwrap();
        let row = self.runtime.block_on(client.query_one(sql, &[])).unwrap();
        row.get(0)
    }

    /// Takes everything out of it.
    fn clear(&self) {
        self.run("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
    }

    fn migrate(&self, home: &Home, arguments: &[&str]) -> Done {
        home.run(&[&["migrate", "--to", &self.url()], arguments].concat())
    }

    fn moved(&self, home: &Home) -> Value {
        home.json(&["migrate", "--to", &self.url()])
    }

    fn serve(&self, home: &Home) -> Server {
        home.serve_with(&["--database", &self.url()])
    }

    #[track_caller]
    fn assert_refused(&self, home: &Home, arguments: &[&str], because: &[&str]) {
        let done = self.migrate(home, arguments);
        assert_eq!((done.code, done.stdout.as_str()), (1, ""), "{done:?}");
        for because in because {
            assert!(done.stderr.contains(because), "{because}: {}", done.stderr);
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Ok(client) = self.try_connect(&self.cluster) {
            let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
            let _ = self.runtime.block_on(client.batch_execute(&drop));
        }
    }
}

/// A data directory in which no table is empty.
struct Filled {
    home: Home,
    acme: Workspace,
    /// What [`Workspace::secret`] was replaced by.
    rotated: String,
    second: String,
    revoked: String,
    archived: Workspace,
    cookie: String,
}

const PASSWORD: &str = "a long enough password of hers";

fn filled() -> Filled {
    let home = Home::new();
    home.serve_with(&["--demo"]).stop(Signal::TERM);
    let server = home.serve();
    let acme = home.create_workspace("acme");
    let rotated = text(&home.json(&["token", "rotate", "--workspace", "acme"])["secret"]);
    assert!(!server.admits(&acme.id, &acme.secret));
    let create = |name: &str| {
        let arguments = ["token", "create", "--workspace", "acme", "--name", name];
        text(&home.json(&arguments)["secret"])
    };
    let (second, revoked) = (create("second"), create("third"));
    home.json(&["token", "revoke", "--workspace", "acme", "--name", "third"]);
    let archived = home.create_workspace("gone");
    home.json(&["workspace", "archive", "gone"]);
    home.json(&["user", "add", "grace", "--administrator"]);
    let done = home.run_with_input(&["user", "passwd", "grace"], PASSWORD);
    assert_eq!(done.code, 0, "{done:?}");
    let answer = log_in(&server);
    let (_, cookie) = answer.head.split_once("set-cookie: ").unwrap();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    assert_eq!(pages(&server, &cookie), 200);
    server.stop(Signal::TERM);
    fill_what_is_empty(&home);
    Filled {
        home,
        acme,
        rotated,
        second,
        revoked,
        archived,
        cookie,
    }
}

fn log_in(server: &Server) -> Answer {
    let form = format!("name=grace&password={}", PASSWORD.replace(' ', "+"));
    server.send(&format!(
        "POST /login HTTP/1.1\r\nhost: {}\r\nconnection: close\r\nsec-fetch-site: same-origin\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
        server.address(),
        form.len()
    ))
}

/// Returns the status that a login gets.
fn pages(server: &Server, cookie: &str) -> u16 {
    let headers = [("cookie", cookie)];
    server.ask("GET", "/api/v1/workspaces", &headers).status
}

/// Puts rows into the tables that the demo leaves empty, and takes the last of a numbered one away.
fn fill_what_is_empty(home: &Home) {
    let connection = Connection::open(home.database()).unwrap();
    connection
        .execute_batch(
            "CREATE TEMP TABLE it AS SELECT w.id AS workspace, u.id AS user
                 FROM workspaces AS w, users AS u WHERE w.name = 'acme' AND u.name = 'grace';
             INSERT INTO answer_days SELECT workspace, 20000, 3, 2, 1500 FROM it;
             INSERT INTO approval_rules SELECT 'rule-1', workspace, 'primary', 'Bash', user, 'grace', 5 FROM it;
             INSERT OR IGNORE INTO members SELECT workspace, user, 'owner', 7 FROM it;
             INSERT INTO replacements SELECT workspace, 'primary', 'second', 8 FROM it;
             INSERT OR IGNORE INTO sightings SELECT workspace, 'primary', 2, user, 9 FROM it;
             INSERT INTO transfers SELECT workspace, user, user, 10, NULL FROM it;
             INSERT INTO sent_forms SELECT user, zeroblob(24), 'done' FROM it;
             INSERT INTO token_rejections SELECT workspace, 'primary', 1, '', 'curl', '8', 3, 1, 2, 0 FROM it;
             INSERT OR IGNORE INTO token_clients
                 SELECT workspace, 'second', 'c', '::1', 'curl', '8', 1, 1, 2, NULL, 0, NULL FROM it;
             INSERT OR IGNORE INTO token_holders
                 SELECT workspace, 'second', 1, '::1', 'curl', '8', 'c', '1', 2 FROM it;
             INSERT OR IGNORE INTO token_uses SELECT workspace, 'second', 1, NULL, '', '', '', 2 FROM it;
             INSERT OR IGNORE INTO activity_hours SELECT workspace, 1, 2, 3 FROM it;
             INSERT INTO approvals (id, workspace, session, slot, generation, made_with, request, tool,
                     description, preview, state, created_at)
                 SELECT 'approval001', workspace, 's', 'second', 1, 'm', '7', 'Bash', '', 'ls', 'gone', 1 FROM it;
             INSERT INTO links VALUES (x'00ff', 'setup', NULL, 11);
             INSERT INTO audit (at, actor, action) VALUES (1, 'grace', 'test.last');
             DELETE FROM audit WHERE number = (SELECT max(number) FROM audit);",
        )
        .unwrap();
}

/// Adds many tasks to a workspace, and a message to each.
fn add_tasks(home: &Home, count: u32) {
    let connection = Connection::open(home.database()).unwrap();
    connection
        .execute_batch(&format!(
            "INSERT INTO tasks (id, workspace, title, body, assignee, status, author, created_at, updated_at)
                 WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
                 SELECT printf('bulk%07d', i), w.id, 'Task ' || i, hex(randomblob(60)), 'agent', 'notstarted',
                     'human', i, i FROM n, workspaces AS w WHERE w.name = 'acme';
             INSERT INTO messages (id, workspace, task, author, text, created_at)
                 SELECT 'm' || substr(id, 2), workspace, id, 'human', hex(randomblob(60)), created_at
                 FROM tasks WHERE id GLOB 'bulk*';"
        ))
        .unwrap();
}

/// Returns how many rows each table of the file has.
fn counts(home: &Home) -> BTreeMap<String, i64> {
    let connection = Connection::open(home.database()).unwrap();
    let mut names = connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB 'sqlite_*'")
        .unwrap();
    let names = names.query_map([], |row| row.get::<_, String>(0)).unwrap();
    let count = |name: String| {
        let sql = format!("SELECT count(*) FROM {name}");
        let count = connection.query_row(&sql, [], |row| row.get(0)).unwrap();
        (name, count)
    };
    names.map(|name| count(name.unwrap())).collect()
}

fn assert_counts_are_equal(home: &Home, postgres: &Postgres) {
    for (table, count) in counts(home) {
        if !["links", "meta", "wst_meta"].contains(&table.as_str()) {
            let there = postgres.number(&format!("SELECT count(*) FROM {table}"));
            assert_eq!(there, count, "{table}");
        }
    }
}

#[test]
fn everything_goes_on_after_a_move() {
    let Some(postgres) = Postgres::new() else {
        return;
    };
    let filled = filled();
    let home = &filled.home;
    for (table, count) in counts(home) {
        assert!(count > 0, "nothing is in {table}");
    }
    let moved = postgres.moved(home);
    assert_eq!(moved["complete"], true);
    assert_eq!(moved["tokens"], counts(home)["wst_slots"]);
    assert_eq!(moved["written"], moved["compared"]);
    assert_counts_are_equal(home, &postgres);
    assert_eq!(postgres.number("SELECT count(*) FROM links"), 0);
    // Done twice, it is done.
    assert_eq!(postgres.moved(home)["written"], 0);

    let refused = home.serve_in_vain(&[]);
    assert_eq!(refused.code, 1);
    assert!(
        refused.stderr.contains("goes with postgres://"),
        "{refused:?}"
    );

    let server = postgres.serve(home);
    let acme = &filled.acme.id;
    assert!(server.admits(acme, &filled.rotated));
    assert!(server.admits(acme, &filled.second));
    assert!(!server.admits(acme, &filled.acme.secret), "rotated before");
    assert!(!server.admits(acme, &filled.revoked), "revoked before");
    let archived = &filled.archived;
    assert!(
        !server.admits(&archived.id, &archived.secret),
        "archived before"
    );
    assert_eq!(pages(&server, &filled.cookie), 200, "logged in before");
    assert_eq!(pages(&server, "wst=nobody"), 401);
    assert_eq!(log_in(&server).status, 303);
    let rotated = text(&home.json(&["token", "rotate", "--workspace", "acme"])["secret"]);
    assert!(server.admits(acme, &rotated) && !server.admits(acme, &filled.rotated));
    // Numbers go on behind the last one that was ever given, and whose row is gone.
    let connection = Connection::open(home.database()).unwrap();
    let sql = "SELECT seq FROM sqlite_sequence WHERE name = 'audit'";
    let last: i64 = connection.query_row(sql, [], |row| row.get(0)).unwrap();
    let sql = "SELECT min(number) FROM audit WHERE number >= ";
    assert_eq!(postgres.number(&format!("{sql}{last}")), last + 1);
}

#[test]
fn a_move_that_is_killed_goes_on_when_it_is_run_again() {
    let Some(postgres) = Postgres::new() else {
        return;
    };
    let kills = env::var("WST_TEST_MIGRATE_KILLS").ok();
    let kills: u32 = kills.map_or(20, |kills| kills.parse().unwrap());
    let filled = filled();
    let home = &filled.home;
    add_tasks(home, 6_000);
    let note = home.data_dir().join("database");
    let start_again = || {
        postgres.clear();
        let _ = fs::remove_file(&note);
    };
    let (mut killed, mut finished, mut half) = (0, 0, 0);
    while killed < kills {
        let mut moving = home
            .command(&["migrate", "--json", "--to", &postgres.url()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_millis(fastrand::u64(0..1_500)));
        let status = moving.try_wait().unwrap();
        moving.kill().unwrap();
        moving.wait().unwrap();
        match status {
            None => killed += 1,
            Some(status) => {
                assert!(status.success());
                assert_counts_are_equal(home, &postgres);
                finished += 1;
                start_again();
                continue;
            }
        }
        // What was killed just before its end may be whole.
        let sql = "SELECT count(*) FROM pg_tables WHERE tablename = 'meta'";
        let is_half = postgres.number(sql) > 0
            && postgres.number("SELECT count(*) FROM meta WHERE key = 'moved_from'") == 1
            && postgres.number("SELECT count(*) FROM meta WHERE key = 'moved_at'") == 0;
        if is_half {
            if half == 0 {
                let refused = home.serve_in_vain(&["--database", &postgres.url()]);
                assert!(
                    refused.stderr.contains("run `wst migrate` again"),
                    "{refused:?}"
                );
            }
            half += 1;
        }
    }
    println!(
        "killed {killed} times, {half} of them half-way; {finished} moves came to their end meanwhile"
    );
    assert_eq!(postgres.moved(home)["complete"], true);
    assert_eq!(postgres.migrate(home, &["--verify-only"]).code, 0);
    assert_counts_are_equal(home, &postgres);
    let server = postgres.serve(home);
    assert!(server.admits(&filled.acme.id, &filled.rotated));
    assert!(!server.admits(&filled.acme.id, &filled.acme.secret));
}

#[test]
fn a_database_that_holds_anything_else_is_refused() {
    let Some(postgres) = Postgres::new() else {
        return;
    };
    let home = Home::new();
    let server = home.serve();
    home.create_workspace("acme");
    // A file that somebody writes is not moved.
    postgres.assert_refused(
        &home,
        &[],
        &["a server uses the data directory", "stop it first"],
    );
    server.stop(Signal::TERM);
    // Nor is it moved to where a server has begun to work.
    let other = Home::new();
    postgres.serve(&other).stop(Signal::TERM);
    postgres.assert_refused(&home, &[], &["holds other data", "give an empty one"]);
    // Tokens alone are enough.
    postgres.clear();
    postgres.moved(&home);
    postgres.run(
        "DELETE FROM meta WHERE key LIKE 'moved%'; DELETE FROM audit; DELETE FROM events;
         DELETE FROM sightings; DELETE FROM members; DELETE FROM workspaces; DELETE FROM required_keys",
    );
    fs::remove_file(home.data_dir().join("database")).unwrap();
    postgres.assert_refused(&home, &[], &["holds other data, which is in its tokens"]);
    // And one to which another directory was moved.
    postgres.clear();
    let third = Home::new();
    third.serve().stop(Signal::TERM);
    postgres.moved(&third);
    postgres.assert_refused(&home, &[], &["was moved there from another data directory"]);
    postgres.run("DELETE FROM meta WHERE key = 'moved_at'");
    postgres.assert_refused(&home, &[], &["was moved there from another data directory"]);
}

#[test]
fn a_file_that_was_left_behind_is_not_moved_once_more() {
    let Some((postgres, second)) = Postgres::new().zip(Postgres::new()) else {
        return;
    };
    let home = Home::new();
    home.serve().stop(Signal::TERM);
    home.create_workspace("acme");
    postgres.moved(&home);
    second.assert_refused(
        &home,
        &[],
        &["goes with postgres://", "its file is out of date"],
    );
    postgres.clear();
    postgres.assert_refused(&home, &[], &["where its data is no longer"]);
    assert_eq!(postgres.number("SELECT count(*) FROM workspaces"), 0);
}

/// Who breaks off between the two leaves a directory that serves nothing but PostgreSQL, and a database that nobody
/// uses: never both, and a run of the same command ends it.
#[test]
fn the_directory_is_noted_before_the_database_is_marked_as_whole() {
    let Some(postgres) = Postgres::new() else {
        return;
    };
    let home = Home::new();
    home.serve().stop(Signal::TERM);
    let made = home.create_workspace("acme");
    let marks = || postgres.number("SELECT count(*) FROM meta WHERE key = 'moved_at'");
    // In the way of the note.
    let unfinished = home.data_dir().join("database.new");
    fs::create_dir(&unfinished).unwrap();
    assert_ne!(postgres.migrate(&home, &[]).code, 0);
    assert_eq!(marks(), 0);
    fs::remove_dir(&unfinished).unwrap();
    assert_eq!(postgres.moved(&home)["complete"], true);
    assert_eq!(marks(), 1);
    // As if it had been broken off between the two.
    postgres.run("DELETE FROM meta WHERE key = 'moved_at'");
    let refused = home.serve_in_vain(&["--database", &postgres.url()]);
    assert!(
        refused.stderr.contains("run `wst migrate` again"),
        "{refused:?}"
    );
    assert_eq!(postgres.moved(&home)["complete"], true);
    assert_eq!(marks(), 1);
    assert!(postgres.serve(&home).admits(&made.id, &made.secret));
}

#[test]
fn a_difference_is_found_and_named() {
    let Some(postgres) = Postgres::new() else {
        return;
    };
    let filled = filled();
    let home = &filled.home;
    add_tasks(home, 2_500);
    postgres.moved(home);
    for (change, back, named) in [
        (
            "UPDATE tasks SET title = 'changed' WHERE id = 'bulk0001234'",
            "UPDATE tasks SET title = 'Task 1234' WHERE id = 'bulk0001234'",
            "table tasks, id bulk0001234 differs in title",
        ),
        (
            "UPDATE members SET role = 'member' WHERE since = 7",
            "UPDATE members SET role = 'owner' WHERE since = 7",
            "differs in role",
        ),
        (
            "INSERT INTO users (id, name, created_at) VALUES ('zzzz', 'mallory', 1)",
            "DELETE FROM users WHERE id = 'zzzz'",
            "table users, id zzzz is in PostgreSQL alone",
        ),
        (
            "UPDATE workspaces SET archived_at = 1 WHERE name = 'acme'",
            "UPDATE workspaces SET archived_at = NULL WHERE name = 'acme'",
            "differs in archived_at",
        ),
        (
            "UPDATE wst_slots SET generation = generation + 1 WHERE name = 'second'",
            "UPDATE wst_slots SET generation = generation - 1 WHERE name = 'second'",
            "token second of workspace",
        ),
        (
            "UPDATE wst_history SET actor = actor || '!' WHERE name = 'third'",
            "UPDATE wst_history SET actor = rtrim(actor, '!') WHERE name = 'third'",
            "has another history",
        ),
        (
            "UPDATE meta SET value = value || '!' WHERE key = 'public_url'",
            "UPDATE meta SET value = rtrim(value, '!') WHERE key = 'public_url'",
            "table meta has another content",
        ),
        (
            "SELECT setval(pg_get_serial_sequence('audit', 'number'), 1)",
            "SELECT setval(pg_get_serial_sequence('audit', 'number'), 100000)",
            "table audit would give a number to its next row",
        ),
        (
            "DELETE FROM messages WHERE id = 'mulk0002500'",
            "",
            "table messages, id mulk0002500 is missing in PostgreSQL",
        ),
    ] {
        postgres.run(change);
        postgres.assert_refused(home, &["--verify-only"], &[named, "not the same"]);
        // Not only where it was asked for.
        postgres.assert_refused(home, &[], &[named]);
        postgres.run(back);
        if !back.is_empty() {
            assert_eq!(postgres.migrate(home, &["--verify-only"]).code, 0, "{back}");
        }
    }
    // What is not yet whole is not declared to be.
    postgres.run("DELETE FROM meta WHERE key = 'moved_at'; UPDATE tasks SET body = '' WHERE id = 'bulk0000001'");
    fs::remove_file(home.data_dir().join("database")).unwrap();
    postgres.assert_refused(home, &[], &["table tasks, id bulk0000001 differs in body"]);
    assert_eq!(
        postgres.number("SELECT count(*) FROM meta WHERE key = 'moved_at'"),
        0
    );
    let refused = home.serve_in_vain(&["--database", &postgres.url()]);
    assert!(
        refused.stderr.contains("run `wst migrate` again"),
        "{refused:?}"
    );
}

#[test]
fn a_table_that_postgresql_does_not_have_is_no_reason_to_forget_it() {
    let Some(postgres) = Postgres::new() else {
        return;
    };
    let home = Home::new();
    home.serve().stop(Signal::TERM);
    home.create_workspace("acme");
    for change in [
        "CREATE TABLE extra (id TEXT PRIMARY KEY) STRICT",
        "DROP TABLE extra; ALTER TABLE tasks ADD COLUMN extra TEXT",
    ] {
        let connection = Connection::open(home.database()).unwrap();
        connection.execute_batch(change).unwrap();
        drop(connection);
        let because = ["table extra of the file", "table tasks of the file"];
        let because = because[usize::from(change.contains("tasks"))];
        postgres.assert_refused(&home, &[], &[because]);
        assert_eq!(postgres.number("SELECT count(*) FROM workspaces"), 0);
    }
}

#[test]
fn texts_that_postgresql_cannot_keep_are_named_before_anything_is_written() {
    let Some(postgres) = Postgres::new() else {
        return;
    };
    let home = Home::new();
    home.serve().stop(Signal::TERM);
    home.create_workspace("acme");
    add_tasks(&home, 3);
    let connection = Connection::open(home.database()).unwrap();
    connection
        .execute_batch(
            "UPDATE tasks SET body = 'a' || char(0) || 'b' WHERE id = 'bulk0000002';
             UPDATE wst_history SET reason = char(0);",
        )
        .unwrap();
    drop(connection);
    let named = [
        "U+0000",
        "table tasks, id bulk0000002, column body",
        "table wst_history",
        "column reason",
    ];
    postgres.assert_refused(&home, &[], &named);
    assert_eq!(
        postgres.number("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"),
        0
    );
}

#[test]
fn a_password_is_read_from_a_private_file_and_never_shown() {
    let Some(postgres) = Postgres::new() else {
        return;
    };
    let home = Home::new();
    home.serve().stop(Signal::TERM);
    home.create_workspace("acme");
    let url = postgres
        .url()
        .replace("postgres@", "postgres:dont-show-me@");
    let file = home.path("target");
    fs::write(&file, &url).unwrap();
    let arguments = ["migrate", "--to-file", "target"];
    let open = home.run(&arguments);
    assert_eq!(open.code, 1, "others can read it: {open:?}");
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let moved = home.run(&arguments);
    assert_eq!(moved.code, 0, "{moved:?}");
    let home = home.with_variable("WST_MIGRATE_TO", &url);
    let help = home.run(&["migrate", "--help"]);
    let again = home.run(&["migrate"]);
    assert_eq!((help.code, again.code), (0, 0), "{again:?}");
    for done in [open, moved, help, again] {
        assert!(!format!("{done:?}").contains("dont-show-me"), "{done:?}");
    }
    let (code, _) = Home::new().failure(&["migrate"]);
    assert_eq!(code, 2);
}

#[test]
fn a_password_that_is_an_argument_is_warned_of_and_not_shown() {
    // Neither gets as far as the database: there is no data directory, and nobody listens at port 1.
    let url = "postgres://wst:dont-show-me@127.0.0.1:1/wst";
    let is_warned = |done: &Done| {
        assert!(!format!("{done:?}").contains("dont-show-me"), "{done:?}");
        done.stderr.contains("change it, and use --")
    };
    let given = ["migrate", "--to", url];
    assert!(is_warned(&Home::new().run(&given)));
    assert!(is_warned(
        &Home::new().serve_in_vain_alone(&["--database", url])
    ));
    let unasked = url.replace(":dont-show-me", "");
    let given = ["migrate", "--to", &unasked];
    assert!(!is_warned(&Home::new().run(&given)));
    let home = Home::new().with_variable("WST_MIGRATE_TO", url);
    assert!(!is_warned(&home.run(&["migrate"])));
    let home = Home::new().with_variable("WST_DATABASE", url);
    assert!(!is_warned(&home.serve_in_vain_alone(&[])));
}
