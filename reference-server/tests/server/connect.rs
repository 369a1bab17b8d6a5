//! `wst connect`: what it prints and writes for each client, what it leaves alone, and what it finds wrong.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::PathBuf,
    process::Command,
};

use serde_json::{Value, json};

use crate::{
    common::{Done, Home, fields, lacks_a_tree, read, text},
    listening::Tls,
};

/// An empty project, beside whatever else a test needs.
struct Project {
    home: Home,
}

impl Project {
    fn new() -> Self {
        Self::in_home(Home::new())
    }

    fn in_home(home: Home) -> Self {
        fs::create_dir(home.path("project")).unwrap();
        Self { home }
    }

    /// Returns where a client's file is; the home directory is the one of the test.
    fn path(&self, file: &str) -> PathBuf {
        match file.strip_prefix("~/") {
            Some(file) => self.home.path(file),
            None => self.home.path("project").join(file),
        }
    }

    fn put(&self, file: &str, text: &str) {
        let path = self.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, file: &str) -> String {
        read(&self.path(file))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.home.command(&[&["connect"], arguments].concat());
        command
            .args(["--dir", "project"])
            .env("HOME", self.home.path(""))
            .env_remove(VARIABLE);
        command
    }

    fn run(&self, arguments: &[&str]) -> Done {
        Done::of(self.command(arguments))
    }

    /// Writes `client`'s file for the workspace at [`URL`], which nobody has to serve.
    fn write(&self, client: &str) -> Done {
        let done = self.run(&[client, "--url", URL, "--variable", VARIABLE, "--write"]);
        assert_eq!(done.code, 0, "{client}: {}", done.stderr);
        done
    }

    /// Checks `client`, with `token` in the variable, and returns the exit code and what was found.
    fn check(&self, client: &str, token: Option<&str>) -> (i32, Value) {
        let mut command = self.command(&[client, "--check", "--json"]);
        if let Some(token) = token {
            command.env(VARIABLE, token);
        }
        let done = Done::of(command);
        let checked: Value = serde_json::from_str(&done.stdout).expect(&done.stderr);
        assert_eq!(checked["ok"], done.code == 0, "{}", done.stdout);
        if let Some(token) = token.filter(|token| token.len() > 20) {
            let signature = token.rsplit('.').next().unwrap();
            let said = done.stdout + &done.stderr;
            assert!(!said.contains(token) && !said.contains(signature), "{said}");
        }
        (done.code, checked)
    }

    /// The codes of what is wrong.
    fn problems(&self, client: &str, token: Option<&str>) -> Vec<String> {
        let (_, checked) = self.check(client, token);
        let problems = checked["problems"].as_array().unwrap();
        let with_advice = |problem: &&Value| !text(&problem["todo"]).is_empty();
        assert!(problems.iter().all(|problem| with_advice(&problem)));
        problems
            .iter()
            .map(|problem| text(&problem["code"]))
            .collect()
    }

    fn git(&self, arguments: &[&str]) -> bool {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=t", "-c", "user.email=t@example.com"])
            .args(arguments)
            .current_dir(self.path(""));
        git.output().is_ok_and(|output| output.status.success())
    }
}

#[test]
fn prints_what_each_client_reads() {
    let project = Project::new();
    for (client, _, expected) in CLIENTS {
        let done = project.run(&[client, "--url", URL, "--variable", VARIABLE]);
        assert_eq!((done.code, done.stdout.as_str()), (0, expected), "{client}");
        assert_eq!(
            done.stderr
                .contains("export WORKSPACE_TOKEN_DEMO='…the token…'"),
            client != "vscode",
            "{}",
            done.stderr
        );
    }
    assert_eq!(fs::read_dir(project.path("")).unwrap().count(), 0);
    assert!(!project.home.data_dir().exists());
}

#[test]
fn prints_the_form_in_which_claude_code_asks_for_its_headers() {
    let project = Project::new();
    let arguments = ["--url", URL, "--variable", VARIABLE, "--helper"];
    let done = project.run(&[&["claude-code"], &arguments[..]].concat());
    let printed: Value = serde_json::from_str(&done.stdout).unwrap();
    let expected = json!({"mcpServers": {"agentrq-abcdefghijk": {
        "type": "http",
        "url": URL,
        "headersHelper": format!("wst headers --url {URL} --token-env {VARIABLE}"),
    }}});
    assert_eq!(printed, expected);
    let done = project.run(&[&["codex"], &arguments[..]].concat());
    assert_eq!(done.code, 2);
}

#[test]
fn tells_programs_the_same() {
    let project = Project::new();
    let arguments = ["connect", "codex", "--url", URL, "--dir", "project"];
    let told = project.home.json(&arguments);
    let expected = json!({
        "client": "codex",
        "file": ".codex/config.toml",
        "name": "agentrq-abcdefghijk",
        "mcp_url": URL,
        "variable": "WORKSPACE_TOKEN_ABCDEFGHIJK",
        "content": CLIENTS[2].2.replace(VARIABLE, "WORKSPACE_TOKEN_ABCDEFGHIJK"),
        "export": "export WORKSPACE_TOKEN_ABCDEFGHIJK='…the token…'",
        "env_example": "WORKSPACE_TOKEN_ABCDEFGHIJK=",
        "gitignore": [".env", ".env.*", "!.env.example", ".envrc", "*.local.json"],
        "load": "set -a; . ./.env; set +a",
    });
    assert_eq!(told, expected);
    let written = project.home.json(&[&arguments[..], &["--write"]].concat());
    let expected = json!([
        {"file": ".codex/config.toml", "change": "created"},
        {"file": ".gitignore", "change": "created"},
        {"file": ".env.example", "change": "created"},
    ]);
    assert_eq!(written["files"], expected);
}

