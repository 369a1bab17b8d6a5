//! Which files are opened, which are refused, and who may read those that are made.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, thread};

use rusqlite::Connection;
use tower_workspace_token_sqlite::{OpenErrorKind, SqliteStore, rusqlite};

use crate::support::{Directory, database_of_parent, generation, in_child, rotate_to, slot};

#[test]
fn a_new_database_is_its_owners_alone_whatever_the_umask() {
    for umask in ["000", "022", "277", "777"] {
        let directory = Directory::new();
        let name = "files::the_child_makes_a_database_and_looks_at_its_mode";
        let prefix = format!("umask {umask}");
        let child = in_child(name, &prefix, &directory.database()).output();
        let output = child.unwrap();
        assert!(output.status.success(), "umask {umask}: {output:?}");
    }
}

#[tokio::test]
async fn the_child_makes_a_database_and_looks_at_its_mode() {
    let Some(database) = database_of_parent() else {
        return;
    };
    let store = SqliteStore::open(&database).unwrap();
    rotate_to(&store, slot("primary"), 1).await.unwrap();
    for suffix in ["", "-wal", "-shm"] {
        let path = format!("{}{suffix}", database.display());
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{path}");
    }
}

#[test]
fn many_can_make_the_same_database_at_once() {
    for _ in 0..10 {
        let directory = Directory::new();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| SqliteStore::open(directory.database()).unwrap());
            }
        });
    }
}

#[test]
fn an_empty_file_becomes_a_database() {
    let directory = Directory::new();
    fs::write(directory.database(), "").unwrap();
    SqliteStore::open(directory.database()).unwrap();
}

#[tokio::test]
async fn a_database_without_rows_is_opened_again() {
    let directory = Directory::new();
    drop(SqliteStore::open(directory.database()).unwrap());
    let store = SqliteStore::open(directory.database()).unwrap();
    rotate_to(&store, slot("primary"), 1).await.unwrap();
    assert_eq!(generation(&store, slot("primary")).await, 1);
}

#[test]
fn a_name_of_sqlite_without_a_file_is_a_file() {
    let directory = Directory::new();
    let name = "files::the_child_opens_a_database_in_its_own_directory";
    let mut child = in_child(name, ":", Path::new(":memory:"));
    let output = child.current_dir(directory.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(directory.path().join(":memory:").exists());
}

#[test]
fn the_child_opens_a_database_in_its_own_directory() {
    if let Some(database) = database_of_parent() {
        SqliteStore::open(database).unwrap();
    }
}

#[test]
fn a_directory_that_is_not_there_is_unavailable() {
    let directory = Directory::new();
    let error = SqliteStore::open(directory.path().join("not-there/tokens.db")).unwrap_err();
    assert_eq!(error.kind(), OpenErrorKind::Unavailable);
    assert!(std::error::Error::source(&error).is_some());
}

/// Makes a file at a path.
type Make = fn(&Path);

#[test]
fn refuses_what_is_not_ours_and_leaves_it_as_it_is() {
    let text = |path: &Path| fs::write(path, "dear diary, ".repeat(1000)).unwrap();
    let short_text = |path: &Path| fs::write(path, "dear diary").unwrap();
    let with_tables = |path: &Path| sql(path, "CREATE TABLE notes (text)");
    let with_log = |path: &Path| {
        // As a killed process leaves it: copied while the log has not been moved into the file.
        let living = path.with_extension("living");
        let connection = Connection::open(&living).unwrap();
        let statements = "PRAGMA journal_mode = WAL; CREATE TABLE notes (text)";
        connection.execute_batch(statements).unwrap();
        fs::copy(&living, path).unwrap();
        let [log, copy] = [living.as_path(), path].map(|file| format!("{}-wal", file.display()));
        fs::copy(log, copy).unwrap();
    };
    let with_id = |path: &Path| {
        sql(
            path,
            "PRAGMA application_id = 42; CREATE TABLE notes (text)",
        )
    };
    let newer = |path: &Path| {
        drop(SqliteStore::open(path).unwrap());
        sql(path, "UPDATE wst_meta SET schema_version = 999");
    };
    let cases: [(&str, Make, OpenErrorKind); 6] = [
        ("text", text, OpenErrorKind::NotADatabase),
        ("short text", short_text, OpenErrorKind::NotADatabase),
        ("other tables", with_tables, OpenErrorKind::Foreign),
        ("other tables and a log", with_log, OpenErrorKind::Foreign),
        ("another application", with_id, OpenErrorKind::Foreign),
        ("a newer version", newer, OpenErrorKind::Newer),
    ];
    for (name, make, kind) in cases {
        let directory = Directory::new();
        make(&directory.database());
        let before = fs::read(directory.database()).unwrap();
        let error = SqliteStore::open(directory.database()).unwrap_err();
        assert_eq!(error.kind(), kind, "{name}");
        assert!(fs::read(directory.database()).unwrap() == before, "{name}");
    }
}

#[test]
fn a_file_that_this_user_cannot_write_is_read_only() {
    let directory = Directory::new();
    drop(SqliteStore::open(directory.database()).unwrap());
    fs::set_permissions(directory.database(), fs::Permissions::from_mode(0o444)).unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o555)).unwrap();
    let name = "files::the_child_is_told_that_a_database_is_read_only";
    let mut child = in_child(name, ":", &directory.database());
    if fs::OpenOptions::new()
        .write(true)
        .open(directory.database())
        .is_ok()
    {
        // Modes mean nothing to root; to anybody else they do.
        std::os::unix::process::CommandExt::uid(&mut child, 65534);
    }
    let output = child.output();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    match output {
        Ok(output) if String::from_utf8_lossy(&output.stdout).contains("1 passed") => {}
        Ok(output) if output.status.code() == Some(126) => {
            eprintln!("skipped: another user can't run this test's binary");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_child_is_told_that_a_database_is_read_only() {
    let Some(database) = database_of_parent() else {
        return;
    };
    for path in [database.clone(), database.with_extension("new")] {
        let error = SqliteStore::open(path).unwrap_err();
        assert_eq!(error.kind(), OpenErrorKind::ReadOnly, "{error:?}");
    }
}

fn sql(path: &Path, statements: &str) {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch(statements).unwrap();
}
