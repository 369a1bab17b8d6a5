//! The page about token security: who is led there, and whether its commands do what it says.
//!
//! `docs/token-security.md` is the page; each of its `sh` blocks is run, in a shell of its own, as it stands.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use crate::common::{Done, Home, Server, Workspace};

const PAGE: &str = include_str!("../../../docs/token-security.md");

/// The address of the examples, and that of its server.
const EXAMPLE_URL: &str = "https://agents.example.com/mcp/WORKSPACE_ID";
const EXAMPLE: &str = "https://agents.example.com";

#[test]
fn whoever_is_turned_away_is_led_to_the_page() {
    let home = Home::new();
    let server = home.serve();
    let workspace = home.create_workspace("demo");
    let page = format!("http://{}/help/token-security", server.address());
    for presented in [
        "Bearer garbage",
        "Bearer ${WORKSPACE_TOKEN_DEMO}",
        "Basic eA==",
    ] {
        let target = format!("/mcp/{}", workspace.id);
        let answer = server.ask("POST", &target, &[("authorization", presented)]);
        assert_eq!(answer.status, 401);
        assert!(answer.body.contains(&page), "{presented}: {}", answer.body);
    }
    let answer = server.ask("GET", "/help/token-security", &[]);
    assert_eq!(answer.status, 200);
    let html = answer.body;
    assert!(html.contains("<h1>Token security</h1>"), "{html}");
    assert!(
        !html.contains(EXAMPLE),
        "the examples are about this server"
    );
    assert!(html.contains(&format!("http://{}/mcp/WORKSPACE_ID", server.address())));
}

/// Runs the page from top to bottom, as somebody does who follows it.
#[test]
fn every_command_of_the_page_does_what_it_says() {
    let reader = Reader::new();
    let blocks: Vec<_> = blocks().collect();
    let [
        variables,
        vault,
        file,
        variable,
        connect,
        rotate,
        slots,
        scan,
        inspect,
        exchange,
    ] = &blocks[..]
    else {
        panic!(
            "the page has {} blocks of commands, and this test knows 10",
            blocks.len()
        );
    };
    reader.follow(variables, "");

    reader.has_a_vault();
    let headers = reader.follow(vault, "");
    reader.admits_headers(&headers.stdout);

    let headers = reader.follow(file, &reader.secret());
    reader.admits_headers(&headers.stdout);
    let kept = reader.home.path("home/.config/workspaces/demo.token");
    assert_eq!(
        fs::metadata(&kept).unwrap().permissions().mode() & 0o777,
        0o600
    );

    let done = reader.follow(variable, &reader.secret());
    assert_eq!(done.stdout, ".env\n");
    let environment = reader.project().join(".env");
    assert_eq!(
        fs::read_to_string(&environment).unwrap(),
        format!("WORKSPACE_TOKEN_DEMO='{}'\n", reader.secret())
    );
    assert_eq!(
        fs::metadata(&environment).unwrap().permissions().mode() & 0o777,
        0o600
    );

    reader.follow(connect, "");
    let written = fs::read_to_string(reader.project().join(".mcp.json")).unwrap();
    assert!(written.contains("${WORKSPACE_TOKEN_DEMO}"), "{written}");

    let old = reader.secret();
    let rotated = reader.follow(rotate, "");
    assert!(!reader.server.admits(&reader.workspace.id, &old));
    reader.keep(rotated.stdout.trim());
    assert!(reader.server.admits(&reader.workspace.id, &reader.secret()));

    let done = reader.follow(slots, "");
    let laptop = done.stdout.lines().next().unwrap();
    assert!(
        !reader.server.admits(&reader.workspace.id, laptop),
        "revoked"
    );
    assert!(done.stdout.contains("laptop") && done.stdout.contains("primary"));

    // What lies in `.env` is the former token.
    let done = reader.follow(scan, "");
    assert!(done.stdout.contains(".env"), "{done:?}");

    reader.follow(inspect, "");

    let headers = reader.follow(exchange, "");
    reader.admits_headers(&headers.stdout);
}

/// The commands of the page.
fn blocks() -> impl Iterator<Item = &'static str> {
    PAGE.split("\n```sh\n")
        .skip(1)
        .map(|rest| rest.split_once("```").expect("a block has an end").0)
}

