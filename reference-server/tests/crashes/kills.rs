//! Killed at random instants: the server in the midst of rotations, revocations and a rewrap, and the command
//! line with a server and without one.

use std::{fs, thread, time::Duration};

use fastrand::Rng;
use serde_json::{Value, json};

use crate::{
    client::Control,
    ledger::{Ledger, Rows, Slot, change, generation_of, secret_of},
    place::{Place, Server},
    rounds,
};

#[test]
fn a_kill_at_any_instant_leaves_the_old_token_or_the_new_one() {
    let cycles = rounds("CYCLES", 100);
    let seed = crate::seed();
    let tallies = thread::scope(|scope| {
        let shards = [0, 1].map(|shard| {
            scope.spawn(move || {
                let mut dice = Rng::with_seed(seed ^ shard);
                // One on a disk, where a sync takes its time and more kills hit one.
                let place = if shard == 0 {
                    Place::new()
                } else {
                    Place::in_memory()
                };
                // And one of both, by chance, with a rollback journal.
                let place = if (seed ^ shard).is_multiple_of(2) {
                    place.with_journal()
                } else {
                    place
                };
                Killer::new(place).run(cycles / 2, &mut dice)
            })
        });
        shards.map(|shard| shard.join().unwrap())
    });
    let sum = |of: fn(&Tally) -> u64| tallies.iter().map(of).sum::<u64>();
    let (changes, doubtful, happened) = (
        sum(|tally| tally.changes),
        sum(|tally| tally.doubtful),
        sum(|tally| tally.happened),
    );
    println!(
        "{cycles} kills, seed {seed}: {changes} changes, {doubtful} cut off before their answer, {happened} of which had happened"
    );
    // Else the kills all come too early or too late.
    assert!(
        cycles < 100 || (happened > 0 && happened < doubtful),
        "{happened} of {doubtful}"
    );
}

/// What was hit.
#[derive(Debug, Default)]
struct Tally {
    /// New generations.
    changes: u64,
    /// Changes without an answer.
    doubtful: u64,
    /// Those of them that had happened.
    happened: u64,
}

/// A slot that one client alone changes.
type Held<'a> = (&'a (String, String), &'a mut Slot);

/// Kills, and looks what is left.
struct Killer {
    place: Place,
    ledger: Ledger,
    workspace: String,
    tally: Tally,
}

impl Killer {
    fn new(place: Place) -> Self {
        let server = place.must_serve("at first");
        let mut control = server.control();
        let created = control.done("/workspaces", &json!({"name": "acme"}));
        let workspace = created["workspace"]["id"].as_str().unwrap().to_owned();
        let mut ledger = Ledger::default();
        let primary = ledger.slot(&workspace, "primary");
        primary.acknowledge(1, Some(secret_of(&created)));
        for number in 0..SLOTS {
            let name = format!("t{number}");
            let path = format!("/workspaces/{workspace}/tokens");
            let created = control.done(&path, &json!({"name": name}));
            let slot = ledger.slot(&workspace, &name);
            slot.acknowledge(1, Some(secret_of(&created)));
        }
        Self {
            place,
            ledger,
            workspace,
            tally: Tally::default(),
        }
    }

    fn run(mut self, cycles: u64, dice: &mut Rng) -> Tally {
        let mut killed = 0;
        while killed < cycles {
            let why = format!("after {killed} kills in {}", self.place.path().display());
            let mut server = self.place.must_serve(&why);
            let rows = self.ledger.check(&server, &self.place);
            let rows = rows.unwrap_or_else(|error| panic!("{why}: {error}"));
            self.count(&rows);
            self.go_on(&server, &rows);
            if dice.u8(..4) == 0 {
                let backup = self.backup();
                let _ = fs::remove_file(&backup);
                self.place.run(&["backup", &backup]);
            }
            killed += self.kill_command(dice, false);
            self.kill_server(&mut server, dice);
            self.place.refuse_panics(&why);
            killed += 1 + self.kill_command(dice, true);
        }
        let server = self.place.must_serve("at last");
        let rows = self.ledger.check(&server, &self.place).unwrap();
        self.count(&rows);
        self.go_on(&server, &rows);
        self.tally.changes = rows.values().map(|row| row.generation).sum();
        if self.place.journal().is_some() {
            self.ledger.check_old_copy(server, &self.place);
        }
        self.tally
    }

    fn backup(&self) -> String {
        let path = self.place.path().join("backup");
        path.into_os_string().into_string().unwrap()
    }

    /// Counts what was hit, before it is known.
    fn count(&mut self, rows: &Rows) {
        let doubtful = self
            .ledger
            .slots
            .iter()
            .filter(|(_, slot)| slot.in_doubt > 0);
        for (key, slot) in doubtful {
            self.tally.doubtful += 1;
            self.tally.happened += u64::from(rows[key].generation > slot.generation);
        }
    }

