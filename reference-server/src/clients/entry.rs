//! What is to stand in a client's file, before it is written in the file's syntax.

use super::Mark;

/// One workspace as a client is told of it.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    /// What the client calls it.
    pub(crate) name: String,
    /// The address of the workspace. It holds nothing that a file or a shell would take for its own
    /// syntax, as [`McpUrl`](super::McpUrl) sees to.
    pub(crate) url: String,
    pub(crate) credential: Credential,
}

/// Where the token comes from.
#[derive(Clone, Debug)]
pub(crate) enum Credential {
    /// A command exchanges the token in this variable for one that soon ends. Of Claude Code alone.
    Helper(String),
    /// The variable with the token.
    Variable(String),
}

impl Connection {
    /// Tells of `workspace`, by the name that gateways which bring other agents to a workspace look for.
    pub(crate) fn new(workspace: &str, url: String, credential: Credential) -> Self {
        Self {
            name: entry_name(workspace),
            url,
            credential,
        }
    }
}

/// Returns what clients call a workspace.
pub(crate) fn entry_name(workspace: &str) -> String {
    format!("agentrq-{workspace}")
}

/// What is to become of a file.
pub(super) struct Edit<'a> {
    /// The member of the file that holds the entries.
    pub(super) servers: &'static str,
    /// The name of the entry.
    pub(super) name: &'a str,
    pub(super) members: Vec<Member>,
    /// The id of what VS Code asks for.
    pub(super) input: Option<String>,
}

/// A member of an entry.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) name: &'static str,
    pub(super) value: Setting,
}

#[derive(Clone, Debug)]
pub(super) enum Setting {
    Flag(bool),
    /// The headers, of which one is ours.
    Authorization(String),
    Text(String),
}

impl Member {
    pub(super) fn text(name: &'static str, value: &str) -> Self {
        let value = Setting::Text(value.to_owned());
        Self { name, value }
    }

    pub(super) fn authorization(token: &str) -> Self {
        Self {
            name: "headers",
            value: Setting::Authorization(format!("Bearer {token}")),
        }
    }

    pub(super) fn mark((name, value): &(&'static str, Mark)) -> Self {
        let value = match value {
            Mark::Flag(flag) => Setting::Flag(*flag),
            Mark::Text(text) => Setting::Text((*text).to_owned()),
        };
        Self { name, value }
    }
}

impl Edit<'_> {
    /// Returns the members of an entry by which it would get another token than ours.
    pub(super) fn rivals(&self) -> impl Iterator<Item = &'static str> {
        let ours = |name: &&str| self.members.iter().any(|member| member.name == *name);
        RIVALS.into_iter().filter(move |name| !ours(name))
    }

    /// Returns whether the `Authorization` header is somebody else's, and has to go.
    pub(super) fn drops_authorization(&self) -> bool {
        !self.members.iter().any(|member| member.name == "headers")
    }
}

/// Members that bring a credential, or another way to the server, each of some client.
const RIVALS: [&str; 3] = ["bearer_token", "bearer_token_env_var", "headersHelper"];

/// Tables of headers, in which `Authorization` brings a credential.
pub(super) const HEADERS: [&str; 3] = ["headers", "http_headers", "env_http_headers"];
