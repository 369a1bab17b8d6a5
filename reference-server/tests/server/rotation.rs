//! Rotating and archiving, as seen by requests.

use std::{collections::BTreeMap, thread};

use crate::common::{Home, text};

#[test]
fn the_old_token_is_dead_and_the_new_one_alive_when_rotate_returns() {
    let home = Home::new();
    let server = home.serve();
    let workspace = home.create_workspace("acme");
    let mut current = workspace.secret;
    for _ in 0..10 {
        assert!(server.admits(&workspace.id, &current));
        let rotated = home.json(&["token", "rotate", "--workspace", &workspace.id]);
        assert_eq!(server.status_of(&workspace.id, &current), 401);
        current = text(&rotated["secret"]);
        assert!(server.admits(&workspace.id, &current));
    }
}

#[test]
fn a_rotation_without_a_server_holds_for_the_next_one() {
    let home = Home::new();
    drop(home.serve());
    let workspace = home.create_workspace("acme");
    let rotated = home.json(&["token", "rotate", "--workspace", "acme"]);
    let server = home.serve();
    assert_eq!(server.status_of(&workspace.id, &workspace.secret), 401);
    assert!(server.admits(&workspace.id, &text(&rotated["secret"])));
}

#[test]
fn concurrent_rotations_have_one_winner_each() {
    let home = Home::new();
    for server in [Some(home.serve()), None] {
        let workspace = home.create_workspace("acme");
        let rotations: Vec<_> = thread::scope(|scope| {
            let rotate = || {
                let arguments = ["token", "rotate", "--workspace", &workspace.id, "--json"];
                home.run(&arguments)
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(rotate)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        let mut winners = BTreeMap::new();
        for done in rotations {
            if done.code == 0 {
                let rotated: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
                let generation = rotated["generation"].as_u64().unwrap();
                let secret = text(&rotated["secret"]);
                assert!(
                    winners.insert(generation, secret).is_none(),
                    "two won {generation}"
                );
            } else {
                assert!(done.stderr.contains("conflict"), "{}", done.stderr);
            }
        }
        let generations: Vec<u64> = winners.keys().copied().collect();
        let expected: Vec<u64> = (2..2 + generations.len() as u64).collect();
        assert_eq!(generations, expected, "each winner has the next generation");
        let server = server.unwrap_or_else(|| home.serve());
        let current = winners.pop_last().unwrap().1;
        assert!(server.admits(&workspace.id, &current));
        assert!(!server.admits(&workspace.id, &workspace.secret));
        for old in winners.values() {
            assert!(!server.admits(&workspace.id, old));
        }
        home.json(&["workspace", "archive", "acme"]);
    }
}

#[test]
fn slots_are_rotated_by_themselves() {
    let home = Home::new();
    let server = home.serve();
    let workspace = home.create_workspace("acme");
    let second = home.json(&["token", "create", "--workspace", "acme", "--name", "second"]);
    home.json(&["token", "rotate", "--workspace", "acme", "--name", "second"]);
    assert!(!server.admits(&workspace.id, &text(&second["secret"])));
    assert!(server.admits(&workspace.id, &workspace.secret));
    home.json(&["token", "revoke", "--workspace", "acme"]);
    assert!(!server.admits(&workspace.id, &workspace.secret));
}

#[test]
fn archiving_kills_every_token_of_the_workspace_and_no_other() {
    let home = Home::new();
    let server = home.serve();
    let (acme, other) = (
        home.create_workspace("acme"),
        home.create_workspace("other"),
    );
    let second = home.json(&["token", "create", "--workspace", "acme", "--name", "second"]);
    let second = text(&second["secret"]);
    assert!(server.admits(&acme.id, &acme.secret) && server.admits(&acme.id, &second));
    home.json(&["workspace", "archive", "acme"]);
    assert_eq!(server.status_of(&acme.id, &acme.secret), 401);
    assert_eq!(server.status_of(&acme.id, &second), 401);
    assert!(server.admits(&other.id, &other.secret));
    let refused = home.failure(&[
        "token",
        "create",
        "--workspace",
        &acme.id,
        "--name",
        "third",
    ]);
    assert_eq!(refused, (1, "archived".to_owned()));
    // Again: no harm, and nothing that was missed stays alive.
    home.json(&["workspace", "archive", &acme.id]);
    drop(server);
    assert_eq!(home.serve().status_of(&acme.id, &acme.secret), 401);
}

#[test]
fn a_token_that_is_created_while_its_workspace_is_archived_does_not_outlive_it() {
    let home = Home::new();
    let server = home.serve();
    for round in 0..5 {
        let workspace = home.create_workspace(&format!("round-{round}"));
        let created = thread::scope(|scope| {
            let create = |name: &'static str| {
                let (home, id) = (&home, &workspace.id);
                scope.spawn(move || {
                    home.run(&["token", "create", "--workspace", id, "--name", name])
                })
            };
            let threads = [create("one"), create("two"), create("three")];
            home.json(&["workspace", "archive", &workspace.id]);
            threads.map(|thread| thread.join().unwrap())
        });
        for done in created.iter().filter(|done| done.code == 0) {
            assert!(!server.admits(&workspace.id, done.stdout.trim()));
        }
    }
}

#[test]
fn a_token_of_one_workspace_opens_no_other() {
    let home = Home::new();
    let server = home.serve();
    let (acme, other) = (
        home.create_workspace("acme"),
        home.create_workspace("other"),
    );
    assert!(server.admits(&acme.id, &acme.secret));
    assert_eq!(server.status_of(&other.id, &acme.secret), 401);
    assert_eq!(server.status_of("nobody", &acme.secret), 401);
}
