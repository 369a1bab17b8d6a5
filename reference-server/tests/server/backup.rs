//! Backup and restore: whole or not at all, nothing in it that opens, and nothing that comes back to life.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    os::unix::fs::{FileExt as _, PermissionsExt as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    common::{Done, Home, Over, Workspace, text},
    secrets::{Detector, keys},
};

const BACKUP: &str = "backup.wst";
const TAIL: usize = 48;

/// Makes a data directory with a workspace in it and no server.
fn home() -> (Home, Workspace) {
    let home = Home::new();
    home.serve().stop(Signal::TERM);
    let workspace = home.create_workspace("acme");
    (home, workspace)
}

fn rotate(home: &Home) -> String {
    text(&home.json(&["token", "rotate", "--workspace", "acme"])["secret"])
}

/// Makes another home, with nothing in its data directory but the keys of `home`.
fn another_with_keys_of(home: &Home) -> Home {
    let other = Home::new();
    fs::create_dir(other.data_dir()).unwrap();
    fs::copy(home.key_file(), other.key_file()).unwrap();
    fs::copy(home.path(BACKUP), other.path(BACKUP)).unwrap();
    other
}

fn admits(home: &Home, workspace: &Workspace, token: &str) -> bool {
    home.serve().admits(&workspace.id, token)
}

/// Returns what is in the data directory, but for the lock.
fn contents(home: &Home) -> Vec<(PathBuf, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(home.data_dir()) else {
        return Vec::new();
    };
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            !["lock", ".gitignore"].contains(&path.file_name().unwrap().to_str().unwrap())
        })
        .map(|path| (path.clone(), fs::read(&path).unwrap_or_default()))
        .collect();
    files.sort();
    files
}

/// Sees to it that a restore is refused for the right reason and changes nothing.
fn assert_refused(home: &Home, arguments: &[&str], because: &str) {
    let before = contents(home);
    let done = home.run(&[&["restore", BACKUP], arguments].concat());
    assert_eq!((done.code, done.stdout.as_str()), (1, ""), "{done:?}");
    assert!(done.stderr.contains(because), "{because}: {}", done.stderr);
    assert!(contents(home) == before, "{because}: something was changed");
}

/// Changes the database in a backup, and gives it the tail that goes with it.
fn tamper(path: &Path, sql: &str) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() - TAIL]).unwrap();
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.execute_batch(sql).unwrap();
    drop(connection);
    let mut changed = fs::read(path).unwrap();
    changed.extend_from_slice(&bytes[bytes.len() - TAIL..][..16]);
    changed.extend_from_slice(&Sha256::digest(&changed));
    fs::write(path, changed).unwrap();
}

#[test]
fn a_backup_is_whole_while_tokens_are_rotated() {
    let home = Home::new();
    let server = home.serve();
    let acme = home.create_workspace("acme");
    let is_over = AtomicBool::new(false);
    let current = thread::scope(|scope| {
        let rotations = scope.spawn(|| {
            let mut current = acme.secret.clone();
            while !is_over.load(Ordering::SeqCst) {
                current = rotate(&home);
            }
            current
        });
        let over = Over(&is_over);
        for number in 0..6 {
            let name = format!("{number}.wst");
            let written = home.json(&["backup", &name]);
            let path = home.path(&name);
            assert_eq!(
                written["file"],
                fs::canonicalize(&path).unwrap().to_str().unwrap()
            );
            assert_eq!(written["bytes"], fs::metadata(&path).unwrap().len());
            assert_eq!(written["keys"].as_array().unwrap().len(), 2);
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o600);
        }
        drop(over);
        rotations.join().unwrap()
    });
    // SQLite's own tools open it.
    for number in 0..6 {
        let connection = rusqlite::Connection::open(home.path(&format!("{number}.wst"))).unwrap();
        let ask = |sql: &str| {
            connection
                .query_row(sql, [], |row| row.get::<_, String>(0))
                .unwrap()
        };
        assert_eq!(ask("PRAGMA integrity_check"), "ok");
        assert_eq!(ask("SELECT name FROM workspaces"), "acme");
        // A row and its event are of the same moment.
        assert_eq!(
            ask("SELECT '' || generation FROM wst_slots"),
            ask("SELECT '' || max(generation) FROM wst_history")
        );
    }
    assert!(server.admits(&acme.id, &current));
    home.json(&["backup", BACKUP]);
    let other = another_with_keys_of(&home);
    other.json(&["restore", BACKUP, "--keep-tokens"]);
    assert!(admits(&other, &acme, &current));
    assert!(!admits(&other, &acme, &acme.secret));
}

