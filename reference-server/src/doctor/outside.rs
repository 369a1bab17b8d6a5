//! What clients meet: names, certificates, the server itself, its clock, and what proxies make of requests.

use std::{collections::BTreeSet, error::Error as _, net::IpAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header, uri::Authority};
use tokio::{net::lookup_host, time::timeout};
use tower_workspace_token::clock::{Clock as _, SystemClock};

use super::Check;
use crate::{
    client::{Answer, ClientError, ClientErrorKind, HttpClient, MOST_DAYS, ServerAddress, Trust},
    http::health::ALIVE,
    probes::{self, Arrived},
    time,
};

/// Asks one server.
pub(crate) struct Outside<'a> {
    pub(crate) client: &'a HttpClient,
    pub(crate) trust: &'a Trust,
    pub(crate) address: &'a ServerAddress,
}

impl Outside<'_> {
    /// Looks whether the name leads anywhere.
    pub(crate) async fn name(&self) -> Check {
        const NAME: &str = "DNS";
        let host = self.address.host();
        if !self.address.is_name() {
            return Check::skipped(NAME, format!("{host} is no name that is looked up"));
        }
        let found = addresses_of(host).await;
        if found.is_empty() {
            return Check::fail(
                NAME,
                format!("{host} has no address"),
                "add A and AAAA records for it, or mend the URL",
            );
        }
        Check::ok(NAME, format!("{host} is {}", list(&found)))
    }

    /// Looks whether hosts of workspaces lead to where the server is.
    pub(crate) async fn wildcard(&self, domain: &str, is_shown: bool) -> Check {
        // A name that nobody has, so that only a wildcard answers.
        let label = crate::db::ids::random_id().unwrap_or_else(|_| "doctor".to_owned());
        let found = addresses_of(&format!("{label}.{domain}")).await;
        judge_wildcard(
            domain,
            &found,
            &addresses_of(self.address.host()).await,
            is_shown,
        )
    }

    /// Looks at the certificate.
    pub(crate) async fn certificate(&self) -> Check {
        const NAME: &str = "TLS";
        let host = self.address.host();
        let certificate = match self.client.certificate(self.address).await {
            Ok(None) if !self.address.is_name() => {
                return Check::skipped(NAME, "the URL is http:// on this machine");
            }
            Ok(None) => {
                return Check::fail(
                    NAME,
                    "the URL is http://: everybody on the way reads tokens",
                    "give the server a certificate (`--tls-cert`), or a proxy that ends TLS",
                );
            }
            Ok(Some(certificate)) => certificate,
            Err(error) => {
                return match error.certificate_problem() {
                    Some(problem) => Check::fail(
                        NAME,
                        format!("the certificate of {host} is no good: {problem}"),
                        "put a new one in place, with its chain; the server takes it within 10 s. An authority of your own is named with --ca-file",
                    ),
                    None => unreachable(NAME, self.address, &error),
                };
            }
        };
        let now = SystemClock.now();
        match certificate.days_left(self.trust, Duration::from_secs(now.as_secs())) {
            Ok(days) => judge_days(host, days),
            Err(error) => Check::warn(
                NAME,
                format!("{error:#}"),
                "see that the system has authorities, or name them with --ca-file",
            ),
        }
    }

    /// Looks whether it answers as a server like this one; compares the clocks.
    pub(crate) async fn alive(&self, word: Option<&str>) -> Vec<Check> {
        const NAME: &str = "public URL";
        let mut headers = HeaderMap::new();
        if let Some(word) = word.and_then(|word| HeaderValue::from_str(word).ok()) {
            headers.insert(probes::HEADER, word);
        }
        let answer = match self.client.get(self.address, "/livez", headers).await {
            Ok(answer) => answer,
            Err(error) => return vec![unreachable(NAME, self.address, &error)],
        };
        let address = self.address;
        let first = match (answer.status, &**answer.body) {
            (StatusCode::OK, body) if body == ALIVE.as_bytes() => {
                Check::ok(NAME, format!("{address} answers"))
            }
            (status, _) => Check::fail(
                NAME,
                format!("{address}/livez answers {status}, and not as this server does"),
                "see that the URL is the server's own, and that the proxy in front hands everything on",
            ),
        };
        vec![first, clock(&answer)]
    }

    /// Looks whether the MCP endpoint asks for a token as it should.
    pub(crate) async fn endpoint(&self, path: &str) -> Vec<Check> {
        const NAME: &str = "MCP endpoint";
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        headers.insert(
            header::ACCEPT,
            HeaderValue::from_static("application/json, text/event-stream"),
        );
        let asked = self
            .client
            .post(self.address, path, headers, Bytes::from_static(b"{}"));
        let answer = match asked.await {
            Ok(answer) => answer,
            Err(error) => return vec![unreachable(NAME, self.address, &error)],
        };
        vec![
            judge_challenge(answer.status, &answer.headers),
            clock(&answer),
        ]
    }
}

