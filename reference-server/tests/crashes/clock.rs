//! A wall clock that is wrong: by years, from one start to the next and while the server runs.
//!
//! The program asks the vDSO, which the shim replaces; time that only goes forward stays right, as it does on a
//! machine whose clock is set.

use std::{collections::BTreeMap, thread, time::Duration};

use serde_json::{Value, json};

use crate::{
    ledger::{Ledger, change, generation_of, secret_of},
    place::{Place, Server},
    shim::Shim,
};

#[test]
fn a_token_is_valid_and_rotated_whatever_the_clock_says_at_the_start() {
    let Some(mut world) = World::begin() else {
        return;
    };
    for (name, seconds) in world.times() {
        world.place.shim().move_clock(seconds);
        let server = world.place.must_serve(name);
        world.check(&server, name);
        world.rotate(&server, name);
        world.check(&server, name);
        assert!(world.session_is_over(&server).is_none(), "{name}");
        server.stop();
        world.place.refuse_panics(name);
    }
}

#[test]
fn a_token_is_valid_and_rotated_whatever_becomes_of_the_clock_meanwhile() {
    let Some(mut world) = World::begin() else {
        return;
    };
    let server = world.place.must_serve("now");
    for (name, seconds) in world.times() {
        world.place.shim().move_clock(seconds);
        world.check(&server, name);
        world.rotate(&server, name);
        world.check(&server, name);
        world.place.shim().move_clock(0);
        world.check(&server, &format!("back from {name}"));
    }
    world.place.refuse_panics("at last");
}

#[test]
fn no_clock_brings_back_a_session_that_is_over() {
    let Some(world) = World::begin() else {
        return;
    };
    let server = world.place.must_serve("now");
    let token = world.token();
    let open = || {
        server
            .agent()
            .open_session(&world.workspace, &token)
            .unwrap()
    };
    let status = |session: &str| {
        server
            .agent()
            .ping(&world.workspace, &token, session)
            .unwrap()
    };
    let (mut dead, mut alive) = (BTreeMap::new(), 0);
    for (name, seconds) in world.times() {
        let session = open();
        assert_ne!(status(&session), 404, "{name}: a new session");
        world.move_clock(seconds);
        // Expired, or from a future that is far: whatever it is, it is not so in the next time only.
        if status(&session) == 404 {
            dead.insert(session, name);
        } else {
            alive += 1;
        }
        for back in [0, seconds, -seconds / 2] {
            world.move_clock(back);
            for (session, of) in &dead {
                assert_eq!(status(session), 404, "{of}: {name}, {back}");
            }
        }
        world.move_clock(0);
    }
    // Forward they end, and backward they need not: the time that only goes forward ends them.
    assert!(dead.len() >= 5 && alive > 0, "{} {alive}", dead.len());
    world.place.refuse_panics("at last");
}

/// hyper panics where a date cannot be said in HTTP, before 1970 and after 9999, and that is nothing that its users
/// can switch off: the connection is cut, which is wrong and lets nobody in. Where the clock has gone back it may say
/// the last date instead, for it looks again only at a later time than that; then the token counts as it did.
#[test]
fn a_time_that_no_date_can_say_cuts_connections_and_passes() {
    let Some(mut world) = World::begin() else {
        return;
    };
    let now = 86_400 * days_since_1970(&world.place);
    let mut server = world.place.must_serve("now");
    for (name, seconds) in [
        ("before 1970", -now - YEAR),
        ("the year 12000", 10_000 * YEAR),
        ("the year 300000", 300_000 * YEAR),
        ("beyond all calendars", 1 << 55),
    ] {
        world.place.shim().move_clock(seconds);
        // hyper says a date for up to a second before it looks at the clock again.
        let is_cut = (0..100).any(|_| {
            let answer = server.agent().admits(&world.workspace, &world.token());
            assert!(!matches!(answer, Ok(false)), "{name}: a live token");
            if answer.is_ok() {
                thread::sleep(Duration::from_millis(50));
            }
            answer.is_err()
        });
        assert!(is_cut || seconds < 0, "{name}");
        world.place.shim().move_clock(0);
        world.check(&server, &format!("back from {name}"));
        world.rotate(&server, name);

        // A command has no dates to say.
        server.kill();
        world.place.shim().move_clock(seconds);
        let workspace = world.workspace.clone();
        let ended = world
            .place
            .run(&["token", "rotate", "--workspace", &workspace, "--json"]);
        assert!(ended.status.success(), "{name}: {ended:?}");
        let body: Value = serde_json::from_str(&ended.stdout).unwrap();
        let slot = world.ledger.slot(&workspace, "primary");
        slot.acknowledge(generation_of(&body), Some(secret_of(&body)));
        world.place.shim().move_clock(0);
        server = world.place.must_serve(name);
        world.check(&server, name);
    }
}

