//! Where a request comes from and how it travelled: the other end of the connection, or what a
//! trusted proxy says.
//!
//! Headers of forwarding are anybody's to write, so they count only when the other end of the
//! connection is a proxy that the operator trusts, and then only from the right: the last entry is the
//! proxy's own, and what stands left of the first address that is no trusted proxy was written by a
//! stranger. Only one kind of header is read, the one that the proxy sets, since the others it passes
//! on as the client wrote them. `X-Forwarded-Host` is never read: proxies hand on `Host` itself.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::{self, FromStr},
    sync::Arc,
};

use clap::ValueEnum;
use http::{Extensions, HeaderMap, Request, header::FORWARDED};
use ipnet::{IpNet, Ipv4Net};
use serde::Deserialize;
use tower_workspace_token::serve::Peer;

/// How a request got here, in its extensions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    client: IpAddr,
    scheme: RequestScheme,
    /// It did not leave this machine, or the operator said that it does not matter.
    is_private_anyhow: bool,
}

/// How the client spoke: to us, or to the proxy in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RequestScheme {
    Http,
    Https,
}

/// A network whose hosts are proxies that we believe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TrustedProxy(IpNet);

impl TrustedProxy {
    /// Returns whether `address`, in its canonical form, is one of these.
    pub(crate) fn is(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
}

/// Which headers trusted proxies set.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ProxyHeader {
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// `X-Forwarded-For` and `X-Forwarded-Proto`.
    #[default]
    XForwarded,
}

/// All that has to be known beforehand to tell where requests come from. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Arrivals {
    pub(crate) proxies: Arc<[TrustedProxy]>,
    pub(crate) header: ProxyHeader,
    /// The listener speaks TLS itself.
    pub(crate) is_tls: bool,
    /// What clients are told to use is https, so a trusted proxy that says nothing stands for that.
    pub(crate) is_https_outside: bool,
    /// What reaches this machine from itself has not been elsewhere before.
    pub(crate) is_loopback_private: bool,
    /// The listener is in the clear and beyond loopback, for trusted proxies alone.
    pub(crate) is_for_proxies_alone: bool,
    /// The operator accepts that everything can be read on the way.
    pub(crate) is_insecure: bool,
}

impl Arrival {
    /// Returns the address of the client whose request has these extensions.
    pub(crate) fn address(extensions: &Extensions) -> Option<IpAddr> {
        extensions.get::<Self>().map(|arrival| arrival.client)
    }

    /// Returns whether the client spoke https, to us or to a proxy that is believed.
    pub(crate) fn is_https(extensions: &Extensions) -> bool {
        let arrival = extensions.get::<Self>();
        arrival.is_some_and(|arrival| arrival.scheme == RequestScheme::Https)
    }

    /// Returns whether nobody on the way can read along, so that passwords and cookies may travel with a
    /// request of these extensions.
    pub(crate) fn is_private(extensions: &Extensions) -> bool {
        extensions.get::<Self>().is_some_and(|arrival| {
            arrival.is_private_anyhow || arrival.scheme == RequestScheme::Https
        })
    }
}

impl Arrivals {
    /// Works out the client's address and how it spoke, for all that is behind.
    pub(super) fn identify<B>(&self, mut request: Request<B>) -> Request<B> {
        let Some(Peer(peer)) = request.extensions().get::<Peer<SocketAddr>>() else {
            return request;
        };
        // An IPv4 client of a listener for both is that client.
        let peer = peer.ip().to_canonical();
        let (client, scheme) = if self.trusts(peer) {
            self.as_told(peer, request.headers())
        } else {
            (peer, self.own_scheme())
        };
        let is_private_anyhow =
            self.is_insecure || (self.is_loopback_private && client.is_loopback());
        request.extensions_mut().insert(Arrival {
            client,
            scheme,
            is_private_anyhow,
        });
        request
    }

    /// Returns whether the request went round the proxies that alone may bring any.
    pub(super) fn is_bypass(&self, extensions: &Extensions) -> bool {
        let peer = extensions.get::<Peer<SocketAddr>>();
        let is_allowed = |peer: IpAddr| peer.is_loopback() || self.trusts(peer);
        self.is_for_proxies_alone
            && !peer.is_some_and(|Peer(peer)| is_allowed(peer.ip().to_canonical()))
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.proxies.iter().any(|proxy| proxy.is(address))
    }