fn judge_challenge(status: StatusCode, headers: &HeaderMap) -> Check {
    const NAME: &str = "MCP endpoint";
    let challenge = headers
        .get(header::WWW_AUTHENTICATE)
        .and_then(|value| value.to_str().ok());
    let is_bearer = challenge.is_some_and(|challenge| {
        challenge
            .get(..6)
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer"))
    });
    match status {
        StatusCode::UNAUTHORIZED if is_bearer => {
            Check::ok(NAME, "without a token it answers 401 and asks for one")
        }
        StatusCode::UNAUTHORIZED => Check::fail(
            NAME,
            "it answers 401 without the challenge `WWW-Authenticate: Bearer`",
            "see that the proxy in front leaves headers of answers alone, and asks for no login of its own",
        ),
        status if status.is_redirection() => Check::fail(
            NAME,
            format!("it answers {status}, which sends clients elsewhere"),
            "use the URL as the workspace shows it: with https://, and without a slash at the end",
        ),
        status => Check::fail(
            NAME,
            format!("without a token it answers {status} in place of 401"),
            "use the URL as the workspace shows it; if it is, the proxy in front hands on another host or path",
        ),
    }
}

/// Judges how a request to the public URL came in.
pub(crate) fn judge_arrival(public: &ServerAddress, arrived: Option<&Arrived>) -> Vec<Check> {
    const THIS: &str = "this server";
    const PROXY: &str = "proxy headers";
    let Some(arrived) = arrived else {
        return vec![Check::fail(
            THIS,
            format!(
                "what answers at {public} is another server than that of the data directory, or its proxy drops headers"
            ),
            "see where the name leads, and that --public-url and the site of the proxy agree",
        )];
    };
    let mut checks = vec![Check::ok(
        THIS,
        format!("{public} is the server of the data directory"),
    )];
    let peer = arrived.peer.as_deref().unwrap_or("somebody");
    let host = arrived.host.as_deref().unwrap_or_default();
    // The server does not look at the port either.
    let is_same = host.parse::<Authority>().is_ok_and(|host| {
        let name = host.host().trim_matches(['[', ']']);
        name.eq_ignore_ascii_case(public.host())
    });
    checks.push(if !is_same {
        Check::fail(
            PROXY,
            format!("the proxy hands on another host than {}", public.authority()),
            "have it hand on `Host` as it came (nginx: `proxy_set_header Host $http_host`)",
        )
    } else if !arrived.is_private {
        Check::fail(
            PROXY,
            "what comes by the public URL counts as readable on the way, so pages and the API refuse it",
            "have the proxy set `X-Forwarded-Proto: https` (or `Forwarded`, with --proxy-header forwarded), and name it with --trusted-proxy",
        )
    } else if (arrived.has_x_forwarded || arrived.has_forwarded) && arrived.client == arrived.peer {
        Check::warn(
            PROXY,
            format!("{peer} sends headers of forwarding, and they do not count: all clients are one for limits and in lists"),
            format!("give the server `--trusted-proxy {peer}`, and --proxy-header as the proxy sets it"),
        )
    } else if arrived.client == arrived.peer {
        Check::ok(PROXY, "there is no proxy in front, or it says nothing of itself")
    } else {
        let client = arrived.client.as_deref().unwrap_or("nobody");
        Check::ok(PROXY, format!("the proxy {peer} is believed, and names the client {client}"))
    });
    checks
}

