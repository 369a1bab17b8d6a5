//! [`Ledger`]: what was acknowledged, and the rule that holds whatever happened since (SECURITY-RULES 23).
//!
//! Of each slot the old or the new token is valid, never both, and never neither once the new one was shown; what
//! was acknowledged is never lost; a generation never falls; and the database is whole.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use crate::{
    client::{Agent, Control},
    place::{Place, Server},
};

/// The slots of one data directory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) slots: BTreeMap<(String, String), Slot>,
}

/// What is known of a slot from what was said of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slot {
    /// The last generation that was acknowledged; 0 if none ever was.
    pub(crate) generation: u64,
    /// How many more may have been begun, and nobody said how they ended.
    pub(crate) in_doubt: u64,
    /// The token of each generation, as it was shown; a generation without one is a tombstone's, or was never shown.
    pub(crate) tokens: BTreeMap<u64, String>,
}

/// A row of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) generation: u64,
    pub(crate) is_live: bool,
}

/// What the database holds of each slot.
pub(crate) type Rows = BTreeMap<(String, String), Row>;

/// The generation that each slot has come to, as the journal says.
pub(crate) type Floors = BTreeMap<(String, String), u64>;

impl Slot {
    /// Notes that a generation was acknowledged, with its token unless it is a tombstone.
    pub(crate) fn acknowledge(&mut self, generation: u64, token: Option<String>) {
        assert!(generation > self.generation, "{generation}: {self:?}");
        self.generation = generation;
        self.in_doubt = 0;
        if let Some(token) = token {
            self.tokens.insert(generation, token);
        }
    }

    /// Whether the last that was acknowledged is a token.
    pub(crate) fn is_live(&self) -> bool {
        self.tokens.contains_key(&self.generation)
    }

    /// Holds a row, and which tokens are let in, against what is known.
    fn check(
        &self,
        row: Row,
        mut admits: impl FnMut(&str) -> Result<bool, String>,
    ) -> Result<(), String> {
        let Row {
            generation,
            is_live,
        } = row;
        let last = self.generation + self.in_doubt;
        if !(self.generation..=last).contains(&generation) {
            let acknowledged = self.generation;
            return Err(format!(
                "{row:?}, but {acknowledged} to {last} was acknowledged or begun"
            ));
        }
        if generation == self.generation && generation > 0 && is_live != self.is_live() {
            return Err(format!("{row:?} is not what was acknowledged"));
        }
        for (of, token) in self.tokens.iter().rev().take(MOST_TRIED) {
            let expected = *of == generation;
            let found = admits(token)?;
            if found != expected {
                return Err(format!(
                    "the token of generation {of} is let in: {found}; {row:?}"
                ));
            }
        }
        Ok(())
    }
}

impl Ledger {
    pub(crate) fn slot(&mut self, workspace: &str, name: &str) -> &mut Slot {
        let key = (workspace.to_owned(), name.to_owned());
        self.slots.entry(key).or_default()
    }

    /// Holds the database, the journal if there is one, and a server that runs on them against what is known;
    /// returns the rows.
    pub(crate) fn check(&self, server: &Server, place: &Place) -> Result<Rows, String> {
        let rows = read(&place.database())?;
        if let Some(journal) = place.journal() {
            let locked = server.control().locked();
            if !locked.is_empty() {
                return Err(format!("{locked:?} are locked"));
            }
            self.check_floors(&rows, &read_journal(&journal))?;
        }
        let mut agent = server.agent();
        self.check_rows(&rows, &mut agent)?;
        Ok(rows)
    }

    /// No floor is above its row, and none is below what was acknowledged.
    fn check_floors(&self, rows: &Rows, floors: &Floors) -> Result<(), String> {
        for (key, floor) in floors {
            let row = rows.get(key).map_or(0, |row| row.generation);
            if *floor > row {
                return Err(format!("{key:?}: the journal says {floor} of {row}"));
            }
        }
        for (key, slot) in &self.slots {
            let floor = floors.get(key).copied().unwrap_or(0);
            if floor < slot.generation {
                let acknowledged = slot.generation;
                return Err(format!(
                    "{key:?}: the journal says {floor}, and {acknowledged} was acknowledged"
                ));
            }
        }
        Ok(())
    }

    /// Looks that no token is let in but those of the rows, whatever else the server answers.
    pub(crate) fn check_refusals(&self, server: &Server, place: &Place) -> Result<(), String> {
        let rows = read(&place.database())?;
        let mut agent = server.agent();
        for (key, slot) in &self.slots {
            let current = rows.get(key).map_or(0, |row| row.generation);
            let former = slot.tokens.iter().filter(|(of, _)| **of != current);
            for (of, token) in former.rev().take(MOST_TRIED) {
                if let Ok(true) = agent.admits(&key.0, token) {
                    return Err(format!("{key:?}: generation {of} is let in, of {current}"));
                }
            }
        }
        Ok(())
    }