    fn own_scheme(&self) -> RequestScheme {
        RequestScheme::from_is_https(self.is_tls)
    }

    fn as_told(&self, peer: IpAddr, headers: &HeaderMap) -> (IpAddr, RequestScheme) {
        let silent = RequestScheme::from_is_https(self.is_tls || self.is_https_outside);
        match self.header {
            ProxyHeader::XForwarded => {
                let hops = list(headers, X_FORWARDED_FOR).map(address);
                let scheme = list(headers, X_FORWARDED_PROTO).next();
                (
                    self.client(peer, hops),
                    scheme.map_or(silent, RequestScheme::parse),
                )
            }
            ProxyHeader::Forwarded => {
                let elements = forwarded_elements(headers);
                let scheme = match elements.first() {
                    None => silent,
                    // Broken: who wrote it cannot be told.
                    Some(None) => RequestScheme::Http,
                    Some(Some(nearest)) => match &nearest.proto {
                        None => silent,
                        Some(proto) => RequestScheme::parse(proto),
                    },
                };
                let hops = elements.iter().map(|element| {
                    let node = element.as_ref()?.node.as_ref()?;
                    address(node)
                });
                (self.client(peer, hops), scheme)
            }
        }
    }

    /// Goes from proxy to proxy, beginning with the nearest, to the first address that is none.
    fn client(&self, peer: IpAddr, hops: impl Iterator<Item = Option<IpAddr>>) -> IpAddr {
        let mut client = peer;
        for hop in hops {
            // What cannot be read leads nowhere: then it is the proxy that said so.
            let Some(hop) = hop else { break };
            client = hop;
            if !self.trusts(hop) {
                break;
            }
        }
        client
    }
}

impl RequestScheme {
    fn from_is_https(is_https: bool) -> Self {
        if is_https { Self::Https } else { Self::Http }
    }

    fn parse(text: &[u8]) -> Self {
        Self::from_is_https(text.eq_ignore_ascii_case(b"https"))
    }
}

impl fmt::Display for TrustedProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ProxyHeader {
    /// Returns the word for it on the command line.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::XForwarded => "x-forwarded",
        }
    }
}

impl FromStr for TrustedProxy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let network = match text.parse::<IpAddr>() {
            Ok(address) => IpNet::from(address),
            Err(_) => text
                .parse::<IpNet>()
                .map_err(|_| "expected a network such as 10.0.0.0/8 or an address".to_owned())?,
        };
        let network = canonical(network).trunc();
        if network.prefix_len() == 0 {
            return Err("to trust every address is to believe whatever clients write".to_owned());
        }
        Ok(Self(network))
    }
}

/// Returns the IPv4 network that an IPv6 one stands for, if it does (RFC 4291 §2.5.5.2).
fn canonical(network: IpNet) -> IpNet {
    match (network.addr().to_canonical(), network) {
        (IpAddr::V4(address), IpNet::V6(network)) => network
            .prefix_len()
            .checked_sub(96)
            .and_then(|length| Ipv4Net::new(address, length).ok())
            .map_or(IpNet::V6(network), IpNet::V4),
        _ => network,
    }
}

/// Returns the values of a header that is a list, last one first. Empty ones do not count (RFC 9110 §5.6.1).
fn list<'h>(headers: &'h HeaderMap, name: &'static str) -> impl Iterator<Item = &'h [u8]> {
    let lines: Vec<_> = headers.get_all(name).iter().collect();
    lines
        .into_iter()
        .rev()
        // Bytes: a piece that is no text must not hide those beside it.
        .flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|value| !value.is_empty())
}

/// Reads an address with or without a port, as proxies write them.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text).ok()?;
    let inner = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let address = match inner {
        Some(inner) => IpAddr::V6(inner.parse().ok()?),
        None => text
            .parse()
            .or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()))
            .ok()?,
    };
    Some(address.to_canonical())
}

/// One element of `Forwarded`, as far as we use it.
#[derive(Debug, Default)]
struct Element {
    node: Option<Vec<u8>>,
    proto: Option<Vec<u8>>,
}

