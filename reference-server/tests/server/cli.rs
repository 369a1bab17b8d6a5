//! The command line's contract: the shapes of its JSON, its exit codes, what is printed where.

use std::{fs::File, process::Stdio};

use serde_json::{Value, json};

use crate::common::{Done, Home, fields, text};

/// Runs `check` with a server and without one: the answers are the same.
fn with_and_without_a_server(check: impl Fn(&Home)) {
    let home = Home::new();
    let server = home.serve();
    check(&home);
    drop(server);
    let home = Home::new();
    drop(home.serve());
    check(&home);
}

#[test]
fn creates_a_workspace_with_its_first_token() {
    with_and_without_a_server(|home| {
        let created = home.json(&["workspace", "create", "acme"]);
        assert_eq!(
            fields(&created),
            ["mcp_url", "secret", "token", "workspace"]
        );
        assert_eq!(fields(&created["workspace"]), ["id", "name"]);
        assert_eq!(fields(&created["token"]), ["generation", "id", "name"]);
        assert_eq!(created["workspace"]["name"], "acme");
        assert_eq!(created["token"]["name"], "primary");
        assert_eq!(created["token"]["generation"], 1);
        let id = text(&created["workspace"]["id"]);
        assert_eq!(id.len(), 11);
        assert!(
            id.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        );
        assert!(text(&created["mcp_url"]).ends_with(&format!("/mcp/{id}")));
        assert_eq!(text(&created["secret"]).split('.').count(), 3);
    });
}

#[test]
fn lists_workspaces_with_archived_ones() {
    let home = Home::new();
    let _server = home.serve();
    let (kept, archived) = (home.create_workspace("kept"), home.create_workspace("gone"));
    let receipt = home.json(&["workspace", "archive", &archived.id]);
    assert_eq!(receipt, json!({"sessions_ended": 0, "streams_severed": 0}));
    let expected = json!({"workspaces": [
        {"id": kept.id, "name": "kept", "archived": false, "locked": false, "needs_you": 0, "connections": 0},
        {"id": archived.id, "name": "gone", "archived": true, "locked": false, "needs_you": 0, "connections": 0},
    ]});
    assert_eq!(home.json(&["workspace", "list"]), expected);
}

#[test]
fn changes_the_state_of_a_task_and_who_is_to_do_it() {
    let home = Home::new();
    let _server = home.serve();
    home.create_workspace("acme");
    let task = add_task(&home, "body");
    let of_task = ["--workspace", "acme", "--task", &task];
    let status = [&["task", "status", "--status", "blocked"][..], &of_task].concat();
    assert_eq!(home.json(&status)["task"]["status"], "blocked");
    let assign = [&["task", "assign", "--assignee", "human"][..], &of_task].concat();
    assert_eq!(home.json(&assign)["task"]["assignee"], "human");
    let list = home.json(&["workspace", "list"]);
    assert_eq!(list["workspaces"][0]["needs_you"], 1);
    let printed = home.run(&status).stdout;
    assert_eq!(printed, format!("{task}  blocked     human  title\n"));
}

#[test]
fn creates_lists_rotates_and_revokes_tokens() {
    with_and_without_a_server(|home| {
        let id = home.create_workspace("acme").id;
        let created = home.json(&["token", "create", "--workspace", &id, "--name", "laptop"]);
        assert_eq!(fields(&created), ["mcp_url", "secret", "token"]);
        assert_eq!(fields(&created["token"]), ["generation", "id", "name"]);

        let rotated = home.json(&["token", "rotate", "--workspace", &id]);
        let expected = [
            "cut",
            "generation",
            "microseconds",
            "secret",
            "sessions_ended",
            "streams_severed",
        ];
        assert_eq!(fields(&rotated), expected);
        assert_eq!(rotated["generation"], 2);

        let revoked = home.json(&["token", "revoke", "--workspace", &id, "--name", "laptop"]);
        let expected = json!({"generation": 2, "sessions_ended": 0, "streams_severed": 0});
        assert_eq!(revoked, expected);

        let list = home.json(&["token", "list", "--workspace", &id]);
        let tokens = list["tokens"].as_array().unwrap();
        let shown: Vec<_> = tokens
            .iter()
            .map(|token| (&token["name"], &token["state"], &token["generation"]))
            .collect();
        let (two, active) = (&json!(2), &json!("active"));
        let expected = [
            (&json!("laptop"), &json!("revoked"), two),
            (&json!("primary"), active, two),
        ];
        assert_eq!(shown, expected);
        let expected = [
            "connections",
            "created_at",
            "created_by",
            "generation",
            "id",
            "idle_sessions",
            "last_used",
            "last_used_at",
            "last_used_before",
            "name",
            "state",
        ];
        assert_eq!(fields(&tokens[0]), expected);
        assert!(text(&tokens[0]["created_at"]).ends_with('Z'));
        assert_eq!(tokens[0]["last_used_at"], Value::Null);
    });
}

