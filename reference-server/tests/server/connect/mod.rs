//! `wst connect`, in a project of its own for each test.

mod check;
mod write;

use std::{fs, path::PathBuf, process::Command};

use serde_json::Value;

use crate::common::{Done, Home, read, text};

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

const URL: &str = "https://agents.example.com/mcp/abcdefghijk";
/// Where nobody listens.
const CLOSED: &str = "http://127.0.0.1:1/mcp/abcdefghijk";
const VARIABLE: &str = "WORKSPACE_TOKEN_DEMO";
/// It is for a workspace "other".
const TOKEN: &str = "eyJhbGciOiJIUzI1NiIsImtpZCI6InE0dHl0aWMyIiwidHlwIjoid29ya3NwYWNlK2p3dCJ9.eyJhdWQiOiJvdGhlciIsImdlbiI6MSwiaWF0IjoxLCJqdGkiOiJBQUFBQUFBQUFBQUFBQUFBQUFBQUFBIiwic3ViIjoicHJpbWFyeSJ9.AdV1dT2VkS8RtXsa8hXcVU8jPlXKXwh1Mz1l3YcpPyU";
