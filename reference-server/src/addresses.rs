//! The server's own addresses: which URLs it shows, and which hosts it answers for.
//!
//! A workspace has three URLs: `HOST/mcp/ID`, `ID.mcp.HOST/mcp` and `ID.mcp.HOST/`. Behind each, at `/token`, access
//! tokens are got.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use anyhow::{Context as _, bail};
use http::Uri;
use tower_workspace_token::{
    id::WorkspaceId,
    layer::RequestAddress,
    rejection::{AddressProblem, Rejection},
};

/// Where clients reach the server.
#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    public_url: PublicUrl,
    /// The domain that `mcp_url` is built with, if the operator asked for that form.
    shown_domain: Option<Domain>,
    /// The domain under which each label is a workspace.
    mcp_domain: Option<Domain>,
    is_loopback: bool,
    is_any: bool,
}

/// A URL of a scheme and an authority, without anything behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublicUrl {
    is_https: bool,
    host: String,
    port: Option<u16>,
}

/// A host name in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Domain(String);

impl Addresses {
    /// Works the addresses out of where the server listens and what the operator said.
    pub(crate) fn new(
        listen: SocketAddr,
        is_tls: bool,
        public_url: Option<PublicUrl>,
        mcp_domain: Option<Domain>,
    ) -> Self {
        let is_known = public_url.is_some();
        let public_url = public_url.unwrap_or_else(|| PublicUrl::of_listener(listen, is_tls));
        let default_domain = public_url.default_mcp_domain();
        Self {
            mcp_domain: mcp_domain.clone().or(default_domain),
            shown_domain: mcp_domain,
            is_loopback: listen.ip().is_loopback() || listen.ip().is_unspecified(),
            // Nobody said by which address this machine is reached.
            is_any: listen.ip().is_unspecified() && !is_known,
            public_url,
        }
    }

    /// Takes the addresses that a server had, for a command that works without one.
    pub(crate) fn last_known(public_url: PublicUrl, mcp_domain: Option<Domain>) -> Self {
        Self::new(DEFAULT_LISTEN, false, Some(public_url), mcp_domain)
    }

    pub(crate) fn public_url(&self) -> &PublicUrl {
        &self.public_url
    }

    /// Returns whether clients reach the server over https, be it the server or a proxy that ends TLS:
    /// then cookies are `Secure`.
    pub(crate) fn is_https(&self) -> bool {
        self.public_url.is_https()
    }

    /// Returns whether the URL that is shown leads to this machine itself.
    pub(crate) fn is_reached_by_loopback(&self) -> bool {
        self.public_url.is_loopback()
    }

    pub(crate) fn shown_domain(&self) -> Option<&Domain> {
        self.shown_domain.as_ref()
    }

    /// Returns the URL of a workspace as clients are given it.
    pub(crate) fn mcp_url(&self, workspace: &WorkspaceId) -> String {
        match &self.shown_domain {
            None => format!("{}/mcp/{workspace}", self.public_url),
            Some(domain) => {
                let (scheme, port) = (self.public_url.scheme(), self.public_url.port_suffix());
                format!("{scheme}://{workspace}.{domain}{port}/mcp")
            }
        }
    }

    /// Returns the workspace that a request is addressed to.
    ///
    /// # Errors
    /// The host is not ours, or host and path name no workspace or two.
    pub(crate) fn resolve(&self, address: &RequestAddress<'_>) -> Result<WorkspaceId, Rejection> {
        let path = address.path();
        let in_path = match self.is_workspace(address.host()) && path == "/mcp/token" {
            // Of the host's workspace, and not of one called `token`.
            true => None,
            false => workspace_in_path(path),
        };
        match self.workspace_in_host(address.host()) {
            Some(in_host) if in_path.is_none_or(|in_path| in_path == in_host) => Ok(in_host),
            Some(_) => Err(Rejection::bad_address(AddressProblem::LabelIsNotPath)),
            None if self.is_own(address.host()) => {
                in_path.ok_or_else(|| Rejection::bad_address(AddressProblem::NoWorkspace))
            }
            None => Err(Rejection::bad_address(AddressProblem::ForeignHost)),
        }
    }

    /// Returns scheme, host and port of a workspace's own host, as a challenge of the token layer names them.
    pub(crate) fn origin_of_workspace(&self, address: &RequestAddress<'_>) -> Option<String> {
        if !self.is_workspace(address.host()) {
            return None;
        }
        let port = address.port().map(|port| format!(":{port}"));
        let (scheme, host) = (self.public_url.scheme(), address.host());
        Some(format!("{scheme}://{host}{}", port.unwrap_or_default()))
    }

    /// Returns whether this is the host of a workspace, be there one of that id or not.
    pub(crate) fn is_workspace(&self, host: &str) -> bool {
        self.workspace_in_host(host).is_some()
    }