fn judge_wildcard(
    domain: &str,
    found: &BTreeSet<IpAddr>,
    host: &BTreeSet<IpAddr>,
    is_shown: bool,
) -> Check {
    const NAME: &str = "DNS of workspaces";
    if found.is_empty() {
        let found = format!("*.{domain} has no address");
        return match is_shown {
            true => Check::fail(
                NAME,
                found,
                format!(
                    "add a wildcard record *.{domain}, or leave --mcp-domain out: then paths are shown"
                ),
            ),
            false => Check::warn(
                NAME,
                found,
                format!(
                    "nothing to do while clients use the path form; else add a wildcard record *.{domain}"
                ),
            ),
        };
    }
    if found != host && found.is_disjoint(host) {
        return Check::warn(
            NAME,
            format!(
                "*.{domain} is {}, and the public host {}",
                list(found),
                list(host)
            ),
            "see that both lead to this server",
        );
    }
    Check::ok(NAME, format!("*.{domain} is {}", list(found)))
}

fn judge_days(host: &str, days: u64) -> Check {
    const NAME: &str = "TLS";
    let found = match days {
        MOST_DAYS.. => {
            format!("the certificate of {host} is trusted for more than {MOST_DAYS} days")
        }
        days => format!("the certificate of {host} is trusted for {days} days more"),
    };
    match days {
        0..SOON => Check::warn(
            NAME,
            found,
            "renew it, and see why that did not happen by itself",
        ),
        _ => Check::ok(NAME, found),
    }
}

/// Compares the clock of who answered with the one here.
fn clock(answer: &Answer) -> Check {
    const NAME: &str = "clock";
    let date = answer
        .headers
        .get(header::DATE)
        .and_then(|date| date.to_str().ok());
    let Some(there) = date.and_then(time::parse_http_date) else {
        return Check::skipped(NAME, "the answer has no date");
    };
    judge_skew(there / 1000 - time::now() / 1000)
}

fn judge_skew(seconds: i64) -> Check {
    const NAME: &str = "clock";
    let found = match seconds {
        0 => "the clocks here and there agree".to_owned(),
        1.. => format!("the clock there is {seconds} s ahead of the one here"),
        _ => format!("the clock there is {} s behind the one here", -seconds),
    };
    let advice = "set both clocks by NTP (`timedatectl`)";
    match seconds.unsigned_abs() {
        0..=5 => Check::ok(NAME, found),
        6..=60 => Check::warn(NAME, found, advice),
        _ => Check::fail(
            NAME,
            found,
            format!("{advice}: short-lived tokens of more than 60 s in the future are refused"),
        ),
    }
}

fn unreachable(name: &'static str, address: &ServerAddress, error: &ClientError) -> Check {
    let cause = error
        .source()
        .map(|source| format!(" ({source})"))
        .unwrap_or_default();
    let advice = match error.kind() {
        ClientErrorKind::Tls => "see what is said of TLS",
        ClientErrorKind::NotHttp | ClientErrorKind::TooLarge => {
            "see that the URL leads to this server, and https:// to a port that speaks TLS"
        }
        ClientErrorKind::TimedOut | ClientErrorKind::Unreachable => {
            "see that the server runs, that the name leads to it, and that nothing on the way closes the port"
        }
    };
    Check::fail(name, format!("{address}: {error}{cause}"), advice)
}

async fn addresses_of(host: &str) -> BTreeSet<IpAddr> {
    match timeout(PATIENCE, lookup_host((host, 0))).await {
        Ok(Ok(found)) => found.map(|socket| socket.ip()).collect(),
        _ => BTreeSet::new(),
    }
}

