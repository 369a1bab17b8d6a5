//! Power cuts: what `wst` does to its files is written down once, and then cut off at random places.
//!
//! A kill leaves the page cache, a power cut does not: whatever was not synced is thrown away here, in whole, from
//! some point on, or sector by sector ([`Disk`]), and the real server starts on what is left.

use std::{fs, thread};

use fastrand::Rng;
use rustix::io::Errno;
use serde_json::{Value, json};

use crate::{
    client::Control,
    disk::{Cut, Disk},
    ledger::{self, Ledger, change, generation_of, secret_of},
    place::Place,
    rounds,
    shim::{Event, How, Shim},
};

#[test]
fn a_power_cut_loses_nothing_that_was_acknowledged() {
    let cuts = rounds("CUTS", 200);
    let seed = crate::seed();
    // Side by side, as many as a small machine has processors.
    thread::scope(|scope| {
        for has_journal in [false, true] {
            scope.spawn(move || {
                let Some(recording) = Recording::make(has_journal) else {
                    return;
                };
                let mut dice = Rng::with_seed(seed ^ u64::from(has_journal));
                recording.cut_off(cuts / 2, &mut dice);
                let (events, changes) = (recording.events.len(), recording.changes.len());
                println!(
                    "{} power cuts in {events} events of {changes} changes, journal: {has_journal}, seed {seed}",
                    cuts / 2
                );
            });
        }
    });
}

/// Which `synchronous = NORMAL` would break, and a kill does not show.
#[test]
fn every_change_is_synced_before_it_is_acknowledged() {
    if let Some(recording) = Recording::make(false) {
        recording.check_order();
    }
}

/// In both places, and in this order: a journal that is ahead of its database locks a workspace.
#[test]
fn every_change_is_synced_in_the_database_then_in_the_journal_and_then_acknowledged() {
    if let Some(recording) = Recording::make(true) {
        recording.check_order();
    }
}

/// How far the commit of a change was seen to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Commit {
    None,
    Written,
    Synced,
}

/// All that a server and commands did to their files, and what they said of it.
struct Recording {
    place: Place,
    events: Vec<(Event, usize)>,
    changes: Vec<Change>,
}

/// A new generation of a slot.
#[derive(Clone, Debug)]
struct Change {
    key: (String, String),
    generation: u64,
    token: Option<String>,
    /// Where in the log it was asked for, and where there was an answer at the latest.
    begin: usize,
    end: usize,
    /// The event that acknowledged it.
    told: usize,
}

impl Recording {
    /// Makes one; none where there is no shim, which it says.
    fn make(has_journal: bool) -> Option<Self> {
        let shim = match Shim::new() {
            Ok(shim) => shim.keeping_log(),
            Err(why) => {
                eprintln!("skipped: {why}");
                return None;
            }
        };
        let mut place = Place::in_memory().with_shim(shim);
        if has_journal {
            place = place.with_journal();
        }
        let mut script = Script {
            place: &place,
            changes: Vec::new(),
            workspace: String::new(),
        };
        script.play();
        let mut changes = script.changes;
        let events = place.shim().read_log();
        for change in &mut changes {
            change.told = find_answer(&events, change);
        }
        Some(Self {
            place,
            events,
            changes,
        })
    }

    /// Holds the order of what was written, synced and told against what has to be.
    fn check_order(&self) {
        let log = self.place.data_dir().join("workspaces.db-wal");
        let mut disk = Disk::default();
        let (mut begun, mut looked, mut written) = (vec![Commit::None; self.changes.len()], 0, 0);
        for (index, (event, end)) in self.events.iter().enumerate() {
            let was_waiting = disk.is_waiting(&log);
            disk.apply(event);
            if let Event::Write { data, .. } = event
                && data.starts_with(b"slot ")
            {
                written += self.check_batch(&disk, data);
            }
            for (change, commit) in self.changes.iter().zip(&mut begun) {
                if change.begin > *end || change.told < index {
                    continue;
                }
                match (was_waiting, disk.is_waiting(&log)) {
                    (_, true) if *commit == Commit::None => *commit = Commit::Written,
                    (true, false) if *commit == Commit::Written => *commit = Commit::Synced,
                    _ => {}
                }
                if change.told != index {
                    continue;
                }
                assert_eq!(*commit, Commit::Synced, "{change:?}");
                let left = self.left_of(&disk, Cut::Everything, &mut Rng::with_seed(0));
                let rows = ledger::read(&left.database()).unwrap();
                if let Some(journal) = left.journal() {
                    let floor = ledger::read_journal(&journal).get(&change.key).copied();
                    assert!(
                        floor >= Some(change.generation),
                        "{change:?} is not in the journal: {floor:?}"
                    );
                }
                let row = rows
                    .get(&change.key)
                    .unwrap_or_else(|| panic!("{change:?} is lost"));
                assert!(
                    row.generation >= change.generation,
                    "{change:?} is lost: {row:?}"
                );
                looked += 1;
            }
        }
        assert_eq!(looked, self.changes.len());
        assert_eq!(written >= looked, self.place.journal().is_some());
        println!(
            "{looked} changes were on the disk when they were acknowledged, {written} before the journal"
        );
    }

