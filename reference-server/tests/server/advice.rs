//! What the command line says beside what it does: advice that fits what other faces say, and errors that help.

use crate::common::{Done, Home, text};

#[test]
fn the_variable_of_a_token_is_named_after_the_workspace_s_name_however_it_is_given() {
    let home = Home::new();
    let _server = home.serve();
    let acme = home.create_workspace("My work");
    for (workspace, name) in [(acme.id.as_str(), "laptop"), ("My work", "desktop")] {
        let done = home.run(&["token", "create", "--workspace", workspace, "--name", name]);
        let variable = format!(
            "in the variable WORKSPACE_TOKEN_MY_WORK_{}\n",
            name.to_uppercase()
        );
        assert!(done.stderr.contains(&variable), "{}", done.stderr);
    }
    home.json(&["token", "revoke", "--workspace", &acme.id]);
    let done = home.run(&["token", "create", "--workspace", &acme.id]);
    let variable = "in the variable WORKSPACE_TOKEN_MY_WORK\n";
    assert!(done.stderr.contains(variable), "{}", done.stderr);
}

#[test]
fn an_archived_workspace_is_taken_back_as_the_error_says() {
    let home = Home::new();
    let server = home.serve();
    let acme = home.create_workspace("acme");
    home.json(&["workspace", "archive", "acme"]);
    let create = ["token", "create", "--workspace", "acme"];
    let task = [
        "task",
        "add",
        "--workspace",
        "acme",
        "--title",
        "t",
        "--body",
        "b",
    ];
    for refused in [&create[..], &task] {
        let done = home.run(refused);
        assert!(done.stderr.contains("is archived"), "{}", done.stderr);
        assert!(
            done.stderr.contains("`wst workspace unarchive`"),
            "{}",
            done.stderr
        );
    }
    let done = home.run(&["workspace", "unarchive", "acme"]);
    assert_eq!((done.code, done.stdout.as_str()), (0, "taken back\n"));
    assert!(!server.admits(&acme.id, &acme.secret));
    let token = text(&home.json(&create)["secret"]);
    assert!(server.admits(&acme.id, &token));
}

#[test]
fn one_is_no_plural() {
    let home = Home::new();
    drop(home.serve());
    home.create_workspace("acme");
    let done = home.run(&["key", "list"]);
    assert!(
        done.stdout
            .lines()
            .all(|line| line.ends_with("  1 live token")),
        "{}",
        done.stdout
    );
    let done = home.run(&["workspace", "archive", "acme"]);
    assert_eq!(done.stdout, "archived; 0 sessions and 0 streams ended\n");
}

#[test]
fn what_was_archived_before_is_not_archived_again() {
    let home = Home::new();
    let _server = home.serve();
    home.create_workspace("acme");
    for (verb, said) in [
        ("archive", "archived; 0 sessions and 0 streams ended\n"),
        ("archive", "it was archived before; nothing was changed\n"),
        ("unarchive", "taken back\n"),
        ("unarchive", "it was not archived; nothing was changed\n"),
    ] {
        let done = home.run(&["workspace", verb, "acme"]);
        assert_eq!((done.code, done.stdout.as_str()), (0, said));
    }
    let audit = home.json(&["audit", "tail", "--workspace", "acme"]);
    let actions = audit["entries"].as_array().unwrap().iter();
    let actions: Vec<_> = actions
        .map(|entry| entry["action"].as_str().unwrap())
        .collect();
    assert_eq!(
        actions,
        [
            "workspace.create",
            "workspace.archive",
            "workspace.unarchive"
        ]
    );
}

#[test]
fn an_audit_list_of_an_action_that_there_is_not_is_an_error() {
    let home = Home::new();
    let _server = home.serve();
    for verb in [&["tail"][..], &["export"], &["export", "--format", "csv"]] {
        let done = home.run(&[&["audit"], verb, &["--action", "nope"]].concat());
        assert_eq!(
            (done.code, done.stdout.as_str()),
            (2, ""),
            "{}",
            done.stderr
        );
        assert!(
            done.stderr.contains("member, task, token"),
            "{}",
            done.stderr
        );
    }
    assert_eq!(home.run(&["audit", "export", "--action", "key"]).code, 0);
}

