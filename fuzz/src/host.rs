//! Which workspace a request is addressed to: one that stands in its host or path, or none.

use http::{HeaderValue, Request, Uri, Version, header::HOST, request::Parts};
use tower_workspace_token::{
    HostLabel, PathTemplate,
    layer::{RequestAddress, WorkspaceResolver},
};

use crate::{reference::is_label, world::lines};

const DOMAIN: &str = ".mcp.example.com";

/// The first line is the version of HTTP and a target, every other the value of a `Host`.
pub fn check(case: &[u8]) {
    let mut lines = lines(case, 5);
    let Some((version, target)) = lines.next().and_then(<[u8]>::split_first) else {
        return;
    };
    let Ok(uri) = Uri::try_from(target) else {
        return;
    };
    let mut parts = Request::new(()).into_parts().0;
    parts.uri = uri;
    parts.version = if version % 2 == 0 {
        Version::HTTP_2
    } else {
        Version::HTTP_11
    };
    for host in lines.filter_map(|line| HeaderValue::from_bytes(line.trim_ascii()).ok()) {
        parts.headers.append(HOST, host);
    }
    compare(&parts);
}

fn compare(parts: &Parts) {
    let expected = authority(parts).and_then(split);
    let address = match (RequestAddress::of(parts), &expected) {
        (Ok(address), Some((host, port))) => {
            assert_eq!((address.host(), address.port()), (*host, *port));
            address
        }
        (Err(_), None) => return,
        (address, expected) => panic!("{address:?} in place of {expected:?}"),
    };
    assert_eq!(address.path(), parts.uri.path());
    let (host, _) = expected.expect("it was compared");
    let host = host.to_ascii_lowercase();
    let by_host = HostLabel::under(&DOMAIN[1..]).resolve(&address);
    match host.strip_suffix(DOMAIN).filter(|label| is_label(label)) {
        Some(label) => assert_eq!(by_host.expect("a label under the domain").as_str(), label),
        None => assert!(by_host.is_err(), "{host} is not under the domain"),
    }
    let by_path = |template: &'static str| {
        let resolved = PathTemplate::new(template).resolve(&address).ok();
        resolved.map(|workspace| workspace.to_string())
    };
    let named = |text: Option<&str>| text.filter(|text| is_label(text)).map(str::to_owned);
    let path = parts.uri.path();
    let within = path.strip_prefix("/mcp/");
    assert_eq!(by_path("/mcp/{workspace}"), named(within));
    assert_eq!(
        by_path("/w/{workspace}/mcp"),
        named(
            path.strip_prefix("/w/")
                .and_then(|rest| rest.strip_suffix("/mcp"))
        )
    );
    let first = within.map(|rest| rest.split_once('/').map_or(rest, |(first, _)| first));
    assert_eq!(by_path("/mcp/{workspace}/*"), named(first));
}

/// The one authority of a request: a target's has to be that of `Host`, which only HTTP/2 may leave out.
fn authority(parts: &Parts) -> Option<&[u8]> {
    let hosts: Vec<&[u8]> = parts
        .headers
        .get_all(HOST)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    let target = parts
        .uri
        .authority()
        .map(|target| target.as_str().as_bytes());
    match (&hosts[..], target) {
        ([host], None) => Some(host),
        ([host], Some(target)) => host.eq_ignore_ascii_case(target).then_some(*host),
        ([], Some(target)) if parts.version == Version::HTTP_2 => Some(target),
        _ => None,
    }
}

/// Splits `host` or `host:port`: labels of 1 to 63 characters, 253 in all, or an address in brackets.
fn split(authority: &[u8]) -> Option<(&str, Option<u16>)> {
    let authority = std::str::from_utf8(authority).ok()?;
    let end = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(end);
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => None,
        None => return None,
        Some(digits) => {
            let is_number =
                !digits.is_empty() && digits.chars().all(|digit| digit.is_ascii_digit());
            Some(is_number.then(|| digits.parse().ok()).flatten()?)
        }
    };
    let is_host = match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.len() <= 253 && host.split('.').all(is_name),
    };
    is_host.then_some((host, port))
}

fn is_name(label: &str) -> bool {
    let is_of_name =
        |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    (1..64).contains(&label.len()) && label.chars().all(is_of_name)
}