#[test]
fn writes_each_file_once_and_changes_nothing_the_second_time() {
    for (client, file, expected) in CLIENTS {
        let project = Project::new();
        project.write(client);
        assert_eq!(project.read(file), expected, "{client}");
        let example = project.path(".env.example");
        if client != "vscode" {
            assert_eq!(read(&example), "WORKSPACE_TOKEN_DEMO=\n");
        } else {
            assert!(!example.exists());
        }
        let ignored = ".env\n.env.*\n!.env.example\n.envrc\n*.local.json\n";
        assert_eq!(project.read(".gitignore"), ignored);
        let inode = |file: &str| fs::metadata(project.path(file)).unwrap().ino();
        let before = (inode(file), inode(".gitignore"));
        let again = project.write(client).stdout;
        assert_eq!((inode(file), inode(".gitignore")), before);
        let untouched = |line: &str| line.ends_with(": nothing to change");
        assert!(again.lines().all(untouched), "{again}");
    }
}

#[test]
fn puts_its_entry_beside_all_that_is_there() {
    for (client, file, before, after) in MERGES {
        let project = Project::new();
        project.put(file, before);
        project.write(client);
        assert_eq!(project.read(file), *after, "{client}");
        project.write(client);
        assert_eq!(project.read(file), *after, "{client}, again");
    }
}

#[test]
fn keeps_line_ends_and_a_byte_order_mark() {
    let project = Project::new();
    project.put(".mcp.json", "\u{feff}{\r\n  \"other\": 1\r\n}\r\n");
    project.write("claude-code");
    let text = project.read(".mcp.json");
    assert!(text.starts_with("\u{feff}{\r\n  \"other\": 1,\r\n"));
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
    project.put(".codex/config.toml", "model = \"x\"\n");
    project.write("codex");
    assert!(
        project
            .read(".codex/config.toml")
            .starts_with("model = \"x\"\n")
    );
}

#[test]
fn changes_the_entry_of_the_same_address_whatever_its_name() {
    let project = Project::new();
    let before = json!({"mcpServers": {"mine": {
        "type": "http",
        "url": format!("{URL}?token={TOKEN}"),
        "timeout": 5,
        "headers": {"authorization": format!("Bearer {TOKEN}"), "X-Mine": "1"},
    }}});
    project.put(".mcp.json", &before.to_string());
    let done = project.write("claude-code");
    let after: Value = serde_json::from_str(&project.read(".mcp.json")).unwrap();
    let expected = json!({"mcpServers": {"mine": {
        "type": "http",
        "url": URL,
        "timeout": 5,
        "headers": {"authorization": "Bearer ${WORKSPACE_TOKEN_DEMO}", "X-Mine": "1"},
    }}});
    assert_eq!(after, expected);
    assert!(!(done.stdout + &done.stderr).contains("eyJ"));
}

#[test]
fn the_two_forms_of_claude_code_replace_each_other() {
    let project = Project::new();
    project.write("claude-code");
    let arguments = ["--url", URL, "--variable", VARIABLE, "--write", "--helper"];
    let done = project.run(&[&["claude-code"], &arguments[..]].concat());
    assert_eq!(done.code, 0, "{}", done.stderr);
    let text = project.read(".mcp.json");
    assert!(
        text.contains("headersHelper") && !text.contains("\"headers\""),
        "{text}"
    );
    project.write("claude-code");
    assert_eq!(project.read(".mcp.json"), CLIENTS[0].2);
}

#[test]
fn a_colleague_without_the_workspaces_name_keeps_the_variable_of_the_file() {
    let project = Project::new();
    project.write("gemini");
    let done = project.run(&["gemini", "--url", URL, "--write"]);
    assert!(done.stderr.contains(VARIABLE), "{}", done.stderr);
    assert_eq!(project.read(".gemini/settings.json"), CLIENTS[1].2);
    // Another token of the workspace is in another variable.
    project.run(&["gemini", "--url", URL, "--name", "ci", "--write"]);
    let changed = CLIENTS[1]
        .2
        .replace(VARIABLE, "WORKSPACE_TOKEN_ABCDEFGHIJK_CI");
    assert_eq!(project.read(".gemini/settings.json"), changed);
}

