//! [`ServerAddress`]: scheme, host and port of a server to connect to, and whether a token may travel
//! there. What the path behind them means is none of its business: an MCP URL is read by
//! [`McpUrl`](crate::clients::McpUrl) alone.

use std::{
    error, fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use http::Uri;
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use tokio::net::lookup_host;

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerAddress {
    is_https: bool,
    host: String,
    port: Option<u16>,
}

/// What is wrong with a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InvalidAddress {
    /// It does not begin with `http://` or `https://`.
    NoScheme,
    /// It is no URL.
    NotUrl,
    /// There is a query or a fragment behind the path.
    Query,
    /// There is a user name before the host.
    UserName,
}

impl ServerAddress {
    /// Takes a URL apart into the address and the path.
    ///
    /// # Errors
    /// The URL says too little or too much.
    pub(crate) fn of_url(url: &str) -> Result<(Self, String), InvalidAddress> {
        if url.contains(['?', '#']) {
            return Err(InvalidAddress::Query);
        }
        let uri: Uri = url.parse().map_err(|_| InvalidAddress::NotUrl)?;
        let is_https = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(InvalidAddress::NoScheme),
        };
        let authority = uri.authority().ok_or(InvalidAddress::NotUrl)?;
        if authority.as_str().contains('@') {
            return Err(InvalidAddress::UserName);
        }
        let host = authority.host().to_ascii_lowercase();
        let port = match &authority.as_str()[authority.host().len()..] {
            "" => None,
            port => Some(port[1..].parse().map_err(|_| InvalidAddress::NotUrl)?),
        };
        let address = Self {
            is_https,
            host,
            port,
        };
        Ok((address, uri.path().to_owned()))
    }

    /// Returns whether somebody on the way can read what is sent there.
    pub(crate) fn is_in_the_clear(&self) -> bool {
        !self.is_https && self.loopback().is_none()
    }

    /// Returns host and port as a `Host` header names them.
    pub(crate) fn authority(&self) -> String {
        match self.port {
            None => self.host.clone(),
            Some(port) => format!("{}:{port}", self.host),
        }
    }

    /// Returns the host: a name, or an address without brackets.
    pub(crate) fn host(&self) -> &str {
        self.host.trim_matches(['[', ']'])
    }

    /// Returns whether it is a name that a name server is asked for.
    pub(crate) fn is_name(&self) -> bool {
        self.ip().is_none() && self.loopback().is_none()
    }

    /// Returns the name that the server's certificate has to be for; `None` without TLS.
    pub(super) fn server_name(&self) -> Option<Result<ServerName<'static>, InvalidDnsNameError>> {
        let name = self.host.trim_matches(['[', ']']).to_owned();
        self.is_https.then(|| ServerName::try_from(name))
    }

    /// Returns where to connect to, in this order.
    pub(super) async fn sockets(&self) -> io::Result<Vec<SocketAddr>> {
        let port = self.port.unwrap_or(if self.is_https { 443 } else { 80 });
        let addresses = match (self.ip(), self.loopback()) {
            (Some(ip), _) => vec![ip],
            // Asked of nobody: whoever answers for such a name elsewhere is a stranger.
            (None, Some(loopback)) => loopback.to_vec(),
            (None, None) => {
                let found = lookup_host((self.host.as_str(), port)).await?;
                return Ok(found.collect());
            }
        };
        let sockets = addresses.into_iter();
        Ok(sockets.map(|ip| SocketAddr::new(ip, port)).collect())
    }

    /// Returns the addresses of this machine that the host means, if it means this machine.
    fn loopback(&self) -> Option<[IpAddr; 2]> {
        let is_name = self.host == "localhost" || self.host.ends_with(".localhost");
        let is_loopback = is_name || self.ip().is_some_and(|ip| ip.is_loopback());
        is_loopback.then_some([Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
    }

    fn ip(&self) -> Option<IpAddr> {
        self.host.trim_matches(['[', ']']).parse().ok()
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_https { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

impl fmt::Display for InvalidAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoScheme => "the URL has to begin with https://, or http:// for this machine",
            Self::NotUrl => "this is no URL: give it as the workspace shows it",
            Self::Query => {
                "the URL ends with its path: leave out what follows `?` or `#`, and give it without a token, which belongs in a variable (every process of the machine sees arguments)"
            }
            Self::UserName => {
                "the URL has no user name: leave out what stands before `@`, and give it without a token"
            }
        })
    }
}