#[test]
fn a_change_of_a_user_is_said_in_words() {
    let home = Home::new();
    let _server = home.serve();
    home.json(&["user", "add", "root", "--administrator"]);
    home.run_with_input(&["user", "passwd", "root"], "a few fine words");
    home.json(&["user", "add", "grace"]);
    for (verb, said) in [
        (
            "disable",
            "grace is locked out, and all logins have ended\n",
        ),
        ("enable", "grace may log in again\n"),
        ("promote", "grace is an administrator\n"),
        ("demote", "grace is a plain user\n"),
    ] {
        assert_eq!(home.run(&["user", verb, "grace"]).stdout, said);
    }
    let list = home.run(&["user", "list"]).stdout;
    assert!(
        list.contains("  grace  user, has not chosen a password\n"),
        "{list}"
    );
    assert!(list.contains("  root  administrator\n"), "{list}");
    home.run(&["user", "disable", "grace"]);
    let done = home.run(&["user", "login-link", "grace"]);
    assert_eq!((done.code, done.stdout.as_str()), (1, ""));
    assert!(
        done.stderr.contains("`wst user enable NAME`"),
        "{}",
        done.stderr
    );
}

#[test]
fn looking_at_a_token_that_has_ended_fails_where_that_is_asked_for() {
    let home = Home::new();
    let _server = home.serve();
    let acme = home.create_workspace("acme");
    let check = ["token", "inspect", "-", "--check"];
    let done = home.run_with_input(&check, &acme.secret);
    assert_eq!((done.code, done.stderr.as_str()), (0, ""));
    home.json(&["workspace", "archive", "acme"]);
    for (arguments, code) in [(&check[..], 1), (&check[..3], 0)] {
        let done = home.run_with_input(arguments, &acme.secret);
        assert_eq!(done.code, code, "{}", done.stderr);
        assert!(
            done.stdout
                .starts_with("not current: it was regenerated or revoked\n")
        );
    }
}

#[test]
fn an_option_in_a_variable_is_called_by_its_name_and_is_not_shown_as_an_argument() {
    let home = Home::new();
    let said = |arguments: &[&str], variable: &str, value: &str| {
        let mut command = home.command(arguments);
        command.env(variable, value);
        let done = Done::of(command);
        assert_eq!(done.code, 2, "{}", done.stderr);
        done.stderr
    };
    for command in [&["serve"][..], &["workspace", "list"]] {
        let told = said(command, "WST_LISTEN", "nowhere");
        assert!(told.contains("'nowhere' for WST_LISTEN"), "{told}");
        assert!(!told.contains("--listen"), "{told}");
    }
    let told = said(&["serve", "--listen", "nowhere"], "WST_LOG", "info");
    assert!(
        told.contains("'nowhere' for '--listen <ADDRESS:PORT>'"),
        "{told}"
    );
    let told = said(&["workspace", "create"], "WST_DATA_DIR", "elsewhere");
    assert!(
        told.ends_with("Usage: wst workspace create <NAME>\n"),
        "{told}"
    );
}

#[test]
fn a_reason_that_there_is_not_is_told_which_there_are() {
    let home = Home::new();
    let done = home.run(&[
        "token",
        "rotate",
        "--workspace",
        "acme",
        "--reason",
        "because",
    ]);
    assert_eq!(done.code, 2);
    assert!(
        done.stderr.contains("committed, shared, suspicion"),
        "{}",
        done.stderr
    );
}

#[test]
fn the_help_of_serve_shows_no_option_that_does_nothing_there() {
    let home = Home::new();
    for (command, shows) in [("serve", false), ("backup", true)] {
        let done = home.run(&[command, "--help"]);
        assert_eq!(done.stdout.contains("--json"), shows, "{command}");
    }
    let done = home.serve_in_vain(&["--json", "--public-url", "nowhere"]);
    assert!(done.stderr.starts_with("{\"error\":"), "{}", done.stderr);
}
