//! The rollback journal: an old copy of the database that is put back revives no token.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;

use crate::common::{Home, Server, Workspace, read, text};

const JOURNAL: &str = "elsewhere.journal";
const WITH_JOURNAL: [&str; 2] = ["--rollback-journal", JOURNAL];

/// Makes a data directory with two workspaces, whose database was used with a journal.
fn home() -> (Home, Workspace, Workspace) {
    let home = Home::new();
    home.serve_with(&WITH_JOURNAL).stop(Signal::TERM);
    let acme = home.create_workspace("acme");
    let other = home.create_workspace("other");
    (home, acme, other)
}

fn rotate(home: &Home, workspace: &str) -> String {
    text(&home.json(&["token", "rotate", "--workspace", workspace])["secret"])
}

/// Copies the database of a home that no server uses.
fn copy(home: &Home) -> Vec<u8> {
    assert!(!home.data_dir().join("workspaces.db-wal").exists());
    fs::read(home.database()).unwrap()
}

fn put_back(home: &Home, copy: &[u8]) {
    for log in ["workspaces.db-wal", "workspaces.db-shm"] {
        let _ = fs::remove_file(home.data_dir().join(log));
    }
    fs::write(home.database(), copy).unwrap();
}

/// Returns the ids of the workspaces that `workspace list` says are locked.
fn locked(home: &Home) -> Vec<String> {
    let list = home.json(&["workspace", "list"]);
    let lines = list["workspaces"].as_array().unwrap().iter();
    let locked = lines.filter(|line| line["locked"] == Value::Bool(true));
    locked.map(|line| text(&line["id"])).collect()
}

#[test]
fn an_old_copy_locks_just_the_workspaces_that_have_gone_on_since() {
    let (home, acme, other) = home();
    let old = copy(&home);
    let new = rotate(&home, "acme");
    let right = copy(&home);
    put_back(&home, &old);
    let server = home.serve_with(&WITH_JOURNAL);
    assert!(!server.admits(&acme.id, &acme.secret));
    assert!(!server.admits(&acme.id, &new));
    assert!(server.admits(&other.id, &other.secret));
    assert_eq!(locked(&home), [acme.id.as_str()]);
    let log = server.log();
    assert!(
        log.contains("workspace locked") && log.contains(&acme.id),
        "{log}"
    );
    // Nothing is written meanwhile, and whoever tries is told what helps.
    for arguments in [
        ["token", "rotate", "--workspace", "acme"].as_slice(),
        &["token", "revoke", "--workspace", "acme"],
        &["token", "create", "--workspace", "acme", "--name", "second"],
        &["workspace", "archive", "acme"],
    ] {
        let done = home.run(arguments);
        assert_eq!((done.code, done.stdout.as_str()), (1, ""), "{done:?}");
        assert!(
            done.stderr
                .contains("an old copy of the database was put back"),
            "{done:?}"
        );
        assert!(done.stderr.contains("`wst workspace unlock`"), "{done:?}");
    }
    let list = home.json(&["workspace", "list"]);
    assert_eq!(list["workspaces"][0]["archived"], false);
    // What is found of its tokens is known to be this server's.
    fs::write(home.path("leak"), &new).unwrap();
    let report = home.json(&["scan", "leak"]);
    assert_eq!(report["tokens"][0]["state"], "locked");
    server.stop(Signal::TERM);

    // The right one is put back: nothing was lost.
    put_back(&home, &right);
    let server = home.serve_with(&WITH_JOURNAL);
    assert!(locked(&home).is_empty());
    assert!(server.admits(&acme.id, &new) && server.admits(&other.id, &other.secret));
    assert!(!server.admits(&acme.id, &acme.secret));
}