/// Returns the elements of `Forwarded`, last one first; `None` stands for a line that is broken.
fn forwarded_elements(headers: &HeaderMap) -> Vec<Option<Element>> {
    let mut elements = Vec::new();
    for line in headers.get_all(FORWARDED) {
        match parse_forwarded(line.as_bytes()) {
            Some(read) => elements.extend(read.into_iter().map(Some)),
            None => elements.push(None),
        }
    }
    elements.reverse();
    elements
}

/// Reads a line of `Forwarded` (RFC 7239 §4), or nothing of it: with a quotation mark that it never
/// closes, a client could swallow what the proxy wrote behind.
fn parse_forwarded(line: &[u8]) -> Option<Vec<Element>> {
    let mut elements = vec![Element::default()];
    let mut rest = line.trim_ascii();
    while !rest.is_empty() {
        let name_length = rest.iter().take_while(|byte| is_token(**byte)).count();
        let (name, behind) = rest.split_at(name_length);
        let mut delimited = behind;
        if let Some(behind) = behind.strip_prefix(b"=") {
            let (value, behind) = value(behind)?;
            delimited = behind;
            let element = elements.last_mut()?;
            let field = match name.to_ascii_lowercase().as_slice() {
                b"for" => Some(&mut element.node),
                b"proto" => Some(&mut element.proto),
                b"" => return None,
                _ => None,
            };
            if let Some(field) = field
                && field.replace(value).is_some()
            {
                return None;
            }
        } else if !name.is_empty() {
            return None;
        }
        rest = match delimited.trim_ascii_start() {
            [] => &[],
            [b';', behind @ ..] => behind.trim_ascii_start(),
            [b',', behind @ ..] => {
                elements.push(Element::default());
                behind.trim_ascii_start()
            }
            _ => return None,
        };
    }
    elements.retain(|element| element.node.is_some() || element.proto.is_some());
    Some(elements)
}

/// Reads a token or a quoted string, and returns what is behind it.
fn value(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        // More than a token: an IPv6 address or a port without quotation marks is common and clear.
        let is_bare = |byte: &&u8| is_token(**byte) || b":[]".contains(byte);
        let (value, behind) = text.split_at(text.iter().take_while(is_bare).count());
        return Some((value.to_vec(), behind));
    };
    let mut value = Vec::new();
    let mut bytes = quoted.iter().enumerate();
    while let Some((index, byte)) = bytes.next() {
        match byte {
            b'"' => return Some((value, &quoted[index + 1..])),
            b'\\' => value.push(*bytes.next()?.1),
            byte => value.push(*byte),
        }
    }
    None
}

/// A character of a token (RFC 9110 §5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

const X_FORWARDED_FOR: &str = "x-forwarded-for";
const X_FORWARDED_PROTO: &str = "x-forwarded-proto";

