//! A workspace that changes hands.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tower_workspace_token::authority::TokenState;

use super::site::{Browser, Page, Site, Workspace};
use crate::people::Role;

async fn api(
    site: &Site,
    browser: &Browser,
    workspace: &Workspace,
    verb: &str,
    body: Value,
) -> Page {
    let target = format!("/api/v1/workspaces/{}/{verb}", workspace.id);
    site.ask(Method::POST, &target)
        .of(browser)
        .json(&body)
        .send()
        .await
}

async fn is_current(site: &Site, token: &str, workspace: &Workspace) -> bool {
    let presented = tower_workspace_token::token::PresentedToken::new(token.as_bytes());
    let id = workspace.id.parse().unwrap();
    site.app.authority().verify(&id, presented).await.is_ok()
}

#[tokio::test]
async fn the_new_owner_gets_every_token_anew_and_the_former_one_is_a_member() {
    let site = Site::new().await;
    let (ada, bob) = (
        site.person("ada", false).await,
        site.person("bob", false).await,
    );
    let acme = site
        .workspace("acme", &[(&ada, Role::Owner), (&bob, Role::Member)])
        .await;
    let second = api(&site, &ada, &acme, "tokens", json!({"name": "laptop"})).await;
    let second: Value = serde_json::from_str(&second.body).unwrap();
    let old = [
        acme.secret.expose_secret(),
        second["secret"].as_str().unwrap(),
    ];
    let settings = format!("/w/{}/settings", acme.id);
    assert_eq!(
        site.get(&settings, &bob).await.status,
        StatusCode::FORBIDDEN
    );

    let offer = format!("/w/{}/transfer", acme.id);
    let page = site.post(&offer, &ada, &[("user", bob.id.as_str())]).await;
    assert_eq!(page.header("location"), format!("{settings}?done=offered"));
    for token in old {
        assert!(
            is_current(&site, token, &acme).await,
            "an offer ends nothing"
        );
    }
    // Bob, who has no tab that leads there, is told wherever he looks; nobody else is.
    let link = format!("href=\"{settings}\"");
    let told = "ada wants to hand ";
    for target in [
        "/".to_owned(),
        format!("/w/{}", acme.id),
        format!("/w/{}/board", acme.id),
    ] {
        let shown = site.get(&target, &bob).await.body;
        assert!(shown.contains(told) && shown.contains(&link), "{target}");
        let shown = site.get(&target, &ada).await.body;
        assert!(!shown.contains(told), "{target}");
    }
    let once = site.get(&settings, &bob).await.field("once");
    let accept = format!("/w/{}/transfer/accept", acme.id);
    let card = site.post(&accept, &bob, &[("once", &once)]).await;
    assert_eq!(card.status, StatusCode::OK, "{}", card.body);
    assert_eq!(card.header("cache-control"), "no-store");
    assert_eq!(card.body.matches("export WORKSPACE_TOKEN_ACME").count(), 2);
    for piece in card.body.split("=&#39;").skip(1) {
        let new = piece.split("&#39;").next().unwrap();
        assert!(is_current(&site, new, &acme).await);
    }
    for token in old {
        assert!(!is_current(&site, token, &acme).await);
    }
    let again = site.post(&accept, &bob, &[("once", &once)]).await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    assert!(!again.body.contains("eyJ"));
    let tokens = format!("/w/{}/tokens", acme.id);
    assert_eq!(site.get(&tokens, &ada).await.status, StatusCode::FORBIDDEN);
    assert_eq!(site.get(&tokens, &bob).await.status, StatusCode::OK);
    let audit = site.get(&format!("/w/{}/audit", acme.id), &bob).await.body;
    assert!(audit.contains("transfer.offer") && audit.contains("transfer.accept"));
    assert!(!site.get("/", &bob).await.body.contains(told));
}

