//! `Origin`: absent, our own, or listed.

use http::{Request, header};

use crate::{
    common::{App, World, protect},
    table::{Attempt, Case, Expected},
};

pub(crate) async fn cases() -> Vec<Case> {
    let world = World::new().await;
    let token = world.token.as_str();
    let app = protect(world.path_layer().with_origin("https://app.example"));
    let attempt = |app: &App, host: &str, origins: &[&str]| {
        let mut request = Request::get("/mcp/acme")
            .header(header::HOST, host)
            .header(header::AUTHORIZATION, format!("Bearer {token}"));
        for origin in origins {
            request = request.header(header::ORIGIN, origin.as_bytes());
        }
        Attempt::request(
            app,
            request.body(axum::body::Body::empty()).unwrap(),
            &[token],
        )
    };
    let public: &[(&str, &[&str])] = &[
        ("a foreign page", &["https://evil.test"]),
        ("a page without an origin", &["null"]),
        ("an empty origin", &[""]),
        ("our own host by plain http", &["http://a.test"]),
        ("our own host on another port", &["https://a.test:8443"]),
        ("a host under ours", &["https://x.a.test"]),
        ("a host that ends as ours does", &["https://evila.test"]),
        (
            "a host that begins as ours does",
            &["https://a.test.evil.test"],
        ),
        (
            "a host whose userinfo is ours",
            &["https://a.test@evil.test"],
        ),
        ("our own host with userinfo", &["https://x@a.test"]),
        ("our own host with a slash", &["https://a.test/"]),
        ("our own host with a dot", &["https://a.test."]),
        ("our own host without a scheme", &["a.test"]),
        (
            "our own host by another scheme",
            &["chrome-extension://a.test"],
        ),
        ("a file", &["file://"]),
        ("a page of this machine", &["http://localhost"]),
        (
            "our own origin twice",
            &["https://a.test", "https://a.test"],
        ),
        (
            "our own origin and a foreign one",
            &["https://a.test", "https://evil.test"],
        ),
        (
            "our own origin in a list",
            &["https://a.test, https://evil.test"],
        ),
        (
            "two origins with a space",
            &["https://a.test https://evil.test"],
        ),
        ("the listed origin by plain http", &["http://app.example"]),
        (
            "the listed origin on another port",
            &["https://app.example:8443"],
        ),
        ("a host under the listed one", &["https://x.app.example"]),
        ("the listed origin with a path", &["https://app.example/x"]),
        ("an origin that is not ASCII", &["https://\u{e4}.test"]),
        ("a star", &["*"]),
    ];
    let mut cases = Vec::new();
    for (position, (name, origins)) in public.iter().enumerate() {
        let right = [
            "https://a.test",
            "https://app.example",
            "https://a.test:443",
        ][position % 3];
        cases.push(Case {
            family: "origin",
            name: (*name).to_owned(),
            attack: attempt(&app, "a.test", origins),
            expected: Expected::ForeignOrigin,
            control: attempt(&app, "a.test", &[right]),
        });
    }
    // A page whose name was bound to this machine's address afterwards: its Host and Origin agree.
    let rebound = [
        "evil.test",
        "127.evil.test",
        "127.0.0.1.evil.test",
        "localhost.evil.test",
    ];
    for host in rebound {
        let origin = format!("http://{host}");
        cases.push(Case {
            family: "origin",
            name: format!("DNS rebinding by {host}"),
            attack: attempt(&app, host, &[&origin]),
            expected: Expected::ForeignOrigin,
            control: attempt(&app, "127.0.0.1:8080", &["http://127.0.0.1:8080"]),
        });
    }
    let app = protect(
        world
            .path_layer()
            .with_host("*.a.test")
            .with_host("127.0.0.1"),
    );
    for (name, host) in [
        ("a host that is not named", "evil.test"),
        ("two labels where one was named", "x.y.a.test"),
        ("the domain where a label was named", "a.test"),
        ("this machine by another name", "localhost"),
    ] {
        cases.push(Case {
            family: "origin",
            name: format!("{name}, behind with_host"),
            attack: attempt(&app, host, &[]),
            expected: Expected::BadAddress,
            control: attempt(&app, "X.a.test:8080", &[]),
        });
    }
    cases
}
