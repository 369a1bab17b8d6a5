//! What people are told and asked on the pages of workspaces, members, users and links.

use http::{Method, StatusCode};
use serde_json::json;

use super::site::Site;
use crate::people::Role;

/// Nobody but the operator can run a command.
#[tokio::test]
async fn commands_are_told_to_the_command_line_alone() {
    let site = Site::new().await;
    let (root, eve) = (
        site.person("root", true).await,
        site.person("eve", false).await,
    );
    let acme = site.workspace("acme", &[(&root, Role::Owner)]).await;
    let nowhere = site.get("/w/aaaaaaaaaaa/board", &eve).await;
    assert!(
        nowhere.body.contains("you are no member of it"),
        "{}",
        nowhere.body
    );
    let not_hers = site.get(&format!("/w/{}/board", acme.id), &eve).await;
    assert_eq!(nowhere.body, not_hers.body);
    let tokens = format!("/w/{}/tokens", acme.id);
    let once = site.get(&tokens, &root).await.field("once");
    let fields = [("name", "primary"), ("once", once.as_str())];
    let twice = site.post(&tokens, &root, &fields).await;
    assert_eq!(twice.status, StatusCode::CONFLICT);
    assert!(twice.body.contains("choose another name"), "{}", twice.body);
    let mut answers = vec![nowhere, twice];
    for (target, body) in [
        (
            format!("/api/v1{}", tokens.replace("/w/", "/workspaces/")),
            json!({"name": "primary"}),
        ),
        ("/api/v1/keys/aaaaaaaa/retire".to_owned(), json!({})),
        ("/api/v1/setup-link".to_owned(), json!({})),
    ] {
        let ask = site.ask(Method::POST, &target).of(&root).json(&body);
        answers.push(ask.send().await);
    }
    for answer in answers {
        assert!(answer.status.is_client_error());
        assert!(!answer.body.contains("`wst "), "{}", answer.body);
        assert!(!answer.body.contains("hint\":"), "{}", answer.body);
    }
}
