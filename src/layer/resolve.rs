//! Which workspace a request is addressed to.
//!
//! HTTP libraries check nothing about `Host`: missing, doubled, comma lists, userinfo and contradictory
//! authorities all arrive. [`RequestAddress::of`] refuses each of them before a resolver is asked.

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
};

use http::{HeaderMap, HeaderValue, Uri, Version, header::HOST, request::Parts};

use crate::{
    id::{MAX_LABEL_LENGTH, WorkspaceId},
    rejection::{AddressProblem, Rejection},
};

/// Finds the workspace that a request is addressed to. Closures are resolvers too.
pub trait WorkspaceResolver: Send + Sync + 'static {
    /// Returns the workspace that `address` names.
    ///
    /// # Errors
    /// The address names none: [`Rejection::bad_address`].
    fn resolve(&self, address: &RequestAddress<'_>) -> Result<WorkspaceId, Rejection>;
}

/// The host, port and path of a request; the host is well-formed and unmistakable.
#[derive(Clone, Copy)]
pub struct RequestAddress<'a> {
    /// ASCII.
    host: &'a [u8],
    port: Option<u16>,
    path: &'a str,
}

/// Takes the workspace from the first label of the host: `acme` of `acme.mcp.example.com`.
#[derive(Clone, Debug)]
pub struct HostLabel {
    /// With the dot in front.
    suffix: String,
}

/// Takes the workspace from the path, by a template such as `/mcp/{workspace}`.
#[derive(Clone, Debug)]
pub struct PathTemplate {
    prefix: &'static str,
    suffix: &'static str,
    open_ended: bool,
}

/// One workspace for every request.
#[derive(Clone, Copy, Debug)]
pub struct FixedWorkspace(pub WorkspaceId);

impl<'a> RequestAddress<'a> {
    /// Reads the address of a request.
    ///
    /// # Errors
    /// The host is missing, doubled, malformed or contradicts the authority of the target.
    pub fn of(parts: &'a Parts) -> Result<Self, Rejection> {
        Self::read(&parts.uri, &parts.headers, parts.version)
    }

    #[inline]
    pub(super) fn read(
        uri: &'a Uri,
        headers: &'a HeaderMap,
        version: Version,
    ) -> Result<Self, Rejection> {
        let authority = authority(uri, headers, version).map_err(Rejection::bad_address)?;
        let (host, port) = split_authority(authority)
            .ok_or_else(|| Rejection::bad_address(AddressProblem::MalformedHost))?;
        Ok(Self {
            host,
            port,
            path: uri.path(),
        })
    }

    /// Returns the host as it was sent, in whatever case; an IPv6 address in brackets.
    pub fn host(&self) -> &'a str {
        str::from_utf8(self.host).expect("a host that was read is ASCII")
    }

    /// Returns the port, if one was sent.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Returns the path of the request's target, undecoded.
    pub fn path(&self) -> &'a str {
        self.path
    }

    /// Returns whether the host is this machine's loopback, where plain http is fit.
    pub(crate) fn is_loopback(&self) -> bool {
        let host = self.host;
        // Only what begins as 127 does can be a loopback address of IPv4.
        let is_ipv4_loopback = || {
            let address = host.starts_with(b"127.").then(|| self.host().parse());
            address.is_some_and(|address: Result<Ipv4Addr, _>| address.is_ok())
        };
        host.eq_ignore_ascii_case(b"localhost")
            || strip_suffix_ignore_case(host, b".localhost").is_some()
            || is_ipv4_loopback()
            || host == b"[::1]"
    }

    /// Returns host and port as they stand in a URL.
    pub(crate) fn authority(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host()),
            None => self.host().to_owned(),
        }
    }
}

/// Returns the one authority of a request (RFC 9112 §3.2, RFC 9113 §8.3.1).
#[inline]
fn authority<'a>(
    uri: &'a Uri,
    headers: &'a HeaderMap,
    version: Version,
) -> Result<&'a [u8], AddressProblem> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next().map(HeaderValue::as_bytes);
    if hosts.next().is_some() {
        return Err(AddressProblem::RepeatedHost);
    }
    let target = uri.authority().map(|target| target.as_str().as_bytes());
    match (host, target) {
        (Some(host), None) => Ok(host),
        (Some(host), Some(target)) if host.eq_ignore_ascii_case(target) => Ok(host),
        (Some(_), Some(_)) => Err(AddressProblem::ContradictoryHost),
        (None, Some(target)) if version >= Version::HTTP_2 => Ok(target),
        (None, _) => Err(AddressProblem::MissingHost),
    }
}