fn list(addresses: &BTreeSet<IpAddr>) -> String {
    let all: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    all.join(", ")
}

/// As long as a resolver may take over its second try.
const PATIENCE: Duration = Duration::from_secs(15);

/// Whoever renews by themselves has done so by then.
const SOON: u64 = 14;

#[cfg(test)]
mod tests {
    use super::{super::CheckState, *};

    fn addresses(text: &[&str]) -> BTreeSet<IpAddr> {
        text.iter()
            .map(|address| address.parse().unwrap())
            .collect()
    }

    #[test]
    fn a_wildcard_matters_as_much_as_it_is_shown() {
        let host = addresses(&["192.0.2.1", "2001:db8::1"]);
        for (found, is_shown, expected) in [
            (addresses(&[]), true, CheckState::Fail),
            (addresses(&[]), false, CheckState::Warn),
            (addresses(&["192.0.2.9"]), true, CheckState::Warn),
            (addresses(&["192.0.2.1"]), true, CheckState::Ok),
            (host.clone(), false, CheckState::Ok),
        ] {
            let check = judge_wildcard("mcp.e.com", &found, &host, is_shown);
            assert_eq!(check.state, expected, "{}", check.found);
        }
    }

    #[test]
    fn days_and_seconds_are_judged_at_their_bounds() {
        for (days, expected) in [
            (0, CheckState::Warn),
            (13, CheckState::Warn),
            (14, CheckState::Ok),
            (MOST_DAYS, CheckState::Ok),
        ] {
            assert_eq!(judge_days("e.com", days).state, expected);
        }
        for (seconds, expected) in [
            (0, CheckState::Ok),
            (-5, CheckState::Ok),
            (6, CheckState::Warn),
            (-60, CheckState::Warn),
            (61, CheckState::Fail),
            (i64::MIN + 1, CheckState::Fail),
        ] {
            assert_eq!(judge_skew(seconds).state, expected, "{seconds}");
        }
    }

    #[test]
    fn a_challenge_is_told_from_what_is_none() {
        let with = |challenge: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static(challenge),
            );
            headers
        };
        for (status, headers, expected) in [
            (401, with("Bearer realm=\"x\""), CheckState::Ok),
            (401, with("bearer"), CheckState::Ok),
            (401, with("Basic realm=\"x\""), CheckState::Fail),
            (401, HeaderMap::new(), CheckState::Fail),
            (200, with("Bearer"), CheckState::Fail),
            (301, HeaderMap::new(), CheckState::Fail),
            (404, HeaderMap::new(), CheckState::Fail),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(
                judge_challenge(status, &headers).state,
                expected,
                "{status}"
            );
        }
    }

    #[test]
    fn what_a_proxy_does_is_told() {
        let (public, _) = ServerAddress::of_url("https://e.com/").unwrap();
        let arrived = |change: fn(&mut Arrived)| {
            let mut arrived = Arrived {
                peer: Some("10.0.0.1".to_owned()),
                client: Some("192.0.2.1".to_owned()),
                is_https: true,
                is_private: true,
                host: Some("e.com".to_owned()),
                has_x_forwarded: true,
                has_forwarded: false,
            };
            change(&mut arrived);
            let mut checks = judge_arrival(&public, Some(&arrived));
            checks.pop().unwrap().state
        };
        assert_eq!(arrived(|_| {}), CheckState::Ok);
        assert_eq!(
            arrived(|arrived| arrived.host = Some("10.0.0.2:8080".to_owned())),
            CheckState::Fail
        );
        assert_eq!(
            arrived(|arrived| arrived.is_private = false),
            CheckState::Fail
        );
        assert_eq!(
            arrived(|arrived| arrived.client = arrived.peer.clone()),
            CheckState::Warn
        );
        assert_eq!(
            arrived(|arrived| {
                arrived.client = arrived.peer.clone();
                arrived.has_x_forwarded = false;
            }),
            CheckState::Ok
        );
        assert_eq!(judge_arrival(&public, None)[0].state, CheckState::Fail);
    }
}