#[test]
fn a_second_data_directory_takes_over() {
    let (home, acme) = home();
    let task = ["--title", "T", "--body", "B"];
    let task = home.json(&[&["task", "add", "--workspace", "acme"], &task[..]].concat());
    home.json(&["backup", BACKUP]);
    let other = another_with_keys_of(&home);
    let restored = other.json(&["restore", BACKUP, "--keep-tokens"]);
    assert_eq!(restored["workspaces"], 1);
    assert_eq!(restored["tokens_live"], 1);
    assert_eq!(restored["tokens_revoked"], 0);
    assert_eq!(restored["set_aside"], Value::Null);
    assert!(admits(&other, &acme, &acme.secret));
    let tasks = other.json(&["task", "list", "--workspace", "acme"]);
    assert_eq!(tasks["tasks"][0]["id"], task["task"]["id"]);
    let mode = fs::metadata(other.database()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    // It is a database like any other.
    let next = rotate(&other);
    assert!(admits(&other, &acme, &next));
    other.json(&["key", "rotate"]);
    other.json(&["key", "rewrap"]);
    assert!(admits(&other, &acme, &next));
}

#[test]
fn tokens_that_nobody_vouches_for_end() {
    let (home, acme) = home();
    home.json(&["backup", BACKUP]);
    let other = another_with_keys_of(&home);
    let restored = other.json(&["restore", BACKUP]);
    assert_eq!(
        (&restored["tokens_live"], &restored["tokens_revoked"]),
        (&0.into(), &1.into())
    );
    assert!(!admits(&other, &acme, &acme.secret));
    let slot = ["token", "create", "--workspace", "acme"];
    let token = text(&other.json(&slot)["secret"]);
    assert!(admits(&other, &acme, &token));

    // A database that knows nothing of the workspace vouches for none of its tokens.
    let fresh = another_with_keys_of(&home);
    drop(fresh.serve());
    let restored = fresh.json(&["restore", BACKUP, "--force"]);
    assert_eq!(restored["tokens_revoked"], 1);
    assert!(!admits(&fresh, &acme, &acme.secret));
}

#[test]
fn an_older_backup_revives_no_token() {
    let (home, acme) = home();
    let revoked = ["--workspace", "acme", "--name", "second"];
    let second = home.json(&[&["token", "create"], &revoked[..]].concat());
    let second = text(&second["secret"]);
    home.json(&["backup", BACKUP]);
    let current = rotate(&home);
    home.json(&[&["token", "revoke"], &revoked[..]].concat());
    let later = home.json(&["token", "create", "--workspace", "acme", "--name", "later"]);
    let later = text(&later["secret"]);
    let gone = home.create_workspace("gone");
    for keep in [&[][..], &["--keep-tokens"]] {
        let restored = home.json(&[&["restore", BACKUP, "--force"], keep].concat());
        assert_eq!(restored["workspaces"], 1, "{keep:?}");
        let set_aside = PathBuf::from(text(&restored["set_aside"]));
        assert!(set_aside.exists());
        let server = home.serve();
        assert!(!server.admits(&acme.id, &acme.secret), "rotated, {keep:?}");
        assert!(!server.admits(&acme.id, &second), "revoked, {keep:?}");
        assert!(server.admits(&acme.id, &current), "{keep:?}");
        assert!(server.admits(&acme.id, &later), "{keep:?}");
        // Its workspace is not there any longer.
        assert!(!server.admits(&gone.id, &gone.secret), "{keep:?}");
    }
}

/// Made after the backup, they are gone when it is restored: nobody is to find that out later.
#[test]
fn workspaces_that_the_backup_does_not_have_are_named() {
    let (home, acme) = home();
    let idle = home.create_workspace("idle");
    home.json(&["workspace", "archive", "idle"]);
    home.json(&["backup", BACKUP]);
    let restore = ["restore", BACKUP, "--force"];
    assert_eq!(home.json(&restore)["workspaces_lost"], json!([]));
    let gone = home.create_workspace("gone");
    let other = home.create_workspace("also gone");
    home.json(&["workspace", "unarchive", "idle"]);
    home.json(&["token", "create", "--workspace", "idle"]);
    rotate(&home);
    let present = fs::read(home.database()).unwrap();
    let restored = home.json(&restore);
    let lost = json!([{"id": gone.id, "name": "gone"}, {"id": other.id, "name": "also gone"}]);
    assert_eq!(restored["workspaces_lost"], lost);
    assert_eq!(restored["tokens_lost"], 2);
    assert_eq!(restored["tokens_revoked"], 3);

    fs::write(home.database(), present).unwrap();
    let said = home.run(&restore).stderr;
    for expected in [
        &*format!("2 workspaces ({} gone, {} also gone)", gone.id, other.id),
        "and left so: 1 token\n",
        "their workspaces are not in the backup: 2 tokens\n",
        "their workspaces are archived in the backup: 1 token\n",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert!(!said.contains("nobody here knows"), "{said}");
    for (workspace, token) in [
        (&gone, &gone.secret),
        (&idle, &idle.secret),
        (&acme, &acme.secret),
    ] {
        assert!(!admits(&home, workspace, token));
    }
}

#[test]
fn many_older_backups_revive_no_token() {
    let (home, acme) = home();
    let mut tokens = vec![acme.secret.clone()];
    for number in 0..8 {
        home.json(&["backup", &format!("{number}.wst")]);
        tokens.push(rotate(&home));
    }
    let current = tokens.pop().unwrap();
    for number in [5, 0, 7, 3] {
        home.json(&["restore", &format!("{number}.wst"), "--force"]);
        let server = home.serve();
        for token in &tokens {
            assert!(!server.admits(&acme.id, token), "{number}");
        }
        assert!(server.admits(&acme.id, &current), "{number}");
    }
}

#[test]
fn whoever_was_shut_out_stays_out_and_everybody_logs_in_again() {
    let (home, acme) = home();
    let write = |home: &Home, sql: &str| {
        let connection = rusqlite::Connection::open(home.database()).unwrap();
        connection.execute_batch(sql).unwrap();
    };
    let people = format!(
        "INSERT INTO users VALUES ('ann', 'Ann', 'old hash', 1, 1, NULL), ('bob', 'Bob', 'hash', 0, 1, NULL);
         INSERT INTO members VALUES ('{0}', 'ann', 'owner', 1), ('{0}', 'bob', 'member', 1);",
        acme.id
    );
    write(&home, &people);
    home.json(&["backup", BACKUP]);
    write(
        &home,
        "UPDATE users SET password = 'new hash', is_administrator = 0 WHERE id = 'ann';
         UPDATE users SET disabled_at = 2 WHERE id = 'bob';
         DELETE FROM members WHERE user = 'bob';
         INSERT INTO logins VALUES ('login', x'01', 'ann', 1, 1, NULL, NULL);
         INSERT INTO links VALUES (x'02', 'password', 'ann', 9);",
    );
    home.json(&["restore", BACKUP, "--force"]);
    let connection = rusqlite::Connection::open(home.database()).unwrap();
    let ask = |sql: &str| {
        connection
            .query_row(sql, [], |row| row.get::<_, String>(0))
            .unwrap()
    };
    assert_eq!(
        ask(
            "SELECT group_concat(id || password || is_administrator || ifnull(disabled_at, '-')) FROM users"
        ),
        "annnew hash0-,bobhash02"
    );
    assert_eq!(ask("SELECT group_concat(user) FROM members"), "ann");
    assert_eq!(
        ask("SELECT '' || (SELECT count(*) FROM logins) || (SELECT count(*) FROM links)"),
        "00"
    );
    assert_eq!(
        ask("SELECT action FROM audit ORDER BY number DESC LIMIT 1"),
        "backup.restore"
    );
}

#[test]
fn a_data_directory_in_use_is_refused() {
    let (home, acme) = home();
    home.json(&["backup", BACKUP]);
    let server = home.serve();
    for force in [&[][..], &["--force"]] {
        let done = home.run(&[&["restore", BACKUP], force].concat());
        assert_eq!(done.code, 1);
        assert!(done.stderr.contains("stop it first"), "{}", done.stderr);
    }
    assert!(server.admits(&acme.id, &acme.secret));
    drop(server);
    assert_refused(&home, &[], "--force");
    assert!(admits(&home, &acme, &acme.secret));
}

#[test]
fn what_is_no_sound_backup_is_refused() {
    let (home, acme) = home();
    home.json(&["backup", BACKUP]);
    let backup = home.path(BACKUP);
    let good = fs::read(&backup).unwrap();
    for offset in [
        0,
        20,
        100,
        4096 + 50,
        good.len() / 2,
        good.len() - 1,
        good.len() - 40,
    ] {
        let mut damaged = good.clone();
        damaged[offset] ^= 1;
        fs::write(&backup, damaged).unwrap();
        let because = match offset {
            offset if (good.len() - TAIL..good.len() - 32).contains(&offset) => "no backup",
            _ => "damaged",
        };
        assert_refused(&home, &["--force"], because);
    }
    for length in [0, 10, TAIL, 4096, good.len() - 1, good.len() - TAIL] {
        fs::write(&backup, &good[..length]).unwrap();
        assert_refused(&home, &["--force"], "no backup");
    }
    fs::write(&backup, [&good[..], b"x"].concat()).unwrap();
    assert_refused(&home, &["--force"], "no backup");
    fs::copy(home.database(), &backup).unwrap();
    assert_refused(&home, &["--force"], "no backup");
    for newer in [
        "UPDATE meta SET value = '99' WHERE key = 'schema_version'",
        "UPDATE wst_meta SET schema_version = 99",
    ] {
        fs::write(&backup, &good).unwrap();
        tamper(&backup, newer);
        assert_refused(&home, &["--force"], "newer");
    }
    for foreign in [
        "PRAGMA application_id = 7",
        "DELETE FROM meta WHERE key = 'backup_made_at'",
    ] {
        fs::write(&backup, &good).unwrap();
        tamper(&backup, foreign);
        assert_refused(&home, &["--force"], "no backup");
    }
    fs::remove_file(&backup).unwrap();
    assert_refused(&home, &["--force"], "cannot read");
    assert!(admits(&home, &acme, &acme.secret));
    // A directory that was made in vain is taken away again.
    fs::write(&backup, &good[1..]).unwrap();
    let done = home.run(&["restore", BACKUP, "--data-dir", "new"]);
    assert_eq!(done.code, 1);
    assert!(!home.path("new").exists());
    fs::write(&backup, &good).unwrap();
    home.json(&["restore", BACKUP, "--force"]);
    assert!(admits(&home, &acme, &acme.secret));
}

#[test]
fn without_its_keys_a_backup_is_refused() {
    let (home, acme) = home();
    let written = home.json(&["backup", BACKUP]);
    let other = another_with_keys_of(&home);
    fs::remove_file(other.key_file()).unwrap();
    assert_refused(&other, &["--keep-tokens"], "there is no key file");
    let (stranger, _) = self::home();
    fs::copy(stranger.key_file(), other.key_file()).unwrap();
    for key in written["keys"].as_array().unwrap() {
        assert_refused(&other, &[], key["id"].as_str().unwrap());
    }
    fs::remove_file(other.key_file()).unwrap();
    fs::copy(home.key_file(), other.path("elsewhere")).unwrap();
    let given = [
        "restore",
        BACKUP,
        "--keep-tokens",
        "--key-file",
        "elsewhere",
    ];
    other.json(&given);
    let server = other.serve_with(&["--key-file", "elsewhere"]);
    assert!(server.admits(&acme.id, &acme.secret));
}

#[test]
fn a_backup_needs_the_keys_of_its_live_tokens_and_no_others() {
    let (home, acme) = home();
    let of_then = home.json(&["key", "list"])["keys"].clone();
    let id = |keys: &Value, ring: &str| {
        let key = keys
            .as_array()
            .unwrap()
            .iter()
            .find(|key| key["ring"] == ring);
        text(&key.unwrap()["id"])
    };
    let of_now = home.json(&["key", "rotate"])["keys"].clone();
    let needed = |name: &str| {
        let keys = home.json(&["backup", name])["keys"].clone();
        let ids = keys.as_array().unwrap().iter().map(|key| text(&key["id"]));
        let mut ids: Vec<_> = ids.collect();
        ids.sort();
        ids
    };
    let sorted = |mut ids: Vec<String>| {
        ids.sort();
        ids
    };
    let (old_signing, old_sealing) = (id(&of_then, "signing"), id(&of_then, "sealing"));
    let (signing, sealing) = (id(&of_now, "signing"), id(&of_now, "sealing"));
    let all = vec![
        old_signing.clone(),
        old_sealing,
        signing.clone(),
        sealing.clone(),
    ];
    assert_eq!(needed("0.wst"), sorted(all));
    home.json(&["key", "rewrap"]);
    let signed_with_the_old = vec![old_signing.clone(), signing.clone(), sealing.clone()];
    assert_eq!(needed("1.wst"), sorted(signed_with_the_old));
    let current = rotate(&home);
    assert_eq!(needed(BACKUP), sorted(vec![signing, sealing]));
    // A key file without the former keys is enough for it.
    for key in of_then.as_array().unwrap() {
        home.json(&["key", "retire", key["id"].as_str().unwrap()]);
    }
    let other = another_with_keys_of(&home);
    other.json(&["restore", BACKUP, "--keep-tokens"]);
    assert!(admits(&other, &acme, &current));
    // For one that holds a token signed with a former key it is not.
    fs::copy(home.path("1.wst"), other.path(BACKUP)).unwrap();
    fs::remove_file(other.database()).unwrap();
    assert_refused(&other, &["--keep-tokens"], &old_signing);
}

/// What the current database knows better needs the keys of now, and not those of then.
#[test]
fn a_backup_from_before_a_key_was_retired_goes_over_its_own_database() {
    let (home, acme) = home();
    home.json(&["backup", BACKUP]);
    let former = fs::read(home.key_file()).unwrap();
    let list = home.json(&["key", "list"]);
    let rotated = home.json(&["key", "rotate"]);
    assert_eq!(rotated["keys"].as_array().unwrap().len(), 4);
    home.json(&["key", "rewrap"]);
    let current = rotate(&home);
    for key in list["keys"].as_array().unwrap() {
        home.json(&["key", "retire", key["id"].as_str().unwrap()]);
    }
    home.json(&["restore", BACKUP, "--force"]);
    let server = home.serve();
    assert!(server.admits(&acme.id, &current));
    assert!(!server.admits(&acme.id, &acme.secret));
    // Elsewhere it takes the keys of then.
    let other = another_with_keys_of(&home);
    assert_refused(&other, &["--keep-tokens"], "another one");
    fs::write(other.key_file(), former).unwrap();
    other.json(&["restore", BACKUP, "--keep-tokens"]);
    assert!(admits(&other, &acme, &acme.secret));
}

#[test]
fn a_database_that_is_beyond_reading_is_set_aside() {
    let (home, acme) = home();
    home.json(&["backup", BACKUP]);
    let file = File::options().write(true).open(home.database()).unwrap();
    let length = file.metadata().unwrap().len();
    for offset in (4096..length).step_by(4096) {
        file.write_all_at(&[0xA5; 512], offset).unwrap();
    }
    drop(file);
    let damaged = fs::read(home.database()).unwrap();
    assert_refused(&home, &[], "--force");
    let done = home.run(&["restore", BACKUP, "--force"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stderr.contains("could not be read"), "{}", done.stderr);
    // Nobody knows what was rotated, so every token ended.
    assert!(!admits(&home, &acme, &acme.secret));
    let kept = contents(&home);
    let mut kept = kept
        .iter()
        .filter(|(path, _)| path.to_str().unwrap().contains("before-restore"));
    assert!(kept.any(|(_, bytes)| *bytes == damaged));
}

#[test]
fn a_restore_that_is_killed_leaves_the_old_database_or_the_new_one() {
    let (home, acme) = home();
    home.json(&["backup", BACKUP]);
    let current = rotate(&home);
    for round in 0..12 {
        let name = format!("round-{round}");
        home.create_workspace(&name);
        let mut child = home
            .command(&["restore", BACKUP, "--force"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_millis(12 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        let list = home.json(&["workspace", "list"]);
        let names: Vec<_> = list["workspaces"]
            .as_array()
            .unwrap()
            .iter()
            .map(|w| text(&w["name"]))
            .collect();
        let is_new = names == ["acme"];
        assert!(is_new || names.contains(&name), "{names:?}");
    }
    home.json(&["restore", BACKUP, "--force"]);
    assert!(!home.data_dir().join("workspaces.db.restoring").exists());
    assert!(admits(&home, &acme, &current));
    assert!(!admits(&home, &acme, &acme.secret));
}

#[test]
fn nothing_that_opens_is_in_a_backup() {
    let home = Home::new();
    let server = home.serve();
    let acme = home.create_workspace("acme");
    let mut detector = Detector::default();
    detector.watch_token(&acme.secret);
    for _ in 0..3 {
        detector.watch_token(&rotate(&home));
    }
    for key in keys(&home) {
        detector.watch(key.as_bytes());
    }
    drop(server);
    let hashes: [[u8; 32]; 2] = [[0xC1; 32], [0xC2; 32]].map(|seed| Sha256::digest(seed).into());
    let connection = rusqlite::Connection::open(home.database()).unwrap();
    connection
        .execute_batch("INSERT INTO users VALUES ('ann', 'Ann', 'hash', 1, 1, NULL)")
        .unwrap();
    let login = "INSERT INTO logins VALUES ('login', ?1, 'ann', 1, 1, NULL, NULL)";
    connection.execute(login, [hashes[0]]).unwrap();
    let link = "INSERT INTO links VALUES (?1, 'password', 'ann', 9)";
    connection.execute(link, [hashes[1]]).unwrap();
    drop(connection);
    hashes.iter().for_each(|hash| detector.watch(hash));
    // The detector finds what is there.
    assert!(detector.finds_any_in(&fs::read(home.database()).unwrap()));
    home.json(&["backup", BACKUP]);
    detector.assert_clean(&home.path(BACKUP));
}

#[test]
fn a_backup_goes_only_where_it_makes_sense() {
    let (home, _) = home();
    let server = home.serve();
    home.json(&["backup", BACKUP]);
    let first = fs::read(home.path(BACKUP)).unwrap();
    let refused =
        |file: &str, arguments: &[&str]| home.failure(&[&["backup", file], arguments].concat());
    let there = (1, "already_exists".to_owned());
    assert_eq!(refused(BACKUP, &[]), there);
    assert_eq!(fs::read(home.path(BACKUP)).unwrap(), first);
    home.json(&["backup", BACKUP, "--force"]);
    assert_ne!(fs::read(home.path(BACKUP)).unwrap(), first);
    std::os::unix::fs::symlink(home.path(BACKUP), home.path("link")).unwrap();
    let senseless = (2, "invalid_argument".to_owned());
    for file in [
        "data/backup.wst",
        "data/workspaces.db",
        "data/../data/x",
        "nowhere/backup.wst",
        "data",
        "/",
        "/dev/null",
        "link",
    ] {
        assert_eq!(refused(file, &["--force"]), senseless, "{file}");
    }
    drop(server);
    // Without a server, and from another directory.
    fs::create_dir(home.path("sub")).unwrap();
    let data_dir = home.data_dir();
    let data_dir = data_dir.to_str().unwrap();
    let mut command = home.command(&["backup", "here.wst", "--data-dir", data_dir]);
    command.current_dir(home.path("sub"));
    let done = Done::of(command);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(home.path("sub/here.wst").exists());
    // No terminal, no bar; and the keys are named.
    assert!(
        !done.stderr.contains('\u{1b}') && done.stderr.contains("needs the keys"),
        "{done:?}"
    );
    let left: Vec<_> = fs::read_dir(home.path("sub")).unwrap().collect();
    assert_eq!(left.len(), 1);
}

#[test]
fn a_backup_that_was_killed_leaves_nothing_for_long() {
    let (home, _) = home();
    let left_behind = home.path(".backup.wst.abcdefghij0.part");
    let others = [".backup.wst.part", ".other.wst.abcdefghij0.part"].map(|name| home.path(name));
    fs::write(&left_behind, "half").unwrap();
    others
        .iter()
        .for_each(|path| fs::write(path, "not ours").unwrap());
    home.json(&["backup", BACKUP]);
    assert!(!left_behind.exists());
    assert!(others.iter().all(|path| path.exists()));
}

#[test]
fn a_full_disk_is_said_to_whoever_downloads_a_backup() {
    let home = Home::new();
    // Room for a server, and less than a download leaves free.
    let script = r#"
        mount -t tmpfs -o size=12m tmpfs "$1" || exit 77
        "$0" serve --data-dir "$1/data" --listen 127.0.0.1:0 >"$2/out" 2>"$2/log" & server=$!
        for _ in $(seq 200); do
            url=$(sed -n "s,^listening on ,,p" "$2/out"); [ -n "$url" ] && break; sleep 0.05
        done
        link=$("$0" --data-dir "$1/data" setup-link 2>"$2/hint")
        curl -s -o "$2/first" -c "$2/cookies" "$url/setup" --data-urlencode "link=${link#*#}" \
            --data-urlencode name=root --data-urlencode 'password=four words are enough'
        curl -s -b "$2/cookies" -o "$2/page" -w 'answered %{http_code}\n' -X POST "$url/admin/backup"
        grep -o 'There is no room for the backup' "$2/page"
        find "$1" -name '*download*' | wc -l
        kill $server; wait $server
    "#;
    let mount_point = home.path("full");
    fs::create_dir(&mount_point).unwrap();
    let mut command = std::process::Command::new("unshare");
    command
        .args(["-m", "sh", "-c", script, env!("CARGO_BIN_EXE_wst")])
        .args([&mount_point, &home.path("")]);
    let done = match command.output() {
        Ok(output) => Done::from(output),
        Err(_) => return println!("skipped: there is no unshare"),
    };
    if !done.stdout.contains("answered") {
        return println!("skipped: nothing can be mounted here, or there is no curl");
    }
    let expected = "answered 503\nThere is no room for the backup\n0\n";
    assert_eq!(done.stdout, expected, "{done:?}");
}

#[test]
fn a_full_disk_leaves_no_half_backup() {
    let home = Home::new();
    let server = home.serve();
    home.create_workspace("acme");
    for number in 0..12 {
        let body = "b".repeat(60_000);
        let title = format!("task {number}");
        let task = ["--title", &title, "--body", &body];
        home.json(&[&["task", "add", "--workspace", "acme"], &task[..]].concat());
    }
    drop(server);
    home.json(&["backup", BACKUP]);
    let script = r#"
        mount -t tmpfs -o size=256k tmpfs "$1" || exit 77
        "$0" backup "$1/backup.wst"; echo "backup $?"
        "$0" --data-dir "$1/data" restore "$3" --keep-tokens --key-file "$2/workspaces.keys"; echo "restore $?"
        find "$1" -type f | wc -l
    "#;
    let mount_point = home.path("full");
    fs::create_dir(&mount_point).unwrap();
    let mut command = std::process::Command::new("unshare");
    command
        .args(["-m", "sh", "-c", script, env!("CARGO_BIN_EXE_wst")])
        .args([&mount_point, &home.data_dir(), &home.path(BACKUP)])
        .env("WST_DATA_DIR", home.data_dir());
    let done = match command.output() {
        Ok(output) => Done::from(output),
        Err(_) => return println!("skipped: there is no unshare"),
    };
    if !done.stdout.contains("backup") {
        return println!("skipped: nothing can be mounted here");
    }
    assert_eq!(done.stdout, "backup 1\nrestore 1\n0\n", "{done:?}");
    assert!(done.stderr.contains("no room for the backup"), "{done:?}");
    assert!(done.stderr.contains("no room for the database"), "{done:?}");
}

#[test]
fn a_server_that_stops_leaves_nothing_of_a_backup_that_is_being_written() {
    let (home, _) = home();
    let database = rusqlite::Connection::open(home.database()).unwrap();
    let grow = "INSERT INTO audit (at, actor, action, detail)
                SELECT 1, 'x', 'x', hex(zeroblob(8388608)) FROM json_each('[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18]')";
    database.execute(grow, []).unwrap();
    drop(database);
    for path in ["/server/backup/download", "/server/backup"] {
        let server = home.serve();
        let mut stream = UnixStream::connect(home.data_dir().join("control.sock")).unwrap();
        let body = match path {
            "/server/backup" => json!({ "file": home.path("stopped.wst") }).to_string(),
            _ => "{}".to_owned(),
        };
        let request = format!(
            "POST /api/v1{path} HTTP/1.1\r\nhost: control.sock\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let parts = || {
            let directories = [home.data_dir().to_owned(), home.path("")];
            let entries = directories
                .into_iter()
                .flat_map(|at| fs::read_dir(at).unwrap());
            let names = entries.map(|entry| entry.unwrap().file_name());
            let names = names.map(|name| name.to_string_lossy().into_owned());
            let names =
                names.filter(|name| name.contains(".download") || name.contains("stopped.wst"));
            names.collect::<Vec<_>>()
        };
        while parts().is_empty() {
            thread::sleep(Duration::from_millis(1));
        }
        let (code, took) = server.stop(Signal::TERM);
        assert_eq!(code, Some(0), "{path}");
        assert!(took < Duration::from_secs(5), "{path}: {took:?}");
        assert_eq!(parts(), Vec::<String>::new(), "{path}");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(
            answer.contains("The server is stopping") || answer.contains("the server is stopping"),
            "{path}: {answer}"
        );
    }
}
