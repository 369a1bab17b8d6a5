//! The data directory: its files, its lock, and what a kill leaves behind.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::Path,
    time::Duration,
};

use rustix::process::Signal;

use crate::common::{Done, Home, Stopwatch, read};

const NOBODY: u32 = 65_534;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn nobody_but_the_owner_can_use_any_file() {
    let home = Home::new();
    let _server = home.serve();
    home.create_workspace("acme");
    assert_eq!(mode(&home.data_dir()), 0o700);
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(home.data_dir()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    names.sort();
    let expected = [
        ".gitignore",
        "control.sock",
        "lock",
        "setup-link",
        "workspaces.db",
        "workspaces.db-shm",
        "workspaces.db-wal",
        "workspaces.keys",
    ];
    assert_eq!(names, expected);
    assert_eq!(read(&home.data_dir().join(".gitignore")), "*\n");
}

#[test]
fn a_second_server_on_the_same_directory_gives_up() {
    let home = Home::new();
    let server = home.serve();
    let workspace = home.create_workspace("acme");
    let watch = Stopwatch::start();
    let done = home.serve_in_vain(&[]);
    assert_eq!(done.code, 1, "{}", done.stderr);
    assert!(done.stderr.contains("already"), "{}", done.stderr);
    assert!(watch.elapsed() < Duration::from_secs(2));
    assert!(server.admits(&workspace.id, &workspace.secret));
}

#[test]
fn a_directory_of_somebody_elses_files_is_refused_and_left_as_it_is() {
    let home = Home::new();
    fs::create_dir(home.data_dir()).unwrap();
    fs::set_permissions(home.data_dir(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(home.data_dir().join("thesis.txt"), "years of work").unwrap();
    let done = home.serve_in_vain(&[]);
    assert_eq!(done.code, 1);
    assert_eq!(mode(&home.data_dir()), 0o755);
    assert_eq!(fs::read_dir(home.data_dir()).unwrap().count(), 1);
}

#[test]
fn an_empty_directory_is_made_private() {
    let home = Home::new();
    fs::create_dir(home.data_dir()).unwrap();
    fs::set_permissions(home.data_dir(), fs::Permissions::from_mode(0o755)).unwrap();
    let _server = home.serve();
    assert_eq!(mode(&home.data_dir()), 0o700);
}

#[test]
fn a_path_too_long_for_a_socket_address_is_no_trouble() {
    let home = Home::new().with_variable("WST_DATA_DIR", format!("{}/data", "long".repeat(40)));
    let _server = home.serve();
    home.create_workspace("acme");
}

#[test]
fn what_was_acknowledged_outlives_a_kill() {
    let home = Home::new();
    let server = home.serve();
    let workspace = home.create_workspace("acme");
    let rotated = home.json(&["token", "rotate", "--workspace", "acme"]);
    let secret = rotated["secret"].as_str().unwrap();
    let (code, _) = server.stop(Signal::KILL);
    assert_eq!(code, None);
    assert!(home.data_dir().join("control.sock").exists());
    // The socket that was left behind is in nobody's way.
    assert_eq!(
        home.json(&["token", "list", "--workspace", "acme"])["tokens"][0]["generation"],
        2
    );
    let server = home.serve();
    assert!(server.admits(&workspace.id, secret));
    assert!(!server.admits(&workspace.id, &workspace.secret));
}

#[test]
fn a_lock_without_a_socket_is_never_passed_over() {
    let home = Home::new();
    drop(home.serve());
    home.create_workspace("acme");
    let lock = fs::File::open(home.data_dir().join("lock")).unwrap();
    lock.lock().unwrap();
    let before = fs::read(home.database()).unwrap();
    let (exit_code, code) = home.failure(&["token", "rotate", "--workspace", "acme"]);
    assert_eq!((exit_code, code.as_str()), (1, "unavailable"));
    assert_eq!(fs::read(home.database()).unwrap(), before);
}

#[test]
fn a_directory_that_cannot_be_looked_into_is_not_said_to_be_absent() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: takes root");
        return;
    }
    let home = Home::new().with_variable("WST_DATA_DIR", "parent/data");
    let _server = home.serve();
    let parent = home.path("parent");
    let list = || {
        let mut command = home.command(&["workspace", "list"]);
        command.uid(NOBODY);
        Done::of(command)
    };
    let set = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    set(&home.path("."), 0o755);
    // The parent is closed, then the directory alone.
    for mode in [0o700, 0o755] {
        set(&parent, mode);
        let done = list();
        assert_eq!(done.code, 1);
        let expected = "error: cannot look into parent/data: permission denied\n";
        assert_eq!(done.stderr, expected);
    }
    let absent = home.failure(&["--data-dir", "parent/none", "workspace", "list"]);
    assert_eq!(absent, (1, "no_data_dir".to_owned()));
}

#[test]
fn another_user_is_turned_away_at_the_control_socket() {
    let has_curl = std::process::Command::new("curl")
        .arg("-V")
        .output()
        .is_ok();
    if !rustix::process::geteuid().is_root() || !has_curl {
        println!("skipped: takes root and curl");
        return;
    }
    let home = Home::new();
    let server = home.serve();
    // As open as it gets, so that only the look at the peer is left.
    let socket = home.data_dir().join("control.sock");
    for (path, mode) in [
        (home.path("."), 0o755),
        (home.data_dir(), 0o755),
        (socket.clone(), 0o666),
    ] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let ask = |uid: u32| {
        let mut curl = std::process::Command::new("curl");
        curl.args(["-sS", "-m", "5", "-w", "%{http_code}", "--unix-socket"])
            .arg(&socket)
            .arg("http://control/api/v1/workspaces")
            .uid(uid);
        Done::of(curl)
    };
    assert!(ask(0).stdout.ends_with("200"));
    let refused = ask(NOBODY);
    assert!(refused.stdout.ends_with("000"), "{refused:?}");
    assert!(server.log().contains("refused a caller"));
}

#[test]
fn a_full_disk_is_a_clear_error_and_loses_nothing() {
    let home = Home::new();
    let script = r#"
        set -e
        mount -t tmpfs -o size=2m tmpfs "$1" || exit 77
        WST_DATA_DIR="$1/data"; export WST_DATA_DIR
        "$0" serve --listen 127.0.0.1:0 > "$2/out" 2> "$2/log" & server=$!
        until grep -q listening "$2/out"; do sleep 0.05; done
        "$0" workspace create kept > "$2/secret" 2> "$2/advice"
        kill $server; wait $server
        dd if=/dev/zero of="$1/filler" bs=4k 2> /dev/null || true
        set +e
        "$0" serve --listen 127.0.0.1:0 > "$2/out" 2> "$2/refusal"; echo "exit $?"
        cat "$2/refusal"
        rm "$1/filler"
        "$0" token inspect - < "$2/secret"
    "#;
    let (mount_point, notes) = (home.path("full"), home.path("notes"));
    fs::create_dir(&mount_point).unwrap();
    fs::create_dir(&notes).unwrap();
    let mut command = std::process::Command::new("unshare");
    command
        .args(["-m", "sh", "-c", script, env!("CARGO_BIN_EXE_wst")])
        .args([&mount_point, &notes]);
    let done = match command.output() {
        Ok(output) => Done::from(output),
        Err(_) => return println!("skipped: there is no unshare"),
    };
    if done.code != 0 && !done.stdout.contains("exit") {
        return println!("skipped: nothing can be mounted here");
    }
    assert!(done.stdout.contains("exit 1\n"), "{done:?}");
    assert!(done.stdout.contains("make room"), "{done:?}");
    assert!(done.stdout.contains("\ncurrent\n"), "{done:?}");
}
