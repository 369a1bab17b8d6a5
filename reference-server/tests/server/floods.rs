//! Those who send more than they should, or slower, and those beside them who must not feel it.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
};

use crate::common::{Answer, Home, Over, Server, Workspace};

/// Tries a token that is none, and returns the answer.
fn try_in_vain(server: &Server, workspace: &str) -> Answer {
    try_from(server, workspace, None)
}

fn try_from(server: &Server, workspace: &str, source: Option<&str>) -> Answer {
    let mut headers = vec![("authorization", "Bearer wst_this-is-none")];
    headers.extend(source.map(|source| ("x-forwarded-for", source)));
    server.ask("POST", &format!("/mcp/{workspace}"), &headers)
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    let mut lines = answer.head.lines().filter_map(|line| line.split_once(": "));
    lines
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value)
}

fn assert_put_off(answer: &Answer) {
    assert_eq!(answer.status, 429, "{answer:?}");
    let seconds: u32 = header(answer, "retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{answer:?}");
    let error: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(error["jsonrpc"], "2.0");
    assert!(
        error["error"]["message"]
            .as_str()
            .unwrap()
            .contains(&format!("{seconds} seconds"))
    );
    assert!(!answer.body.contains("this-is-none"));
}

const FEW: [&str; 2] = ["--failed-tokens-per-minute", "5"];

fn admits(server: &Server, workspace: &Workspace) -> bool {
    ![401, 429].contains(&server.status_of(&workspace.id, &workspace.secret))
}

#[test]
fn a_source_whose_tokens_fail_too_often_is_put_off_and_its_valid_one_never_is() {
    let home = Home::new();
    let server = home.serve_with(&FEW);
    let workspace = home.create_workspace("acme");
    for _ in 0..5 {
        assert_eq!(try_in_vain(&server, &workspace.id).status, 401);
    }
    for _ in 0..20 {
        let refused = try_in_vain(&server, &workspace.id);
        assert_put_off(&refused);
        assert_eq!(header(&refused, "www-authenticate"), None);
        assert_eq!(header(&refused, "cache-control"), Some("no-store"));
        // From the same address, to the same workspace.
        assert!(admits(&server, &workspace));
    }
    // At another workspace the same source has a quota of its own, and who sends none has none.
    let other = home.create_workspace("other");
    assert_eq!(try_in_vain(&server, &other.id).status, 401);
    for _ in 0..20 {
        let answer = server.ask("POST", &format!("/mcp/{}", workspace.id), &[]);
        assert_eq!(answer.status, 401);
    }
    let lines = server.log().matches("fail too often").count();
    assert_eq!(lines, 1, "{}", server.log());
}

#[test]
fn a_valid_token_is_let_in_while_a_flood_of_others_goes_on_beside_it() {
    let home = Home::new();
    let server = home.serve_with(&FEW);
    let workspace = home.create_workspace("acme");
    let (is_over, put_off) = (AtomicBool::new(false), AtomicU32::new(0));
    thread::scope(|scope| {
        let _over = Over(&is_over);
        for _ in 0..4 {
            scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    if try_in_vain(&server, &workspace.id).status == 429 {
                        put_off.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
        for _ in 0..200 {
            assert!(admits(&server, &workspace));
        }
    });
    assert!(put_off.load(Ordering::SeqCst) > 100, "there was no flood");
}

#[test]
fn sources_are_told_apart_by_what_trusted_proxies_say_and_by_nobody_else() {
    let home = Home::new();
    let workspace = {
        let server = home.serve_with(&FEW);
        let workspace = home.create_workspace("acme");
        // Whoever writes the header itself is one source all the same.
        let statuses = (0..8).map(|n| {
            let source = format!("192.0.2.{n}");
            try_from(&server, &workspace.id, Some(&source)).status
        });
        assert_eq!(statuses.filter(|status| *status == 429).count(), 3);
        workspace
    };
    let proxy = ["--trusted-proxy", "127.0.0.1"];
    let server = home.serve_with(&[&FEW[..], &proxy].concat());
    let status = |source: &str| try_from(&server, &workspace.id, Some(source)).status;
    for _ in 0..5 {
        assert_eq!(status("192.0.2.1"), 401);
        // All addresses of a /64 are one client's.
        assert_eq!(status("2001:db8::1"), 401);
    }
    assert_eq!(status("192.0.2.1"), 429);
    assert_eq!(status("2001:db8::2"), 429);
    assert_eq!(status("192.0.2.2"), 401);
    assert_eq!(status("2001:db8:0:1::1"), 401);
}

#[test]
fn what_limits_keep_out_is_counted() {
    let home = Home::new();
    let admin = ["--admin-listen", "127.0.0.1:0"];
    let server = home.serve_with(&[&FEW[..], &admin].concat());
    let workspace = home.create_workspace("acme");
    for _ in 0..7 {
        try_in_vain(&server, &workspace.id);
    }
    let metrics = server.metrics();
    for expected in [
        "wst_limited_total{limit=\"failed_tokens\"} 2",
        "wst_limited_total{limit=\"calls_per_token\"} 0",
        // Why they were turned away is counted of all.
        "wst_rejections_total{reason=\"invalid_token\"} 7",
    ] {
        assert!(metrics.contains(expected), "{expected}\n{metrics}");
    }
}