    /// Puts a copy of the database back that is older than the last rotation of each slot: every workspace is
    /// locked, and nobody gets in. Leaves the database as it was, and a server that was killed.
    pub(crate) fn check_old_copy(&mut self, mut server: Server, place: &Place) {
        // Those of the future are none of its rows yet.
        let rows = self.check(&server, place).unwrap();
        self.slots.retain(|key, _| rows.contains_key(key));
        server.kill();
        let old = copy_of(place);
        let mut server = place.must_serve("to go on from the copy");
        let mut control = server.control();
        for (key, slot) in &mut self.slots {
            let (status, body) = change(&mut control, key, slot.is_live(), false).unwrap();
            assert!(status < 300, "{body}");
            slot.acknowledge(generation_of(&body), Some(secret_of(&body)));
        }
        server.kill();
        let new = copy_of(place);
        put_back(place, &old);
        let mut server = place.must_serve("on an old copy");
        let expected: BTreeSet<&str> = self.slots.keys().map(|key| key.0.as_str()).collect();
        let locked = server.control().locked();
        let found: BTreeSet<&str> = locked.iter().map(String::as_str).collect();
        assert_eq!(found, expected, "an old copy that was put back");
        let mut agent = server.agent();
        for (key, slot) in &self.slots {
            for (generation, token) in &slot.tokens {
                let admitted = agent.admits(&key.0, token).unwrap();
                assert!(!admitted, "{key:?}: {generation} in a locked workspace");
            }
        }
        server.kill();
        put_back(place, &new);
        let mut server = place.must_serve("on the right copy");
        self.check(&server, place).unwrap();
        server.kill();
    }

    fn check_rows(&self, rows: &Rows, agent: &mut Agent) -> Result<(), String> {
        for (key, slot) in &self.slots {
            let none = Row {
                generation: 0,
                is_live: false,
            };
            let row = rows.get(key).copied().unwrap_or(none);
            slot.check(row, |token| agent.admits(&key.0, token))
                .map_err(|error| format!("{}/{}: {error}", key.0, key.1))?;
        }
        Ok(())
    }

    /// Takes the rows for what was acknowledged, and gives each slot whose token nobody knows a new one.
    pub(crate) fn settle(&mut self, rows: &Rows, control: &mut Control) {
        for (key, slot) in &mut self.slots {
            slot.in_doubt = 0;
            let Some(row) = rows.get(key) else { continue };
            slot.generation = row.generation;
            if !(row.is_live && slot.is_live()) {
                let (status, body) = change(control, key, row.is_live, false).unwrap();
                assert!(status < 300, "{body}");
                let generation = generation_of(&body);
                slot.acknowledge(generation, Some(secret_of(&body)));
            }
            while slot.tokens.len() > MOST_TRIED {
                slot.tokens.pop_first();
            }
        }
    }
}

/// Rotates or revokes the token of a slot, or issues one where there is none.
pub(crate) fn change(
    control: &mut Control,
    (workspace, name): &(String, String),
    is_live: bool,
    revoke: bool,
) -> std::io::Result<(u16, Value)> {
    match (is_live, revoke) {
        (false, _) => {
            let path = format!("/workspaces/{workspace}/tokens");
            control.act(&path, &json!({ "name": name }))
        }
        (true, true) => {
            let path = format!("/workspaces/{workspace}/tokens/{name}/revoke");
            control.act(&path, &json!({}))
        }
        (true, false) => {
            let path = format!("/workspaces/{workspace}/tokens/{name}/rotate");
            control.act(&path, &json!({}))
        }
    }
}

/// Reads the generation from the answer to a rotation, a revocation or a new token.
pub(crate) fn generation_of(body: &Value) -> u64 {
    let generation = body["generation"].as_u64();
    let generation = generation.or_else(|| body["token"]["generation"].as_u64());
    generation.unwrap_or_else(|| panic!("no generation: {body}"))
}

pub(crate) fn secret_of(body: &Value) -> String {
    body["secret"].as_str().unwrap().to_owned()
}

