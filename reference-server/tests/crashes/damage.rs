//! Pages of the database that are not what was written: a clear error or the right answer, never a panic, and
//! never a token that was rotated or revoked.
//!
//! An old page put back whole is something else: that is an older database, which no checksum tells.

use std::{collections::BTreeMap, fs, path::Path};

use fastrand::Rng;
use rusqlite::Connection;
use serde_json::json;

use crate::{
    ledger::{Ledger, change, generation_of, secret_of},
    place::Place,
    rounds,
};

#[test]
fn a_damaged_page_revives_no_token_and_panics_nowhere() {
    let (place, ledger) = fill();
    let kinds = pages(&place.database());
    let times = rounds("DAMAGES", 1);
    let mut dice = Rng::with_seed(crate::seed());
    let mut outcomes = BTreeMap::new();
    for (kind, pages) in &kinds {
        // What decides about tokens is tried more often.
        let of_tokens = ["wst_slots", "wst_history", "required_keys", "sqlite_schema"];
        let more = of_tokens.iter().any(|table| kind.contains(table));
        for _ in 0..times * if more { 8 } else { 1 } {
            let page = pages[dice.usize(..pages.len())];
            let damage = DAMAGES[dice.usize(..DAMAGES.len())];
            let why = format!("{kind}, page {page}: {damage:?}");
            let outcome = suffer(&place, &ledger, page, damage, &mut dice, &why);
            *outcomes.entry(outcome).or_insert(0) += 1;
        }
    }
    println!("{} kinds of pages: {outcomes:?}", kinds.len());
    assert!(outcomes.contains_key("refused to start") && outcomes.contains_key("went on"));
}

/// What is done to a page.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Bit,
    Byte,
    Header,
    Sector,
    Zeros,
}

/// Damages a copy, starts a server on it and asks about every token; returns what became of it.
fn suffer(
    place: &Place,
    ledger: &Ledger,
    page: u64,
    damage: Damage,
    dice: &mut Rng,
    why: &str,
) -> &'static str {
    let copy = copy_of(place);
    spoil(&copy.database(), page, damage, dice);
    let server = match copy.serve() {
        Ok(server) => server,
        Err(ended) => {
            assert_eq!(ended.status.code(), Some(1), "{why}: {ended:?}");
            assert!(ended.stderr.contains("error: "), "{why}: {ended:?}");
            copy.refuse_panics(why);
            return "refused to start";
        }
    };
    let mut agent = server.agent();
    let mut is_well = true;
    for ((workspace, name), slot) in &ledger.slots {
        for (generation, token) in &slot.tokens {
            let is_current = *generation == slot.generation;
            match agent.admits(workspace, token) {
                Ok(admitted) if !is_current => assert!(!admitted, "{why}: {name} revived"),
                Ok(admitted) => is_well &= admitted,
                Err(error) => {
                    assert!(error.starts_with('5'), "{why}: {error}");
                    is_well = false;
                }
            }
        }
    }
    // Whoever changes it afterwards is told the truth as well.
    let key = ledger.slots.keys().next().unwrap();
    let old = &ledger.slots[key].tokens[&ledger.slots[key].generation];
    let (status, body) = change(&mut server.control(), key, true, false).unwrap();
    if status < 300 {
        assert_eq!(agent.admits(&key.0, &secret_of(&body)), Ok(true), "{why}");
        assert_ne!(agent.admits(&key.0, old), Ok(true), "{why}");
        assert!(generation_of(&body) > 0);
    } else {
        assert!(body["error"]["code"].is_string(), "{why}: {body}");
        is_well = false;
    }
    copy.refuse_panics(why);
    if is_well { "went on" } else { "said so" }
}

/// Makes a database with a little of everything, and closes it, so that it is one file.
fn fill() -> (Place, Ledger) {
    let place = Place::in_memory();
    let server = place.must_serve("first");
    let mut control = server.control();
    let mut ledger = Ledger::default();
    for workspace in ["acme", "other"] {
        let created = control.done("/workspaces", &json!({"name": workspace}));
        let id = created["workspace"]["id"].as_str().unwrap().to_owned();
        let primary = ledger.slot(&id, "primary");
        primary.acknowledge(1, Some(secret_of(&created)));
        for number in 0..12 {
            let key = (id.clone(), format!("t{number}"));
            let slot = ledger.slot(&key.0, &key.1);
            // Issued, rotated twice, and every third one revoked.
            let steps = [(false, false), (true, false), (true, false), (true, true)];
            let steps = &steps[..if number % 3 == 0 { 4 } else { 3 }];
            for (is_live, revoke) in steps {
                let (status, body) = change(&mut control, &key, *is_live, *revoke).unwrap();
                assert!(status < 300, "{body}");
                let token = body.get("secret").map(|_| secret_of(&body));
                slot.acknowledge(generation_of(&body), token);
            }
        }
        for number in 0..10 {
            let task = json!({"title": format!("task {number}"), "body": "b".repeat(900)});
            control.done(&format!("/workspaces/{id}/tasks"), &task);
        }
    }
    server.stop();
    (place, ledger)
}

/// Returns the pages of each kind: of which table or index, and whether leaf or not; and the first, which is the
/// head of all.
fn pages(database: &Path) -> BTreeMap<String, Vec<u64>> {
    let connection = Connection::open(database).unwrap();
    let mut statement = connection
        .prepare("SELECT name, pagetype, pageno FROM dbstat WHERE pagetype IN ('internal', 'leaf', 'overflow')")
        .unwrap();
    let rows = statement.query_map([], |row| {
        Ok((
            row.get::<_, String>(0)?,
            row.get::<_, String>(1)?,
            row.get::<_, i64>(2)?,
        ))
    });
    let mut kinds: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for row in rows.unwrap() {
        let (name, kind, page) = row.unwrap();
        kinds
            .entry(format!("{kind} of {name}"))
            .or_default()
            .push(page as u64);
    }
    assert!(kinds.len() > 20, "{kinds:?}");
    kinds
}

fn copy_of(place: &Place) -> Place {
    let copy = Place::in_memory();
    let status = std::process::Command::new("cp")
        .arg("-a")
        .args([place.data_dir(), copy.data_dir()])
        .status();
    assert!(status.unwrap().success());
    copy
}

fn spoil(database: &Path, page: u64, damage: Damage, dice: &mut Rng) {
    let mut bytes = fs::read(database).unwrap();
    let begin = (page as usize - 1) * PAGE;
    let whole = &mut bytes[begin..begin + PAGE];
    let place = dice.usize(..PAGE);
    match damage {
        Damage::Bit => whole[place] ^= 1 << dice.u8(..8),
        Damage::Byte => whole[place] = !whole[place],
        Damage::Header => whole[dice.usize(..16)] ^= 1 << dice.u8(..8),
        Damage::Sector => dice.fill(&mut whole[place / 512 * 512..][..512]),
        Damage::Zeros => whole.fill(0),
    }
    fs::write(database, bytes).unwrap();
}

const DAMAGES: [Damage; 5] = [
    Damage::Bit,
    Damage::Byte,
    Damage::Header,
    Damage::Sector,
    Damage::Zeros,
];

const PAGE: usize = 4096;