/// A data directory with a token in it, made when the clock was right.
struct World {
    place: Place,
    ledger: Ledger,
    workspace: String,
}

impl World {
    /// Makes one; none where the clock cannot be moved, which it says.
    fn begin() -> Option<Self> {
        let shim = match Shim::new().and_then(Shim::moving_clock) {
            Ok(shim) => shim,
            Err(why) => {
                eprintln!("skipped: {why}");
                return None;
            }
        };
        let place = Place::in_memory().with_shim(shim);
        let server = place.must_serve("first");
        let created = server
            .control()
            .done("/workspaces", &json!({"name": "acme"}));
        let workspace = created["workspace"]["id"].as_str().unwrap().to_owned();
        let mut ledger = Ledger::default();
        let primary = ledger.slot(&workspace, "primary");
        primary.acknowledge(1, Some(secret_of(&created)));
        server.stop();
        Some(Self {
            place,
            ledger,
            workspace,
        })
    }

    /// Returns times by name, as seconds from now.
    fn times(&self) -> Vec<(&'static str, i64)> {
        let now = 86_400 * days_since_1970(&self.place);
        vec![
            ("ten years ago", -10 * YEAR),
            ("in ten years", 10 * YEAR),
            ("an hour ago", -3600),
            ("1970", -now),
            ("the end of 31 bits", i64::from(i32::MAX) - now),
            ("the end of 32 bits", i64::from(u32::MAX) - now),
            ("after 32 bits", i64::from(u32::MAX) + 2 * 86_400 - now),
            ("the year 9000", 6_970 * YEAR),
        ]
    }

    /// Moves the clock, and lets a moment pass: sessions may look at a time of some milliseconds before.
    fn move_clock(&self, seconds: i64) {
        self.place.shim().move_clock(seconds);
        thread::sleep(Duration::from_millis(20));
    }

    fn token(&self) -> String {
        let slot = self.ledger.slots.values().next().unwrap();
        slot.tokens[&slot.generation].clone()
    }

    fn check(&self, server: &Server, why: &str) {
        let checked = self.ledger.check(server, &self.place);
        checked.unwrap_or_else(|error| panic!("{why}: {error}\n{}", self.place.log()));
    }

    fn rotate(&mut self, server: &Server, why: &str) {
        let key = (self.workspace.clone(), "primary".to_owned());
        let (status, body) = change(&mut server.control(), &key, true, false).unwrap();
        assert!(status < 300, "{why}: {body}");
        let slot = self.ledger.slot(&key.0, &key.1);
        slot.acknowledge(generation_of(&body), Some(secret_of(&body)));
    }

    /// Opens a session and uses it; returns what is wrong with it.
    fn session_is_over(&self, server: &Server) -> Option<u16> {
        let token = self.token();
        let session = server
            .agent()
            .open_session(&self.workspace, &token)
            .unwrap();
        let status = server
            .agent()
            .ping(&self.workspace, &token, &session)
            .unwrap();
        (status == 404).then_some(status)
    }
}

/// Reads the day from the place's own age, since nothing here asks for the time.
fn days_since_1970(place: &Place) -> i64 {
    let modified = std::fs::metadata(place.path()).unwrap().modified().unwrap();
    let since = modified.duration_since(std::time::UNIX_EPOCH).unwrap();
    (since.as_secs() / 86_400) as i64
}

const YEAR: i64 = 31_557_600;