/// Returns host and port of an authority that is nothing but these; the host is ASCII.
#[inline]
fn split_authority(authority: &[u8]) -> Option<(&[u8], Option<u16>)> {
    let end = if authority.starts_with(b"[") {
        end_of_ipv6_literal(authority)?
    } else {
        end_of_name(authority)?
    };
    let (host, port) = authority.split_at(end);
    let port = match port {
        [] => None,
        [b':', digits @ ..] if digits.iter().all(u8::is_ascii_digit) => {
            Some(str::from_utf8(digits).ok()?.parse().ok()?)
        }
        _ => return None,
    };
    Some((host, port))
}

/// Returns where the host name at the start of `authority` ends; `None` if there is none, or what follows
/// is neither a port nor the end. In one pass: every request comes by here.
#[inline]
fn end_of_name(authority: &[u8]) -> Option<usize> {
    let mut rest = authority;
    loop {
        let label = rest
            .iter()
            .position(|byte| !IS_LABEL_BYTE[usize::from(*byte)]);
        let length = label.unwrap_or(rest.len());
        if !(1..=MAX_LABEL_LENGTH).contains(&length) {
            return None;
        }
        let behind = &rest[length..];
        match behind {
            [b'.', next @ ..] => rest = next,
            [] | [b':', ..] => {
                let end = authority.len() - behind.len();
                return (end <= 253).then_some(end);
            }
            _ => return None,
        }
    }
}

/// What the labels of a host name consist of; the underscore is not in RFC 1123, but in use.
const IS_LABEL_BYTE: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric() || matches!(byte as u8, b'-' | b'_');
        byte += 1;
    }
    table
};

fn end_of_ipv6_literal(authority: &[u8]) -> Option<usize> {
    let end = memchr::memchr(b']', authority)?;
    let address = str::from_utf8(authority.get(1..end)?).ok()?;
    address.parse::<Ipv6Addr>().ok().map(|_| end + 1)
}

fn strip_suffix_ignore_case<'a>(text: &'a [u8], suffix: &[u8]) -> Option<&'a [u8]> {
    let (rest, end) = text.split_at_checked(text.len().checked_sub(suffix.len())?)?;
    end.eq_ignore_ascii_case(suffix).then_some(rest)
}

impl HostLabel {
    /// Resolves hosts that are one label under `domain`.
    ///
    /// # Panics
    /// `domain` is not a host name.
    pub fn under(domain: &str) -> Self {
        assert!(
            end_of_name(domain.as_bytes()) == Some(domain.len()),
            "`{domain}` is not a domain"
        );
        Self {
            suffix: format!(".{}", domain.to_ascii_lowercase()),
        }
    }
}

impl WorkspaceResolver for HostLabel {
    fn resolve(&self, address: &RequestAddress<'_>) -> Result<WorkspaceId, Rejection> {
        let label = strip_suffix_ignore_case(address.host, self.suffix.as_bytes())
            .ok_or_else(|| Rejection::bad_address(AddressProblem::ForeignHost))?;
        WorkspaceId::from_any_case(label)
            .ok_or_else(|| Rejection::bad_address(AddressProblem::NoWorkspace))
    }
}

impl PathTemplate {
    /// Resolves paths of the shape of `template`: literal text around one `{workspace}` segment, and,
    /// if it ends in `/*`, anything behind, nothing included: `/w/{workspace}/*` takes `/w/acme` too.
    ///
    /// The whole path has to match. It is compared undecoded, so a path with a percent-escape where the template has text never does.
    ///
    /// # Panics
    /// `template` does not begin with `/`, or `{workspace}` is not exactly one of its segments.
    pub fn new(template: &'static str) -> Self {
        let (template, open_ended) = match template.strip_suffix("/*") {
            Some(closed) => (closed, true),
            None => (template, false),
        };
        let parts = template
            .split_once("{workspace}")
            .filter(|(prefix, suffix)| {
                prefix.starts_with('/')
                    && prefix.ends_with('/')
                    && (suffix.is_empty() || suffix.starts_with('/'))
                    && !prefix.contains(['{', '}', '*', '%'])
                    && !suffix.contains(['{', '}', '*', '%'])
            });
        let (prefix, suffix) = parts.expect(
            "a template is like `/mcp/{workspace}`, `/w/{workspace}/mcp` or `/mcp/{workspace}/*`",
        );
        Self {
            prefix,
            suffix,
            open_ended,
        }
    }