impl error::Error for InvalidAddress {}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str) -> Result<(String, String), InvalidAddress> {
        ServerAddress::of_url(url).map(|(address, path)| (address.to_string(), path))
    }

    #[test]
    fn takes_urls_apart() {
        for (url, address, path) in [
            (
                "https://Example.com/mcp/abc",
                "https://example.com",
                "/mcp/abc",
            ),
            ("https://example.com", "https://example.com", "/"),
            (
                "https://abc.mcp.example.com:8443/",
                "https://abc.mcp.example.com:8443",
                "/",
            ),
            (
                "http://127.0.0.1:8080/mcp/abc",
                "http://127.0.0.1:8080",
                "/mcp/abc",
            ),
            ("http://[::1]:8080/mcp", "http://[::1]:8080", "/mcp"),
            ("http://localhost/mcp", "http://localhost", "/mcp"),
            (
                "http://abc.mcp.localhost:1/mcp",
                "http://abc.mcp.localhost:1",
                "/mcp",
            ),
        ] {
            assert_eq!(of(url), Ok((address.to_owned(), path.to_owned())), "{url}");
        }
    }

    #[test]
    fn refuses_what_says_too_little_or_too_much() {
        use InvalidAddress::*;
        for (url, problem) in [
            ("", NotUrl),
            ("not a url", NotUrl),
            ("/mcp/abc", NoScheme),
            ("example.com", NoScheme),
            ("ftp://example.com/", NoScheme),
            ("https://user:secret@example.com/", UserName),
            ("https://example.com/mcp/abc?token=secret", Query),
            ("https://example.com/mcp/abc#secret", Query),
            ("https://example.com:/", NotUrl),
            ("https://example.com:99999/", NotUrl),
        ] {
            assert_eq!(of(url), Err(problem), "{url}");
            assert!(!problem.to_string().contains("secret"));
        }
    }

    #[test]
    fn plain_http_is_in_the_clear_unless_it_stays_on_this_machine() {
        let is_in_the_clear = |url: &str| {
            let (address, _) = ServerAddress::of_url(url).unwrap();
            address.is_in_the_clear()
        };
        for url in [
            "http://example.com/mcp/abc",
            "http://192.0.2.1/",
            "http://localhost.example.com/",
            "http://127.0.0.1.example.com/",
            "http://10.0.0.1/",
            "http://notlocalhost/",
            "http://[2001:db8::1]/",
            "http://0.0.0.0/",
        ] {
            assert!(is_in_the_clear(url), "{url}");
        }
        for url in [
            "http://127.8.9.1/",
            "http://[::1]/",
            "http://localhost/",
            "http://abcdefghijk.mcp.localhost:1/mcp",
            "https://example.com/mcp/abc",
        ] {
            assert!(!is_in_the_clear(url), "{url}");
        }
    }

    /// No name server is asked, so that none can answer.
    #[tokio::test]
    async fn names_of_this_machine_lead_to_it() {
        for (url, expected) in [
            ("http://localhost:1/", "127.0.0.1:1"),
            ("http://abc.mcp.localhost/", "127.0.0.1:80"),
            ("https://localhost/", "127.0.0.1:443"),
            ("http://[::1]:2/", "[::1]:2"),
        ] {
            let (address, _) = ServerAddress::of_url(url).unwrap();
            let sockets = address.sockets().await.unwrap();
            assert_eq!(sockets[0].to_string(), expected, "{url}");
            assert!(sockets.iter().all(|socket| socket.ip().is_loopback()));
        }
    }
}