    /// Returns the workspace whose own host this is.
    fn workspace_in_host(&self, host: &str) -> Option<WorkspaceId> {
        let domain = self.mcp_domain.as_ref()?.0.as_str();
        let (label, end) = host.split_at_checked(host.len().checked_sub(domain.len())?)?;
        let is_under = end.eq_ignore_ascii_case(domain);
        let label = is_under.then_some(label)?.strip_suffix('.')?;
        label.to_ascii_lowercase().parse().ok()
    }

    /// Returns whether this is a host of the server itself. The port does not matter: a page that
    /// rebinds a name to this machine keeps its own name, and ports are mapped all the time.
    pub(crate) fn is_own(&self, host: &str) -> bool {
        let is_loopback = || host.eq_ignore_ascii_case("localhost") || is_loopback_address(host);
        host.eq_ignore_ascii_case(&self.public_url.host)
            || (self.is_loopback && is_loopback())
            // An address cannot be rebound.
            || (self.is_any && address(host).is_some())
    }
}

/// Returns the workspace of `/mcp/{workspace}` and `/mcp/{workspace}/token`, the only paths that name one.
fn workspace_in_path(path: &str) -> Option<WorkspaceId> {
    let name = path.strip_prefix("/mcp/")?;
    name.strip_suffix(EXCHANGE).unwrap_or(name).parse().ok()
}

/// What a URL of a workspace goes on with where its token is exchanged for an access token.
pub(crate) const EXCHANGE: &str = "/token";

/// Returns whether no name server has a say in who this host is: an address cannot be rebound.
pub(crate) fn is_unmistakably_local(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || address(host).is_some()
}

fn is_loopback_address(host: &str) -> bool {
    address(host).is_some_and(|address| address.is_loopback())
}

fn address(host: &str) -> Option<IpAddr> {
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    match inner {
        Some(inner) => inner.parse().ok().map(IpAddr::V6),
        None => host.parse().ok().map(IpAddr::V4),
    }
}

impl PublicUrl {
    fn of_listener(listen: SocketAddr, is_https: bool) -> Self {
        let host = match listen.ip() {
            // "All addresses" is no address that a client could use.
            ip if ip.is_unspecified() => "127.0.0.1".to_owned(),
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        Self {
            is_https,
            host,
            port: Some(listen.port()),
        }
    }

    /// Returns the domain of workspaces that goes with the host; an address has none but on loopback.
    fn default_mcp_domain(&self) -> Option<Domain> {
        if self.is_loopback() {
            return Some(Domain("mcp.localhost".to_owned()));
        }
        match address(&self.host) {
            Some(_) => None,
            None => Some(Domain(format!("mcp.{}", self.host))),
        }
    }

    pub(crate) fn is_https(&self) -> bool {
        self.is_https
    }

    pub(crate) fn is_loopback(&self) -> bool {
        self.host == "localhost" || is_loopback_address(&self.host)
    }

    fn scheme(&self) -> &'static str {
        if self.is_https { "https" } else { "http" }
    }

    fn port_suffix(&self) -> String {
        self.port
            .map_or_else(String::new, |port| format!(":{port}"))
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme(), self.host, self.port_suffix())
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for PublicUrl {
    type Err = anyhow::Error;
    fn from_str(text: &str) -> anyhow::Result<Self> {
        let uri: Uri = text.parse().context("not a URL")?;
        let is_https = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => bail!("a public URL begins with http:// or https://"),
        };
        let authority = uri.authority().context("a public URL needs a host")?;
        if authority.as_str().contains('@') {
            bail!("a public URL has no user name");
        }
        if uri.path() != "/" || uri.query().is_some() || text.contains('#') {
            bail!("a public URL ends with its host or port: there is nothing behind");
        }
        // By hand, since a port that is none counts as absent otherwise.
        let port = match &authority.as_str()[authority.host().len()..] {
            "" => None,
            port => Some(
                port[1..]
                    .parse()
                    .context("a port is a number up to 65535")?,
            ),
        };
        let host = authority.host().to_ascii_lowercase();
        if address(&host).is_none() {
            host.parse::<Domain>()?;
        }
        Ok(Self {
            is_https,
            host,
            port,
        })
    }
}

impl FromStr for Domain {
    type Err = anyhow::Error;
    fn from_str(text: &str) -> anyhow::Result<Self> {
        let name = text.to_ascii_lowercase();
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        };
        if name.len() > 253 || !name.split('.').all(is_label) {
            bail!("not a host name: expected labels of a-z, 0-9 and -, with dots between");
        }
        Ok(Self(name))
    }
}