    fn workspace_of<'a>(&self, path: &'a str) -> Option<&'a str> {
        let rest = path.strip_prefix(self.prefix)?;
        let (workspace, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let rest = rest.strip_prefix(self.suffix)?;
        (rest.is_empty() || (self.open_ended && rest.starts_with('/'))).then_some(workspace)
    }
}

impl WorkspaceResolver for PathTemplate {
    fn resolve(&self, address: &RequestAddress<'_>) -> Result<WorkspaceId, Rejection> {
        let workspace = self
            .workspace_of(address.path)
            .and_then(|workspace| workspace.parse().ok());
        workspace.ok_or_else(|| Rejection::bad_address(AddressProblem::NoWorkspace))
    }
}

impl WorkspaceResolver for FixedWorkspace {
    fn resolve(&self, _address: &RequestAddress<'_>) -> Result<WorkspaceId, Rejection> {
        Ok(self.0)
    }
}

impl<F> WorkspaceResolver for F
where
    F: Fn(&RequestAddress<'_>) -> Result<WorkspaceId, Rejection> + Send + Sync + 'static,
{
    fn resolve(&self, address: &RequestAddress<'_>) -> Result<WorkspaceId, Rejection> {
        self(address)
    }
}

impl fmt::Debug for RequestAddress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestAddress")
            .field("host", &self.host())
            .field("port", &self.port)
            .field("path", &self.path)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::rejection::RejectionKind;

    fn parts(uri: &str, hosts: &[&str], version: Version) -> Parts {
        let request = hosts
            .iter()
            .fold(Request::builder().uri(uri), |request, host| {
                request.header(HOST, *host)
            });
        request.version(version).body(()).unwrap().into_parts().0
    }

    fn problem(result: Result<impl Sized, Rejection>) -> Option<AddressProblem> {
        match result.err()?.kind() {
            RejectionKind::Address(problem) => Some(*problem),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn refuses_every_host_that_could_mean_two_things() {
        use AddressProblem::*;
        let http1 = [
            ("no host", "/", &[][..], Some(MissingHost)),
            ("an empty host", "/", &[""], Some(MalformedHost)),
            ("a port alone", "/", &[":80"], Some(MalformedHost)),
            ("two dots in a row", "/", &["a..test"], Some(MalformedHost)),
            ("two hosts", "/", &["a.test", "b.test"], Some(RepeatedHost)),
            (
                "the same host twice",
                "/",
                &["a.test", "a.test"],
                Some(RepeatedHost),
            ),
            ("a list", "/", &["a.test, b.test"], Some(MalformedHost)),
            ("userinfo", "/", &["user@a.test"], Some(MalformedHost)),
            ("a path", "/", &["a.test/x"], Some(MalformedHost)),
            ("a space", "/", &["a test"], Some(MalformedHost)),
            ("an escape", "/", &["a%2etest"], Some(MalformedHost)),
            ("not ASCII", "/", &["ä.test"], Some(MalformedHost)),
            ("a dot at the end", "/", &["a.test."], Some(MalformedHost)),
            ("a dot in front", "/", &[".a.test"], Some(MalformedHost)),
            ("two ports", "/", &["a.test:1:2"], Some(MalformedHost)),
            (
                "no digits in the port",
                "/",
                &["a.test:x"],
                Some(MalformedHost),
            ),
            ("a signed port", "/", &["a.test:+1"], Some(MalformedHost)),
            ("an empty port", "/", &["a.test:"], Some(MalformedHost)),
            (
                "a port too large",
                "/",
                &["a.test:65536"],
                Some(MalformedHost),
            ),
            ("a broken IPv6 address", "/", &["[::1"], Some(MalformedHost)),
            ("text in brackets", "/", &["[a.test]"], Some(MalformedHost)),
            (
                "an absolute target of another host",
                "http://b.test/",
                &["a.test"],
                Some(ContradictoryHost),
            ),
            (
                "an absolute target of another port",
                "http://a.test:81/",
                &["a.test"],
                Some(ContradictoryHost),
            ),
            (
                "an absolute target without a host",
                "http://a.test/",
                &[],
                Some(MissingHost),
            ),
            ("a host", "/", &["a.test"], None),
            ("a host with a port", "/", &["A.test:8080"], None),
            ("an IPv6 address", "/", &["[::1]:8080"], None),
            (
                "an absolute target of the same host",
                "http://a.test/",
                &["A.TEST"],
                None,
            ),
        ];
        for (name, uri, hosts, expected) in http1 {
            assert_eq!(
                problem(RequestAddress::of(&parts(uri, hosts, Version::HTTP_11))),
                expected,
                "{name}"
            );
        }
        let http2 = |hosts: &[&str]| {
            problem(RequestAddress::of(&parts(
                "http://a.test/",
                hosts,
                Version::HTTP_2,
            )))
        };
        assert_eq!(http2(&[]), None);
        assert_eq!(http2(&["a.test"]), None);
        assert_eq!(http2(&["b.test"]), Some(ContradictoryHost));
        let userinfo = parts("http://user@a.test/", &[], Version::HTTP_2);
        assert_eq!(problem(RequestAddress::of(&userinfo)), Some(MalformedHost));
    }

    fn resolve(
        resolver: &impl WorkspaceResolver,
        host: &str,
        path: &str,
    ) -> Result<String, Option<AddressProblem>> {
        let parts = parts(path, &[host], Version::HTTP_11);
        let address = RequestAddress::of(&parts).unwrap();
        resolver
            .resolve(&address)
            .map(|workspace| workspace.to_string())
            .map_err(|r| problem(Err::<(), _>(r)))
    }

    #[test]
    fn takes_the_first_label_under_the_domain() {
        let resolver = HostLabel::under("mcp.example.com");
        assert_eq!(
            resolve(&resolver, "acme.mcp.example.com:443", "/").unwrap(),
            "acme"
        );
        assert_eq!(
            resolve(&resolver, "ACME.MCP.example.com", "/").unwrap(),
            "acme"
        );
        for host in [
            "mcp.example.com",
            "example.com",
            "acmemcp.example.com",
            "acme.mcp.example.com.evil.test",
        ] {
            assert_eq!(
                resolve(&resolver, host, "/").unwrap_err(),
                Some(AddressProblem::ForeignHost),
                "{host}"
            );
        }
        for host in ["a.b.mcp.example.com", "a_b.mcp.example.com"] {
            assert_eq!(
                resolve(&resolver, host, "/").unwrap_err(),
                Some(AddressProblem::NoWorkspace),
                "{host}"
            );
        }
    }

    /// A page of `127.evil.test` that was rebound to this machine would otherwise be its own origin.
    #[test]
    fn a_name_that_begins_as_a_loopback_address_is_none() {
        let is_loopback = |host| {
            let parts = parts("/", &[host], Version::HTTP_11);
            RequestAddress::of(&parts).unwrap().is_loopback()
        };
        for host in [
            "localhost",
            "acme.LOCALHOST",
            "127.0.0.1",
            "127.1.2.3:80",
            "[::1]:80",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "127.evil.test",
            "127.0.0.1.evil.test",
            "127.1",
            "128.0.0.1",
            "localhost.evil.test",
            "[::2]",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn the_whole_path_has_to_match() {
        let closed = PathTemplate::new("/mcp/{workspace}");
        assert_eq!(resolve(&closed, "a.test", "/mcp/acme").unwrap(), "acme");
        for path in [
            "/",
            "/mcp",
            "/mcp/",
            "/mcp/acme/",
            "/mcp/acme/x",
            "/x/mcp/acme",
            "/mcp/ac%6de",
            "/mcp/%61cme",
            "//mcp/acme",
            "/mcp//acme",
            "/mcp/ACME",
            "/MCP/acme",
            "/mcp/acme;x",
            "/mcp/../acme",
        ] {
            assert!(resolve(&closed, "a.test", path).is_err(), "{path}");
        }
        let inner = PathTemplate::new("/w/{workspace}/mcp");
        assert_eq!(resolve(&inner, "a.test", "/w/acme/mcp").unwrap(), "acme");
        assert!(resolve(&inner, "a.test", "/w/acme").is_err());
        let open = PathTemplate::new("/mcp/{workspace}/*");
        for path in ["/mcp/acme", "/mcp/acme/", "/mcp/acme/x/y"] {
            assert_eq!(resolve(&open, "a.test", path).unwrap(), "acme", "{path}");
        }
    }

    #[test]
    #[should_panic = "a template is like"]
    fn refuses_a_template_without_a_workspace() {
        PathTemplate::new("/mcp/{other}");
    }
}