    /// Looks that the database has come, on the disk, to all that is being written to the journal; returns
    /// how many slots that are.
    fn check_batch(&self, disk: &Disk, batch: &[u8]) -> usize {
        let left = self.left_of(disk, Cut::Everything, &mut Rng::with_seed(0));
        let rows = ledger::read(&left.database()).unwrap();
        let floors = str::from_utf8(batch)
            .unwrap()
            .lines()
            .filter_map(ledger::floor_of);
        let ahead = |(key, floor)| {
            let row = rows.get(&key).map_or(0, |row| row.generation);
            assert!(
                row >= floor,
                "{key:?}: {floor} before the row is kept, which is {row}"
            );
        };
        floors.map(ahead).count()
    }

    fn cut_off(&self, cuts: u64, dice: &mut Rng) {
        let mut points: Vec<_> = (0..cuts).map(|_| dice.usize(..self.events.len())).collect();
        points.sort_unstable();
        let mut disk = Disk::default();
        let mut applied = 0;
        for (number, point) in points.into_iter().enumerate() {
            for (event, _) in &self.events[applied..=point] {
                disk.apply(event);
            }
            applied = point + 1;
            let how = Cut::ALL[dice.usize(..Cut::ALL.len())];
            let left = self.left_of(&disk, how, dice);
            self.check(
                &left,
                point,
                &format!("{how:?} at {point}"),
                number % 10 == 0,
            );
            if point + 1 == self.events.len() {
                break;
            }
        }
    }

    /// Puts what a power cut leaves in a place of its own.
    fn left_of(&self, disk: &Disk, how: Cut, dice: &mut Rng) -> Place {
        let mut left = Place::in_memory();
        if self.place.journal().is_some() {
            left = left.with_journal();
        }
        disk.cut(how, dice, self.place.path(), left.path());
        if how == Cut::Sectors && left.database().exists() {
            // What was mapped is of no account, whatever is left of it.
            let garbage: Vec<u8> = (0..32 * 1024).map(|_| dice.u8(..)).collect();
            fs::write(left.data_dir().join("workspaces.db-shm"), garbage).unwrap();
        }
        left
    }

    /// Starts a server on what is left, and looks for all that was acknowledged.
    fn check(&self, left: &Place, point: usize, why: &str, and_goes_on: bool) {
        let mut known = self.known_at(point);
        let server = left.must_serve(why);
        let rows = known.check(&server, left);
        let rows = rows.unwrap_or_else(|error| {
            panic!(
                "{why} of {}: {error}: {:?}",
                self.place.path().display(),
                &self.events[point].0
            )
        });
        if and_goes_on {
            let mut control = server.control();
            known.settle(&rows, &mut control);
            control.done("/keys/rewrap", &json!({}));
            known.check(&server, left).unwrap();
            if left.journal().is_some() {
                known.check_old_copy(server, left);
            }
        }
        left.refuse_panics(why);
    }

    /// Returns what was acknowledged and begun when the event `point` had happened.
    fn known_at(&self, point: usize) -> Ledger {
        let mut known = Ledger::default();
        for change in &self.changes {
            let (workspace, name) = &change.key;
            let slot = known.slot(workspace, name);
            let begun = change.begin < self.events[point].1;
            if change.told <= point {
                slot.generation = slot.generation.max(change.generation);
            } else if begun {
                slot.in_doubt = slot.in_doubt.max(change.generation);
            }
            // Also those of the future: should one be let in, it has to be that of the row.
            if let Some(token) = &change.token
                && (begun || slot.tokens.len() < 2)
            {
                slot.tokens.insert(change.generation, token.clone());
            }
        }
        for slot in known.slots.values_mut() {
            slot.in_doubt = slot.in_doubt.saturating_sub(slot.generation);
        }
        known
    }
}

/// Finds the event that says that a change was made: the first with its token, or the first success at all.
fn find_answer(events: &[(Event, usize)], change: &Change) -> usize {
    let tells = |data: &[u8]| match &change.token {
        Some(token) => contains(data, token.as_bytes()),
        None => contains(data, b"\"generation\":"),
    };
    let found = events.iter().position(|(event, end)| {
        let is_in_time = change.begin < *end && *end <= change.end;
        is_in_time && matches!(event, Event::Told { data } if tells(data))
    });
    found.unwrap_or_else(|| panic!("nothing says {change:?}"))
}

fn contains(text: &[u8], piece: &[u8]) -> bool {
    text.windows(piece.len()).any(|window| window == piece)
}

/// What is done while everything is written down.
struct Script<'a> {
    place: &'a Place,
    changes: Vec<Change>,
    workspace: String,
}