/// Where the server listens if nothing else is said: nobody but this machine reaches it.
pub(crate) const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn addresses(listen: &str, public_url: Option<&str>, mcp_domain: Option<&str>) -> Addresses {
        Addresses::new(
            listen.parse().unwrap(),
            false,
            public_url.map(|url| url.parse().unwrap()),
            mcp_domain.map(|domain| domain.parse().unwrap()),
        )
    }

    fn resolve(addresses: &Addresses, host: &str, path: &str) -> Option<String> {
        let request = Request::builder().uri(path).header("host", host).body(());
        let (parts, ()) = request.unwrap().into_parts();
        let address = RequestAddress::of(&parts).unwrap();
        addresses.resolve(&address).ok().map(|id| id.to_string())
    }

    #[test]
    fn shows_the_path_form_unless_a_domain_was_given() {
        let workspace = "abc".parse().unwrap();
        for (listen, public_url, mcp_domain, expected) in [
            (
                "127.0.0.1:8080",
                None,
                None,
                "http://127.0.0.1:8080/mcp/abc",
            ),
            ("[::1]:8080", None, None, "http://[::1]:8080/mcp/abc"),
            ("0.0.0.0:9000", None, None, "http://127.0.0.1:9000/mcp/abc"),
            (
                "0.0.0.0:9000",
                Some("https://Example.com/"),
                None,
                "https://example.com/mcp/abc",
            ),
            (
                "127.0.0.1:8080",
                None,
                Some("mcp.localhost"),
                "http://abc.mcp.localhost:8080/mcp",
            ),
            (
                "127.0.0.1:1",
                Some("https://e.com:444"),
                Some("mcp.e.com"),
                "https://abc.mcp.e.com:444/mcp",
            ),
        ] {
            let addresses = addresses(listen, public_url, mcp_domain);
            assert_eq!(addresses.mcp_url(&workspace), expected);
        }
    }

    #[test]
    fn a_listener_with_tls_is_shown_as_https() {
        let listen = "127.0.0.1:8443".parse().unwrap();
        let addresses = Addresses::new(listen, true, None, None);
        assert!(addresses.is_https());
        let url = addresses.mcp_url(&"abc".parse().unwrap());
        assert_eq!(url, "https://127.0.0.1:8443/mcp/abc");
    }

    #[test]
    fn resolves_the_three_forms_of_a_workspaces_url() {
        let local = addresses("127.0.0.1:8080", None, None);
        let public = addresses("10.0.0.1:80", Some("https://e.com"), None);
        for (addresses, host, path) in [
            (&local, "127.0.0.1:8080", "/mcp/abc"),
            (&local, "localhost:8080", "/mcp/abc"),
            (&local, "abc.mcp.localhost:8080", "/mcp"),
            (&local, "abc.mcp.localhost:8080", "/"),
            (&local, "ABC.mcp.localhost", "/mcp/abc"),
            (&public, "e.com", "/mcp/abc"),
            (&public, "abc.mcp.e.com", "/mcp"),
        ] {
            assert_eq!(
                resolve(addresses, host, path).as_deref(),
                Some("abc"),
                "{host}{path}"
            );
        }
    }

    #[test]
    fn answers_for_no_other_host() {
        let local = addresses("127.0.0.1:8080", None, None);
        let public = addresses("10.0.0.1:80", Some("https://e.com"), None);
        for (addresses, host, path) in [
            (&local, "evil.example", "/mcp/abc"),
            (&local, "mcp.localhost", "/mcp"),
            (&local, "a.abc.mcp.localhost", "/mcp"),
            (&local, "abc.mcp.localhost", "/mcp/other"),
            (&local, "abcmcp.localhost", "/mcp/abc"),
            (&local, "10.0.0.1", "/mcp/abc"),
            (&local, "localhost.evil.example", "/mcp/abc"),
            (&local, "127.0.0.1", "/mcp/"),
            (&local, "127.0.0.1", "/mcp/%61bc"),
            (&local, "127.0.0.1", "/mcp/abc/"),
            (&local, "127.0.0.1", "/other/abc"),
            (&public, "localhost", "/mcp/abc"),
            (&public, "10.0.0.1", "/mcp/abc"),
            (&public, "abc.mcp.e.com.evil.example", "/mcp"),
        ] {
            assert_eq!(resolve(addresses, host, path), None, "{host}{path}");
        }
    }

    #[test]
    fn refuses_urls_with_anything_but_scheme_and_authority() {
        for text in [
            "",
            "e.com",
            "ftp://e.com",
            "http://",
            "http://e.com/x",
            "http://e.com?x",
            "http://e.com/#x",
            "http://u@e.com",
            "http://u:p@e.com",
            "http://e_.com",
            "http://-e.com",
            "http://e.com:99999",
            "http://e.com:",
            "http://e..com",
        ] {
            assert!(text.parse::<PublicUrl>().is_err(), "{text}");
        }
        for text in [
            "",
            ".",
            "mcp.",
            "mcp..e",
            "-a",
            "a b",
            "mcp.e.com:80",
            "http://e",
        ] {
            assert!(text.parse::<Domain>().is_err(), "{text}");
        }
    }
}