#[test]
fn adds_answers_and_lists_tasks() {
    with_and_without_a_server(|home| {
        let id = home.create_workspace("acme").id;
        let workspace = ["--workspace", &id];
        let add = [
            "task",
            "add",
            "--title",
            "Fix it",
            "--body",
            "all of it & more",
        ];
        let added = home.json(&[&add[..], &workspace].concat());
        assert_eq!(fields(&added), ["task"]);
        assert_eq!(fields(&added["task"]), ["id"]);
        let task = text(&added["task"]["id"]);
        let reply = ["task", "reply", "--task", &task, "--text", "hello"];
        let replied = home.json(&[&reply[..], &workspace].concat());
        assert_eq!(fields(&replied["message"]), ["id"]);
        home.json(&[&add[..], &workspace, &["--assignee", "human"]].concat());

        let list = home.json(&[&["task", "list", "--limit", "1"][..], &workspace].concat());
        assert_eq!(list["tasks"][0]["assignee"], "human");
        let cursor = text(&list["next_cursor"]);
        let next = [
            "task",
            "list",
            "--cursor",
            &cursor,
            "--status",
            "notstarted",
        ];
        let list = home.json(&[&next[..], &workspace].concat());
        assert_eq!(list["tasks"][0]["id"], *task);
        assert_eq!(list["next_cursor"], Value::Null);
        let none = ["task", "list", "--status", "completed"];
        let list = home.json(&[&none[..], &workspace].concat());
        assert_eq!(list["tasks"], json!([]));
    });
}

#[test]
fn what_is_written_may_begin_with_a_hyphen() {
    let home = Home::new();
    let _server = home.serve();
    home.create_workspace("acme");
    let workspace = ["--workspace", "acme"];
    let add = ["task", "add", "--title", "-t", "--body", "- [ ] x"];
    let added = home.json(&[&add[..], &workspace].concat());
    let task = text(&added["task"]["id"]);
    let reply = ["task", "reply", "--task", &task, "--text", "- item"];
    home.json(&[&reply[..], &workspace].concat());
    let list = home.json(&[&["task", "list"][..], &workspace].concat());
    assert_eq!(list["tasks"][0]["title"], "-t");
}

