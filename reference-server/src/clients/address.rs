//! [`McpUrl`]: the address of a workspace, as people hand it on. The one reader of such addresses, also for
//! commands on machines without a data directory.

use std::{error, fmt, str::FromStr};

use tower_workspace_token::id::WorkspaceId;

use crate::client::{InvalidAddress, ServerAddress};

/// The address of a workspace: `…/mcp/ID`, `ID.mcp.HOST/mcp` or `ID.mcp.HOST/`.
///
/// It has no query, and no character that a shell or a client's file would take for its own syntax.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct McpUrl {
    text: String,
    workspace: WorkspaceId,
    server: ServerAddress,
    path: String,
}

/// Why something is no address of a workspace. Its text repeats nothing of it: a token may be in there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoMcpUrl {
    /// A character is in it that a shell or a file takes for its own.
    Character,
    /// It names no server that can be connected to, or more than that.
    Server(InvalidAddress),
    /// It names no workspace.
    Workspace,
}

impl McpUrl {
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn workspace(&self) -> &WorkspaceId {
        &self.workspace
    }

    pub(crate) fn server(&self) -> &ServerAddress {
        &self.server
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Returns whether somebody on the way can read what is sent there.
    pub(crate) fn is_in_the_clear(&self) -> bool {
        self.server.is_in_the_clear()
    }
}

impl FromStr for McpUrl {
    type Err = NoMcpUrl;

    fn from_str(text: &str) -> Result<Self, NoMcpUrl> {
        let (server, path) = ServerAddress::of_url(text).map_err(NoMcpUrl::Server)?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b":/.-_[]".contains(&byte);
        if !text.bytes().all(is_plain) {
            return Err(NoMcpUrl::Character);
        }
        let workspace = in_path(&path)
            .or_else(|| in_host(server.host(), &path))
            .ok_or(NoMcpUrl::Workspace)?;
        Ok(Self {
            text: text.to_owned(),
            workspace,
            server,
            path,
        })
    }
}

impl fmt::Display for NoMcpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Character => {
                "the address of a workspace is of letters, digits and `-_.:/[]`: give it as the workspace shows it"
            }
            Self::Server(why) => return why.fmt(f),
            Self::Workspace => {
                "this is no address of a workspace: it looks like https://HOST/mcp/ID or https://ID.mcp.HOST/mcp"
            }
        })
    }
}

impl error::Error for NoMcpUrl {}

fn in_path(path: &str) -> Option<WorkspaceId> {
    path.strip_prefix("/mcp/")?.parse().ok()
}

/// Only what the server mints is taken for an id here: any other host has a first label, too.
fn in_host(host: &str, path: &str) -> Option<WorkspaceId> {
    let (label, domain) = host.split_once('.')?;
    let is_minted = label.len() == MINTED && label.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let is_one = is_minted && !domain.is_empty() && matches!(path, "" | "/" | "/mcp");
    is_one.then(|| label.parse().ok())?
}

/// The length of the ids that the server mints.
const MINTED: usize = 11;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_three_forms() {
        for (text, workspace) in [
            ("http://127.0.0.1:8080/mcp/abcdefghijk", "abcdefghijk"),
            ("https://e.com/mcp/team-1", "team-1"),
            ("https://abcdefghij1.mcp.e.com/mcp", "abcdefghij1"),
            ("https://ABCDEFGHIJK.mcp.e.com/", "abcdefghijk"),
            ("https://abcdefghijk.mcp.e.com", "abcdefghijk"),
            ("http://[::1]:8080/mcp/a", "a"),
            ("https://a.b.mcp.e.com:8443/mcp/team-1", "team-1"),
        ] {
            let url: McpUrl = text.parse().expect(text);
            assert_eq!(url.workspace().as_str(), workspace, "{text}");
            assert_eq!(url.as_str(), text);
        }
    }

    #[test]
    fn refuses_what_is_none_and_repeats_nothing() {
        for (text, expected) in [
            (
                "https://e.com/mcp/abc?token=a-secret",
                NoMcpUrl::Server(InvalidAddress::Query),
            ),
            (
                "https://e.com/mcp/abc#a-secret",
                NoMcpUrl::Server(InvalidAddress::Query),
            ),
            (
                "ftp://a-secret/mcp/abc",
                NoMcpUrl::Server(InvalidAddress::NoScheme),
            ),
            (
                "e.com/mcp/a-secret",
                NoMcpUrl::Server(InvalidAddress::NotUrl),
            ),
            ("a-secret", NoMcpUrl::Server(InvalidAddress::NoScheme)),
            (
                "https://u:a-secret@e.com/mcp/abc",
                NoMcpUrl::Server(InvalidAddress::UserName),
            ),
            ("https://e.com/mcp/${A}", NoMcpUrl::Character),
            ("https://e.com/mcp/a;id", NoMcpUrl::Character),
            ("https://e.com/mcp/%61", NoMcpUrl::Character),
            (
                "https://e.com/mcp/a b",
                NoMcpUrl::Server(InvalidAddress::NotUrl),
            ),
            ("", NoMcpUrl::Server(InvalidAddress::NotUrl)),
            (
                "https://e.com:99999/mcp/a",
                NoMcpUrl::Server(InvalidAddress::NotUrl),
            ),
            ("https://e.com/a-secret", NoMcpUrl::Workspace),
            ("https://e.com/mcp/", NoMcpUrl::Workspace),
            ("https://e.com/mcp/a-secret/more", NoMcpUrl::Workspace),
            ("https://abc.mcp.e.com/mcp", NoMcpUrl::Workspace),
            ("http://127.0.0.1:8080/mcp", NoMcpUrl::Workspace),
            ("https://e.com/", NoMcpUrl::Workspace),
            ("https://e.com/mcp", NoMcpUrl::Workspace),
            ("https://example-one.e.com/mcp", NoMcpUrl::Workspace),
            ("https://e.com/mcp/UPPER", NoMcpUrl::Workspace),
            ("https://e.com/mcp/a/b", NoMcpUrl::Workspace),
            ("https://abcdefghijk/mcp", NoMcpUrl::Workspace),
        ] {
            let error = text.parse::<McpUrl>().expect_err(text);
            assert_eq!(error, expected, "{text}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn knows_where_others_can_read_along() {
        for (text, is_in_the_clear) in [
            ("http://127.0.0.1:1/mcp/a", false),
            ("http://127.9.9.9:1/mcp/a", false),
            ("http://[::1]/mcp/a", false),
            ("http://localhost/mcp/a", false),
            ("http://abcdefghijk.mcp.localhost:1/mcp", false),
            ("https://e.com/mcp/a", false),
            ("http://e.com/mcp/a", true),
            ("http://10.0.0.1/mcp/a", true),
            ("http://localhost.e.com/mcp/a", true),
            ("http://127.0.0.1.e.com/mcp/a", true),
        ] {
            let url: McpUrl = text.parse().expect(text);
            assert_eq!(url.is_in_the_clear(), is_in_the_clear, "{text}");
        }
    }
}
