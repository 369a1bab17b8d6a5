//! Keys and databases that do not go together, or are no good: refused, and nothing is changed.

use std::{
    fs,
    os::unix::fs::{FileExt as _, PermissionsExt as _},
};

use rustix::process::Signal;

use crate::common::{Home, Workspace};

/// Makes a data directory with a workspace in it and no server. All of it is in the database file itself,
/// since a server that stops leaves no log.
fn home() -> (Home, Workspace) {
    let home = Home::new();
    home.serve().stop(Signal::TERM);
    let workspace = home.create_workspace("acme");
    assert!(!home.data_dir().join("workspaces.db-wal").exists());
    (home, workspace)
}

/// Sees to it that neither `serve` nor a command gets by, and that the files stay as they are.
fn assert_refused(home: &Home, because: &str) {
    let files = || {
        [
            fs::read(home.database()).ok(),
            fs::read(home.key_file()).ok(),
        ]
    };
    let before = files();
    let done = home.serve_in_vain(&[]);
    assert_eq!(done.code, 1, "{}", done.stderr);
    assert!(done.stderr.contains(because), "{}", done.stderr);
    let done = home.run(&["token", "rotate", "--workspace", "acme"]);
    assert_eq!(
        (done.code, done.stdout.as_str()),
        (1, ""),
        "{}",
        done.stderr
    );
    assert!(done.stderr.contains(because), "{}", done.stderr);
    assert!(files() == before, "a file was changed");
}

fn assert_works(home: &Home, workspace: &Workspace) {
    let server = home.serve();
    assert!(server.admits(&workspace.id, &workspace.secret));
}

#[test]
fn the_keys_of_another_directory_are_refused() {
    let (home, workspace) = home();
    let (other, _) = self::home();
    let own = fs::read(home.key_file()).unwrap();
    fs::write(home.key_file(), fs::read(other.key_file()).unwrap()).unwrap();
    assert_refused(&home, "does not go with this database");
    fs::write(home.key_file(), own).unwrap();
    assert_works(&home, &workspace);
}

#[test]
fn one_wrong_key_of_the_two_is_refused() {
    let (own, _) = home();
    let (other, _) = home();
    let lines = |home: &Home| fs::read_to_string(home.key_file()).unwrap();
    let line = |text: &str, ring: &str| {
        let found = text.lines().find(|line| line.starts_with(ring));
        found.unwrap().to_owned()
    };
    for (signing, sealing) in [(&own, &other), (&other, &own)] {
        let mixed = [
            line(&lines(signing), "signing"),
            line(&lines(sealing), "sealing"),
        ];
        let (target, _) = home();
        fs::copy(own.database(), target.database()).unwrap();
        fs::write(target.key_file(), mixed.join("\n")).unwrap();
        assert_refused(&target, "does not go with this database");
    }
}

#[test]
fn a_missing_key_file_is_not_made_anew() {
    let (home, workspace) = home();
    let aside = home.path("aside");
    fs::rename(home.key_file(), &aside).unwrap();
    assert_refused(&home, "is missing");
    assert!(!home.key_file().exists());
    fs::rename(aside, home.key_file()).unwrap();
    assert_works(&home, &workspace);
}

#[test]
fn a_key_file_that_others_can_read_is_refused() {
    for mode in [0o604, 0o640, 0o644, 0o660, 0o666] {
        let (home, _) = home();
        fs::set_permissions(home.key_file(), fs::Permissions::from_mode(mode)).unwrap();
        assert_refused(&home, "chmod 600");
    }
}

#[test]
fn a_damaged_key_file_is_refused_and_not_quoted() {
    let (home, workspace) = home();
    let own = fs::read_to_string(home.key_file()).unwrap();
    let key = own.lines().last().unwrap().rsplit(' ').next().unwrap();
    for text in [
        String::new(),
        "signing primary\n".to_owned(),
        own.replace("sealing", "healing"),
        own.replace('=', ""),
        own.replace(key, &key[4..]),
    ] {
        fs::write(home.key_file(), text).unwrap();
        assert_refused(&home, "cannot use the key file");
        let done = home.run(&["workspace", "list"]);
        assert!(!done.stderr.contains(&key[8..20]), "{}", done.stderr);
    }
    fs::write(home.key_file(), own).unwrap();
    assert_works(&home, &workspace);
}

#[test]
fn a_key_file_that_is_handed_over_is_used_and_never_made() {
    let home = Home::new().with_variable("WST_KEY_FILE", "handed-over");
    let done = home.serve_in_vain(&[]);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("is missing"), "{}", done.stderr);
    let (donor, _) = self::home();
    let given = home.path("handed-over");
    fs::copy(donor.key_file(), &given).unwrap();
    // As systemd and container runtimes hand credentials over, to a service that root runs.
    let mode = if rustix::process::geteuid().is_root() {
        0o440
    } else {
        0o400
    };
    fs::set_permissions(&given, fs::Permissions::from_mode(mode)).unwrap();
    drop(home.serve());
    assert!(!home.key_file().exists());
    home.create_workspace("acme");
    fs::set_permissions(&given, fs::Permissions::from_mode(0o444)).unwrap();
    assert_eq!(home.serve_in_vain(&[]).code, 1);
}

#[test]
fn a_newer_database_is_refused() {
    for newer in [
        "UPDATE meta SET value = '99' WHERE key = 'schema_version'",
        "UPDATE wst_meta SET schema_version = 99",
    ] {
        let (home, _) = home();
        let connection = rusqlite::Connection::open(home.database()).unwrap();
        connection.execute(newer, []).unwrap();
        drop(connection);
        assert_refused(&home, "newer");
    }
}

#[test]
fn what_is_no_database_is_refused() {
    let (home, _) = home();
    fs::write(home.database(), "this is not a database, whatever its name").unwrap();
    assert_refused(&home, "database");
}

#[test]
fn a_damaged_database_is_refused() {
    let (home, _) = home();
    let file = fs::File::options().write(true).open(home.database());
    let file = file.unwrap();
    let length = file.metadata().unwrap().len();
    // Every page but the first, whose header says that it is a database.
    for offset in (4096..length).step_by(4096) {
        file.write_all_at(&[0xA5; 512], offset).unwrap();
    }
    assert_refused(&home, "database");
}

#[test]
fn the_database_of_another_program_is_refused() {
    let (home, _) = home();
    fs::remove_file(home.database()).unwrap();
    let connection = rusqlite::Connection::open(home.database()).unwrap();
    connection
        .execute_batch("CREATE TABLE notes (text)")
        .unwrap();
    drop(connection);
    assert_refused(&home, "database");
}
