//! How each client is connected: the file to commit, the line that sets the variable, the restart.
//!
//! The token itself is in none of them: files hold the name of a variable.

/// How one client is connected.
#[derive(Clone, Debug)]
pub(super) struct ClientGuide {
    /// As in `wst connect`.
    pub(super) key: &'static str,
    pub(super) name: &'static str,
    /// The file, relative to the project unless it begins with `~`.
    pub(super) file: &'static str,
    /// What stands in it.
    pub(super) content: String,
    /// Whether the client asks for the token itself, so that no variable has to be set.
    pub(super) asks: bool,
    /// How it is started again after a rotation.
    pub(super) restart: &'static str,
}

impl ClientGuide {
    /// Returns whether the file is the project's, so that others get it with a clone.
    pub(super) fn is_shared(&self) -> bool {
        !self.file.starts_with('~')
    }
}

/// Returns how each client is connected to a workspace with the token in `variable`.
pub(super) fn guides(workspace: &str, variable: &str, url: &str) -> Vec<ClientGuide> {
    // Gateways that bring other agents to a workspace look for an entry of such a name.
    let name = format!("agentrq-{workspace}");
    let guide = |key, client, file, restart, content: String| ClientGuide {
        key,
        name: client,
        file,
        content,
        asks: false,
        restart,
    };
    let vscode = ClientGuide {
        asks: true,
        ..guide(
            "vscode",
            "VS Code",
            ".vscode/mcp.json",
            "MCP: List Servers, then Restart; it asks for the token again",
            format!(
                r#"{{
  "inputs": [
    {{ "type": "promptString", "id": "workspace-token", "description": "Workspace token", "password": true }}
  ],
  "servers": {{
    "{name}": {{
      "type": "http",
      "url": "{url}",
      "headers": {{ "Authorization": "Bearer ${{input:workspace-token}}" }}
    }}
  }}
}}"#
            ),
        )
    };
    vec![
        guide(
            "claude-code",
            "Claude Code",
            ".mcp.json",
            "ctrl+c, then claude",
            mcp_servers(
                &name,
                "\"type\": \"http\", \"url\"",
                url,
                &format!("${{{variable}}}"),
            ),
        ),
        guide(
            "gemini",
            "Gemini CLI",
            ".gemini/settings.json",
            "/quit, then gemini",
            mcp_servers(&name, "\"httpUrl\"", url, &format!("${{{variable}}}")),
        ),
        guide(
            "codex",
            "Codex",
            ".codex/config.toml",
            "ctrl+c, then codex",
            format!("[mcp_servers.{name}]\nurl = \"{url}\"\nbearer_token_env_var = \"{variable}\""),
        ),
        guide(
            "opencode",
            "opencode",
            "opencode.json",
            "ctrl+c, then opencode",
            format!(
                r#"{{
  "mcp": {{
    "{name}": {{
      "type": "remote",
      "url": "{url}",
      "oauth": false,
      "headers": {{ "Authorization": "Bearer {{env:{variable}}}" }}
    }}
  }}
}}"#
            ),
        ),
        vscode,
        guide(
            "cursor",
            "Cursor",
            ".cursor/mcp.json",
            "quit Cursor, and start it from a shell that has the new variable",
            mcp_servers(&name, "\"url\"", url, &format!("${{env:{variable}}}")),
        ),
        guide(
            "windsurf",
            "Windsurf",
            "~/.codeium/windsurf/mcp_config.json",
            "quit Windsurf, and start it from a shell that has the new variable",
            mcp_servers(&name, "\"serverUrl\"", url, &format!("${{env:{variable}}}")),
        ),
    ]
}

fn mcp_servers(name: &str, url_key: &str, url: &str, token: &str) -> String {
    format!(
        r#"{{
  "mcpServers": {{
    "{name}": {{
      {url_key}: "{url}",
      "headers": {{ "Authorization": "Bearer {token}" }}
    }}
  }}
}}"#
    )
}

/// Returns how the client that calls itself `name` is started again, once it has the new token.
pub(super) fn restart(name: &str) -> &'static str {
    let name = name.to_lowercase();
    let guides = guides("", "", "");
    let known = guides
        .into_iter()
        .find(|guide| name.contains(guide.key) || name.contains(&guide.name.to_lowercase()));
    known.map_or("start it again", |guide| guide.restart)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_names_the_variable_and_is_what_its_client_reads() {
        for guide in guides(
            "abcdefghijk",
            "WORKSPACE_TOKEN_CI_RUNNER",
            "https://e.com/mcp/abcdefghijk",
        ) {
            let content = &guide.content;
            assert!(
                content.contains("https://e.com/mcp/abcdefghijk"),
                "{content}"
            );
            assert_eq!(
                content.contains("WORKSPACE_TOKEN_CI_RUNNER"),
                !guide.asks,
                "{content}"
            );
            if guide.file.ends_with(".json") {
                serde_json::from_str::<serde_json::Value>(content).expect(guide.key);
            } else {
                toml::from_str::<toml::Value>(content).expect(guide.key);
            }
        }
    }

    #[test]
    fn knows_how_clients_are_started_again_by_what_they_call_themselves() {
        assert_eq!(restart("claude-code"), "ctrl+c, then claude");
        assert_eq!(restart("Claude Code"), "ctrl+c, then claude");
        // The page says before it that the new token is set.
        assert_eq!(restart("somebody"), "start it again");
    }
}
