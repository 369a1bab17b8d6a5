//! What it prints and writes for each client, what it leaves alone, and what was asked wrongly.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
};

use serde_json::{Value, json};

use super::{Project, TOKEN, URL, VARIABLE};
use crate::common::{Done, read};

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
