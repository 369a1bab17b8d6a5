//! A disk that fails: of all that the program does to its files, one operation after the other is refused.
//!
//! Writes, syncs, truncations, new and changed names, and opening files are counted from the moment of an action;
//! the first fails, then the second, and so on until the action needs no more of them.

use std::os::unix::process::ExitStatusExt as _;

use fastrand::Rng;
use rustix::io::Errno;
use serde_json::{Value, json};

use crate::{
    ledger::{Ledger, Slot, change, generation_of, secret_of},
    place::{Place, Server},
    rounds,
    shim::{How, Shim},
};

#[test]
fn a_server_whose_files_fail_answers_with_an_error_or_the_truth() {
    let mut dice = Rng::with_seed(crate::seed());
    for has_journal in [false, true] {
        fail_a_server(has_journal, &mut dice);
    }
}

fn fail_a_server(has_journal: bool, dice: &mut Rng) {
    let Some(mut trial) = Trial::begin(has_journal) else {
        return;
    };
    let mut server = trial.place.must_serve("at first");
    for action in ACTIONS {
        let step = match action {
            // Each, so that those of the journal are among them.
            What::Rotate if has_journal => 1,
            // Half of them without a journal, half of them with one.
            _ => step(2),
        };
        for (how, error) in FAILURES {
            for at in (1 + dice.u64(..step)..MOST_OPERATIONS).step_by(step as usize) {
                let why = format!("{action:?}, operation {at} fails {how:?} with {error}");
                trial.prepare(action, &server);
                trial.place.shim().fail(at, how, error);
                let outcome = trial.act(action, &server, &why);
                let failed = trial.place.shim().relent();
                trial.count(outcome, failed);
                let is_stuck = failed > 0 && trial.is_journal_stuck(&server, &why);
                if !is_stuck {
                    trial.check(&server, &why);
                }
                if is_stuck || trial.failed % RESTART_EVERY == 0 && failed > 0 {
                    server.kill();
                    trial.place.refuse_panics(&why);
                    server = trial.place.must_serve(&why);
                    trial.check(&server, &why);
                }
                trial.settle(&server);
                if failed == 0 {
                    break;
                }
            }
        }
    }
    trial.place.refuse_panics("at last");
    if has_journal {
        assert!(trial.stuck > 0, "no journal failed");
        println!(
            "{} failures after which a journal had to be opened anew",
            trial.stuck
        );
        trial.ledger.check_old_copy(server, &trial.place);
    }
    trial.report("actions of a server");
}

#[test]
fn a_start_whose_files_fail_ends_with_an_error_or_starts() {
    let seed = crate::seed();
    let Some(mut trial) = Trial::begin(seed.is_multiple_of(2)) else {
        return;
    };
    let step = step(2);
    let mut dice = Rng::with_seed(seed);
    for (number, (how, error)) in FAILURES.into_iter().enumerate() {
        for at in (1 + dice.u64(..step)..MOST_OPERATIONS).step_by(step as usize) {
            // Some of them after a clean stop, others after a kill, which leaves a log.
            trial.leave(at % 2 == 0);
            let why = format!("start {number}, operation {at} fails {how:?} with {error}");
            trial.place.shim().fail(at, how, error);
            let served = trial.place.serve();
            let failed = trial.place.shim().relent();
            trial.count(served.is_ok(), failed);
            match served {
                Ok(server) => trial.check(&server, &why),
                Err(ended) => {
                    assert_eq!(ended.status.code(), Some(1), "{why}: {ended:?}");
                    assert!(ended.stderr.contains("error: "), "{why}: {ended:?}");
                }
            }
            trial.place.refuse_panics(&why);
            let server = trial.place.must_serve(&why);
            trial.check(&server, &why);
            if failed == 0 {
                break;
            }
        }
    }
    trial.report("starts");
}

#[test]
fn a_command_whose_files_fail_ends_with_an_error_or_the_truth() {
    let seed = crate::seed();
    let Some(mut trial) = Trial::begin(seed.is_multiple_of(2)) else {
        return;
    };
    let step = step(8);
    let mut dice = Rng::with_seed(seed);
    for action in ACTIONS {
        for (how, error) in FAILURES.into_iter().chain([KILL]) {
            for at in (1 + dice.u64(..step)..MOST_OPERATIONS).step_by(step as usize) {
                let why =
                    format!("{action:?} by a command, operation {at} fails {how:?} with {error}");
                let mut server = trial.place.must_serve(&why);
                trial.check(&server, &why);
                trial.settle(&server);
                trial.prepare(action, &server);
                server.kill();
                trial.place.shim().fail(at, how, error);
                let outcome = trial.run(action, &why);
                let failed = trial.place.shim().relent();
                trial.count(outcome, failed);
                if failed == 0 {
                    break;
                }
            }
        }
    }
    let server = trial.place.must_serve("at last");
    trial.check(&server, "at last");
    trial.report("commands");
}

