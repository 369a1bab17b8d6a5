//! Path templates are anchored and compared undecoded.

use http::Uri;

use crate::{
    common::{World, get},
    table::{Attempt, Case, Expected},
};

pub(crate) async fn cases() -> Vec<Case> {
    let world = World::new().await;
    world.issue("other", "primary").await;
    let app = world.by_path();
    let token = world.token.as_str();
    let request = |target: &str| {
        format!(
            "GET {target} HTTP/1.1\r\nHost: a.test\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        )
    };
    // A target that is none cannot be sent but byte by byte.
    let attempt = |target: &str| match target.parse::<Uri>() {
        Ok(_) if target.starts_with('/') => {
            let authorization = format!("Bearer {token}");
            let request = get(target, &[("authorization", authorization.as_bytes())]);
            Attempt::request(&app, request, &[token])
        }
        _ => Attempt::bytes(&app, request(target), &[token]),
    };
    let long = format!("/mcp/{}", "a".repeat(64));
    let bad = [
        ("no path", "/"),
        ("the prefix alone", "/mcp"),
        ("an empty workspace", "/mcp/"),
        ("a slash behind", "/mcp/acme/"),
        ("a segment behind", "/mcp/acme/tools"),
        ("a segment before", "/x/mcp/acme"),
        ("two slashes before", "//mcp/acme"),
        ("two slashes inside", "/mcp//acme"),
        ("two slashes behind", "/mcp/acme//"),
        ("the prefix in capitals", "/MCP/acme"),
        ("the workspace in capitals", "/mcp/ACME"),
        ("an escaped letter in the workspace", "/mcp/%61cme"),
        ("an escaped letter in the prefix", "/m%63p/acme"),
        ("an escaped slash behind", "/mcp/acme%2f"),
        ("an escaped slash inside", "/mcp%2facme"),
        (
            "an escaped slash and another workspace",
            "/mcp/other%2f..%2facme",
        ),
        ("an escaped NUL behind", "/mcp/acme%00"),
        ("an escaped space behind", "/mcp/acme%20"),
        ("an escaped line feed behind", "/mcp/acme%0a"),
        ("an escape escaped", "/mcp/%2561cme"),
        ("a broken escape", "/mcp/acme%zz"),
        ("an overlong slash", "/mcp/acme%c0%af"),
        ("a dot segment", "/mcp/./acme"),
        ("two dots up from another workspace", "/mcp/other/../acme"),
        ("two dots behind", "/mcp/acme/.."),
        ("escaped dots", "/mcp/other/%2e%2e/acme"),
        ("a path parameter", "/mcp/acme;v=1"),
        ("an empty path parameter", "/mcp/acme;"),
        ("a comma behind", "/mcp/acme,other"),
        ("a dot behind", "/mcp/acme."),
        ("an extension", "/mcp/acme.json"),
        ("a backslash behind", "/mcp/acme\\"),
        ("a backslash inside", "/mcp\\acme"),
        ("a colon behind", "/mcp/acme:x"),
        ("an at sign", "/mcp/acme@other"),
        ("the template itself", "/mcp/{workspace}"),
        ("a star", "/mcp/*"),
        ("a workspace of 64 characters", &long),
        ("an underscore in the workspace", "/mcp/ac_me"),
    ];
    let foreign = [
        ("another workspace", "/mcp/other"),
        ("a workspace that does not exist", "/mcp/nobody"),
        ("a workspace that begins as ours does", "/mcp/acme2"),
        ("a workspace that ours begins as", "/mcp/acm"),
        ("a workspace with a minus behind", "/mcp/acme-"),
    ];
    let bad = bad.map(|(name, target)| (name, target, Expected::BadAddress));
    let foreign = foreign.map(|(name, target)| (name, target, Expected::InvalidToken));
    bad.into_iter()
        .chain(foreign)
        .map(|(name, target, expected)| Case {
            family: "path and label",
            name: name.to_owned(),
            attack: attempt(target),
            expected,
            control: attempt("/mcp/acme?x=1"),
        })
        .collect()
}