#[test]
fn a_file_that_is_not_understood_stays_as_it_is() {
    for (client, text, expected) in [
        ("claude-code", "{\n\"a\": \"eyJsecret\" oops", "see line 2"),
        ("claude-code", "{\n  // a comment\n}", "see line 2"),
        ("claude-code", "{\"a\": 1,}", "see line 1"),
        ("claude-code", "[]", "no object"),
        (
            "claude-code",
            "{\"mcpServers\": []}",
            "mcpServers in it is no object",
        ),
        (
            "claude-code",
            "{\"mcpServers\": {\"agentrq-abcdefghijk\": 1}}",
            "the entry in it is no object",
        ),
        (
            "claude-code",
            "{\"mcpServers\": {\"agentrq-abcdefghijk\": {\"headers\": \"eyJ\"}}}",
            "headers in it is no object",
        ),
        (
            "claude-code",
            "{\"mcpServers\": {}, \"mcpServers\": {}}",
            "two members of one name",
        ),
        ("gemini", "{\"a\": 1,}", "see line 1"),
        ("vscode", "{\"inputs\": {}}", "inputs in it is no list"),
        (
            "codex",
            "a = 1\n[mcp_servers\nx = \"eyJsecret\"",
            "see line 2",
        ),
        ("codex", "mcp_servers = 1", "mcp_servers in it is no table"),
        (
            "codex",
            "mcp_servers.agentrq-abcdefghijk = 1",
            "the entry in it is no table",
        ),
        ("codex", "a = 1\na = 2\n", "see line 2"),
    ] {
        let project = Project::new();
        let (_, file, _) = CLIENTS.iter().find(|known| known.0 == client).unwrap();
        project.put(file, text);
        let done = project.run(&[client, "--url", URL, "--write"]);
        assert_eq!(done.code, 1, "{text}");
        assert!(done.stderr.contains(expected), "{text}: {}", done.stderr);
        assert!(
            done.stderr.contains("nothing was changed"),
            "{}",
            done.stderr
        );
        assert!(!done.stderr.contains("eyJ"), "{}", done.stderr);
        assert_eq!(project.read(file), text);
        assert!(!project.path(".gitignore").exists());
    }
    let project = Project::new();
    fs::write(project.path(".mcp.json"), b"{\"a\": \"\xff\"}").unwrap();
    let done = project.run(&["claude-code", "--url", URL, "--write"]);
    assert!(done.stderr.contains("no text in UTF-8"), "{}", done.stderr);
    let large = format!("{{\"a\": \"{}\"}}", "x".repeat(1024 * 1024));
    project.put(".mcp.json", &large);
    let done = project.run(&["claude-code", "--url", URL, "--write"]);
    assert!(done.stderr.contains("larger than 1 MiB"), "{}", done.stderr);
}

#[test]
fn follows_a_link_within_the_project_and_none_that_leaves_it() {
    let project = Project::new();
    project.put("shared/mcp.json", "{}");
    symlink("shared/mcp.json", project.path(".mcp.json")).unwrap();
    project.write("claude-code");
    assert!(project.path(".mcp.json").is_symlink());
    assert_eq!(project.read("shared/mcp.json"), CLIENTS[0].2);

    fs::write(project.home.path("outside.json"), "{}").unwrap();
    fs::create_dir(project.home.path("elsewhere")).unwrap();
    symlink("../elsewhere", project.path(".codex")).unwrap();
    fs::create_dir(project.path(".cursor")).unwrap();
    symlink("../../outside.json", project.path(".cursor/mcp.json")).unwrap();
    fs::create_dir(project.path(".gemini")).unwrap();
    symlink("nowhere", project.path(".gemini/settings.json")).unwrap();
    fs::create_dir(project.path("opencode.json")).unwrap();
    for (client, expected) in [
        ("codex", "leads out of its folder"),
        ("cursor", "leads out of its folder"),
        ("gemini", "a link to nothing"),
        ("opencode", "is no file"),
    ] {
        let done = project.run(&[client, "--url", URL, "--write"]);
        assert_eq!(done.code, 1, "{client}");
        assert!(done.stderr.contains(expected), "{client}: {}", done.stderr);
    }
    assert_eq!(read(&project.home.path("outside.json")), "{}");
    let elsewhere = fs::read_dir(project.home.path("elsewhere")).unwrap();
    assert_eq!(elsewhere.count(), 0);
}

#[test]
fn keeps_who_may_read_a_file_and_leaves_nothing_beside_it() {
    let project = Project::new();
    for mode in [0o600, 0o640, 0o644] {
        project.put(".mcp.json", "{}");
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(project.path(".mcp.json"), permissions).unwrap();
        project.write("claude-code");
        let kept = fs::metadata(project.path(".mcp.json")).unwrap().mode();
        assert_eq!(kept & 0o777, mode);
    }
    let mut names: Vec<String> = fs::read_dir(project.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, [".env.example", ".gitignore", ".mcp.json"]);
}

#[test]
fn finds_the_workspace_by_id_by_name_and_as_the_only_one() {
    let project = Project::new();
    let refused = project.run(&["claude-code"]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("--url"), "{}", refused.stderr);
    let server = project.home.serve();
    let none = project.run(&["claude-code"]);
    assert!(
        none.stderr.contains("there is no workspace"),
        "{}",
        none.stderr
    );
    let workspace = project.home.create_workspace("demo");
    let expected = CLIENTS[0]
        .2
        .replace(URL, &workspace.mcp_url)
        .replace("abcdefghijk", &workspace.id);
    let printed = |arguments: &[&str]| {
        let done = project.run(&[&["claude-code"], arguments].concat());
        assert_eq!(done.code, 0, "{}", done.stderr);
        done.stdout
    };
    assert_eq!(printed(&[]), expected);
    let other = project.home.create_workspace("other");
    assert_eq!(printed(&["--workspace", "demo"]), expected);
    assert_eq!(printed(&["--workspace", &workspace.id]), expected);
    let of_slot = printed(&["--workspace", "demo", "--name", "ci"]);
    assert!(of_slot.contains("${WORKSPACE_TOKEN_DEMO_CI}"), "{of_slot}");
    let several = project.run(&["claude-code"]);
    assert_eq!(several.code, 2);
    assert!(several.stderr.contains("demo, other"), "{}", several.stderr);
    project.home.json(&["workspace", "archive", &other.id]);
    assert_eq!(printed(&[]), expected);
    let gone = project.run(&["claude-code", "--workspace", "other"]);
    assert!(gone.stderr.contains("archived"), "{}", gone.stderr);
    // Without a server, from its database.
    drop(server);
    assert_eq!(printed(&[]), expected);
}