/// Reads the rows, and fails if the database is not whole: its pages, its references, and one event for each
/// generation, which is written in the same transaction.
pub(crate) fn read(database: &Path) -> Result<Rows, String> {
    let read = || -> rusqlite::Result<_> {
        // Not read-only: the log may have to be recovered.
        let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        let whole: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
        let lost: i64 =
            connection.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| {
                row.get(0)
            })?;
        let sql = "SELECT workspace, name, generation, sealed IS NOT NULL, \
            (SELECT count(*) FROM wst_history AS h WHERE h.workspace = s.workspace AND h.name = s.name) \
            FROM wst_slots AS s";
        let mut statement = connection.prepare(sql)?;
        let rows = statement.query_map([], |row| {
            let found = Row {
                generation: row.get::<_, i64>(2)? as u64,
                is_live: row.get(3)?,
            };
            Ok(((row.get(0)?, row.get(1)?), found, row.get::<_, i64>(4)?))
        })?;
        let rows: Vec<_> = rows.collect::<Result<_, _>>()?;
        Ok((whole, lost, rows))
    };
    let (whole, lost, rows) = read().map_err(|error| format!("cannot read: {error}"))?;
    if whole != "ok" || lost != 0 {
        return Err(format!("not whole: {whole}, {lost} references"));
    }
    for (key, row, events) in &rows {
        if *events as u64 != row.generation {
            return Err(format!("{key:?}: {row:?} with {events} events"));
        }
    }
    Ok(rows.into_iter().map(|(key, row, _)| (key, row)).collect())
}

/// Reads the floors that a journal holds in whole batches.
pub(crate) fn read_journal(journal: &Path) -> Floors {
    let text = fs::read(journal).unwrap_or_default();
    let mut floors = Floors::new();
    let mut batch = Floors::new();
    for line in String::from_utf8_lossy(&text).lines() {
        match line.split(' ').next() {
            Some("slot") => batch.extend(floor_of(line)),
            Some("sync") => floors.append(&mut batch),
            _ => {}
        }
    }
    floors
}

/// Reads a line `slot WORKSPACE NAME GENERATION TOKEN-ID` of a journal.
pub(crate) fn floor_of(line: &str) -> Option<((String, String), u64)> {
    let words: Vec<&str> = line.split(' ').collect();
    let [_, workspace, name, generation, _] = words[..] else {
        return None;
    };
    let generation = generation.parse().ok()?;
    Some(((workspace.to_owned(), name.to_owned()), generation))
}

/// Copies the database that nobody has open.
fn copy_of(place: &Place) -> Vec<Option<Vec<u8>>> {
    let read = |name: &&str| fs::read(place.data_dir().join(name)).ok();
    FILES.iter().map(read).collect()
}

fn put_back(place: &Place, copy: &[Option<Vec<u8>>]) {
    let _ = fs::remove_file(place.data_dir().join("workspaces.db-shm"));
    for (name, bytes) in FILES.iter().zip(copy) {
        let path = place.data_dir().join(name);
        match bytes {
            // In place of what is there, so that it is private as before.
            Some(bytes) => fs::write(path, bytes).unwrap(),
            None => drop(fs::remove_file(path)),
        }
    }
}

/// A database, and what was not moved into it yet.
const FILES: [&str; 2] = ["workspaces.db", "workspaces.db-wal"];

/// The last generations are those that anybody still holds.
const MOST_TRIED: usize = 4;

#[test]
fn what_breaks_the_rule_is_found() {
    let mut slot = Slot::default();
    slot.acknowledge(1, Some("one".to_owned()));
    slot.acknowledge(2, Some("two".to_owned()));
    let check = |slot: &Slot, generation, is_live, admitted: &[&str]| {
        let row = Row {
            generation,
            is_live,
        };
        slot.check(row, |token| Ok(admitted.contains(&token)))
    };
    check(&slot, 2, true, &["two"]).unwrap();
    for (name, generation, is_live, admitted) in [
        ("both", 2, true, &["one", "two"] as &[_]),
        ("neither", 2, true, &[]),
        ("the old one", 2, true, &["one"]),
        ("lost", 1, true, &["one"]),
        ("never begun", 3, true, &[]),
        ("revoked by nobody", 2, false, &[]),
    ] {
        assert!(
            check(&slot, generation, is_live, admitted).is_err(),
            "{name}"
        );
    }
    slot.in_doubt = 1;
    check(&slot, 2, true, &["two"]).unwrap();
    check(&slot, 3, true, &[]).unwrap();
    check(&slot, 3, false, &[]).unwrap();
    assert!(check(&slot, 3, true, &["two"]).is_err(), "both");
    slot.acknowledge(3, None);
    check(&slot, 3, false, &[]).unwrap();
    assert!(check(&slot, 3, true, &[]).is_err(), "a revocation lost");
}