#[test]
fn shows_a_task_with_all_of_its_conversation() {
    let home = Home::new();
    drop(home.serve());
    home.create_workspace("acme");
    let task = add_task(&home, "first line\nsecond line");
    // More than two pages of them.
    let connection = rusqlite::Connection::open(home.database()).unwrap();
    for number in 0..205 {
        let id = format!("a{number:010}");
        let said = format!("answer {number}");
        connection.execute(ANSWER, [&id, &said, &task]).unwrap();
    }
    drop(connection);
    let show = ["task", "show", "--workspace", "acme", "--task", &task];
    let shown = home.json(&show);
    let parts = [
        "approvals",
        "attachments",
        "messages",
        "previous_cursor",
        "task",
        "timeline",
    ];
    assert_eq!(fields(&shown), parts);
    assert_eq!(shown["timeline"][0]["what"], "created");
    assert_eq!(shown["timeline"][0]["actor_name"], "command line");
    let mut expected = shown["task"].clone();
    let body = expected.as_object_mut().unwrap().remove("body");
    assert_eq!(body, Some(json!("first line\nsecond line")));
    let list = home.json(&["task", "list", "--workspace", "acme"]);
    assert_eq!(list["tasks"], json!([expected]));
    let messages = shown["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 205);
    assert_eq!(
        fields(&messages[0]),
        ["author", "author_name", "created_at", "id", "text"]
    );
    for (number, message) in messages.iter().enumerate() {
        assert_eq!(message["text"], format!("answer {number}"));
        assert_eq!(message["author"], "agent");
    }
    let printed = home.run(&show).stdout;
    let head = format!("{task}  notstarted  agent  title\n\n    first line\n    second line\n\n");
    assert!(printed.starts_with(&head), "{printed}");
    assert!(printed.ends_with("Z  agent\n    answer 204\n"), "{printed}");

    let server = home.serve();
    assert_eq!(home.json(&show), shown);
    drop(server);

    let unknown = [
        "task",
        "show",
        "--workspace",
        "acme",
        "--task",
        "aaaaaaaaaaa",
    ];
    assert_eq!(home.failure(&unknown), (1, "not_found".to_owned()));
    let malformed = ["task", "show", "--workspace", "acme", "--task", "x"];
    assert_eq!(home.failure(&malformed), (2, "invalid_argument".to_owned()));
}

#[test]
fn no_control_character_of_an_agent_reaches_the_terminal() {
    let home = Home::new();
    drop(home.serve());
    home.create_workspace("acme");
    let task = add_task(&home, "\u{1b}[2Jbody\tand\r\nmore\u{7}");
    let connection = rusqlite::Connection::open(home.database()).unwrap();
    let said = "\u{1b}]0;x\u{7}\u{9b}31mred\rover\u{7f}";
    connection
        .execute(ANSWER, ["a0000000000", said, &task])
        .unwrap();
    // As if an earlier version had let it in.
    let title = "UPDATE tasks SET title = 'two' || char(10) || 'lines' || char(27)";
    connection.execute(title, []).unwrap();
    drop(connection);
    let show = ["task", "show", "--workspace", "acme", "--task", &task];
    let list = ["task", "list", "--workspace", "acme"];
    for (arguments, expected) in [
        (&show[..], "\n    \u{fffd}[2Jbody\tand\n    more\u{fffd}\n"),
        (
            &show,
            "\u{fffd}]0;x\u{fffd}\u{fffd}31mred\u{fffd}over\u{fffd}\n",
        ),
        (&show, "two\u{fffd}lines\u{fffd}\n"),
        (&list, "two\u{fffd}lines\u{fffd}\n"),
    ] {
        let printed = home.run(arguments).stdout;
        assert!(printed.contains(expected), "{printed:?}");
        let is_harmless = |character: char| "\n\t".contains(character) || !character.is_control();
        assert!(printed.chars().all(is_harmless), "{printed:?}");
    }
    // Programs get what was written.
    assert_eq!(home.json(&show)["messages"][0]["text"], said);
}

/// Adds a task to the workspace `acme` and returns its id.
fn add_task(home: &Home, body: &str) -> String {
    let add = ["task", "add", "--workspace", "acme", "--title", "title"];
    let added = home.json(&[&add[..], &["--body", body]].concat());
    text(&added["task"]["id"])
}

/// Writes what an agent answers: the message's id, its text, and the task.
const ANSWER: &str = "INSERT INTO messages (id, workspace, task, author, text, created_at)
    SELECT ?1, workspace, id, 'agent', ?2, created_at FROM tasks WHERE id = ?3";

#[test]
fn inspects_a_token_without_printing_it() {
    let home = Home::new();
    let server = home.serve();
    let workspace = home.create_workspace("acme");
    let inspect = |token: &str| {
        let done = home.run_with_input(&["token", "inspect", "-", "--json"], token);
        assert_eq!(done.code, 0, "{}", done.stderr);
        assert!(!done.stdout.contains(token), "{}", done.stdout);
        let signature = token.rsplit('.').next().unwrap();
        assert!(!done.stdout.contains(signature));
        serde_json::from_str::<Value>(&done.stdout).unwrap()
    };
    let current = inspect(&workspace.secret);
    assert_eq!(current["current"], true);
    assert_eq!(current["token"]["workspace"], *workspace.id);
    assert_eq!(current["token"]["name"], "primary");
    home.json(&["token", "rotate", "--workspace", "acme"]);
    drop(server);
    let superseded = inspect(&workspace.secret);
    assert_eq!(superseded["current"], false);
    assert_eq!(superseded["token"]["generation"], 1);
    // Nothing is told of claims that nobody has signed.
    let mut forged = workspace.secret.clone();
    forged.pop();
    assert_eq!(inspect(&format!("{forged}!"))["token"], Value::Null);
    assert_eq!(inspect("not-a-token")["token"], Value::Null);
}

#[test]
fn prints_the_secret_alone_on_standard_output() {
    let home = Home::new();
    let _server = home.serve();
    let creations = [
        ["workspace", "create", "acme"].as_slice(),
        ["token", "create", "--workspace", "acme", "--name", "second"].as_slice(),
        ["token", "rotate", "--workspace", "acme"].as_slice(),
    ];
    for arguments in creations {
        let done = home.run(arguments);
        let secret = done.stdout.strip_suffix('\n').unwrap();
        assert!(secret.starts_with("eyJ") && !secret.contains(char::is_whitespace));
        assert!(!done.stderr.is_empty() && !done.stderr.contains(secret));
    }
}

#[test]
fn a_token_that_could_not_be_printed_is_told_of_as_one_to_rotate() {
    let home = Home::new();
    let server = home.serve();
    let workspace = home.create_workspace("acme");
    let into_full_device = |arguments: &[&str]| {
        let mut command = home.command(arguments);
        let full = File::options().write(true).open("/dev/full").unwrap();
        let child = command.stdout(full).stderr(Stdio::piped()).spawn();
        Done::from(child.unwrap().wait_with_output().unwrap())
    };
    for (arguments, expected) in [
        (
            ["workspace", "create", "other"].as_slice(),
            "was created, but its token could not be shown",
        ),
        (
            ["token", "create", "--workspace", "acme", "--name", "second"].as_slice(),
            "the token was created, but could not be shown",
        ),
        (
            ["token", "rotate", "--workspace", "acme"].as_slice(),
            "the old token is dead, and the new one could not be shown",
        ),
    ] {
        for arguments in [arguments.to_vec(), [arguments, &["--json"]].concat()] {
            let done = into_full_device(&arguments);
            assert_eq!(done.code, 1, "{}", done.stderr);
            assert!(done.stderr.contains(expected), "{}", done.stderr);
            assert!(
                done.stderr.contains("`wst token rotate`"),
                "{}",
                done.stderr
            );
            assert!(!done.stderr.contains("eyJ"), "{}", done.stderr);
            match arguments[..2] {
                ["token", "create"] => {
                    home.json(&["token", "revoke", "--workspace", "acme", "--name", "second"])
                }
                ["workspace", "create"] => home.json(&["workspace", "archive", "other"]),
                _ => Value::Null,
            };
        }
    }
    assert!(!server.admits(&workspace.id, &workspace.secret));
    let rotated = home.json(&["token", "rotate", "--workspace", "acme"]);
    assert!(server.admits(&workspace.id, &text(&rotated["secret"])));
}

#[test]
fn finds_a_workspace_by_a_name_that_only_one_has() {
    with_and_without_a_server(|home| {
        let only = home.create_workspace("Über & Söhne / 1?").id;
        let twin = home.create_workspace("twin").id;
        let again = home.failure(&["workspace", "create", "twin"]);
        assert_eq!(again, (1, "already_exists".to_owned()));
        // One that was archived is in nobody's way, and may come back.
        home.json(&["workspace", "archive", "twin"]);
        let other = home.create_workspace("twin").id;
        home.json(&["workspace", "unarchive", &twin]);
        let list = home.json(&["token", "list", "--workspace", "Über & Söhne / 1?"]);
        let by_id = home.json(&["token", "list", "--workspace", &only]);
        assert_eq!(list, by_id);
        let twins = home.failure(&["token", "list", "--workspace", "twin"]);
        assert_eq!(twins, (1, "conflict".to_owned()));
        let told = home.run(&["token", "list", "--workspace", "twin"]).stderr;
        assert!(told.contains(&twin) && told.contains(&other), "{told}");
        for id in [&only, &twin, &other] {
            home.json(&["workspace", "archive", id]);
        }
    });
}

#[test]
fn every_failure_has_a_code_and_an_exit_code() {
    with_and_without_a_server(|home| {
        let id = home.create_workspace("failures").id;
        let gone = home.create_workspace("gone").id;
        home.json(&["workspace", "archive", &gone]);
        let task = ["--task", "aaaaaaaaaaa", "--text", "x"];
        for (arguments, expected) in [
            (vec!["workspace", "create", ""], (2, "invalid_argument")),
            (
                vec!["workspace", "create", "two\nlines"],
                (2, "invalid_argument"),
            ),
            (vec!["workspace", "archive", "nobody"], (1, "not_found")),
            (vec!["workspace", "archive"], (2, "usage")),
            (
                vec!["token", "list", "--workspace", "nobody"],
                (1, "not_found"),
            ),
            (vec!["token", "list", "--workspace", ""], (2, "usage")),
            (vec!["token", "list"], (2, "usage")),
            (
                vec!["token", "create", "--workspace", &id],
                (1, "already_exists"),
            ),
            (
                vec!["token", "create", "--workspace", &id, "--name", "No"],
                (2, "invalid_argument"),
            ),
            (
                vec!["token", "create", "--workspace", &gone],
                (1, "archived"),
            ),
            (
                vec!["token", "rotate", "--workspace", &gone],
                (1, "archived"),
            ),
            (
                vec!["token", "rotate", "--workspace", &id, "--name", "none"],
                (1, "not_found"),
            ),
            (
                vec!["token", "revoke", "--workspace", &id, "--name", "none"],
                (1, "not_found"),
            ),
            (
                vec!["token", "inspect", "eyJhbGciOiJIUzI1NiJ9"],
                (2, "usage"),
            ),
            (vec!["token", "inspect", "-"], (2, "invalid_argument")),
            (
                vec![
                    "task",
                    "add",
                    "--workspace",
                    &id,
                    "--title",
                    "",
                    "--body",
                    "",
                ],
                (2, "invalid_argument"),
            ),
            (
                vec![
                    "task",
                    "add",
                    "--workspace",
                    &gone,
                    "--title",
                    "x",
                    "--body",
                    "",
                ],
                (1, "archived"),
            ),
            (
                [&["task", "reply", "--workspace", &id], &task[..]].concat(),
                (1, "not_found"),
            ),
            (
                vec!["task", "list", "--workspace", &id, "--limit", "101"],
                (2, "invalid_argument"),
            ),
            (
                vec!["task", "list", "--workspace", &id, "--status", "done"],
                (2, "usage"),
            ),
            (
                vec!["task", "list", "--workspace", &id, "--cursor", "x"],
                (2, "invalid_argument"),
            ),
            (vec!["nothing"], (2, "usage")),
            (vec![], (2, "usage")),
        ] {
            let (exit_code, code) = home.failure(&arguments);
            assert_eq!((exit_code, code.as_str()), expected, "{arguments:?}");
        }
    });
}

#[test]
fn a_live_token_in_the_way_or_none_at_all_is_an_error_that_says_what_to_run() {
    with_and_without_a_server(|home| {
        let id = home.create_workspace("acme").id;
        let none = "there is no live token of that name (`wst token list` shows all, `wst token create` makes one)";
        let live = "there is a live token of that name already: choose another name, or regenerate that one (`wst token rotate` regenerates it)";
        for (command, name, expected) in [
            ("create", "primary", live),
            ("rotate", "none", none),
            ("revoke", "none", none),
        ] {
            let done = home.run(&["token", command, "--workspace", &id, "--name", name]);
            assert_eq!(done.code, 1);
            assert_eq!(done.stderr, format!("error: {expected}\n"));
        }
    });
}

#[test]
fn a_token_given_as_an_argument_is_not_repeated() {
    let home = Home::new();
    let _server = home.serve();
    let done = home.run(&["token", "inspect", "eyJhbGciOiJIUzI1NiJ9"]);
    assert_eq!(done.code, 2);
    assert!(!done.stderr.contains("eyJ"), "{}", done.stderr);
}

#[test]
fn commands_make_no_data_directory() {
    let home = Home::new();
    for arguments in [
        ["workspace", "list"].as_slice(),
        ["workspace", "create", "acme"].as_slice(),
        ["token", "rotate", "--workspace", "acme"].as_slice(),
        ["task", "list", "--workspace", "acme"].as_slice(),
    ] {
        let done = home.run(arguments);
        assert_eq!(done.code, 1);
        let expected = "no data directory at data: start `wst serve` or give --data-dir";
        assert!(done.stderr.contains(expected), "{}", done.stderr);
        assert!(!home.data_dir().exists());
    }
}

#[test]
fn the_data_directory_is_named_before_or_after_the_command_or_by_a_variable() {
    let home = Home::new().with_variable("WST_DATA_DIR", "by-variable");
    let _server = home.serve();
    assert!(home.path("by-variable").exists());
    home.create_workspace("acme");
    let expected = home.json(&["workspace", "list"]);
    let elsewhere = |arguments: &[&str]| {
        let mut command = home.command(arguments);
        command.env("WST_DATA_DIR", "nowhere");
        let done = Done::of(command);
        serde_json::from_str::<Value>(&done.stdout).unwrap()
    };
    let before = ["--data-dir", "by-variable", "workspace", "list", "--json"];
    assert_eq!(elsewhere(&before), expected);
    let after = ["--json", "workspace", "list", "--data-dir", "by-variable"];
    assert_eq!(elsewhere(&after), expected);
}

#[test]
fn help_and_version_are_no_failures() {
    let home = Home::new();
    for argument in ["--help", "--version", "-h"] {
        let done = home.run(&[argument]);
        assert_eq!((done.code, done.stderr.as_str()), (0, ""));
        assert!(done.stdout.contains("wst"));
    }
}

#[test]
fn health_is_that_of_a_running_server() {
    let home = Home::new();
    assert_eq!(home.failure(&["health"]), (1, "no_data_dir".to_owned()));
    let server = home.serve();
    assert_eq!(home.run(&["health"]).stdout, "ok\n");
    assert_eq!(home.json(&["health"])["status"], "ok");
    drop(server);
    assert_eq!(home.failure(&["health"]), (1, "unavailable".to_owned()));
}