#[tokio::test]
async fn only_whom_it_is_offered_to_accepts_and_only_as_long_as_the_offer_holds() {
    let site = Site::new().await;
    let (ada, bob) = (
        site.person("ada", false).await,
        site.person("bob", false).await,
    );
    let eve = site.person("eve", false).await;
    let members = [
        (&ada, Role::Owner),
        (&bob, Role::Member),
        (&eve, Role::Owner),
    ];
    let acme = site.workspace("acme", &members).await;
    let offer = json!({"user": "bob"});
    let status = async |browser: &Browser, verb: &str, body: &Value| {
        api(&site, browser, &acme, verb, body.clone())
            .await
            .status
            .as_u16()
    };
    assert_eq!(
        status(&bob, "transfer/accept", &json!({})).await,
        409,
        "no offer"
    );
    assert_eq!(
        status(&bob, "transfer", &offer).await,
        403,
        "a member offers"
    );
    assert_eq!(
        status(&ada, "transfer", &json!({"user": "ada"})).await,
        400,
        "to oneself"
    );
    assert_eq!(
        status(&ada, "transfer", &json!({"user": "nobody"})).await,
        404
    );
    assert_eq!(status(&ada, "transfer", &offer).await, 200);
    assert_eq!(
        status(&eve, "transfer/accept", &json!({})).await,
        409,
        "somebody else"
    );
    site.execute("UPDATE transfers SET offered_at = offered_at - 7 * 86400000")
        .await;
    for target in ["/".to_owned(), format!("/w/{}/board", acme.id)] {
        let shown = site.get(&target, &bob).await.body;
        assert!(!shown.contains("wants to hand"), "{target}");
    }
    assert_eq!(
        status(&bob, "transfer/accept", &json!({})).await,
        409,
        "too old"
    );
    assert_eq!(status(&ada, "transfer", &offer).await, 200);
    site.execute(
        "UPDATE members SET role = 'member' WHERE user = (SELECT id FROM users WHERE name = 'ada')",
    )
    .await;
    assert_eq!(
        status(&bob, "transfer/accept", &json!({})).await,
        409,
        "no owner any longer"
    );
    assert_eq!(status(&eve, "transfer", &offer).await, 200);
    assert_eq!(
        status(&ada, "transfer/cancel", &json!({})).await,
        409,
        "somebody else's"
    );
    assert_eq!(
        status(&bob, "transfer/cancel", &json!({})).await,
        200,
        "declined"
    );
    assert_eq!(status(&bob, "transfer/accept", &json!({})).await, 409);
    assert!(is_current(&site, acme.secret.expose_secret(), &acme).await);
}

#[tokio::test]
async fn what_was_interrupted_ends_the_tokens_at_the_next_start() {
    let site = Site::new().await;
    let (ada, bob) = (
        site.person("ada", false).await,
        site.person("bob", false).await,
    );
    let acme = site
        .workspace("acme", &[(&ada, Role::Owner), (&bob, Role::Member)])
        .await;
    api(&site, &ada, &acme, "transfer", json!({"user": "bob"})).await;
    site.app.finish_transfers().await.unwrap();
    assert!(
        is_current(&site, acme.secret.expose_secret(), &acme).await,
        "only offered"
    );
    site.execute("UPDATE transfers SET accepted_at = 1").await;
    site.app.finish_transfers().await.unwrap();
    let tokens = site
        .app
        .authority()
        .list(&acme.id.parse().unwrap())
        .await
        .unwrap();
    assert!(
        tokens
            .iter()
            .all(|token| token.state == TokenState::Revoked)
    );
}

#[tokio::test]
async fn settings_are_kept_and_a_workspace_is_deleted_by_its_name_alone() {
    let site = Site::new().await;
    let ada = site.person("ada", false).await;
    let acme = site.workspace("acme", &[(&ada, Role::Owner)]).await;
    let path = |verb: &str| format!("/w/{}/{verb}", acme.id);
    let fields = [
        ("name", "new name"),
        ("description", "<b>Ship it</b>"),
        ("protocol", "legacy"),
    ];
    let page = site.post(&path("settings"), &ada, &fields).await;
    assert_eq!(
        page.header("location"),
        format!("{}?done=saved", path("settings"))
    );
    let page = site.get(&path("settings"), &ada).await.body;
    assert!(
        page.contains("value=\"new name\"") && page.contains("&#60;b&#62;Ship it"),
        "{page}"
    );
    assert!(page.contains("value=\"legacy\" checked"));
    let gone = [("confirm", "new name")];
    assert_eq!(
        site.post(&path("delete"), &ada, &gone).await.status,
        StatusCode::CONFLICT
    );
    site.post(&path("archive"), &ada, &gone).await;
    let wrong = [("confirm", "acme")];
    assert_eq!(
        site.post(&path("delete"), &ada, &wrong).await.status,
        StatusCode::BAD_REQUEST
    );
    let page = site.post(&path("delete"), &ada, &gone).await;
    assert_eq!(page.header("location"), "/?done=workspace");
    assert_eq!(
        site.get(&path("settings"), &ada).await.status,
        StatusCode::NOT_FOUND
    );
}
