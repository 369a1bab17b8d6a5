//! Rotating keys: with tokens in use all along, with a server and without one.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::Stdio,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::common::{Done, Home, Over, Server, Workspace, text};

/// Returns the ids of a ring, the primary first, and how many tokens need each.
fn ring(list: &Value, ring: &str) -> Vec<(String, u64)> {
    let keys = list["keys"].as_array().unwrap().iter();
    keys.filter(|key| key["ring"] == ring)
        .enumerate()
        .map(|(index, key)| {
            let role = if index == 0 { "primary" } else { "former" };
            assert_eq!(key["role"], role);
            (text(&key["id"]), key["tokens"].as_u64().unwrap())
        })
        .collect()
}

fn rotate_rewrap_retire(home: &Home, acme: &Workspace) {
    let before = home.json(&["key", "list"]);
    let (signing, sealing) = (ring(&before, "signing"), ring(&before, "sealing"));
    assert_eq!((signing.len(), sealing.len()), (1, 1));
    assert_eq!((signing[0].1, sealing[0].1), (1, 1));
    let (old_signing, old_sealing) = (signing[0].0.as_str(), sealing[0].0.as_str());
    for id in [old_signing, old_sealing] {
        let refused = home.failure(&["key", "retire", id]);
        assert_eq!(refused, (1, "conflict".to_owned()), "a primary key");
    }

    let rotated = home.json(&["key", "rotate"]);
    assert_eq!(ring(&rotated, "signing")[0].1, 0);
    assert_eq!(ring(&rotated, "signing")[1], (old_signing.to_owned(), 1));
    assert_eq!(ring(&rotated, "sealing")[1], (old_sealing.to_owned(), 1));
    let mode = fs::metadata(home.key_file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    for id in [old_signing, old_sealing] {
        let done = home.run(&["key", "retire", id]);
        assert_eq!(done.code, 1);
        let slot = format!("{}/primary", acme.id);
        assert!(done.stderr.contains(&slot), "{}", done.stderr);
    }

    let rewrapped = home.json(&["key", "rewrap"]);
    assert_eq!(rewrapped["rewrapped"], 1);
    assert_eq!(home.json(&["key", "rewrap"])["rewrapped"], 0);
    let retired = home.json(&["key", "retire", old_sealing]);
    assert_eq!(ring(&retired, "sealing").len(), 1);
    assert_eq!(ring(&retired, "sealing")[0].1, 1);
    // The token is still the one that the old key signed.
    let refused = home.failure(&["key", "retire", old_signing]);
    assert_eq!(refused, (1, "conflict".to_owned()));
}

fn retire_signing(home: &Home) -> String {
    let list = home.json(&["key", "list"]);
    let old = ring(&list, "signing")[1].0.clone();
    let token = home.json(&["token", "rotate", "--workspace", "acme"]);
    let retired = home.json(&["key", "retire", &old]);
    assert_eq!(ring(&retired, "signing").len(), 1);
    assert_eq!(home.failure(&["key", "retire", &old]).1, "not_found");
    text(&token["secret"])
}

#[test]
fn a_token_is_valid_all_along_while_keys_are_rotated() {
    let home = Home::new();
    let server = home.serve();
    let acme = home.create_workspace("acme");
    let (checks, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let is_over = AtomicBool::new(false);
    let checked_all_along = |server: &Server| {
        while !is_over.load(Ordering::SeqCst) {
            checks.fetch_add(1, Ordering::SeqCst);
            if !server.admits(&acme.id, &acme.secret) {
                refused.fetch_add(1, Ordering::SeqCst);
            }
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| checked_all_along(&server));
        let _over = Over(&is_over);
        rotate_rewrap_retire(&home, &acme);
    });
    assert!(checks.load(Ordering::SeqCst) > 20);
    assert_eq!(refused.load(Ordering::SeqCst), 0);
    let token = retire_signing(&home);
    assert!(server.admits(&acme.id, &token));
    drop(server);
    // What was written is what the next server reads.
    let server = home.serve();
    assert!(server.admits(&acme.id, &token));
    assert!(!server.admits(&acme.id, &acme.secret));
}

#[test]
fn keys_are_rotated_without_a_server_too() {
    let home = Home::new();
    drop(home.serve());
    let acme = home.create_workspace("acme");
    rotate_rewrap_retire(&home, &acme);
    assert!(home.serve().admits(&acme.id, &acme.secret));
    let token = retire_signing(&home);
    assert!(home.serve().admits(&acme.id, &token));
}

#[test]
fn a_rewrap_that_was_killed_goes_on() {
    let home = Home::new();
    drop(home.serve());
    let acme = home.create_workspace("acme");
    let server = home.serve();
    for number in 0..60 {
        let name = format!("t{number}");
        home.json(&["token", "create", "--workspace", &acme.id, "--name", &name]);
    }
    drop(server);
    home.json(&["key", "rotate"]);
    let mut child = home
        .command(&["key", "rewrap"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    thread::sleep(Duration::from_millis(60));
    child.kill().unwrap();
    child.wait().unwrap();
    home.json(&["key", "rewrap"]);
    let list = home.json(&["key", "list"]);
    let sealing = ring(&list, "sealing");
    assert_eq!((sealing[0].1, sealing[1].1), (61, 0));
    home.json(&["key", "retire", &sealing[1].0]);
    assert!(home.serve().admits(&acme.id, &acme.secret));
}

#[test]
fn what_is_no_key_is_refused() {
    let home = Home::new();
    let _server = home.serve();
    assert_eq!(home.failure(&["key", "retire", "aaaaaaaa"]).1, "not_found");
    let refused = home.failure(&["key", "retire", "../../keys"]);
    assert_eq!(refused, (2, "invalid_argument".to_owned()));
}

#[test]
fn a_key_file_that_is_handed_over_or_was_changed_is_left_alone() {
    let home = Home::new();
    let server = home.serve();
    let own = fs::read(home.key_file()).unwrap();
    // Somebody puts another key in while the server runs.
    let mut changed = String::from_utf8(own.clone()).unwrap();
    let key = changed
        .lines()
        .last()
        .unwrap()
        .replace("primary", "retired");
    let other = key.replace(&key[key.len() - 10..key.len() - 4], "AAAAAA");
    changed.push_str(&other);
    fs::write(home.key_file(), &changed).unwrap();
    let done: Done = home.run(&["key", "rotate"]);
    assert_eq!(done.code, 1);
    assert!(
        done.stderr.contains("restart the server"),
        "{}",
        done.stderr
    );
    assert_eq!(fs::read_to_string(home.key_file()).unwrap(), changed);
    drop(server);
    fs::write(home.key_file(), own).unwrap();
    drop(home.serve());
}

#[test]
fn each_ring_is_rotated_by_itself() {
    let home = Home::new();
    let server = home.serve();
    let acme = home.create_workspace("acme");
    let count = |list: &Value| (ring(list, "signing").len(), ring(list, "sealing").len());
    let signing = home.json(&["key", "rotate", "--ring", "signing"]);
    assert_eq!(count(&signing), (2, 1));
    let old_signing = ring(&signing, "signing")[1].clone();
    assert_eq!(old_signing.1, 1);
    // What is new is signed with the new key; the old one stays as long as a token carries its id.
    let second = home.json(&["token", "create", "--workspace", "acme", "--name", "second"]);
    let list = home.json(&["key", "list"]);
    assert_eq!(ring(&list, "signing")[0].1, 1);
    assert_eq!(
        home.failure(&["key", "retire", &old_signing.0]).1,
        "conflict"
    );
    let sealing = home.json(&["key", "rotate", "--ring", "sealing"]);
    assert_eq!(count(&sealing), (2, 2));
    for token in [&acme.secret, &text(&second["secret"])] {
        assert!(server.admits(&acme.id, token));
    }
    home.json(&["token", "rotate", "--workspace", "acme"]);
    let retired = home.json(&["key", "retire", &old_signing.0]);
    assert_eq!(count(&retired), (1, 2));
    assert_eq!(home.run(&["key", "rotate", "--ring", "both"]).code, 2);
}

#[test]
fn a_check_names_the_tokens_that_lack_a_key() {
    let home = Home::new();
    drop(home.serve());
    let acme = home.create_workspace("acme");
    let checked = home.json(&["key", "check"]);
    assert_eq!(
        (&checked["sound"], &checked["is_sound"]),
        (&1.into(), &true.into())
    );
    // A row that says it is sealed with the key and does not open.
    let connection = rusqlite::Connection::open(home.database()).unwrap();
    let sealed = |row: &rusqlite::Row<'_>| row.get(0);
    let mut sealed: Vec<u8> = connection
        .query_row("SELECT sealed FROM wst_slots", [], sealed)
        .unwrap();
    *sealed.last_mut().unwrap() ^= 1;
    connection
        .execute("UPDATE wst_slots SET sealed = ?1", [&sealed])
        .unwrap();
    drop(connection);
    let done = home.run(&["key", "check"]);
    assert_eq!(done.code, 1, "{done:?}");
    let slot = format!("{}/primary", acme.id);
    assert!(
        done.stderr.contains(&slot) && done.stderr.contains("tokens lack a key"),
        "{done:?}"
    );
    home.json(&["token", "rotate", "--workspace", "acme"]);
    assert_eq!(home.run(&["key", "check"]).code, 0);
}

#[test]
fn a_copy_of_the_keys_is_whole_private_and_never_in_the_way() {
    let home = Home::new();
    let server = home.serve();
    home.create_workspace("acme");
    let copy = home.path("copy.keys");
    let done = home.run(&["key", "export", "copy.keys"]);
    assert_eq!((done.code, done.stdout.as_str()), (0, ""), "{done:?}");
    assert_eq!(fs::read(&copy).unwrap(), fs::read(home.key_file()).unwrap());
    let mode = fs::metadata(&copy).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    assert_eq!(home.run(&["key", "check", "--copy", "copy.keys"]).code, 0);
    // Nothing is overwritten unasked, and the data directory is no place for it.
    assert_eq!(
        home.failure(&["key", "export", "copy.keys"]),
        (1, "already_exists".to_owned())
    );
    let inside = home.data_dir().join("copy.keys");
    assert_eq!(
        home.failure(&["key", "export", inside.to_str().unwrap()]).0,
        2
    );
    assert!(!inside.exists());
    // Keys that were rotated are not in a copy of before, which says so.
    home.json(&["key", "rotate"]);
    let done = home.run(&["key", "check", "--copy", "copy.keys"]);
    assert_eq!(done.code, 1);
    assert!(
        done.stderr.contains("lacks the keys signing ") && done.stderr.contains("`wst key export`"),
        "{done:?}"
    );
    home.run(&["key", "export", "copy.keys", "--force"]);
    assert_eq!(home.run(&["key", "check", "--copy", "copy.keys"]).code, 0);
    // For a program that encrypts it.
    let piped = home.run(&["key", "export", "-"]);
    assert_eq!(piped.stdout, fs::read_to_string(home.key_file()).unwrap());
    // And it is what the server starts with.
    drop(server);
    fs::remove_file(home.key_file()).unwrap();
    home.serve_with(&["--key-file", "copy.keys"]);
}

#[test]
fn a_credential_of_systemd_is_found_by_its_name() {
    let home = Home::new();
    drop(home.serve());
    let acme = home.create_workspace("acme");
    let credentials = home.path("credentials");
    fs::create_dir(&credentials).unwrap();
    fs::rename(home.key_file(), credentials.join("workspaces.keys")).unwrap();
    assert!(home.serve_in_vain(&[]).stderr.contains("is missing"));
    let home = home.with_variable("CREDENTIALS_DIRECTORY", credentials.to_str().unwrap());
    assert!(home.serve().admits(&acme.id, &acme.secret));
    // What is handed over is not written.
    fs::set_permissions(
        credentials.join("workspaces.keys"),
        fs::Permissions::from_mode(0o440),
    )
    .unwrap();
    let done = home.run(&["key", "rotate"]);
    assert!(
        done.stderr.contains("handed over by somebody else"),
        "{done:?}"
    );
    // A name that is given goes before.
    assert!(
        home.serve_in_vain(&["--key-file", "elsewhere"])
            .stderr
            .contains("elsewhere")
    );
}

#[test]
fn a_server_that_seals_digests_has_no_token_in_its_database() {
    let home = Home::new();
    drop(home.serve());
    let acme = home.create_workspace("acme");
    let server = home.serve_with(&["--seal", "digest"]);
    assert!(server.admits(&acme.id, &acme.secret));
    assert_eq!(home.json(&["key", "rewrap"])["rewrapped"], 1);
    assert_eq!(home.json(&["key", "rewrap"])["already_current"], 1);
    assert!(server.admits(&acme.id, &acme.secret));
    drop(server);
    // Kept: what is rotated without a server, and by one that is not told, is sealed so too.
    let rotated = text(&home.json(&["token", "rotate", "--workspace", "acme"])["secret"]);
    let server = home.serve();
    let second = home.json(&["token", "create", "--workspace", "acme", "--name", "second"]);
    for token in [&rotated, &text(&second["secret"])] {
        assert!(server.admits(&acme.id, token));
    }
    assert!(!server.admits(&acme.id, &acme.secret));
    let connection = rusqlite::Connection::open(home.database()).unwrap();
    let profiles =
        "SELECT group_concat(DISTINCT hex(substr(sealed, 11, 1)) || length(sealed)) FROM wst_slots";
    let found: String = connection
        .query_row(profiles, [], |row| row.get(0))
        .unwrap();
    assert_eq!(found, format!("02{}", 55 + 41 + 16));
    let list = home.json(&["key", "check"]);
    assert_eq!(
        (&list["sound"], ring(&list, "signing")[0].1),
        (&2.into(), 2)
    );
}
