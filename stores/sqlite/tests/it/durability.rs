//! What was acknowledged stays.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use tower_workspace_token_sqlite::SqliteStore;

use crate::support::{Directory, database_of_parent, generation, in_child, rotate_to, slot};

#[tokio::test]
async fn reopening_sees_everything() {
    let directory = Directory::new();
    let store = SqliteStore::open(directory.database()).unwrap();
    for number in 1..=3 {
        rotate_to(&store, slot("primary"), number).await.unwrap();
    }
    drop(store);
    let store = SqliteStore::open(directory.database()).unwrap();
    assert_eq!(generation(&store, slot("primary")).await, 3);
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let directory = Directory::new();
    for round in 1..=3 {
        let last = acknowledged_by_a_killed_child(&directory, 25 * round);
        let store = SqliteStore::open(directory.database()).unwrap();
        let found = generation(&store, slot("primary")).await;
        // One more may have been committed and not have been told.
        assert!((last..=last + 1).contains(&found), "{found}, told {last}");
    }
}

/// Kills the child once it has told of generation `enough`; returns the last one it told of.
fn acknowledged_by_a_killed_child(directory: &Directory, enough: u64) -> u64 {
    let name = "durability::the_child_rotates_until_it_is_killed";
    let mut child = in_child(name, ":", &directory.database())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut last = 0;
    for line in lines.map_while(Result::ok) {
        let Some((_, number)) = line.split_once("acknowledged ") else {
            continue;
        };
        last = number.parse().unwrap();
        if last == enough {
            // What it still told before it died is read on.
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(last >= enough, "the child ended at {last}");
    last
}

#[tokio::test]
async fn the_child_rotates_until_it_is_killed() {
    let Some(database) = database_of_parent() else {
        return;
    };
    let store = SqliteStore::open(database).unwrap();
    let begin = generation(&store, slot("primary")).await + 1;
    for number in begin..begin + 100_000 {
        rotate_to(&store, slot("primary"), number).await.unwrap();
        println!("acknowledged {number}");
    }
}