#[test]
fn what_was_asked_wrongly_is_refused_without_being_repeated() {
    let project = Project::new();
    let with_token = format!("{URL}?token={TOKEN}");
    for (arguments, expected) in [
        (
            vec!["claude-code", "--url", &with_token],
            "leave out what follows",
        ),
        (
            vec!["claude-code", "--url", "http://e.com/"],
            "no address of a workspace",
        ),
        (
            vec!["claude-code", "--url", URL, "--variable", TOKEN],
            "never a token",
        ),
        (
            vec!["vscode", "--check", "--variable", TOKEN],
            "never a token",
        ),
        (
            vec!["claude-code", "--url", URL, "--name", "No"],
            "the name of a token",
        ),
        (
            vec!["emacs", "--url", URL],
            "claude-code, gemini, codex, opencode, vscode, cursor, windsurf",
        ),
        (
            vec!["claude-code", "--url", URL, "--workspace", "x"],
            "cannot be used",
        ),
        (vec!["claude-code", "--write", "--check"], "cannot be used"),
        (
            vec!["gemini", "--helper", "--url", URL],
            "leave out --helper",
        ),
    ] {
        let done = project.run(&arguments);
        assert_eq!((done.code, done.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(done.stderr.contains(expected), "{}", done.stderr);
        assert!(!done.stderr.contains("eyJ"), "{}", done.stderr);
    }
    let mut command = project.home.command(&["connect", "codex", "--url", URL]);
    command.args(["--dir", "nowhere", "--json"]);
    let done = Done::of(command);
    let error: Value = serde_json::from_str(&done.stderr).unwrap();
    assert_eq!(
        (done.code, &error["error"]["code"]),
        (1, &json!("not_found"))
    );
}

#[test]
fn shows_how_a_file_of_variables_is_loaded() {
    let project = Project::new();
    let line = "set -a; . ./.env; set +a";
    let arguments = ["claude-code", "--url", URL];
    assert!(!project.run(&arguments).stderr.contains(line));
    let done = project.run(&[&arguments[..], &["--env-file"]].concat());
    assert!(done.stderr.contains(line), "{}", done.stderr);
}

#[test]
fn a_setup_that_works_passes_the_check_and_a_dead_token_fails_it() {
    let project = Project::new();
    let server = project.home.serve();
    let workspace = project.home.create_workspace("demo");
    for client in [
        "claude-code",
        "gemini",
        "codex",
        "opencode",
        "cursor",
        "windsurf",
    ] {
        project.run(&[client, "--write"]);
        let (code, checked) = project.check(client, Some(&workspace.secret));
        assert_eq!(code, 0, "{checked}");
        assert_eq!(
            fields(&checked),
            ["client", "entries", "file", "ok", "problems"]
        );
        let entry = json!({
            "name": format!("agentrq-{}", workspace.id),
            "mcp_url": workspace.mcp_url,
            "variable": VARIABLE,
            "connected": true,
        });
        assert_eq!(checked["entries"], json!([entry]));
    }
    // VS Code keeps what was typed; a variable tells the check what that was.
    project.run(&["vscode", "--write"]);
    let (code, checked) = project.check("vscode", None);
    assert_eq!(
        (code, &checked["entries"][0]["connected"]),
        (0, &Value::Null)
    );

    // One that speaks the older protocol alone does not know the question, and takes the token all the same.
    drop(server);
    let database = rusqlite::Connection::open(project.home.database()).unwrap();
    let changed = database.execute("UPDATE workspaces SET protocol = 'legacy'", []);
    assert_eq!(changed.unwrap(), 1);
    drop(database);
    let server = project
        .home
        .serve_alone(&["--listen", workspace.mcp_url.split('/').nth(2).unwrap()]);
    assert!(
        project
            .problems("codex", Some(&workspace.secret))
            .is_empty()
    );

    let rotated = project
        .home
        .json(&["token", "rotate", "--workspace", "demo"]);
    let (old, new) = (workspace.secret.as_str(), text(&rotated["secret"]));
    assert_eq!(project.problems("claude-code", Some(old)), ["dead_token"]);
    assert!(project.problems("claude-code", Some(&new)).is_empty());
    drop(server);
    assert_eq!(project.problems("claude-code", Some(&new)), ["unreachable"]);
}

#[test]
fn finds_what_is_wrong_with_the_variable() {
    let project = Project::new();
    let _server = project.home.serve();
    let workspace = project.home.create_workspace("demo");
    let other = project.home.create_workspace("other");
    let arguments = ["claude-code", "--workspace", "demo", "--write"];
    assert_eq!(project.run(&arguments).code, 0);
    for (value, expected) in [
        (None, "variable_unset"),
        (Some(""), "variable_empty"),
        (Some("${WORKSPACE_TOKEN_DEMO}"), "variable_placeholder"),
        (Some("…the token…"), "variable_placeholder"),
        (Some("hunter2"), "not_a_token"),
        (Some(&format!("\"{}\"", workspace.secret)), "not_a_token"),
        (Some(&*other.secret), "other_workspace"),
        (Some(TOKEN), "other_workspace"),
    ] {
        assert_eq!(project.problems("claude-code", value), [expected]);
    }
    project.put(
        ".env",
        &format!("WORKSPACE_TOKEN_DEMO={}\n", workspace.secret),
    );
    let (_, checked) = project.check("claude-code", None);
    let todo = text(&checked["problems"][0]["todo"]);
    assert!(todo.contains("set -a; . ./.env; set +a"), "{todo}");
}

#[test]
fn finds_a_token_in_the_file_and_does_not_print_it() {
    let header = |value: &str| {
        let entry = json!({"type": "http", "url": CLOSED, "headers": {"Authorization": value}});
        json!({"mcpServers": {"agentrq-abcdefghijk": entry}}).to_string()
    };
    let with_default = format!("Bearer ${{WORKSPACE_TOKEN_DEMO:-{TOKEN}}}");
    let query =
        json!({"mcpServers": {"x": {"type": "http", "url": format!("{CLOSED}?token={TOKEN}")}}});
    let elsewhere = json!({"mcpServers": {"x": {"env": {"T": TOKEN}}}});
    for (client, file, content) in [
        (
            "claude-code",
            ".mcp.json",
            header(&format!("Bearer {TOKEN}")),
        ),
        ("claude-code", ".mcp.json", header(&with_default)),
        ("claude-code", ".mcp.json", header("Bearer hunter2-hunter2")),
        ("claude-code", ".mcp.json", query.to_string()),
        ("claude-code", ".mcp.json", elsewhere.to_string()),
        (
            "codex",
            ".codex/config.toml",
            format!(
                "[mcp_servers.x]\nurl = \"{CLOSED}\"\nhttp_headers = {{ Authorization = \"Bearer {TOKEN}\" }}\n"
            ),
        ),
        (
            "codex",
            ".codex/config.toml",
            format!("[mcp_servers.x]\nurl = \"{CLOSED}\"\nbearer_token_env_var = \"{TOKEN}\"\n"),
        ),
        (
            "vscode",
            ".vscode/mcp.json",
            format!("{{\"servers\": {{}}}} // {TOKEN}"),
        ),
    ] {
        let project = Project::new();
        project.put(file, &content);
        let done = project.run(&[client, "--check"]);
        assert_eq!(done.code, 1, "{content}");
        let said = done.stdout.clone() + &done.stderr;
        assert!(said.contains("holds a token itself"), "{content}: {said}");
        assert!(!said.contains("eyJ") && !said.contains("hunter2"), "{said}");
        let problems = project.problems(client, None);
        let count = problems
            .iter()
            .filter(|code| *code == "literal_token")
            .count();
        assert_eq!(count, 1, "{problems:?}");
        assert!(!problems.contains(&"tracked_secret".to_owned()));
        if !project.git(&["init", "-q"]) {
            println!("skipped: what git tracks: git is not installed");
            continue;
        }
        assert!(project.git(&["add", "-f", "."]));
        let problems = project.problems(client, None);
        assert!(
            problems.contains(&"tracked_secret".to_owned()),
            "{problems:?}"
        );
    }
}

#[test]
fn finds_files_of_variables_that_git_tracks_or_would_take() {
    let project = Project::new();
    if !project.git(&["init", "-q"]) {
        println!("skipped: git is not installed");
        return;
    }
    let arguments = ["vscode", "--url", CLOSED, "--write"];
    assert_eq!(project.run(&arguments).code, 0);
    project.put(".env", &format!("WORKSPACE_TOKEN_DEMO={TOKEN}\n"));
    let of_git = || {
        let mut problems = project.problems("vscode", None);
        problems.retain(|code| code != "unreachable");
        problems
    };
    assert!(of_git().is_empty());
    fs::remove_file(project.path(".gitignore")).unwrap();
    assert_eq!(of_git(), ["not_ignored"]);
    assert!(project.git(&["add", "-f", ".env"]));
    assert_eq!(of_git(), ["tracked_secret"]);
    assert!(project.git(&["rm", "-q", "--cached", ".env"]));
    // One without a token may be anybody's.
    project.put(".env.production", "PORT=80\n");
    assert!(project.git(&["add", "-f", ".env.production"]));
    assert_eq!(of_git(), ["not_ignored"]);
    project.put(".env.production", &format!("T={TOKEN}\n"));
    assert_eq!(of_git(), ["tracked_secret", "not_ignored"]);
    project.put(".env.example", &format!("T={TOKEN}\n"));
    assert_eq!(of_git(), ["tracked_secret", "literal_token", "not_ignored"]);
}

#[test]
fn finds_a_configuration_that_another_client_would_understand() {
    let project = Project::new();
    for (client, file, content, expected) in [
        (
            "opencode",
            "opencode.json",
            json!({"mcp": {"x": {
                "type": "remote", "url": CLOSED, "headers": {"Authorization": "Bearer ${WORKSPACE_TOKEN_DEMO}"},
            }}}),
            "wrong_reference",
        ),
        (
            "gemini",
            ".gemini/settings.json",
            json!({"mcpServers": {"agentrq-abcdefghijk": {
                "url": CLOSED, "headers": {"Authorization": "Bearer ${WORKSPACE_TOKEN_DEMO}"},
            }}}),
            "wrong_url",
        ),
        (
            "cursor",
            ".cursor/mcp.json",
            json!({"mcpServers": {"x": {"url": CLOSED}}}),
            "no_credential",
        ),
        (
            "vscode",
            ".vscode/mcp.json",
            json!({"mcpServers": {"x": {"url": CLOSED}}}),
            "entry_missing",
        ),
        (
            "claude-code",
            ".mcp.json",
            json!({"mcpServers": {"agentrq-abcdefghijk": {
                "url": "https://e.com/", "headers": {"Authorization": "Bearer ${WORKSPACE_TOKEN_DEMO}"},
            }}}),
            "wrong_url",
        ),
    ] {
        assert_eq!(project.problems(client, None), ["file_missing"]);
        project.put(file, &content.to_string());
        let problems = project.problems(client, None);
        assert!(
            problems.contains(&expected.to_owned()),
            "{client}: {problems:?}"
        );
    }
    project.put(".mcp.json", "{");
    assert_eq!(project.problems("claude-code", None), ["file_invalid"]);
}

#[test]
fn finds_an_address_that_is_not_the_workspaces() {
    let project = Project::new();
    let server = project.home.serve();
    let workspace = project.home.create_workspace("demo");
    let elsewhere = format!("http://127.0.0.1:1/mcp/{}", workspace.id);
    let write = [
        "claude-code",
        "--url",
        &elsewhere,
        "--variable",
        VARIABLE,
        "--write",
    ];
    assert_eq!(project.run(&write).code, 0);
    let check = ["claude-code", "--check", "--workspace", "demo"];
    let done = project.run(&check);
    assert_eq!(done.code, 1);
    assert!(
        done.stdout
            .contains(&format!("and the workspace is at {}", workspace.mcp_url)),
        "{}",
        done.stdout
    );
    // No MCP is spoken there.
    let address = server.address().to_owned();
    let wrong = format!("http://{address}/mcp/{}/x", workspace.id);
    project.put(
        ".mcp.json",
        &json!({"mcpServers": {"agentrq-x": {"url": wrong}}}).to_string(),
    );
    assert!(
        project
            .problems("claude-code", None)
            .contains(&"wrong_url".to_owned())
    );
    let unknown = project.run(&["claude-code", "--check", "--workspace", "nobody"]);
    assert!(
        unknown.stderr.contains("there is no such workspace"),
        "{}",
        unknown.stderr
    );
}

#[test]
fn a_token_goes_neither_along_a_redirect_nor_over_the_network_in_the_clear() {
    let project = Project::new();
    let (target, next) = (
        TcpListener::bind("127.0.0.1:0").unwrap(),
        TcpListener::bind("127.0.0.1:0").unwrap(),
    );
    next.set_nonblocking(true).unwrap();
    let location = format!("http://{}/mcp/abcdefghijk", next.local_addr().unwrap());
    let port = target.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        // One request of each check, in which the second must not hold the token.
        [true, false].map(|_| {
            let (mut stream, _) = target.accept().unwrap();
            let mut request = Vec::new();
            let mut part = [0; 4096];
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                let length = stream.read(&mut part).unwrap();
                request.extend_from_slice(&part[..length]);
            }
            let head =
                format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            String::from_utf8_lossy(&request)
                .to_lowercase()
                .contains("authorization")
        })
    });
    let token = token_for("abcdefghijk");
    // Linux takes the second for this machine as well, and nobody could know that by looking at it.
    for (host, expected) in [
        ("127.0.0.1", &["wrong_url"][..]),
        ("0.0.0.0", &["in_the_clear", "wrong_url"]),
    ] {
        let url = format!("http://{host}:{port}/mcp/abcdefghijk");
        let done = project.run(&["codex", "--url", &url, "--variable", VARIABLE, "--write"]);
        assert_eq!(
            done.stderr.contains("everybody on the way"),
            host == "0.0.0.0"
        );
        assert_eq!(project.problems("codex", Some(&token)), expected);
        fs::remove_dir_all(project.path(".codex")).unwrap();
    }
    assert_eq!(server.join().unwrap(), [true, false]);
    assert!(next.accept().is_err(), "the redirect was followed");
}