    /// Makes known tokens of all, goes on with the rewrap that was killed, and takes the former keys away.
    fn go_on(&mut self, server: &Server, rows: &Rows) {
        let mut control = server.control();
        self.ledger.settle(rows, &mut control);
        let live = self.ledger.slots.len();
        let rewrapped = control.done("/keys/rewrap", &json!({}));
        let count = |name: &str| rewrapped[name].as_u64().unwrap() as usize;
        assert_eq!(
            count("rewrapped") + count("already_current"),
            live,
            "{rewrapped}"
        );
        let needs_former = |key: &Value| key["role"] == "former" && key["tokens"] != 0;
        let of_sealing = |key: &Value| key["ring"] == "sealing";
        let keys = control.keys();
        assert!(
            !keys.iter().any(|key| of_sealing(key) && needs_former(key)),
            "{keys:?}"
        );
        control.retire_unneeded();
        assert!(self.ledger.slots.values().all(Slot::is_live));
    }

    /// Has two clients change slots of their own and a third the keys, and kills the server meanwhile.
    fn kill_server(&mut self, server: &mut Server, dice: &mut Rng) {
        let after = Duration::from_micros(dice.u64(..20_000));
        let rotates_keys = dice.u8(..4) == 0;
        let controls = [(); 3].map(|()| server.control());
        let (mut left, mut right): (Vec<Held<'_>>, Vec<Held<'_>>) = Default::default();
        let slots = self.ledger.slots.iter_mut();
        for (number, slot) in slots.filter(|_| dice.bool()).enumerate() {
            match number % 2 {
                0 => left.push(slot),
                _ => right.push(slot),
            }
        }
        let [one, other, mut keys] = controls;
        thread::scope(|scope| {
            for (slots, mut control) in [(left, one), (right, other)] {
                let mut dice = dice.fork();
                scope.spawn(move || change_until_killed(slots, &mut control, &mut dice));
            }
            scope.spawn(move || {
                let path = match rotates_keys {
                    true => "/keys/rotate",
                    false => "/keys/rewrap",
                };
                // Whatever became of it: the next start goes on.
                let _ = keys.act(path, &json!({}));
                let _ = keys.act("/keys/rewrap", &json!({}));
            });
            thread::sleep(after);
            server.kill();
        });
    }

    /// Kills a command; returns how many that were.
    fn kill_command(&mut self, dice: &mut Rng, is_alone: bool) -> u64 {
        let backup = self.backup();
        let number = dice.usize(..self.ledger.slots.len());
        let (key, slot) = self.ledger.slots.iter_mut().nth(number).unwrap();
        let (workspace, name) = (self.workspace.as_str(), key.1.as_str());
        // Nobody knows what is in it.
        if slot.in_doubt > 0 {
            return 0;
        }
        let of_token = |verb| vec!["token", verb, "--workspace", workspace, "--name", name];
        let (mut arguments, changes) = match (slot.is_live(), dice.u8(..8)) {
            (false, _) => (of_token("create"), true),
            (true, 0) => (vec!["key", "rotate"], false),
            (true, 1) => (vec!["key", "rewrap"], false),
            (true, 2) => (of_token("revoke"), true),
            // What the database knows better stays as it is.
            (true, 3) if is_alone => (vec!["restore", &backup, "--force"], false),
            (true, _) => (of_token("rotate"), true),
        };
        arguments.push("--json");
        let mut child = self.place.start(&arguments);
        thread::sleep(Duration::from_micros(dice.u64(..70_000)));
        child.kill().unwrap();
        let ended = self.place.wait(child);
        assert!(
            !ended.stderr.contains("panicked"),
            "{arguments:?}: {ended:?}"
        );
        if changes {
            // Nothing, or all of it: it is written at once.
            match serde_json::from_str::<Value>(&ended.stdout) {
                Ok(body) => acknowledge(slot, &body),
                Err(_) => slot.in_doubt += 1,
            }
        }
        1
    }
}

/// Changes one slot after the other until there is no answer.
fn change_until_killed(mut slots: Vec<Held<'_>>, control: &mut Control, dice: &mut Rng) {
    slots.retain(|(_, slot)| slot.in_doubt == 0);
    while !slots.is_empty() {
        let number = dice.usize(..slots.len());
        let (key, slot) = &mut slots[number];
        let revoke = dice.u8(..4) == 0;
        slot.in_doubt = 1;
        let Ok((status, body)) = change(control, key, slot.is_live(), revoke) else {
            return;
        };
        assert!(status < 300, "{key:?}: {status} {body}");
        acknowledge(slot, &body);
    }
}

fn acknowledge(slot: &mut Slot, body: &Value) {
    let token = body["secret"].as_str().map(str::to_owned);
    slot.acknowledge(generation_of(body), token);
}

/// Enough for a rewrap of several commits.
const SLOTS: usize = 40;