/// What is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Create,
    KeyRotate,
    Retire,
    Revoke,
    Rewrap,
    Rotate,
}

/// A data directory, and what is known of it.
struct Trial {
    place: Place,
    ledger: Ledger,
    workspace: String,
    /// The key that is to be retired.
    former: String,
    failed: u64,
    succeeded: u64,
    /// After which the server wrote nothing until it was started again.
    stuck: u64,
}

impl Trial {
    /// Makes a few tokens; returns nothing where there is no shim, which it says.
    fn begin(has_journal: bool) -> Option<Self> {
        let shim = match Shim::new() {
            Ok(shim) => shim,
            Err(why) => {
                eprintln!("skipped: {why}");
                return None;
            }
        };
        let mut place = Place::in_memory().with_shim(shim);
        if has_journal {
            place = place.with_journal();
        }
        let server = place.must_serve("first");
        let mut control = server.control();
        let created = control.done("/workspaces", &json!({"name": "acme"}));
        let workspace = created["workspace"]["id"].as_str().unwrap().to_owned();
        let mut ledger = Ledger::default();
        let primary = ledger.slot(&workspace, "primary");
        primary.acknowledge(1, Some(secret_of(&created)));
        for name in ["changed", "other"] {
            let key = (workspace.clone(), name.to_owned());
            let (_, created) = change(&mut control, &key, false, false).unwrap();
            let slot = ledger.slot(&workspace, name);
            slot.acknowledge(1, Some(secret_of(&created)));
        }
        server.stop();
        Some(Self {
            place,
            ledger,
            workspace,
            former: String::new(),
            failed: 0,
            succeeded: 0,
            stuck: 0,
        })
    }

    fn changed(&mut self) -> &mut Slot {
        let workspace = self.workspace.clone();
        self.ledger.slot(&workspace, "changed")
    }

    /// Makes room for an action: a slot without a token, rows under a former key, a former key that nobody needs.
    fn prepare(&mut self, action: What, server: &Server) {
        let mut control = server.control();
        match action {
            What::Create => {
                let key = (self.workspace.clone(), "changed".to_owned());
                let (_, revoked) = change(&mut control, &key, true, true).unwrap();
                let generation = generation_of(&revoked);
                self.changed().acknowledge(generation, None);
            }
            What::Rewrap => {
                control.done("/keys/rotate", &json!({}));
            }
            What::Retire => {
                control.done("/keys/rotate", &json!({}));
                control.done("/keys/rewrap", &json!({}));
                let keys = control.keys();
                let former = keys.iter().find(|key| is_former_sealing(key)).unwrap();
                self.former = former["id"].as_str().unwrap().to_owned();
            }
            What::KeyRotate | What::Revoke | What::Rotate => {}
        }
    }

    /// Has the server do it; returns whether it said that it was done.
    fn act(&mut self, action: What, server: &Server, why: &str) -> bool {
        let mut control = server.control();
        let (path, arguments) = self.call(action);
        let (status, body) = control.act(&path, &arguments).unwrap();
        let is_done = status < 300;
        assert!(
            is_done || body["error"]["code"].is_string(),
            "{why}: {body}"
        );
        self.note(action, is_done.then_some(&body));
        is_done
    }

    /// Runs it as a command, without a server.
    fn run(&mut self, action: What, why: &str) -> bool {
        let of_token = |verb| {
            vec![
                "token",
                verb,
                "--workspace",
                &self.workspace,
                "--name",
                "changed",
            ]
        };
        let mut arguments = match action {
            What::Create => of_token("create"),
            What::Revoke => of_token("revoke"),
            What::Rotate => of_token("rotate"),
            What::KeyRotate => vec!["key", "rotate"],
            What::Rewrap => vec!["key", "rewrap"],
            What::Retire => vec!["key", "retire", &self.former],
        };
        arguments.push("--json");
        let ended = self.place.run(&arguments);
        assert!(!ended.stderr.contains("panicked"), "{why}: {ended:?}");
        let shown = serde_json::from_str::<Value>(&ended.stdout).ok();
        let was_killed = ended.status.signal() == Some(9);
        assert!(!was_killed || why.contains("Killed"), "{why}: {ended:?}");
        // Killed while it cleans up, it has shown what there is to show.
        if shown.is_some() {
            assert!(was_killed || ended.status.success(), "{why}: {ended:?}");
        } else if !was_killed {
            assert_eq!(ended.status.code(), Some(1), "{why}: {ended:?}");
            let error: Value = serde_json::from_str(&ended.stderr).unwrap();
            assert!(error["error"]["code"].is_string(), "{why}: {error}");
        }
        self.note(action, shown.as_ref());
        shown.is_some()
    }