/// Somebody with a server, a token, a home and a project under git.
struct Reader {
    home: Home,
    server: Server,
    workspace: Workspace,
}

impl Reader {
    fn new() -> Self {
        let home = Home::new();
        let server = home.serve();
        let workspace = home.create_workspace("demo");
        let reader = Self {
            home,
            server,
            workspace,
        };
        for folder in ["home", "project", "bin"] {
            fs::create_dir(reader.home.path(folder)).unwrap();
        }
        reader.keep(&reader.workspace.secret);
        assert!(reader.shell("git init --quiet").status().unwrap().success());
        reader
    }

    fn project(&self) -> std::path::PathBuf {
        self.home.path("project")
    }

    /// The current token, which is where nobody but this test looks.
    fn secret(&self) -> String {
        fs::read_to_string(self.home.path("secret")).unwrap()
    }

    fn keep(&self, secret: &str) {
        fs::write(self.home.path("secret"), secret).unwrap();
    }

    /// Runs a block in a shell that stops at the first failure.
    fn follow(&self, block: &str, input: &str) -> Done {
        let url = format!("http://{}/mcp/{}", self.server.address(), self.workspace.id);
        let block = block.replace(EXAMPLE_URL, &url);
        let mut shell = self.shell(&block);
        shell
            .env("WORKSPACE", "demo")
            .env("MCP_URL", &url)
            .env("WORKSPACE_TOKEN_DEMO", self.secret())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut running = shell.spawn().unwrap();
        let mut stdin = running.stdin.take().unwrap();
        // A block that reads nothing may have ended.
        let _ = stdin.write_all(input.as_bytes());
        let _ = stdin.write_all(b"\n");
        drop(stdin);
        let done = Done::from(running.wait_with_output().unwrap());
        assert_eq!(done.code, 0, "{block}\n{}\n{}", done.stdout, done.stderr);
        done
    }

    fn shell(&self, commands: &str) -> Command {
        let wst = Path::new(env!("CARGO_BIN_EXE_wst")).parent().unwrap();
        let path = std::env::var("PATH").unwrap();
        let path = format!(
            "{}:{}:{path}",
            self.home.path("bin").display(),
            wst.display()
        );
        let mut shell = Command::new("bash");
        shell
            .args(["-euc", commands])
            .current_dir(self.project())
            .env("PATH", path)
            .env("HOME", self.home.path("home"))
            .env("WST_DATA_DIR", self.home.data_dir());
        shell
    }

    /// Puts the token into a vault: `pass` where it is installed, else a script that plays it.
    fn has_a_vault(&self) {
        let gnupg = self.home.path("home/.gnupg");
        fs::create_dir(&gnupg).unwrap();
        fs::set_permissions(&gnupg, fs::Permissions::from_mode(0o700)).unwrap();
        let fill = "command -v pass >/dev/null && command -v gpg >/dev/null || exit 9
            gpg --quiet --batch --passphrase '' --quick-generate-key reader@example.com default default never 2>/dev/null
            pass init reader@example.com >/dev/null
            pass insert --echo workspaces/demo >/dev/null";
        let mut running = self
            .shell(fill)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let _ = writeln!(running.stdin.take().unwrap(), "{}", self.secret());
        let filled = running.wait_with_output().unwrap();
        match filled.status.code() {
            Some(0) => {}
            Some(9) => {
                println!(
                    "skipped: the vault itself: pass and gpg are not installed; a script plays them"
                );
                let pass = self.home.path("bin/pass");
                fs::write(&pass, "#!/bin/sh\n[ \"$*\" = 'show workspaces/demo' ] && printenv WORKSPACE_TOKEN_DEMO\n").unwrap();
                fs::set_permissions(&pass, fs::Permissions::from_mode(0o755)).unwrap();
            }
            _ => panic!("{}", String::from_utf8_lossy(&filled.stderr)),
        }
    }

    /// Uses what a helper printed, as a client does.
    fn admits_headers(&self, printed: &str) {
        let headers: serde_json::Value = serde_json::from_str(printed).unwrap();
        let bearer = headers["Authorization"].as_str().unwrap();
        assert!(
            !bearer.contains(&self.secret()),
            "the token itself was handed over"
        );
        let token = bearer.strip_prefix("Bearer ").unwrap();
        assert!(self.server.admits(&self.workspace.id, token));
    }
}
