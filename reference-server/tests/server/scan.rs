//! `wst scan`: what it finds, whom it asks, and that it prints no part of a token.

use std::{
    fs::{self, File},
    io::{Seek as _, SeekFrom, Write as _},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{
    common::{Done, Home, Server, Workspace, lacks_a_tree, text},
    secrets::Detector,
};

/// A server, a directory to scan, and what must not be printed.
struct Place {
    home: Home,
    server: Server,
    workspace: Workspace,
    detector: Detector,
}

impl Place {
    fn new() -> Self {
        let home = Home::new();
        let server = home.serve();
        let workspace = home.create_workspace("acme");
        fs::create_dir(home.path("tree")).unwrap();
        let mut detector = Detector::default();
        detector.watch_token(&workspace.secret);
        Self {
            home,
            server,
            workspace,
            detector,
        }
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.home.path("tree").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Rotates the token; returns the old one, and knows the new one from here on.
    fn rotate(&mut self) -> String {
        let arguments = ["token", "rotate", "--workspace", &self.workspace.id];
        let rotated = self.home.json(&arguments);
        let old = std::mem::replace(&mut self.workspace.secret, text(&rotated["secret"]));
        self.detector.watch_token(&self.workspace.secret);
        old
    }

    /// Scans for people, and sees that nothing of a token is printed.
    fn scan(&self, arguments: &[&str]) -> Done {
        let done = self.home.run(&[&["scan"], arguments].concat());
        self.assert_clean(&done);
        done
    }

    /// Scans for programs, with an exit code.
    fn report(&self, arguments: &[&str], code: i32) -> Value {
        let done = self.scan(&[arguments, &["--json"]].concat());
        assert_eq!(done.code, code, "{} {}", done.stdout, done.stderr);
        serde_json::from_str(&done.stdout).unwrap()
    }

    fn assert_clean(&self, done: &Done) {
        for said in [&done.stdout, &done.stderr] {
            assert!(!self.detector.finds_any_in(said.as_bytes()), "{said}");
        }
    }

    fn git(&self, arguments: &[&str]) -> Done {
        git(&self.home.path("tree"), arguments)
    }

    fn repository(&self) {
        for arguments in [
            &["init", "-q", "-b", "main"][..],
            &["config", "user.email", "nobody@example.com"],
            &["config", "user.name", "nobody"],
            &["commit", "-q", "--allow-empty", "-m", "begin"],
        ] {
            assert_eq!(self.git(arguments).code, 0);
        }
    }

    /// Commits all there is; returns the commit.
    fn commit(&self, message: &str) -> String {
        assert_eq!(self.git(&["add", "-A", "-f"]).code, 0);
        let done = self.git(&["commit", "-q", "-m", message]);
        assert_eq!(done.code, 0, "{}", done.stderr);
        self.git(&["rev-parse", "HEAD"]).stdout.trim().to_owned()
    }
}

fn git(directory: &Path, arguments: &[&str]) -> Done {
    let mut command = Command::new("git");
    command
        .args(arguments)
        .current_dir(directory)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("HOME", directory)
        .env_remove("GIT_DIR")
        .stdin(Stdio::null());
    Done::of(command)
}

/// Returns the state of each token, in order.
fn states(report: &Value) -> Vec<String> {
    let tokens = report["tokens"].as_array().unwrap().iter();
    let mut states: Vec<_> = tokens.map(|token| text(&token["state"])).collect();
    states.sort_unstable();
    states
}

/// Returns the file names and lines where tokens are, in order.
fn lines(report: &Value) -> Vec<(String, Option<u64>)> {
    let tokens = report["tokens"].as_array().unwrap().iter();
    let places = tokens.flat_map(|token| token["places"].as_array().unwrap());
    let mut lines: Vec<_> = places
        .map(|place| {
            let path = text(&place["path"]);
            let name = path.rsplit('/').next().unwrap().to_owned();
            (name, place["line"].as_u64())
        })
        .collect();
    lines.sort_unstable();
    lines
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[test]
fn finds_a_live_token_wherever_it_is_and_says_whose_it_is() {
    let place = Place::new();
    let token = &place.workspace.secret;
    place.write(".env", format!("A=1\nWORKSPACE_TOKEN_ACME={token}\n"));
    place.write(".gitignore", ".env\n");
    place.write(
        "deep/er/config.json",
        format!("{{\n\"h\": \"Bearer {token}\"}}"),
    );
    place.write(
        "binary",
        [&[0, 159, 10, 255][..], token.as_bytes(), &[0, 1]].concat(),
    );
    place.write("windows.txt", wide(&format!("a\r\n{token}\r\n")));
    place.write("log", format!("GET /mcp/x?token={token}&a=1 HTTP/1.1\n"));
    place.write(&format!("mcp?token={token}"), "nothing inside");
    place.write(".git/config", token);
    place.write("harmless", "nothing");
    symlink("deep", place.home.path("tree/link")).unwrap();

    let report = place.report(&["tree"], 1);
    assert_eq!(states(&report), ["live"]);
    assert_eq!(report["live"], 1);
    let expected = [
        (".env", Some(2)),
        ("binary", Some(2)),
        ("config.json", Some(2)),
        ("log", Some(1)),
        ("mcp?token=<token>", None),
        ("windows.txt", Some(2)),
    ];
    let found = lines(&report);
    let found: Vec<_> = found
        .iter()
        .map(|(name, line)| (name.as_str(), *line))
        .collect();
    assert_eq!(found, expected);
    let says = &report["tokens"][0]["says"];
    let list = place.home.json(&["token", "list", "--workspace", "acme"]);
    assert_eq!(says["workspace"], *place.workspace.id);
    assert_eq!(says["name"], "primary");
    assert_eq!(says["id"], list["tokens"][0]["id"]);

    let done = place.scan(&["tree"]);
    assert_eq!(done.code, 1);
    let line = format!(
        "tree/.env:2: workspace token, LIVE; it says it is {}/primary",
        place.workspace.id
    );
    assert!(done.stdout.contains(&line), "{}", done.stdout);
    // Without a server the same is known.
    let Place { home, server, .. } = place;
    drop(server);
    assert_eq!(home.run(&["scan", "tree"]).code, 1);
}

#[test]
fn tells_what_is_live_from_what_is_not() {
    let mut place = Place::new();
    let old = place.rotate();
    let stranger = Place::new();
    let foreign = &stranger.workspace.secret;
    place.detector.watch_token(foreign);
    let dot = old.rfind('.').unwrap();
    place.write("old", &old);
    place.write("foreign", foreign);
    place.write("half", format!("{}\n{}", &old[..dot], &old[dot + 1..]));
    let report = place.report(&["tree"], 0);
    assert_eq!(states(&report), ["ended", "incomplete", "not_ours"]);
    assert_eq!(place.scan(&["tree", "--any"]).code, 1);

    place.write("current", &place.workspace.secret);
    let report = place.report(&["tree"], 1);
    assert_eq!(states(&report), ["ended", "incomplete", "live", "not_ours"]);
    // The stranger's server knows its own alone.
    let data_dir = stranger.home.data_dir();
    let report = place.report(&["tree", "--data-dir", data_dir.to_str().unwrap()], 1);
    assert_eq!(
        states(&report),
        ["incomplete", "live", "not_ours", "not_ours"]
    );
}

#[test]
fn a_session_token_is_told_to_be_short_lived() {
    let mut place = Place::new();
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
    let answer = place.server.send(&format!(
        "POST /mcp/{} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\naccept: application/json, text/event-stream\r\ncontent-length: {}\r\n\r\n{body}",
        place.workspace.id, place.server.address(), place.workspace.secret, body.len(),
    ));
    let session = answer.head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("mcp-session-id")
            .then(|| value.to_owned())
    });
    let session = session.unwrap_or_else(|| panic!("{}", answer.head));
    place.detector.watch_token(&session);
    place.write("trace.log", format!("Mcp-Session-Id: {session}\n"));
    let report = place.report(&["tree"], 0);
    assert_eq!(states(&report), ["short_lived"]);
    let token = &report["tokens"][0];
    assert_eq!(token["typ"], "mcp-session+jwt");
    assert_eq!(token["says"]["workspace"], *place.workspace.id);
    assert!(place.scan(&["tree"]).stdout.contains("short-lived"));
}

#[test]
fn on_a_laptop_it_works_without_a_data_directory_and_asks_nobody() {
    let place = Place::new();
    place.write("a", &place.workspace.secret);
    let laptop = Home::new();
    let tree = place.home.path("tree");
    let tree = tree.to_str().unwrap();
    let requests = || place.server.log().lines().count();
    let before = requests();
    let url = place.workspace.mcp_url.as_str();
    for url in [&[][..], &["--url", url]] {
        let done = laptop.run(&[&["scan", tree], url].concat());
        assert_eq!(done.code, 0, "{}", done.stderr);
        assert!(done.stdout.contains("liveness unknown"), "{}", done.stdout);
        place.assert_clean(&done);
        assert_eq!(done.stdout.contains("at that URL"), !url.is_empty());
    }
    assert_eq!(requests(), before);
    let list = place.home.json(&["token", "list", "--workspace", "acme"]);
    assert_eq!(list["tokens"][0]["last_used_at"], Value::Null);
    let (code, error) = laptop.failure(&["scan", tree, "--revoke"]);
    assert_eq!((code, error.as_str()), (1, "no_data_dir"));
    let (code, error) = laptop.failure(&["scan", tree, "--data-dir", "elsewhere"]);
    assert_eq!((code, error.as_str()), (1, "no_data_dir"));
}

#[test]
fn revokes_what_is_live_and_nothing_that_came_after() {
    let mut place = Place::new();
    let old = place.rotate();
    place.write("old", &old);
    let report = place.report(&["tree", "--revoke"], 0);
    assert_eq!(states(&report), ["ended"]);
    assert!(
        place
            .server
            .admits(&place.workspace.id, &place.workspace.secret)
    );

    place.write("live", &place.workspace.secret);
    let report = place.report(&["tree", "--revoke"], 0);
    assert_eq!(states(&report), ["ended", "live"]);
    let revoked = report["tokens"].as_array().unwrap().iter();
    assert_eq!(revoked.filter(|token| token["revoked"] == true).count(), 1);
    assert!(
        !place
            .server
            .admits(&place.workspace.id, &place.workspace.secret)
    );
    let audit = place
        .home
        .json(&["audit", "tail", "--action", "token.revoke"]);
    let entry = &audit["entries"][0];
    assert_eq!(entry["actor"], "command line");
    assert_eq!(entry["detail"], "found by scan");
    assert_eq!(states(&place.report(&["tree"], 0)), ["ended", "ended"]);
}

#[test]
fn reads_what_is_large_sparse_and_across_every_buffer() {
    let place = Place::new();
    let token = place.workspace.secret.as_bytes();
    let path = place.write("sparse", "");
    let mut file = File::options().write(true).open(path).unwrap();
    let mebibyte = 1024 * 1024;
    // Around the ends of whatever buffers there are.
    let mut at = Vec::new();
    for (index, shift) in (-300_i64..300).step_by(7).enumerate() {
        at.push((index as i64 + 1) * mebibyte + shift);
    }
    at.push(100 * mebibyte);
    for position in &at {
        file.seek(SeekFrom::Start(u64::try_from(*position).unwrap()))
            .unwrap();
        file.write_all(token).unwrap();
    }
    let report = place.report(&["tree"], 1);
    let found = &report["tokens"][0];
    let places = found["places"].as_array().unwrap().len() as u64;
    assert_eq!(
        places + found["more_places"].as_u64().unwrap(),
        at.len() as u64
    );
    assert!(report["bytes"].as_u64().unwrap() > 100 * mebibyte as u64);
}

#[test]
fn what_cannot_be_read_is_counted_and_what_is_no_file_is_left_alone() {
    let place = Place::new();
    let secret = place.write("secret", &place.workspace.secret);
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    let pipe = place.home.path("tree/pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    symlink("/nowhere", place.home.path("tree/broken")).unwrap();
    symlink(".", place.home.path("tree/loop")).unwrap();
    let unreadable = |count: u64| {
        let report = place.report(&["tree"], if count == 0 { 1 } else { 0 });
        assert_eq!(report["unreadable_count"], count);
        report
    };
    // Nobody reads there without saying where.
    let report = place.report(&["/proc/self/mem"], 1);
    assert_eq!(report["unreadable_count"], 1);
    if File::open(&secret).is_ok() {
        println!("skipped: unreadable files, since this user reads everything");
        unreadable(0);
    } else {
        let report = unreadable(1);
        assert!(text(&report["unreadable"][0]["path"]).ends_with("secret"));
        assert_eq!(place.scan(&["tree", "--any"]).code, 1);
    }
}

#[test]
fn reads_standard_input_and_single_files() {
    let place = Place::new();
    let token = &place.workspace.secret;
    let done = place
        .home
        .run_with_input(&["scan", "-"], &format!("a\n{token}\n"));
    place.assert_clean(&done);
    assert_eq!(done.code, 1);
    assert!(
        done.stdout.starts_with("(standard input):2: "),
        "{}",
        done.stdout
    );
    place.write("one", token);
    place.write("other", "nothing");
    let report = place.report(&["tree/one"], 1);
    assert_eq!(report["read"], 1);
}

#[test]
fn what_is_asked_wrongly_ends_with_2_and_repeats_nothing() {
    let place = Place::new();
    let token = &place.workspace.secret;
    let url = format!("{}?token={token}", place.workspace.mcp_url);
    for arguments in [
        &["--url", &url][..],
        &["--url", token],
        &["--url", "http://127.0.0.1:1/mcp"],
        &[token],
        &["nowhere"],
        &["--rules", "nothing"],
        &["--staged", "--revoke"],
        &["-", "--history"],
    ] {
        let done = place.scan(arguments);
        assert_eq!(done.code, 2, "{}", done.stderr);
    }
}

#[test]
fn finds_what_was_deleted_stashed_renamed_and_left_on_a_branch_or_reflog() {
    let mut place = Place::new();
    place.repository();
    let first = place.workspace.secret.clone();
    place.write("first file", format!("\n{first}"));
    let added = place.commit("add");
    place.write("first file", "clean");
    place.commit("clean");
    place.rotate();
    // On another branch, in a merge.
    place.git(&["checkout", "-q", "-b", "side"]);
    let second = place.workspace.secret.clone();
    place.write("sub/ünder", &second);
    let on_side = place.commit("side");
    place.git(&["rm", "-q", "-r", "sub"]);
    place.commit("gone");
    place.git(&["checkout", "-q", "main"]);
    // Under a stash that is under another.
    place.rotate();
    place.write("first file", &place.workspace.secret);
    assert_eq!(place.git(&["stash", "-q"]).code, 0);
    place.write("first file", "another");
    assert_eq!(place.git(&["stash", "-q"]).code, 0);
    // In a commit that only the reflog knows.
    place.rotate();
    place.write("forgotten", &place.workspace.secret);
    let forgotten = place.commit("forgotten");
    place.git(&["reset", "-q", "--hard", "HEAD~1"]);
    // In a message, and in the index.
    place.rotate();
    let message = format!("oops {}", place.workspace.secret);
    place.git(&["commit", "-q", "--allow-empty", "-m", &message]);
    place.rotate();
    let staged = place.write("staged", &place.workspace.secret);
    place.git(&["add", "staged"]);
    fs::remove_file(staged).unwrap();

    assert_eq!(states(&place.report(&["tree"], 0)), [""; 0]);
    let report = place.report(&["tree", "--history"], 1);
    assert_eq!(
        states(&report),
        ["ended", "ended", "ended", "ended", "ended", "live"]
    );
    let places: Vec<(String, Option<String>)> = report["tokens"]
        .as_array()
        .unwrap()
        .iter()
        .map(|token| {
            let place = &token["places"][0];
            assert_eq!(place["in"], "history");
            (
                text(&place["path"]),
                place["commit"].as_str().map(str::to_owned),
            )
        })
        .collect();
    let expect = |path: &str, commit: Option<&str>| {
        let expected = (path.to_owned(), commit.map(str::to_owned));
        assert!(places.contains(&expected), "{expected:?}: {places:?}");
    };
    expect("first file", Some(&added));
    expect("sub/ünder", Some(&on_side));
    expect("forgotten", Some(&forgotten));
    expect("staged", None);
    assert!(
        places
            .iter()
            .any(|(path, _)| path == "(message of a commit)")
    );
    // The stash, under its own commit.
    let stashed = places
        .iter()
        .filter(|(path, _)| path == "first file")
        .count();
    assert_eq!(stashed, 2, "{places:?}");
    let done = place.scan(&["tree", "--history"]);
    assert!(
        done.stdout
            .contains(&format!("first file:2 in commit {added}: ")),
        "{}",
        done.stdout
    );
}

#[test]
fn the_first_commit_is_named_and_configuration_runs_nothing() {
    let place = Place::new();
    place.repository();
    place.write("a", &place.workspace.secret);
    let first = place.commit("one");
    place.write("a", format!("{}\n", place.workspace.secret));
    place.commit("two");
    place.git(&["mv", "a", "b"]);
    place.commit("three");
    let marker = place.home.path("ran");
    let run = format!("touch {}", marker.display());
    for key in [
        "core.fsmonitor",
        "core.pager",
        "diff.external",
        "gpg.program",
    ] {
        place.git(&["config", key, &run]);
    }
    place.git(&["config", "log.showSignature", "true"]);
    // Nor does a variable of another repository lead elsewhere.
    let mut command = place.home.command(&["scan", "tree", "--history", "--json"]);
    command.env("GIT_DIR", "/nowhere");
    let done = Done::of(command);
    place.assert_clean(&done);
    let report: Value = serde_json::from_str(&done.stdout).unwrap();
    let places = report["tokens"][0]["places"].as_array().unwrap();
    let history: Vec<_> = places
        .iter()
        .filter(|place| place["in"] == "history")
        .collect();
    assert_eq!(history.len(), 2, "{places:?}");
    assert_eq!(history[0]["commit"], *first);
    assert_eq!(history[0]["path"], "a");
    assert!(!marker.exists());
    // Nor does what is missing have a program fetch it.
    lacks_a_tree(&place.home.path("tree"), &marker);
    // To make it so ran what else the configuration names.
    let _ = fs::remove_file(&marker);
    for how in ["--history", "--staged"] {
        place.scan(&["tree", how]);
        assert!(!marker.exists(), "{how}");
    }
}

#[test]
fn a_partial_clone_is_read_as_far_as_it_goes() {
    let mut place = Place::new();
    place.repository();
    place.git(&["config", "uploadpack.allowFilter", "true"]);
    place.write("gone", "1");
    place.commit("one");
    place.git(&["rm", "-q", "gone"]);
    place.write("a", &place.workspace.secret);
    let added = place.commit("two");
    place.rotate();
    let source = format!("file://{}", place.home.path("tree").display());
    for filter in ["blob:none", "tree:0"] {
        let filtered = format!("--filter={filter}");
        let clone = filter.replace(':', "-");
        let arguments = ["clone", "-q", &filtered, &source, &clone];
        let cloned = git(&place.home.path(""), &arguments);
        assert_eq!(cloned.code, 0, "{}", cloned.stderr);
        let report = place.report(&[&clone, "--history"], 0);
        assert!(report["history"]["missing"].as_u64().unwrap() > 0);
        assert_eq!(report["history"].get("problem"), None);
        let places = report["tokens"][0]["places"].as_array().unwrap();
        let found = places.iter().find(|place| place["in"] == "history");
        assert_eq!(found.unwrap()["commit"], *added, "{filter}");
    }
}

#[test]
fn what_is_wrong_with_a_history_takes_nothing_from_the_report() {
    let mut place = Place::new();
    place.repository();
    place.write("a", "1");
    place.commit("one");
    // Not a hole, as in a partial clone, but rubbish.
    let object = place.git(&["rev-parse", "HEAD^{tree}"]).stdout;
    let (folder, file) = object.trim().split_at(2);
    let path = place.home.path("tree/.git/objects").join(folder).join(file);
    fs::remove_file(&path).unwrap();
    fs::write(&path, "rubbish").unwrap();
    let old = place.rotate();
    place.write("b", old);
    let report = place.report(&["tree", "--history"], 1);
    assert_eq!(states(&report), ["ended"]);
    assert!(report["history"]["problem"].is_string(), "{report}");
    let done = place.scan(&["tree", "--history"]);
    assert!(done.stdout.contains("tree/b:1"), "{}", done.stdout);
    assert!(done.stderr.contains("history could"), "{}", done.stderr);
}

#[test]
fn who_was_to_be_asked_and_does_not_answer_fails_the_scan() {
    let place = Place::new();
    place.write("a", &place.workspace.secret);
    let Place { home, server, .. } = &place;
    // The process that holds the directory answers nobody.
    fs::remove_file(home.data_dir().join("control.sock")).unwrap();
    for how in [&[][..], &["--data-dir", "data"], &["--revoke"]] {
        let done = place.scan(&[&["tree"], how].concat());
        assert_eq!(done.code, 1, "{}", done.stderr);
    }
    assert!(server.admits(&place.workspace.id, &place.workspace.secret));
}

#[test]
fn a_directory_that_what_is_scanned_may_have_brought_along_is_not_asked() {
    let place = Place::new();
    place.write("a", &place.workspace.secret);
    let report = place.report(&["tree"], 1);
    assert_eq!(states(&report), ["live"]);
    // Around the data directory, which nobody named.
    let report = place.report(&["."], 0);
    assert_eq!(states(&report), ["unknown"]);
    let problem = text(&report["tokens"][0]["problem"]);
    assert!(problem.contains("--data-dir"), "{problem}");
    assert_eq!(place.scan(&[".", "--revoke"]).code, 2);
    assert_eq!(place.scan(&[".", "--data-dir", "data"]).code, 1);
    assert!(
        place
            .server
            .admits(&place.workspace.id, &place.workspace.secret)
    );
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(place.home.data_dir(), open).unwrap();
    assert_eq!(states(&place.report(&["tree"], 0)), ["unknown"]);
}

#[test]
fn a_clone_without_all_of_its_history_says_so() {
    let place = Place::new();
    place.repository();
    place.write("a", "1");
    place.commit("one");
    place.write("a", "2");
    place.commit("two");
    let source = format!("file://{}", place.home.path("tree").display());
    let cloned = git(
        &place.home.path(""),
        &["clone", "-q", "--depth", "1", &source, "clone"],
    );
    assert_eq!(cloned.code, 0, "{}", cloned.stderr);
    let report = place.report(&["clone", "--history"], 0);
    assert_eq!(report["history"]["is_shallow"], true);
    let report = place.report(&["tree", "--history"], 0);
    assert_eq!(report["history"]["is_shallow"], false);
}

#[test]
fn without_git_or_a_repository_it_says_what_to_do() {
    let place = Place::new();
    place.write("a", "nothing");
    let done = place.scan(&["tree", "--history"]);
    assert_eq!(done.code, 2);
    assert!(
        done.stderr.contains("git finds no repository at tree"),
        "{}",
        done.stderr
    );
    let mut command = place.home.command(&["scan", "tree", "--history"]);
    command.env("PATH", "/nowhere");
    let done = Done::of(command);
    assert_eq!(done.code, 1);
    assert!(
        done.stderr.contains("git is not installed"),
        "{}",
        done.stderr
    );
}

/// Runs a commit with the hook in place, and with `wst` on the path or without.
fn commit_with_hook(place: &Place, with_wst: bool, name: &str, content: &str) -> Done {
    place.write(name, content);
    place.git(&["add", "-A", "-f"]);
    let mut command = Command::new("git");
    let wst = Path::new(env!("CARGO_BIN_EXE_wst")).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let path = match with_wst {
        true => format!("{}:{path}", wst.display()),
        false => path,
    };
    command
        .args(["commit", "-m", name])
        .current_dir(place.home.path("tree"))
        .env("PATH", path)
        .env("HOME", place.home.path("tree"))
        .stdin(Stdio::null());
    let done = Done::of(command);
    place.assert_clean(&done);
    place.git(&["reset", "-q"]);
    done
}

#[test]
fn the_hook_refuses_a_commit_with_a_token_and_no_other() {
    let place = Place::new();
    place.repository();
    let hook = place.scan(&["--rules", "pre-commit"]);
    assert_eq!(hook.code, 0);
    let path = place.write(".git/hooks/pre-commit", &hook.stdout);
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    let token = &place.workspace.secret;
    let dot = token.rfind('.').unwrap();
    for with_wst in [true, false] {
        let commit = |name: &str, content: &str| commit_with_hook(&place, with_wst, name, content);
        let name = |what: &str| format!("{what} {with_wst}");
        let done = commit(&name("clean"), "nothing");
        assert_eq!(done.code, 0, "{}", done.stderr);
        let done = commit(&name("token"), &format!("a\nb = {token}\n"));
        assert_ne!(done.code, 0);
        assert!(
            done.stderr.contains("about to be committed"),
            "{}",
            done.stderr
        );
        // Half of one is none, and one that leaves may leave.
        fs::remove_file(place.home.path("tree").join(name("token"))).unwrap();
        let done = commit(&name("half"), &token[..dot]);
        assert_eq!(done.code, 0, "{}", done.stderr);
        let path = name("leaves");
        place.write(&path, token);
        place.git(&["add", "-A", "-f"]);
        assert_eq!(
            place
                .git(&["commit", "-q", "--no-verify", "-m", "past it"])
                .code,
            0
        );
        let done = commit(&path, "clean again");
        assert_eq!(done.code, 0, "{}", done.stderr);
    }
}

#[test]
fn staged_looks_at_what_is_staged_alone() {
    let place = Place::new();
    place.repository();
    place.write("a", &place.workspace.secret);
    assert_eq!(place.scan(&["tree", "--staged"]).code, 0);
    place.git(&["add", "a"]);
    // What lies there now is another matter.
    place.write("a", "clean");
    let report = place.report(&["tree", "--staged"], 1);
    assert_eq!(states(&report), ["unknown"]);
    assert_eq!(report["tokens"][0]["places"][0]["in"], "staged");
}

#[test]
fn gitleaks_finds_real_tokens_by_the_rules() {
    let place = Place::new();
    let rules = place.scan(&["--rules", "gitleaks"]).stdout;
    let table: toml::Table = toml::from_str(&rules).unwrap();
    let token = &place.workspace.secret;
    let fits = |text: &str| {
        let rules = table["rules"].as_array().unwrap().iter();
        let fitting = rules.filter(|rule| {
            let pattern = regex::Regex::new(rule["regex"].as_str().unwrap()).unwrap();
            let keyword = rule["keywords"][0].as_str().unwrap();
            pattern.is_match(text) && text.to_lowercase().contains(keyword)
        });
        fitting.count()
    };
    assert_eq!(fits(&format!("?token={token}&a")), 1);
    assert_eq!(fits(&token[..token.len() - 1]), 0);

    place.write("rules.toml", &rules);
    place.write("source/.env", format!("A={token}\n"));
    let mut gitleaks = Command::new("gitleaks");
    gitleaks
        .args([
            "dir",
            "source",
            "--no-banner",
            "--redact",
            "--config",
            "rules.toml",
        ])
        .args(["--report-format", "json", "--report-path", "-"])
        .current_dir(place.home.path("tree"))
        .stdin(Stdio::null());
    match gitleaks.output() {
        Err(error) => println!("skipped: gitleaks cannot be run: {error}"),
        Ok(output) => {
            let done = Done::from(output);
            assert_eq!(done.code, 1, "{}", done.stderr);
            assert!(done.stdout.contains("\"workspace-jwt\""), "{}", done.stdout);
        }
    }
}