#[test]
fn nothing_is_sent_but_a_token_of_the_very_workspace() {
    let project = Project::new();
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/mcp/abcdefghijk", target.local_addr().unwrap());
    let done = project.run(&["codex", "--url", &url, "--variable", VARIABLE, "--write"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let foreign_header =
        token_for("abcdefghijk").replacen("eyJhbGciOiJIUzI1NiIs", "eyJhbGciOiJSUzI1NiIs", 1);
    let cases = [
        // The last one shows that what is sent is counted.
        (jwt_of(json!({"aud": "abcdefghijk"})), "not_a_token", 0),
        (foreign_header, "not_a_token", 0),
        (token_for("other"), "other_workspace", 0),
        (token_for("abcdefghijk"), "dead_token", 1),
    ];
    let requests = cases.len();
    let server = std::thread::spawn(move || {
        let mut credentials = Vec::new();
        for _ in 0..requests {
            let (mut stream, _) = target.accept().unwrap();
            let mut request = Vec::new();
            let mut part = [0; 4096];
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                let length = stream.read(&mut part).unwrap();
                request.extend_from_slice(&part[..length]);
            }
            stream
                .write_all(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n")
                .unwrap();
            let request = String::from_utf8_lossy(&request).to_lowercase();
            credentials.push(request.matches("authorization").count());
        }
        credentials
    });
    for (token, expected, _) in &cases {
        assert_eq!(project.problems("codex", Some(token)), [*expected]);
    }
    let expected: Vec<usize> = cases.iter().map(|case| case.2).collect();
    assert_eq!(server.join().unwrap(), expected);
}

#[test]
fn a_repository_chooses_no_program_and_no_command() {
    let project = Project::new();
    if !project.git(&["init", "-q"]) {
        println!("skipped: git is not installed");
        return;
    }
    assert_eq!(project.run(&["vscode", "--url", CLOSED, "--write"]).code, 0);
    project.put(".env", "A=1\n");
    let marker = project.home.path("ran");
    lacks_a_tree(&project.path(""), &marker);
    project.problems("vscode", None);
    assert!(!marker.exists());
    // The very question that is asked would run it.
    project.git(&["ls-files", "--", ".env"]);
    if !marker.exists() {
        println!("skipped: this git fetches nothing to read an index");
    }

    // Nor does a name of a file come to stand in a command.
    let project = Project::new();
    assert!(project.git(&["init", "-q"]));
    assert_eq!(project.run(&["vscode", "--url", CLOSED, "--write"]).code, 0);
    let name = ".env.x;touch ran";
    project.put(name, &format!("T={TOKEN}\n"));
    assert!(project.git(&["add", "-f", name]));
    let (_, checked) = project.check("vscode", None);
    let problems = checked["problems"].as_array().unwrap().iter();
    let tracked: Vec<&Value> = problems
        .filter(|problem| problem["code"] == "tracked_secret")
        .collect();
    assert_eq!(tracked.len(), 1, "{checked}");
    assert!(!text(&tracked[0]["todo"]).contains("touch"), "{checked}");
}

#[test]
fn over_https_the_certificate_is_looked_at_before_the_token_is_sent() {
    let tls = Tls::new();
    tls.issue(&["localhost"]);
    let server = tls.serve(&["--public-url", "https://localhost"]);
    let workspace = tls.home.create_workspace("demo");
    fs::create_dir(tls.home.path("project")).unwrap();
    let url = format!("https://localhost:{}/mcp/{}", server.port(), workspace.id);
    let connect = |more: &[&str], trusted: &str| {
        let arguments = ["connect", "codex", "--url", &url, "--dir", "project"];
        let mut command = tls.home.command(&[&arguments[..], more].concat());
        command
            .env("SSL_CERT_FILE", tls.home.path(trusted))
            .env("SSL_CERT_DIR", tls.home.path("none"))
            .env("WORKSPACE_TOKEN_DEMO", &workspace.secret);
        Done::of(command)
    };
    let written = connect(&["--variable", VARIABLE, "--write"], "ca.pem");
    assert_eq!(written.code, 0, "{}", written.stderr);
    tls.write("ca.pem", &tls.authority_pem(), 0o644);
    let checked = connect(&["--check"], "ca.pem");
    assert_eq!(checked.code, 0, "{}{}", checked.stdout, checked.stderr);
    let other = Tls::new();
    tls.write("other.pem", &other.authority_pem(), 0o644);
    let checked = connect(&["--check"], "other.pem");
    assert_eq!(checked.code, 1);
    assert!(checked.stdout.contains("certificate"), "{}", checked.stdout);
}

/// Makes what looks like a token of a workspace.
fn token_for(workspace: &str) -> String {
    let claims = json!({"aud": workspace, "gen": 1, "iat": 1, "jti": "AAAAAAAAAAAAAAAAAAAAAA", "sub": "primary"});
    jwt_of(claims)
}

/// Puts claims between the header and the signature of [`TOKEN`].
fn jwt_of(claims: Value) -> String {
    use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
    let claims = BASE64_URL_SAFE_NO_PAD.encode(claims.to_string());
    let parts: Vec<&str> = TOKEN.split('.').collect();
    format!("{}.{claims}.{}", parts[0], parts[2])
}

const URL: &str = "https://agents.example.com/mcp/abcdefghijk";
/// Where nobody listens.
const CLOSED: &str = "http://127.0.0.1:1/mcp/abcdefghijk";
const VARIABLE: &str = "WORKSPACE_TOKEN_DEMO";
/// It is for a workspace "other".
const TOKEN: &str = "eyJhbGciOiJIUzI1NiIsImtpZCI6InE0dHl0aWMyIiwidHlwIjoid29ya3NwYWNlK2p3dCJ9.eyJhdWQiOiJvdGhlciIsImdlbiI6MSwiaWF0IjoxLCJqdGkiOiJBQUFBQUFBQUFBQUFBQUFBQUFBQUFBIiwic3ViIjoicHJpbWFyeSJ9.AdV1dT2VkS8RtXsa8hXcVU8jPlXKXwh1Mz1l3YcpPyU";

/// Each client, its file, and all that stands in a new one.
const CLIENTS: [(&str, &str, &str); 7] = [
    (
        "claude-code",
        ".mcp.json",
        r#"{
  "mcpServers": {
    "agentrq-abcdefghijk": {
      "type": "http",
      "url": "https://agents.example.com/mcp/abcdefghijk",
      "headers": {
        "Authorization": "Bearer ${WORKSPACE_TOKEN_DEMO}"
      }
    }
  }
}
"#,
    ),
    (
        "gemini",
        ".gemini/settings.json",
        r#"{
  "mcpServers": {
    "agentrq-abcdefghijk": {
      "httpUrl": "https://agents.example.com/mcp/abcdefghijk",
      "headers": {
        "Authorization": "Bearer ${WORKSPACE_TOKEN_DEMO}"
      }
    }
  }
}
"#,
    ),
    (
        "codex",
        ".codex/config.toml",
        r#"[mcp_servers.agentrq-abcdefghijk]
url = "https://agents.example.com/mcp/abcdefghijk"
bearer_token_env_var = "WORKSPACE_TOKEN_DEMO"
"#,
    ),
    (
        "opencode",
        "opencode.json",
        r#"{
  "mcp": {
    "agentrq-abcdefghijk": {
      "type": "remote",
      "oauth": false,
      "url": "https://agents.example.com/mcp/abcdefghijk",
      "headers": {
        "Authorization": "Bearer {env:WORKSPACE_TOKEN_DEMO}"
      }
    }
  }
}
"#,
    ),
    (
        "vscode",
        ".vscode/mcp.json",
        r#"{
  "inputs": [
    {
      "type": "promptString",
      "id": "agentrq-abcdefghijk-token",
      "description": "Workspace token",
      "password": true
    }
  ],
  "servers": {
    "agentrq-abcdefghijk": {
      "type": "http",
      "url": "https://agents.example.com/mcp/abcdefghijk",
      "headers": {
        "Authorization": "Bearer ${input:agentrq-abcdefghijk-token}"
      }
    }
  }
}
"#,
    ),
    (
        "cursor",
        ".cursor/mcp.json",
        r#"{
  "mcpServers": {
    "agentrq-abcdefghijk": {
      "url": "https://agents.example.com/mcp/abcdefghijk",
      "headers": {
        "Authorization": "Bearer ${env:WORKSPACE_TOKEN_DEMO}"
      }
    }
  }
}
"#,
    ),
    (
        "windsurf",
        "~/.codeium/windsurf/mcp_config.json",
        r#"{
  "mcpServers": {
    "agentrq-abcdefghijk": {
      "serverUrl": "https://agents.example.com/mcp/abcdefghijk",
      "headers": {
        "Authorization": "Bearer ${env:WORKSPACE_TOKEN_DEMO}"
      }
    }
  }
}
"#,
    ),
];