#[cfg(test)]
impl Arrivals {
    /// Those of a listener that stands by itself, in the clear on loopback.
    pub(crate) fn on_loopback() -> Self {
        Self {
            proxies: Arc::default(),
            header: ProxyHeader::XForwarded,
            is_tls: false,
            is_https_outside: false,
            is_loopback_private: true,
            is_for_proxies_alone: false,
            is_insecure: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn arrivals(proxies: &[&str]) -> Arrivals {
        Arrivals {
            proxies: proxies.iter().map(|proxy| proxy.parse().unwrap()).collect(),
            ..Arrivals::on_loopback()
        }
    }

    fn identified(arrivals: &Arrivals, peer: &str, headers: &[(&str, &[u8])]) -> Extensions {
        let mut request = Request::new(());
        let peer: IpAddr = peer.parse().unwrap();
        let peer = Peer(SocketAddr::new(peer, 4711));
        request.extensions_mut().insert(peer);
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            let value = HeaderValue::from_bytes(value).unwrap();
            request.headers_mut().append(name, value);
        }
        arrivals.identify(request).extensions().clone()
    }

    fn client(arrivals: &Arrivals, peer: &str, headers: &[(&str, &[u8])]) -> String {
        let extensions = identified(arrivals, peer, headers);
        Arrival::address(&extensions).unwrap().to_string()
    }

    fn scheme_of(extensions: &Extensions) -> RequestScheme {
        extensions.get::<Arrival>().unwrap().scheme
    }

    #[test]
    fn believes_nobody_but_trusted_proxies() {
        let spoofed: [(&str, &[u8]); 4] = [
            ("x-forwarded-for", b"6.6.6.6"),
            ("x-forwarded-proto", b"https"),
            ("x-real-ip", b"6.6.6.6"),
            ("forwarded", b"for=6.6.6.6;proto=https"),
        ];
        for header in [ProxyHeader::XForwarded, ProxyHeader::Forwarded] {
            for proxies in [&[][..], &["10.0.0.0/8", "2001:db8::/32"]] {
                let arrivals = Arrivals {
                    header,
                    ..arrivals(proxies)
                };
                for peer in ["127.0.0.1", "11.0.0.1", "::1", "2001:db9::1"] {
                    assert_eq!(client(&arrivals, peer, &spoofed), peer);
                    let extensions = identified(&arrivals, peer, &spoofed);
                    assert_eq!(scheme_of(&extensions), RequestScheme::Http);
                }
            }
        }
    }

    #[test]
    fn takes_the_first_address_from_the_right_that_is_no_proxy() {
        let arrivals = arrivals(&["10.0.0.0/8", "2001:db8::/32", "127.0.0.1"]);
        for (name, peer, lines, expected) in [
            ("one hop", "10.0.0.1", &["192.0.2.7"][..], "192.0.2.7"),
            (
                "a stranger's words on the left",
                "10.0.0.1",
                &["6.6.6.6, 192.0.2.7"],
                "192.0.2.7",
            ),
            (
                "several proxies",
                "10.0.0.1",
                &["6.6.6.6, 192.0.2.7, 10.9.9.9, 2001:db8::5"],
                "192.0.2.7",
            ),
            (
                "several lines",
                "10.0.0.1",
                &["6.6.6.6", "192.0.2.7", "10.1.1.1"],
                "192.0.2.7",
            ),
            (
                "nothing but proxies",
                "10.0.0.1",
                &["10.0.0.9, 10.0.0.8"],
                "10.0.0.9",
            ),
            ("no header", "10.0.0.1", &[], "10.0.0.1"),
            ("an empty header", "10.0.0.1", &[""], "10.0.0.1"),
            (
                "empty values",
                "10.0.0.1",
                &["192.0.2.7,, ,", " "],
                "192.0.2.7",
            ),
            ("with a port", "10.0.0.1", &["192.0.2.7:5555"], "192.0.2.7"),
            ("IPv6", "2001:db8::1", &["2a00:1::7"], "2a00:1::7"),
            (
                "IPv6 in brackets with a port",
                "10.0.0.1",
                &["[2a00:1::7]:443"],
                "2a00:1::7",
            ),
            (
                "IPv6 in brackets",
                "10.0.0.1",
                &["[2a00:1::7]"],
                "2a00:1::7",
            ),
            (
                "a mapped peer",
                "::ffff:10.0.0.1",
                &["192.0.2.7"],
                "192.0.2.7",
            ),
            (
                "a mapped proxy and a mapped client",
                "::ffff:10.0.0.1",
                &["::ffff:192.0.2.7, ::ffff:10.0.0.2"],
                "192.0.2.7",
            ),
        ] {
            let headers: Vec<_> = lines
                .iter()
                .map(|line| ("x-forwarded-for", line.as_bytes()))
                .collect();
            assert_eq!(client(&arrivals, peer, &headers), expected, "{name}");
        }
    }

    #[test]
    fn what_cannot_be_read_stands_for_the_proxy_that_said_it() {
        let arrivals = arrivals(&["10.0.0.0/8"]);
        for bad in [
            &b"unknown"[..],
            b"_hidden",
            b"192.0.2",
            b"192.0.2.7:99999",
            b"192.0.2.7.",
            b"fe80::1%eth0",
            b"[192.0.2.7]",
            b"[::1",
            b"localhost",
            b"\xff\xfe",
            b"192.0.2.7;",
            b"-1",
        ] {
            let alone = [("x-forwarded-for", bad)];
            assert_eq!(client(&arrivals, "10.0.0.1", &alone), "10.0.0.1");
            let left_of_it = [b"6.6.6.6, ", bad, b", 10.0.0.2"].concat();
            let between = [("x-forwarded-for", left_of_it.as_slice())];
            assert_eq!(client(&arrivals, "10.0.0.1", &between), "10.0.0.2");
            let right_of_it = [bad, b", 192.0.2.7"].concat();
            let beside = [("x-forwarded-for", right_of_it.as_slice())];
            assert_eq!(client(&arrivals, "10.0.0.1", &beside), "192.0.2.7");
        }
    }

    #[test]
    fn reads_forwarded_only_if_that_is_what_the_proxy_sets() {
        let both: [(&str, &[u8]); 2] = [
            ("forwarded", b"for=6.6.6.6"),
            ("x-forwarded-for", b"192.0.2.7"),
        ];
        let x_forwarded = arrivals(&["10.0.0.1"]);
        assert_eq!(client(&x_forwarded, "10.0.0.1", &both), "192.0.2.7");
        let forwarded = Arrivals {
            header: ProxyHeader::Forwarded,
            ..x_forwarded
        };
        assert_eq!(client(&forwarded, "10.0.0.1", &both), "6.6.6.6");
    }

    #[test]
    fn reads_forwarded_as_rfc_7239_writes_it() {
        let arrivals = Arrivals {
            header: ProxyHeader::Forwarded,
            ..arrivals(&["10.0.0.0/8"])
        };
        for (line, expected, scheme) in [
            ("for=192.0.2.7", "192.0.2.7", RequestScheme::Http),
            (
                "for=192.0.2.7;proto=https;by=10.0.0.1",
                "192.0.2.7",
                RequestScheme::Https,
            ),
            (
                "For=\"[2001:db8:cafe::17]:4711\"",
                "2001:db8:cafe::17",
                RequestScheme::Http,
            ),
            (
                "for=6.6.6.6;proto=http, for=192.0.2.7 ; proto=HTTPS",
                "192.0.2.7",
                RequestScheme::Https,
            ),
            (
                "for=6.6.6.6, for=192.0.2.7, for=10.0.0.2;proto=https",
                "192.0.2.7",
                RequestScheme::Https,
            ),
            ("for=\"192\\.0.2.7\", ,", "192.0.2.7", RequestScheme::Http),
            ("for=[2a00::7]:80", "2a00::7", RequestScheme::Http),
            ("for=unknown;proto=https", "10.0.0.1", RequestScheme::Https),
            ("for=_hidden", "10.0.0.1", RequestScheme::Http),
            // With a quotation mark left open a client would swallow the proxy's own words.
            (
                "for=6.6.6.6;x=\", for=192.0.2.7;proto=https",
                "10.0.0.1",
                RequestScheme::Http,
            ),
            (
                "for=6.6.6.6;proto=https;x=\", for=\"[2a00::7]\"",
                "10.0.0.1",
                RequestScheme::Http,
            ),
            (
                "for=6.6.6.6;x=\"\\, for=\"192.0.2.7\"",
                "10.0.0.1",
                RequestScheme::Http,
            ),
            ("for=6.6.6.6;for=192.0.2.7", "10.0.0.1", RequestScheme::Http),
            ("for", "10.0.0.1", RequestScheme::Http),
            ("=192.0.2.7", "10.0.0.1", RequestScheme::Http),
            ("for=\"", "10.0.0.1", RequestScheme::Http),
            ("for=\"\\", "10.0.0.1", RequestScheme::Http),
            ("", "10.0.0.1", RequestScheme::Http),
            (";;,,;", "10.0.0.1", RequestScheme::Http),
            ("for=192.0.2.7 proto=https", "10.0.0.1", RequestScheme::Http),
        ] {
            let headers = [("forwarded", line.as_bytes())];
            assert_eq!(client(&arrivals, "10.0.0.1", &headers), expected, "{line}");
            let extensions = identified(&arrivals, "10.0.0.1", &headers);
            assert_eq!(scheme_of(&extensions), scheme, "{line}");
        }
        let lines: [(&str, &[u8]); 2] = [
            ("forwarded", b"for=\"6.6.6.6"),
            ("forwarded", b"for=192.0.2.7"),
        ];
        assert_eq!(client(&arrivals, "10.0.0.1", &lines), "192.0.2.7");
    }

    #[test]
    fn the_nearest_proxy_says_how_the_client_spoke() {
        let arrivals = arrivals(&["10.0.0.0/8"]);
        let scheme = |arrivals: &Arrivals, lines: &[&str]| {
            let headers: Vec<_> = lines
                .iter()
                .map(|line| ("x-forwarded-proto", line.as_bytes()))
                .collect();
            scheme_of(&identified(arrivals, "10.0.0.1", &headers)) == RequestScheme::Https
        };
        for (lines, expected) in [
            (&["https"][..], true),
            (&["HTTPS"], true),
            (&["http, https"], true),
            (&["http", "https"], true),
            (&["https, http"], false),
            (&["https", "http"], false),
            (&["http"], false),
            (&["https;"], false),
            (&["gopher"], false),
            (&[], false),
            (&[""], false),
        ] {
            assert_eq!(scheme(&arrivals, lines), expected, "{lines:?}");
        }
        let known = Arrivals {
            is_https_outside: true,
            ..arrivals
        };
        assert!(scheme(&known, &[]));
        assert!(!scheme(&known, &["http"]));
        assert!(!scheme(&known, &["gopher"]));
    }

    #[test]
    fn private_is_what_came_over_tls_or_never_left_the_machine() {
        let plain = arrivals(&["10.0.0.1", "127.0.0.2"]);
        let is_private = |arrivals: &Arrivals, peer: &str, headers: &[(&str, &[u8])]| {
            Arrival::is_private(&identified(arrivals, peer, headers))
        };
        let https: [(&str, &[u8]); 1] = [("x-forwarded-proto", b"https")];
        let from_afar: [(&str, &[u8]); 1] = [("x-forwarded-for", b"192.0.2.7")];
        assert!(is_private(&plain, "127.0.0.1", &[]));
        assert!(is_private(&plain, "::1", &[]));
        assert!(is_private(&plain, "10.0.0.1", &https));
        assert!(!is_private(&plain, "10.0.0.1", &[]));
        assert!(!is_private(&plain, "192.0.2.7", &https));
        assert!(!is_private(&plain, "127.0.0.2", &from_afar));
        let behind_a_stranger = Arrivals {
            is_loopback_private: false,
            ..plain.clone()
        };
        assert!(!is_private(&behind_a_stranger, "127.0.0.1", &[]));
        let tls = Arrivals {
            is_tls: true,
            ..plain.clone()
        };
        assert!(is_private(&tls, "192.0.2.7", &[]));
        let insecure = Arrivals {
            is_insecure: true,
            ..plain
        };
        assert!(is_private(&insecure, "192.0.2.7", &[]));
        assert!(!Arrival::is_private(&Extensions::new()));
    }

    #[test]
    fn only_proxies_and_this_machine_pass_where_proxies_are_the_way() {
        let arrivals = Arrivals {
            is_for_proxies_alone: true,
            ..arrivals(&["10.0.0.0/8"])
        };
        let is_bypass = |peer| arrivals.is_bypass(&identified(&arrivals, peer, &[]));
        for peer in ["10.0.0.1", "::ffff:10.0.0.1", "127.0.0.1", "::1"] {
            assert!(!is_bypass(peer), "{peer}");
        }
        for peer in ["192.0.2.7", "2001:db8::1"] {
            assert!(is_bypass(peer), "{peer}");
        }
        assert!(arrivals.is_bypass(&Extensions::new()));
    }

    #[test]
    fn a_trusted_proxy_is_a_network_or_an_address() {
        for (text, expected) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("10.1.2.3", "10.1.2.3/32"),
            ("2001:db8::1/32", "2001:db8::/32"),
            ("::1", "::1/128"),
            ("::ffff:10.1.2.3", "10.1.2.3/32"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ] {
            assert_eq!(
                text.parse::<TrustedProxy>().unwrap().0.to_string(),
                expected
            );
        }
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "proxy",
            "0.0.0.0/0",
            "::/0",
            "::ffff:0.0.0.0/96",
            "10.0.0.1:80",
        ] {
            assert!(text.parse::<TrustedProxy>().is_err(), "{text}");
        }
    }
}
