//! [`McpUrl`]: the address of a workspace, as people hand it on.

use std::{fmt, net::IpAddr, str::FromStr};

use http::Uri;
use tower_workspace_token::id::WorkspaceId;

/// The address of a workspace: `…/mcp/ID`, `ID.mcp.HOST/mcp` or `ID.mcp.HOST/`.
///
/// It has no query, and no character that a shell or a client's file would take for its own syntax.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct McpUrl {
    text: String,
    workspace: WorkspaceId,
    is_https: bool,
    host: String,
}

/// Why something is no address of a workspace. Its text repeats nothing of it: a token may be in there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoMcpUrl {
    /// Something is behind the path.
    Query,
    /// It is no URL of http or https.
    Scheme,
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

    /// Returns whether somebody on the way can read what is sent there.
    pub(crate) fn is_in_the_clear(&self) -> bool {
        !self.is_https && !is_loopback(&self.host)
    }
}

impl FromStr for McpUrl {
    type Err = NoMcpUrl;
    fn from_str(text: &str) -> Result<Self, NoMcpUrl> {
        if text.contains(['?', '#']) {
            return Err(NoMcpUrl::Query);
        }
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b":/.-_[]".contains(&byte);
        if !text.bytes().all(is_plain) {
            return Err(NoMcpUrl::Scheme);
        }
        let uri: Uri = text.parse().map_err(|_| NoMcpUrl::Scheme)?;
        let is_https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(NoMcpUrl::Scheme),
        };
        let host = uri.host().unwrap_or_default().to_ascii_lowercase();
        if host.is_empty() {
            return Err(NoMcpUrl::Scheme);
        }
        let workspace = in_path(uri.path())
            .or_else(|| in_host(&host, uri.path()))
            .ok_or(NoMcpUrl::Workspace)?;
        Ok(Self {
            text: text.to_owned(),
            workspace,
            is_https,
            host,
        })
    }
}

impl fmt::Display for NoMcpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Query => {
                "the address of a workspace ends with its path: leave out what follows `?` or `#`, and keep a token in a variable"
            }
            Self::Scheme => "the address of a workspace begins with https:// or http:// and a host",
            Self::Workspace => {
                "this is no address of a workspace: it looks like https://HOST/mcp/ID or https://ID.mcp.HOST/mcp"
            }
        })
    }
}

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

fn is_loopback(host: &str) -> bool {
    let inner = host.trim_start_matches('[').trim_end_matches(']');
    let is_address = |address: IpAddr| address.is_loopback();
    host == "localhost" || host.ends_with(".localhost") || inner.parse().is_ok_and(is_address)
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
                "https://e.com/mcp/abc?token=eyJhbGciOiJIUzI1NiJ9",
                NoMcpUrl::Query,
            ),
            ("https://e.com/mcp/abc#x", NoMcpUrl::Query),
            ("ftp://e.com/mcp/abc", NoMcpUrl::Scheme),
            ("e.com/mcp/abc", NoMcpUrl::Scheme),
            ("https://u:p@e.com/mcp/abc", NoMcpUrl::Scheme),
            ("https://e.com/mcp/${A}", NoMcpUrl::Scheme),
            ("https://e.com/mcp/a;id", NoMcpUrl::Scheme),
            ("https://e.com/mcp/a b", NoMcpUrl::Scheme),
            ("", NoMcpUrl::Scheme),
            ("https://e.com/", NoMcpUrl::Workspace),
            ("https://e.com/mcp", NoMcpUrl::Workspace),
            ("https://example-one.e.com/mcp", NoMcpUrl::Workspace),
            ("https://e.com/mcp/UPPER", NoMcpUrl::Workspace),
            ("https://e.com/mcp/a/b", NoMcpUrl::Workspace),
            ("https://abcdefghijk/mcp", NoMcpUrl::Workspace),
        ] {
            let error = text.parse::<McpUrl>().expect_err(text);
            assert_eq!(error, expected, "{text}");
            assert!(!error.to_string().contains("eyJ"));
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
