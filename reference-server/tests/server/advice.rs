//! What the command line says beside what it does: advice that fits what other faces say, and errors that help.

use crate::common::{Home, text};

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
        assert!(done.stderr.ends_with(&variable), "{}", done.stderr);
    }
    home.json(&["token", "revoke", "--workspace", &acme.id]);
    let done = home.run(&["token", "create", "--workspace", &acme.id]);
    let variable = "in the variable WORKSPACE_TOKEN_MY_WORK\n";
    assert!(done.stderr.ends_with(variable), "{}", done.stderr);
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
