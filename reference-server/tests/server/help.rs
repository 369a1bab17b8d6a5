//! The page about token security, and who is led there.

use crate::common::Home;

/// The server of the examples.
const EXAMPLE: &str = "https://agents.example.com";

#[test]
fn whoever_is_turned_away_is_led_to_the_page() {
    let home = Home::new();
    let server = home.serve();
    let workspace = home.create_workspace("demo");
    let page = format!("http://{}/help/token-security", server.address());
    for presented in [
        "Bearer garbage",
        "Bearer ${WORKSPACE_TOKEN_DEMO}",
        "Basic eA==",
    ] {
        let target = format!("/mcp/{}", workspace.id);
        let answer = server.ask("POST", &target, &[("authorization", presented)]);
        assert_eq!(answer.status, 401);
        assert!(answer.body.contains(&page), "{presented}: {}", answer.body);
    }
    let answer = server.ask("GET", "/help/token-security", &[]);
    assert_eq!(answer.status, 200);
    let html = answer.body;
    assert!(html.contains("<h1>Token security</h1>"), "{html}");
    assert!(
        !html.contains(EXAMPLE),
        "the examples are about this server"
    );
    assert!(html.contains(&format!("http://{}/mcp/WORKSPACE_ID", server.address())));
}