impl Script<'_> {
    fn play(&mut self) {
        let server = self.place.must_serve("first");
        let mut control = server.control();
        let begin = self.here();
        let created = control.done("/workspaces", &json!({"name": "acme"}));
        self.workspace = created["workspace"]["id"].as_str().unwrap().to_owned();
        self.note("primary", begin, &created);
        for name in SLOTS {
            self.change(&mut control, name, false, false);
        }
        for name in SLOTS {
            self.change(&mut control, name, true, false);
        }
        self.change(&mut control, "a", true, true);
        self.change(&mut control, "a", false, false);
        control.done("/keys/rotate", &json!({}));
        self.change(&mut control, "b", true, false);
        control.done("/keys/rewrap", &json!({}));
        control.retire_unneeded();
        // As many as fill the log, so that it is moved into the database.
        self.change_at_once(&server, 40);
        self.change(&mut control, "b", true, true);
        server.stop();

        self.command("rotate", "a");
        self.command("create", "b");
        let backup = self.place.path().join("backup");
        let backup = backup.to_str().unwrap();
        self.must_run(&["backup", backup]);
        self.must_run(&["key", "rotate"]);
        self.command("rotate", "a");
        self.command("revoke", "b");
        self.must_run(&["key", "rewrap"]);
        self.rotate_keys_in_vain();
        self.command("rotate", "c");
        self.must_run(&["restore", backup, "--force"]);
        self.command("rotate", "d");

        let mut server = self.place.must_serve("again");
        let mut control = server.control();
        for name in ["a", "c", "d"] {
            self.change(&mut control, name, true, false);
        }
        server.kill();
        self.command("rotate", "a");
        let server = self.place.must_serve("after a kill");
        self.change(&mut server.control(), "c", true, true);
        server.stop();
    }

    /// Lets new keys get their name and not be kept: whoever comes next uses them, and a power cut must not take
    /// them away under the tokens.
    fn rotate_keys_in_vain(&self) {
        let keys = || fs::read(self.place.data_dir().join("workspaces.keys")).unwrap();
        for at in 1..200 {
            let before = keys();
            self.place.shim().fail(at, How::Killed, Errno::IO);
            let ended = self.place.run(&["key", "rotate"]);
            self.place.shim().relent();
            // The first kill that leaves another file comes before its directory is synced.
            if !ended.status.success() && keys() != before {
                return;
            }
        }
        panic!("no kill leaves a file that is not kept");
    }

    fn here(&self) -> usize {
        self.place.shim().log_length()
    }

    fn note(&mut self, name: &str, begin: usize, body: &Value) {
        let key = (self.workspace.clone(), name.to_owned());
        self.changes.push(Change::of(key, begin, self.here(), body));
    }

    fn change(&mut self, control: &mut Control, name: &str, is_live: bool, revoke: bool) {
        let begin = self.here();
        let key = (self.workspace.clone(), name.to_owned());
        let (status, body) = change(control, &key, is_live, revoke).unwrap();
        assert!(status < 300, "{name}: {body}");
        self.note(name, begin, &body);
    }

    /// Rotates each slot so often, all slots side by side, so that commits are shared.
    fn change_at_once(&mut self, server: &crate::place::Server, times: usize) {
        let (place, workspace) = (self.place, self.workspace.as_str());
        let changed = thread::scope(|scope| {
            let threads = SLOTS.map(|name| {
                let mut control = server.control();
                let key = (workspace.to_owned(), name.to_owned());
                scope.spawn(move || {
                    let rotate = |_| {
                        let begin = place.shim().log_length();
                        let (status, body) = change(&mut control, &key, true, false).unwrap();
                        assert!(status < 300, "{body}");
                        Change::of(key.clone(), begin, place.shim().log_length(), &body)
                    };
                    (0..times).map(rotate).collect::<Vec<_>>()
                })
            });
            threads.map(|thread| thread.join().unwrap())
        });
        self.changes.extend(changed.into_iter().flatten());
    }

    fn command(&mut self, verb: &str, name: &str) {
        let begin = self.here();
        let workspace = self.workspace.clone();
        let body = self.must_run(&["token", verb, "--workspace", &workspace, "--name", name]);
        self.note(name, begin, &body);
    }

    fn must_run(&self, arguments: &[&str]) -> Value {
        let ended = self.place.run(&[arguments, &["--json"]].concat());
        assert!(ended.status.success(), "{arguments:?}: {ended:?}");
        serde_json::from_str(&ended.stdout).unwrap()
    }
}

impl Change {
    fn of(key: (String, String), begin: usize, end: usize, body: &Value) -> Self {
        let token = body.get("secret").map(|_| secret_of(body));
        Self {
            key,
            generation: generation_of(body),
            token,
            begin,
            end,
            told: usize::MAX,
        }
    }
}

const SLOTS: [&str; 4] = ["a", "b", "c", "d"];
