//! [`McpUrl`]: the URL of a workspace as somebody was given it, for commands on machines without a data directory.

use std::str::FromStr;

use http::Uri;
use tower_workspace_token::id::WorkspaceId;

/// The URL of a workspace: `https://HOST/mcp/ID`, `https://ID.mcp.HOST/mcp` or `https://ID.mcp.HOST/`.
#[derive(Clone, Debug)]
pub(crate) struct McpUrl {
    uri: Uri,
    workspace: Option<WorkspaceId>,
}

impl McpUrl {
    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Returns the workspace it names, as far as can be told from here.
    pub(crate) fn workspace(&self) -> Option<&WorkspaceId> {
        self.workspace.as_ref()
    }
}

impl FromStr for McpUrl {
    type Err = &'static str;

    /// No error quotes the text: it may hold a token.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uri: Uri = text.parse().map_err(|_| "it is no URL")?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err("it begins with http:// or https://");
        }
        if uri
            .authority()
            .is_none_or(|authority| authority.as_str().contains('@'))
        {
            return Err("it has a host, and no user name");
        }
        if uri.query().is_some() || text.contains('#') {
            return Err(
                "give it without what stands behind `?` or `#`: arguments are seen by every process of the machine",
            );
        }
        let in_path = uri.path().strip_prefix("/mcp/").map(str::to_owned);
        let in_host = || {
            uri.host()
                .and_then(|host| host.split_once('.'))
                .map(|(label, _)| label.to_ascii_lowercase())
        };
        let is_in_path = in_path.is_some();
        let label = match uri.path() {
            _ if in_path.is_some() => in_path,
            "" | "/" | "/mcp" => in_host(),
            _ => return Err("it ends with /mcp/ID, or with /mcp at the host of a workspace"),
        };
        let workspace = label.and_then(|label| label.parse().ok());
        if workspace.is_none() && is_in_path {
            return Err("it ends with /mcp/ and the id of a workspace");
        }
        Ok(Self { uri, workspace })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_workspace_of_each_form() {
        for text in [
            "http://127.0.0.1:8080/mcp/abc",
            "https://e.com/mcp/abc",
            "https://abc.mcp.e.com/mcp",
            "https://ABC.mcp.e.com/",
            "https://abc.mcp.e.com",
        ] {
            let url: McpUrl = text.parse().unwrap();
            assert_eq!(url.workspace().unwrap().as_str(), "abc", "{text}");
        }
    }

    #[test]
    fn what_is_refused_is_not_quoted() {
        for text in [
            "a-secret",
            "ftp://a-secret/mcp/abc",
            "https://a-secret@e.com/mcp/abc",
            "https://e.com/mcp/abc?token=a-secret",
            "https://e.com/mcp/abc#a-secret",
            "https://e.com/a-secret",
            "https://e.com/mcp/a-secret/more",
            "https://e.com/mcp/",
        ] {
            let problem = text.parse::<McpUrl>().unwrap_err();
            assert!(!problem.contains("secret"), "{problem}");
        }
    }
}