/// A client, its file, and what stands in there before and after.
const MERGES: &[(&str, &str, &str, &str)] = &[
    (
        "claude-code",
        ".mcp.json",
        r#"{
    "z": [1, 2.50, 1e3],
    "mcpServers": {
        "other": {"command": "x", "args": []}
    },
    "a": "\u00e4"
}"#,
        r#"{
    "z": [1, 2.50, 1e3],
    "mcpServers": {
        "other": {"command": "x", "args": []},
        "agentrq-abcdefghijk": {
            "type": "http",
            "url": "https://agents.example.com/mcp/abcdefghijk",
            "headers": {
                "Authorization": "Bearer ${WORKSPACE_TOKEN_DEMO}"
            }
        }
    },
    "a": "\u00e4"
}
"#,
    ),
    (
        "gemini",
        ".gemini/settings.json",
        r#"{
	// mine
	"theme": "dark" /* kept */
}
"#,
        r#"{
	// mine
	"theme": "dark", /* kept */
	"mcpServers": {
		"agentrq-abcdefghijk": {
			"httpUrl": "https://agents.example.com/mcp/abcdefghijk",
			"headers": {
				"Authorization": "Bearer ${WORKSPACE_TOKEN_DEMO}"
			}
		}
	}
}
"#,
    ),
    (
        "opencode",
        "opencode.json",
        r#"{
  "$schema": "https://opencode.ai/config.json",
  "mcp": {
    // ours, and slow
    "agentrq-abcdefghijk": {
      "type": "remote",
      "url": "https://old.example.com/mcp/abcdefghijk", // moved
      "timeout": 9000,
      "enabled": false,
    },
  },
}
"#,
        r#"{
  "$schema": "https://opencode.ai/config.json",
  "mcp": {
    // ours, and slow
    "agentrq-abcdefghijk": {
      "type": "remote",
      "url": "https://agents.example.com/mcp/abcdefghijk", // moved
      "timeout": 9000,
      "enabled": false,
      "oauth": false,
      "headers": {
        "Authorization": "Bearer {env:WORKSPACE_TOKEN_DEMO}"
      },
    },
  },
}
"#,
    ),
    (
        "vscode",
        ".vscode/mcp.json",
        r#"{
  "inputs": [
    { "type": "promptString", "id": "mine" }
  ],
  "servers": {}
}
"#,
        r#"{
  "inputs": [
    { "type": "promptString", "id": "mine" },
    {
      "type": "promptString",
      "id": "agentrq-abcdefghijk-token",
      "description": "Workspace token",
      "password": true
    }
  ],
  "servers": {
    "agentrq-abcdefghijk": {
      "type": "http",
      "url": "https://agents.example.com/mcp/abcdefghijk",
      "headers": {
        "Authorization": "Bearer ${input:agentrq-abcdefghijk-token}"
      }
    }
  }
}
"#,
    ),
    (
        "codex",
        ".codex/config.toml",
        r#"# mine
model   = 'gpt'   # kept

[mcp_servers.other]
command = "x"

[mcp_servers.agentrq-abcdefghijk]
url = "https://old.example.com/mcp/abcdefghijk" # moved
bearer_token = "x"
startup_timeout_sec = 20

[tools]
web_search = true
"#,
        r#"# mine
model   = 'gpt'   # kept

[mcp_servers.other]
command = "x"

[mcp_servers.agentrq-abcdefghijk]
url = "https://agents.example.com/mcp/abcdefghijk" # moved
startup_timeout_sec = 20
bearer_token_env_var = "WORKSPACE_TOKEN_DEMO"

[tools]
web_search = true
"#,
    ),
    (
        "codex",
        ".codex/config.toml",
        "[mcp_servers]\nother = { command = \"x\" }\n",
        "[mcp_servers]\nother = { command = \"x\" }\n\n[mcp_servers.agentrq-abcdefghijk]\nurl = \"https://agents.example.com/mcp/abcdefghijk\"\nbearer_token_env_var = \"WORKSPACE_TOKEN_DEMO\"\n",
    ),
    ("cursor", ".cursor/mcp.json", "", CLIENTS[5].2),
];
