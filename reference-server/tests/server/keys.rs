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
