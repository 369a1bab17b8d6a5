//! `serve --demo`: what it fills, what its agent does, and where it may not run.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    common::{Home, Server, Stopwatch, text},
    secrets::Detector,
};

const SAYS_SO: [&str; 2] = [
    "I am a scripted agent of the demo",
    "*Scripted agent of the demo:*",
];

/// A demo that runs, and its one workspace.
struct Demo {
    home: Home,
    server: Server,
    id: String,
}

impl Demo {
    fn start() -> Self {
        Self::start_in(Home::new())
    }

    fn start_in(home: Home) -> Self {
        let server = home.serve_with(&["--demo"]);
        let list = home.json(&["workspace", "list"]);
        let all = list["workspaces"].as_array().unwrap();
        assert_eq!(all.len(), 1, "{list}");
        let name = all[0]["name"].as_str().unwrap();
        assert!(name.starts_with("Demo"), "{name}");
        let id = text(&all[0]["id"]);
        Self { home, server, id }
    }

    /// Asks the API of the workspace as the operator, over the control socket.
    fn operate(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut stream = UnixStream::connect(self.home.data_dir().join("control.sock")).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let head = format!(
            "{method} /api/v1/workspaces/{}{path} HTTP/1.1\r\nhost: control.sock\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.id,
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("HTTP/1.1 200"),
            "{method} {path}: {answer}"
        );
        serde_json::from_str(body).unwrap()
    }

    fn get(&self, path: &str) -> Value {
        self.operate("GET", path, &Value::Null)
    }

    /// Returns the ids and states of all tasks, by title.
    fn tasks(&self) -> BTreeMap<String, (String, String)> {
        let page = self.get("/tasks?limit=100");
        let tasks = page["tasks"].as_array().unwrap();
        let of = |task: &Value| (text(&task["id"]), text(&task["status"]));
        let named: BTreeMap<_, _> = tasks
            .iter()
            .map(|task| (text(&task["title"]), of(task)))
            .collect();
        assert_eq!(named.len(), tasks.len(), "no task is there twice");
        named
    }

    fn status(&self, title: &str) -> String {
        self.tasks()[title].1.clone()
    }

    fn task(&self, title: &str) -> String {
        self.tasks()[title].0.clone()
    }

    fn say(&self, task: &str, text: &str) {
        let reply = ["task", "reply", "--task", task, "--text", text];
        self.home
            .json(&[&reply[..], &["--workspace", &self.id]].concat());
    }

    /// Returns what agents said in a task.
    fn said(&self, task: &str) -> Vec<String> {
        let shown = self.get(&format!("/tasks/{task}"));
        let messages = shown["messages"].as_array().unwrap();
        let of_agents = messages
            .iter()
            .filter(|message| message["author"] == "agent");
        of_agents.map(|message| text(&message["text"])).collect()
    }

    fn needs(&self) -> Vec<Value> {
        self.get("/needs-you")["needs"].as_array().unwrap().clone()
    }

    fn pending(&self) -> Option<Value> {
        let all = self.get("/approvals");
        let mut all = all["approvals"].as_array().unwrap().iter();
        all.find(|approval| approval["state"] == "pending").cloned()
    }

    fn connections(&self) -> Vec<Value> {
        let all = self.get("/connections");
        all["connections"].as_array().unwrap().clone()
    }

    /// Waits until the agents have played all that they begin with.
    fn settled(&self) {
        eventually("the demo settles", || {
            let states: BTreeSet<_> = self.tasks().into_values().map(|(_, state)| state).collect();
            let asks = self
                .needs()
                .iter()
                .any(|need| need["kind"] == "question" && need["task"]["title"] == BERTHS);
            states.len() == 5 && asks && self.pending().is_some()
        });
    }
}