#[test]
fn unlocking_ends_the_tokens_that_came_back() {
    let (home, acme, other) = home();
    let old = copy(&home);
    let new = rotate(&home, "acme");
    put_back(&home, &old);
    let server = home.serve_with(&WITH_JOURNAL);
    let unlocked = home.json(&["workspace", "unlock", "acme"]);
    assert_eq!(unlocked["tokens_ended"], 1);
    let again = home.json(&["workspace", "unlock", "acme"]);
    assert_eq!(again["was_unlocked"], true);
    let next = text(&home.json(&["token", "create", "--workspace", "acme"])["secret"]);
    assert!(server.admits(&acme.id, &next));
    for dead in [&acme.secret, &new] {
        assert!(!server.admits(&acme.id, dead));
    }
    assert!(server.admits(&other.id, &other.secret));
    let audit = home.json(&["audit", "tail"]).to_string();
    assert!(audit.contains("workspace.unlock"), "{audit}");
    server.stop(Signal::TERM);
    let server = home.serve_with(&WITH_JOURNAL);
    assert!(locked(&home).is_empty());
    assert!(server.admits(&acme.id, &next) && !server.admits(&acme.id, &new));
}

#[test]
fn what_is_rotated_without_a_server_is_in_the_journal_too() {
    let (home, acme, _) = home();
    assert!(read(&home.path(JOURNAL)).contains(&format!("slot {} primary 1 ", acme.id)));
    rotate(&home, "acme");
    assert!(read(&home.path(JOURNAL)).contains(&format!("slot {} primary 2 ", acme.id)));
    home.json(&["token", "revoke", "--workspace", "acme"]);
    assert!(read(&home.path(JOURNAL)).contains(&format!("slot {} primary 3 ", acme.id)));
    // The option need not be repeated.
    home.serve().stop(Signal::TERM);
    assert_eq!(
        home.run(&["workspace", "unlock", "acme"]).stdout,
        "it was not locked; nothing was changed\n"
    );
}

#[test]
fn a_journal_that_is_not_there_is_never_replaced_by_a_new_one() {
    let (home, acme, _) = home();
    let old = copy(&home);
    rotate(&home, "acme");
    put_back(&home, &old);
    let journal = home.path(JOURNAL);
    fs::rename(&journal, home.path("unmounted")).unwrap();
    let refused = |arguments: &[&str], because: &str| {
        let before = fs::read(home.database()).unwrap();
        let done = home.serve_in_vain(arguments);
        assert_eq!(done.code, 1, "{done:?}");
        assert!(done.stderr.contains(because), "{because}: {}", done.stderr);
        assert_eq!(fs::read(home.database()).unwrap(), before);
    };
    refused(&WITH_JOURNAL, "is missing");
    refused(&[], "is missing");
    assert!(!journal.exists());
    // Another one is not taken for it, nor is anything else.
    let stranger = self::home().0;
    fs::copy(stranger.path(JOURNAL), &journal).unwrap();
    refused(
        &WITH_JOURNAL,
        "is not the one that this database was last used with",
    );
    fs::write(&journal, "something else\n").unwrap();
    refused(&WITH_JOURNAL, "is no rollback journal");
    let sound = read(&home.path("unmounted"));
    fs::write(&journal, sound.replacen("primary 1", "primary 9", 1)).unwrap();
    refused(&WITH_JOURNAL, "is damaged");
    fs::rename(home.path("unmounted"), &journal).unwrap();
    let server = home.serve_with(&WITH_JOURNAL);
    assert_eq!(locked(&home), [acme.id.as_str()]);
    // While one uses it, no other does.
    let done = stranger.serve_in_vain(&["--rollback-journal", journal.to_str().unwrap()]);
    assert!(
        done.stderr.contains("is in use by another server"),
        "{done:?}"
    );
    server.stop(Signal::TERM);
    // Whoever says so gets rid of it, and then begins anew.
    home.serve_with(&["--rollback-journal", "none"])
        .stop(Signal::TERM);
    assert!(home.serve().admits(&acme.id, &acme.secret));
    fs::remove_file(&journal).unwrap();
    home.serve_with(&WITH_JOURNAL).stop(Signal::TERM);
    assert!(read(&journal).contains(&format!("slot {} primary 1 ", acme.id)));
}

