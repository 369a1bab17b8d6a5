//! How each client is connected, for people: the file, the line that sets the variable, the restart.

use super::{CLIENTS, Client, Connection, Credential};

/// How one client is connected to one workspace.
#[derive(Clone, Debug)]
pub(crate) struct ClientGuide {
    client: &'static Client,
    pub(crate) key: &'static str,
    pub(crate) name: &'static str,
    /// Relative to the project unless it begins with `~`.
    pub(crate) file: &'static str,
    /// What stands in it.
    pub(crate) content: String,
    /// What puts it there.
    pub(crate) command: String,
    /// Whether the client asks for the token itself, so that no variable has to be set.
    pub(crate) asks: bool,
}

impl ClientGuide {
    /// Returns whether the file is the project's, so that others get it with a clone.
    pub(crate) fn is_shared(&self) -> bool {
        self.client.is_shared()
    }
}

/// Returns how each client is connected to a workspace with the token in `variable`.
pub(crate) fn guides(workspace: &str, variable: &str, url: &str) -> Vec<ClientGuide> {
    let credential = Credential::Variable(variable.to_owned());
    let connection = Connection::new(workspace, url.to_owned(), credential);
    let guide = |client: &'static Client| ClientGuide {
        client,
        key: client.key,
        name: client.name,
        file: client.file,
        content: client.content(&connection),
        command: match client.asks() {
            true => format!("wst connect {} --url {url} --write", client.key),
            false => format!(
                "wst connect {} --url {url} --variable {variable} --write",
                client.key
            ),
        },
        asks: client.asks(),
    };
    CLIENTS.iter().map(guide).collect()
}

/// Returns the line that sets the variable, with a placeholder for the token.
pub(crate) fn export_line(variable: &str) -> String {
    format!("export {variable}='…the token…'")
}

/// Returns how the client that calls itself `name` is started again, once it has the new token.
pub(crate) fn restart(name: &str) -> &'static str {
    let name = name.to_lowercase();
    let mut all = CLIENTS.iter();
    let known =
        all.find(|client| name.contains(client.key) || name.contains(&client.name.to_lowercase()));
    known.map_or("start it again", |client| client.restart)
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