const BERTHS: &str = "Give the berths names that nobody mixes up";
const TIDES: &str = "Publish the tide tables of next week";
const LIGHTS: &str = "Check the lights of the breakwater";
const FOG: &str = "Write down how to enter the harbour in fog";

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let watch = Stopwatch::start();
    while !holds() {
        assert!(watch.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn fills_a_workspace_with_tasks_in_every_state() {
    let demo = Demo::start();
    demo.settled();
    let kinds: BTreeSet<_> = demo
        .needs()
        .iter()
        .map(|need| text(&need["kind"]))
        .collect();
    let kinds: Vec<_> = kinds.iter().map(String::as_str).collect();
    assert_eq!(kinds, ["approval", "blocked", "question"]);
    assert_eq!(demo.status(TIDES), "blocked");
    let approval = demo.pending().unwrap();
    assert_eq!(text(&approval["task"]), demo.task(LIGHTS));

    let fog = demo.task(FOG);
    assert_eq!(
        demo.get(&format!("/tasks/{fog}"))["attachments"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let page = demo.said(&fog).join("\n");
    for markdown in ["```sh", "\n- ", "|---|", "](https://", "1. "] {
        assert!(page.contains(markdown), "{markdown}: {page}");
    }
    for (title, (task, _)) in demo.tasks() {
        for said in demo.said(&task) {
            let says_so = SAYS_SO.iter().any(|mark| said.starts_with(mark));
            assert!(says_so, "{title}: {said}");
        }
    }

    let connected = demo.connections();
    assert_eq!(
        connected.len(),
        1,
        "the second agent has gone: {connected:?}"
    );
    assert_eq!(connected[0]["client"], "Demo agent");
    assert_eq!(connected[0]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(connected[0]["token"], "build-agent");
    let tokens = demo.home.json(&["token", "list", "--workspace", &demo.id]);
    let names: BTreeSet<_> = tokens["tokens"]
        .as_array()
        .unwrap()
        .iter()
        .map(|token| text(&token["name"]))
        .collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    assert_eq!(names, ["build-agent", "docs-agent", "primary"]);
}

#[test]
fn a_persons_answers_lead_the_agent_on() {
    let demo = Demo::start();
    demo.settled();
    let tasks = demo.tasks().len();
    demo.say(&demo.task(BERTHS), "Birds, please.");
    demo.say(&demo.task(TIDES), "The proof is fine.");
    let approval = text(&demo.pending().unwrap()["id"]);
    demo.operate(
        "POST",
        &format!("/approvals/{approval}/answer"),
        &json!({ "answer": "deny" }),
    );
    eventually("the agent goes on", || {
        demo.status(BERTHS) == "completed"
            && demo.status(TIDES) == "completed"
            && demo.status(LIGHTS) == "rejected"
    });
    assert_eq!(demo.pending(), None);

    let add = ["task", "add", "--title", "Why?", "--body", "Tell me?"];
    let added = demo
        .home
        .json(&[&add[..], &["--workspace", &demo.id]].concat());
    let watch = Stopwatch::start();
    eventually("the new task is played", || {
        demo.status("Why?") == "completed"
    });
    assert!(watch.elapsed() < Duration::from_secs(20));
    let said = demo.said(&text(&added["task"]["id"]));
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said[0].starts_with(SAYS_SO[0]), "{said:?}");
    // It makes no more work than there is.
    assert_eq!(demo.tasks().len(), tasks + 1);
}

#[test]
fn a_regenerated_token_ends_the_agent_which_leaves_a_trail_and_comes_back_with_the_next_start() {
    let demo = Demo::start();
    demo.settled();
    let tasks = demo.tasks();
    let name = ["--name", "build-agent"];
    let rotate = ["token", "rotate", "--workspace", &demo.id];
    let rotated = demo.home.json(&[&rotate[..], &name].concat());
    assert!(
        rotated["sessions_ended"].as_u64().unwrap() >= 1,
        "{rotated}"
    );
    assert_eq!(demo.connections().len(), 0);
    assert_eq!(demo.pending(), None, "nobody is there to be answered");
    eventually("the agent gives up", || {
        demo.server.log().contains("the demo's agent has stopped")
    });
    let said = demo.server.log();
    assert!(said.contains("start `wst serve --demo` again"), "{said}");
    let trail = demo.get("/tokens/rejected");
    let tried = &trail["rejected"][0];
    assert_eq!(tried["client"], "Demo agent", "{trail}");
    assert_eq!(tried["token"], "build-agent");
    assert_eq!(tried["times"], 6, "{trail}");

    // A person answers while nobody is there.
    demo.say(&demo.task(BERTHS), "Letters.");
    let Demo { home, server, id } = demo;
    assert_eq!(server.stop(Signal::TERM).0, Some(0));
    let demo = Demo::start_in(home);
    assert_eq!(demo.id, id);
    eventually("the agent is back and goes on", || {
        demo.status(BERTHS) == "completed" && demo.pending().is_some()
    });
    assert_eq!(
        demo.tasks().keys().collect::<Vec<_>>(),
        tasks.keys().collect::<Vec<_>>()
    );
    assert_eq!(
        demo.said(&demo.task(LIGHTS)).len(),
        1,
        "it does not repeat itself"
    );

    // Nor does a revoked token keep it out.
    let revoke = ["token", "revoke", "--workspace", &demo.id];
    demo.home.json(&[&revoke[..], &name].concat());
    let Demo { home, server, .. } = demo;
    drop(server);
    let demo = Demo::start_in(home);
    eventually("the agent is back", || demo.pending().is_some());
}

#[test]
fn a_start_that_was_interrupted_is_made_good() {
    // While the agents play.
    let Demo { home, server, id } = Demo::start();
    drop(server);
    let demo = Demo::start_in(home);
    assert_eq!(demo.id, id);
    demo.settled();
    let titles: Vec<_> = demo.tasks().into_keys().collect();

    // While it is filled: as if the mark that it is done had not been written.
    let (home, id) = half_filled(demo);
    let demo = Demo::start_in(home);
    assert_ne!(demo.id, id);
    demo.settled();
    assert_eq!(demo.tasks().into_keys().collect::<Vec<_>>(), titles);

    // Before there was a workspace.
    let home = Home::new();
    drop(home.serve());
    let database = rusqlite::Connection::open(home.database()).unwrap();
    let begun = "INSERT INTO meta (key, value) VALUES ('demo', 'begun aaaaaaaaaaa')";
    assert_eq!(database.execute(begun, []).unwrap(), 1);
    drop(database);
    drop(Demo::start_in(home));
}

/// Stops a demo as a start is that was killed while it filled the workspace.
fn half_filled(demo: Demo) -> (Home, String) {
    let Demo { home, server, id } = demo;
    assert_eq!(server.stop(Signal::TERM).0, Some(0));
    let database = rusqlite::Connection::open(home.database()).unwrap();
    let begun = "UPDATE meta SET value = 'begun ' || value WHERE key = 'demo'";
    assert_eq!(database.execute(begun, []).unwrap(), 1);
    (home, id)
}

#[test]
fn what_others_made_beside_a_demo_that_was_only_begun_is_refused_and_stays() {
    let (with_workspace, id) = half_filled(Demo::start());
    let server = with_workspace.serve();
    with_workspace.create_workspace("acme");
    assert_eq!(server.stop(Signal::TERM).0, Some(0));
    let (with_user, _) = half_filled(Demo::start());
    let server = with_user.serve();
    with_user.json(&["user", "add", "grace"]);
    assert_eq!(server.stop(Signal::TERM).0, Some(0));
    for home in [&with_workspace, &with_user] {
        let before = files(home);
        let done = home.serve_in_vain(&["--demo"]);
        assert_eq!(done.code, 1, "{}", done.stderr);
        assert!(done.stderr.contains("--data-dir"), "{}", done.stderr);
        assert!(files(home) == before);
    }
    let list = with_workspace.json(&["workspace", "list"]);
    let names = list["workspaces"].as_array().unwrap().iter();
    let names: BTreeSet<_> = names.map(|line| text(&line["name"])).collect();
    assert!(names.contains("acme"), "{list}");
    assert_eq!(names.len(), 2, "the half-filled {id} is theirs to delete");
}

#[test]
fn without_the_option_a_demo_is_a_plain_server_that_says_what_its_data_is() {
    let Demo { home, server, id } = Demo::start();
    for path in ["/login", "/setup", "/join", "/nowhere"] {
        assert!(says_demo(&server, path), "{path}");
    }
    let (code, took) = server.stop(Signal::TERM);
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(5), "{took:?}");

    let server = home.serve();
    assert!(says_demo(&server, "/login"));
    let demo = Demo { home, server, id };
    let add = ["task", "add", "--title", "T", "--body", "B"];
    demo.home
        .json(&[&add[..], &["--workspace", &demo.id]].concat());
    // Long enough for an agent that waited.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(demo.status("T"), "notstarted");
    assert_eq!(demo.connections().len(), 0);

    let plain = Home::new();
    let server = plain.serve();
    for path in ["/login", "/setup", "/nowhere"] {
        assert!(!says_demo(&server, path), "{path}");
    }
}

fn says_demo(server: &Server, path: &str) -> bool {
    let answer = server.ask("GET", path, &[("accept", "text/html")]);
    assert!(answer.body.contains("<main"), "{path}: {}", answer.body);
    answer.body.contains(">demo: its agent is a script<")
}

#[test]
fn an_archived_demo_starts_without_its_agent() {
    let Demo { home, server, id } = Demo::start();
    home.json(&["workspace", "archive", &id]);
    drop(server);
    let server = home.serve_with(&["--demo"]);
    assert!(server.log().contains("its agent stays away"));
}

#[test]
fn a_data_directory_with_other_work_in_it_is_refused_and_stays_as_it_is() {
    let with_workspace = Home::new();
    let server = with_workspace.serve();
    with_workspace.create_workspace("acme");
    assert_eq!(server.stop(Signal::TERM).0, Some(0));
    let with_user = Home::new();
    let server = with_user.serve();
    with_user.json(&["user", "add", "grace"]);
    assert_eq!(server.stop(Signal::TERM).0, Some(0));
    // Its database has a log.
    let killed = Home::new();
    let server = killed.serve();
    killed.create_workspace("acme");
    drop(server);
    for home in [with_workspace, with_user, killed] {
        let before = files(&home);
        let done = home.serve_in_vain(&["--demo"]);
        assert_eq!(done.code, 1, "{}", done.stderr);
        assert!(done.stderr.contains("--data-dir"), "{}", done.stderr);
        let mut after = files(&home);
        let name = |name: &String| name.clone();
        assert!(before.keys().map(name).eq(after.keys().map(name)));
        after.retain(|name, bytes| before[name] != *bytes);
        let changed: Vec<_> = after.keys().collect();
        assert!(changed.is_empty(), "{changed:?}");
        drop(home.serve());
    }

    // A server without any work made it: as good as new.
    let home = Home::new();
    drop(home.serve());
    drop(Demo::start_in(home));
}

/// Returns what is in the data directory, but for the memory that SQLite reads a log with.
fn files(home: &Home) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(home.data_dir()).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let paths = paths.filter(|path| !path.to_string_lossy().ends_with("-shm"));
    let read = |path: std::path::PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // A socket is no file.
        (name, fs::read(path).unwrap_or_default())
    };
    paths.map(read).collect()
}

#[test]
fn a_demo_is_for_this_machine_alone() {
    let home = Home::new();
    for (arguments, way_out) in [
        (
            &["--listen", "0.0.0.0:0", "--insecure-http"][..],
            "--listen",
        ),
        (&["--listen", "[::]:0", "--insecure-http"], "--listen"),
        (&["--tls-cert", "c.pem", "--tls-key", "k.pem"], "--tls-cert"),
        (&["--public-url", "https://example.com"], "--public-url"),
        (&["--trusted-proxy", "127.0.0.1"], "--trusted-proxy"),
    ] {
        let done = home.serve_in_vain_alone(&[&["--demo"], arguments].concat());
        assert_eq!(done.code, 2, "{arguments:?}: {}", done.stderr);
        let said = &done.stderr;
        assert!(said.contains("--demo") && said.contains(way_out), "{said}");
        assert!(!home.data_dir().exists(), "{arguments:?}");
    }
    let home = Home::new().with_variable("WST_DEMO", "true");
    let done = home.serve_in_vain_alone(&["--listen", "0.0.0.0:0", "--insecure-http"]);
    assert!(done.stderr.contains("--demo"), "{}", done.stderr);
    let file = Home::new();
    fs::write(file.path("wst.toml"), "demo = true\n").unwrap();
    let arguments = ["--config", "wst.toml", "--public-url", "http://127.0.0.1"];
    let done = file.serve_in_vain_alone(&arguments);
    assert!(done.stderr.contains("--demo"), "{}", done.stderr);
}

/// Nobody outside of the server sees the agent's secrets; how the payload of each begins is known.
#[test]
fn no_piece_of_the_agents_tokens_is_in_a_file_or_log_at_trace() {
    let demo = Demo::start_in(Home::new().with_variable("WST_LOG", "trace"));
    demo.settled();
    let known = |generation: u32| {
        let mut payload = format!("{{\"aud\":\"{}\",\"gen\":{generation},\"iat\":", demo.id);
        payload.truncate(payload.len() / 3 * 3);
        BASE64_URL_SAFE_NO_PAD.encode(payload)
    };
    let mut detector = Detector::default();
    for generation in [1, 2] {
        detector.watch(known(generation).as_bytes());
    }
    let workspace = ["--workspace", &demo.id];
    let created = demo
        .home
        .json(&[&["token", "create", "--name", "x"][..], &workspace].concat());
    let token = text(&created["secret"]);
    assert!(token.contains(&known(1)), "the payload begins as expected");
    detector.watch_token(&token);
    let rotate = ["token", "rotate", "--name", "build-agent"];
    let rotated = demo.home.json(&[&rotate[..], &workspace].concat());
    detector.watch_token(&text(&rotated["secret"]));
    eventually("the old token was tried", || {
        demo.get("/tokens/rejected")["rejected"][0]["times"].as_u64() >= Some(2)
    });
    let log = demo.server.log();
    assert!(log.contains("answered status=401"), "the log is at work");
    for (name, bytes) in files(&demo.home) {
        assert!(!detector.finds_any_in(&bytes), "{name}");
    }
    assert!(!detector.finds_any_in(log.as_bytes()));
    let Demo { home, server, .. } = demo;
    assert_eq!(server.stop(Signal::TERM).0, Some(0));
    for (name, bytes) in files(&home) {
        assert!(!detector.finds_any_in(&bytes), "{name}");
    }
}