#[test]
fn a_restore_lets_live_what_the_journal_knows_to_be_current_and_ends_the_rest() {
    let (home, acme, other) = home();
    let late = home.json(&["token", "create", "--workspace", "acme", "--name", "late"]);
    home.json(&["token", "revoke", "--workspace", "acme", "--name", "late"]);
    home.json(&["backup", "old.wst"]);
    let new = rotate(&home, "acme");
    home.json(&["token", "create", "--workspace", "acme", "--name", "late"]);
    fs::remove_file(home.database()).unwrap();
    let restored = home.json(&[&["restore", "old.wst"], WITH_JOURNAL.as_slice()].concat());
    assert_eq!(
        (&restored["tokens_live"], &restored["tokens_revoked"]),
        (&1.into(), &1.into())
    );
    let server = home.serve_with(&WITH_JOURNAL);
    assert!(locked(&home).is_empty(), "it was meant");
    assert!(server.admits(&other.id, &other.secret));
    for dead in [&acme.secret, &new, &text(&late["secret"])] {
        assert!(!server.admits(&acme.id, dead));
    }
    // The next tokens are above all that the journal knows.
    for name in ["primary", "late"] {
        let created = home.json(&["token", "create", "--workspace", "acme", "--name", name]);
        assert!(server.admits(&acme.id, &text(&created["secret"])));
    }
    server.stop(Signal::TERM);
    // Without a journal nobody vouches for any of them.
    fs::remove_file(home.database()).unwrap();
    let none = ["restore", "old.wst", "--rollback-journal", "none"];
    assert_eq!(home.json(&none)["tokens_live"], 0);
}

/// Puts copies back that were made at random moments of random work.
#[test]
fn no_old_copy_revives_a_token() {
    let (home, acme, other) = home();
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut live = [(acme.id, acme.secret), (other.id, other.secret)];
    let mut copies = Vec::new();
    for _ in 0..12 {
        copies.push((copy(&home), live.clone()));
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let one = &mut live[(random % 2) as usize];
        one.1 = rotate(&home, &one.0);
    }
    for (copy, then) in &copies {
        put_back(&home, copy);
        let server: Server = home.serve_with(&WITH_JOURNAL);
        for ((workspace, secret), (_, current)) in then.iter().zip(&live) {
            assert_eq!(server.admits(workspace, secret), secret == current);
        }
        server.stop(Signal::TERM);
    }
}

#[test]
fn a_workspace_that_the_old_copy_does_not_know_is_unlocked_by_its_id() {
    let (home, ..) = home();
    let old = copy(&home);
    let late = home.create_workspace("late");
    put_back(&home, &old);
    let server = home.serve_with(&WITH_JOURNAL);
    assert!(server.log().contains(&late.id));
    assert_eq!(
        home.json(&["workspace", "unlock", &late.id])["tokens_ended"],
        1
    );
    server.stop(Signal::TERM);
    let before = home.path("log");
    fs::remove_file(&before).unwrap();
    let server = home.serve_with(&WITH_JOURNAL);
    assert!(
        !server.log().contains("workspace locked"),
        "{}",
        server.log()
    );
}

#[test]
fn a_restore_takes_no_journal_of_another_database_and_says_when_its_own_is_gone() {
    let (home, acme, _) = home();
    home.json(&["backup", "old.wst"]);
    let stranger = self::home().0;
    let journal = stranger.path(JOURNAL);
    let before = fs::read(&journal).unwrap();
    fs::remove_file(home.database()).unwrap();
    let theirs = [
        "restore",
        "old.wst",
        "--rollback-journal",
        journal.to_str().unwrap(),
    ];
    let done = home.run(&theirs);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(
        done.stderr
            .contains("is not the one that this database was last used with"),
        "{done:?}"
    );
    assert_eq!(fs::read(&journal).unwrap(), before);
    assert!(!home.database().exists());
    // Its own is found by what the backup knows of it.
    home.json(&["restore", "old.wst"]);
    assert!(home.serve().admits(&acme.id, &acme.secret));
    // On another machine it may not be there.
    fs::rename(home.path(JOURNAL), home.path("gone")).unwrap();
    fs::remove_file(home.database()).unwrap();
    let done = home.run(&["restore", "old.wst"]);
    assert!(
        done.code == 0 && done.stderr.contains("no rollback journal is in use"),
        "{done:?}"
    );
    assert!(!home.serve().admits(&acme.id, &acme.secret));
}