    fn call(&self, action: What) -> (String, Value) {
        let tokens = format!("/workspaces/{}/tokens", self.workspace);
        match action {
            What::Create => (tokens, json!({"name": "changed"})),
            What::Revoke => (format!("{tokens}/changed/revoke"), json!({})),
            What::Rotate => (format!("{tokens}/changed/rotate"), json!({})),
            What::KeyRotate => ("/keys/rotate".to_owned(), json!({})),
            What::Rewrap => ("/keys/rewrap".to_owned(), json!({})),
            What::Retire => (format!("/keys/{}/retire", self.former), json!({})),
        }
    }

    fn note(&mut self, action: What, answer: Option<&Value>) {
        if !matches!(action, What::Create | What::Revoke | What::Rotate) {
            return;
        }
        let slot = self.changed();
        match answer {
            Some(body) => {
                let token = body.get("secret").map(|_| secret_of(body));
                slot.acknowledge(generation_of(body), token);
            }
            None => slot.in_doubt = 1,
        }
    }

    fn check(&self, server: &Server, why: &str) {
        let checked = self.ledger.check(server, &self.place);
        checked.unwrap_or_else(|error| panic!("{why}: {error}\n{}", self.place.log()));
    }

    /// Whether a server refuses to write although no file fails any more, which it may if the journal failed:
    /// nobody knows what is in that until it is opened anew. Meanwhile no former token is let in.
    fn is_journal_stuck(&mut self, server: &Server, why: &str) -> bool {
        if self.place.journal().is_none() {
            return false;
        }
        let key = (self.workspace.clone(), "other".to_owned());
        let (status, body) = change(&mut server.control(), &key, true, false).unwrap();
        let slot = self.ledger.slots.get_mut(&key).unwrap();
        if status < 300 {
            slot.acknowledge(generation_of(&body), Some(secret_of(&body)));
            return false;
        }
        slot.in_doubt += 1;
        self.stuck += 1;
        assert!(status >= 500, "{why}: {status} {body}");
        let checked = self.ledger.check_refusals(server, &self.place);
        checked.unwrap_or_else(|error| panic!("{why}: {error}\n{}", self.place.log()));
        true
    }

    /// Goes on as if nothing had been: makes tokens known again, rewraps, takes former keys away.
    fn settle(&mut self, server: &Server) {
        let rows = self.ledger.check(server, &self.place).unwrap();
        let mut control = server.control();
        self.ledger.settle(&rows, &mut control);
        if control.keys().iter().any(|key| key["role"] == "former") {
            control.done("/keys/rewrap", &json!({}));
            control.retire_unneeded();
        }
    }

    /// Leaves the directory as a server that stopped or was killed does.
    fn leave(&self, cleanly: bool) {
        let mut server = self.place.must_serve("in between");
        match cleanly {
            true => server.stop(),
            false => server.kill(),
        }
    }

    fn count(&mut self, succeeded: bool, failed: u64) {
        self.failed += u64::from(failed > 0);
        self.succeeded += u64::from(succeeded && failed > 0);
    }

    fn report(&self, what: &str) {
        let (failed, succeeded) = (self.failed, self.succeeded);
        println!("{failed} {what} with failures, {succeeded} of them done all the same");
        assert!(failed > 20 && succeeded < failed);
    }
}

fn is_former_sealing(key: &Value) -> bool {
    key["role"] == "former" && key["ring"] == "sealing"
}

const ACTIONS: [What; 6] = [
    What::Create,
    What::KeyRotate,
    What::Retire,
    What::Revoke,
    What::Rewrap,
    What::Rotate,
];

const FAILURES: [(How, Errno); 6] = [
    (How::Once, Errno::NOSPC),
    (How::Once, Errno::IO),
    (How::Once, Errno::ROFS),
    (How::FromThereOn, Errno::IO),
    (How::FromThereOn, Errno::ROFS),
    (How::CutShort, Errno::NOSPC),
];

/// A kill in the place of an operation, which a server does not outlive.
const KILL: (How, Errno) = (How::Killed, Errno::INTR);

/// Returns between which operations that fail the others are left out; all of them are tried with `FAULT_STEP=1`.
///
/// `cost` says how much longer one takes than with a server that runs.
fn step(cost: u64) -> u64 {
    match rounds("FAULT_STEP", 4) {
        1 => 1,
        step => step * cost,
    }
}

/// How many failures a server has to live through.
const RESTART_EVERY: u64 = 8;

/// More than any action needs.
const MOST_OPERATIONS: u64 = 1000;
