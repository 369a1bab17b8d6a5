//! What people are told and asked on the pages of workspaces, members, users and links.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::site::{Browser, Page, Site, Workspace};
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

/// Archiving ends every token: as with one token, the name is typed first.
#[tokio::test]
async fn a_workspace_is_archived_by_its_name_alone() {
    let site = Site::new().await;
    let ada = site.person("ada", false).await;
    let acme = site.workspace("acme", &[(&ada, Role::Owner)]).await;
    let (archive, settings) = (
        format!("/w/{}/archive", acme.id),
        format!("/w/{}/settings", acme.id),
    );
    for fields in [&[][..], &[("confirm", "")], &[("confirm", "Acme")]] {
        let page = site.post(&archive, &ada, fields).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{fields:?}");
        assert!(page.body.contains("ype the name"), "{}", page.body);
    }
    assert!(site.get(&settings, &ada).await.body.contains("Archive"));
    let page = site.post(&archive, &ada, &[("confirm", "acme ")]).await;
    assert_eq!(page.header("location"), format!("{settings}?done=archived"));
    assert!(
        site.get(&settings, &ada)
            .await
            .body
            .contains("Take it back")
    );
}

/// What takes something away from somebody stands behind a fold that says so.
#[tokio::test]
async fn what_takes_rights_away_is_asked_about_first() {
    let site = Site::new().await;
    let (root, eve) = (
        site.person("root", true).await,
        site.person("eve", false).await,
    );
    let members = [(&root, Role::Owner), (&eve, Role::Owner)];
    let acme = site.workspace("acme", &members).await;
    let members = format!("/w/{}/members", acme.id);
    for (target, buttons) in [
        (
            members.as_str(),
            ["Make eve a member", "Remove eve", "Remove root"],
        ),
        (
            "/admin",
            [
                "Make root a plain user",
                "Lock out eve",
                "Make eve an administrator",
            ],
        ),
    ] {
        let page = site.get(target, &root).await.body;
        for button in buttons {
            let (before, _) = page.split_once(&format!(">{button}</button>")).unwrap();
            let (_, fold) = before.rsplit_once("<details").unwrap();
            assert!(!fold.contains("</details>"), "{button}: {page}");
            assert!(fold.contains("</summary>") && fold.contains("<p>"));
        }
    }
}

#[tokio::test]
async fn an_archived_workspace_says_so_and_how_it_is_taken_back() {
    let site = Site::new().await;
    let ada = site.person("ada", false).await;
    let acme = site.workspace("acme", &[(&ada, Role::Owner)]).await;
    let path = |page: &str| format!("/w/{}/{page}", acme.id);
    let once = site.get(&path("tokens"), &ada).await.field("once");
    site.post(&path("archive"), &ada, &[("confirm", "acme")])
        .await;
    for page in ["tokens", "connect"] {
        let shown = site.get(&path(page), &ada).await.body;
        assert!(shown.contains("The workspace is archived"), "{shown}");
        assert!(shown.contains(&format!("href=\"{}\">Take it back", path("settings"))));
        assert!(!shown.contains("Make one") && !shown.contains("New token"));
    }
    // From a page of before.
    let fields = [("name", "laptop"), ("once", once.as_str())];
    let late = site.post(&path("tokens"), &ada, &fields).await;
    assert!(late.body.contains("take it back in its settings"));
    site.post(&path("unarchive"), &ada, &[]).await;
    let shown = site.get(&path("tokens"), &ada).await.body;
    assert!(shown.contains("New token") && !shown.contains("is archived"));
}

#[tokio::test]
async fn workspaces_of_one_name_are_told_apart_by_their_ids() {
    let site = Site::new().await;
    let root = site.person("root", true).await;
    let (one, other) = (
        site.workspace("acme", &[]).await,
        site.workspace("other", &[]).await,
    );
    let shown = |workspace: &Workspace| format!("<code>{}</code>", workspace.id);
    let page = site.get("/", &root).await.body;
    assert!(!page.contains(&shown(&one)) && !page.contains(&shown(&other)));
    site.execute("UPDATE workspaces SET name = 'acme'").await;
    let page = site.get("/", &root).await.body;
    assert!(page.contains(&shown(&one)) && page.contains(&shown(&other)));
}

#[tokio::test]
async fn a_workspace_of_nobody_says_whose_it_is_and_who_gives_it_an_owner() {
    let site = Site::new().await;
    let (root, eve) = (
        site.person("root", true).await,
        site.person("eve", false).await,
    );
    let acme = site.workspace("acme", &[(&eve, Role::Member)]).await;
    let members = format!("/w/{}/members", acme.id);
    let nobody = "Nobody owns this workspace";
    let seen = site.get(&members, &root).await.body;
    assert!(seen.contains(nobody) && seen.contains("with the role owner"));
    let seen = site.get(&members, &eve).await.body;
    assert!(seen.contains(nobody) && seen.contains("An administrator of the server can"));
    let fields = [("user", "root"), ("role", "owner")];
    site.post(&members, &root, &fields).await;
    assert!(!site.get(&members, &eve).await.body.contains(nobody));
}

#[tokio::test]
async fn the_audit_list_tells_who_was_added_as_an_administrator() {
    let site = Site::new().await;
    let root = site.person("root", true).await;
    for (name, administrator, detail) in [("ada", true, "as an administrator"), ("bob", false, "")]
    {
        let body = json!({"name": name, "is_administrator": administrator});
        let ask = site
            .ask(Method::POST, "/api/v1/users")
            .of(&root)
            .json(&body);
        assert_eq!(ask.send().await.status, StatusCode::OK);
        let audit = site.get("/api/v1/audit?limit=1", &root).await.body;
        let audit: Value = serde_json::from_str(&audit).unwrap();
        assert_eq!(audit["entries"][0]["subject"], name);
        assert_eq!(audit["entries"][0]["detail"], detail);
    }
}

async fn send(site: &Site, target: &str, fields: &[(&str, &str)]) -> Page {
    let ask = site.ask(Method::POST, target).form(fields);
    ask.header("sec-fetch-site", "same-origin").send().await
}

/// Makes a link for somebody, and returns its secret.
async fn link_for(site: &Site, root: &Browser, user: &str) -> Page {
    let target = format!("/api/v1/users/{user}/link");
    let ask = site.ask(Method::POST, &target).of(root).json(&json!({}));
    ask.send().await
}

fn secret_of(linked: &Page) -> String {
    let linked: Value = serde_json::from_str(&linked.body).unwrap();
    let link = linked["link"].as_str().unwrap();
    link.split_once('#').unwrap().1.to_owned()
}

#[tokio::test]
async fn who_is_locked_out_gets_no_link_that_would_not_let_them_in() {
    let site = Site::new().await;
    let (root, eve) = (
        site.person("root", true).await,
        site.person("eve", false).await,
    );
    let target = format!("/admin/users/{}", eve.id);
    site.post(&target, &root, &[("is_disabled", "true")]).await;
    let refused = link_for(&site, &root, "eve").await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(refused.body.contains("let them in again first"));
    site.post(&target, &root, &[("is_disabled", "false")]).await;
    assert_eq!(link_for(&site, &root, "eve").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_link_tells_the_name_that_goes_with_it_and_is_not_used_up_by_that() {
    let site = Site::new().await;
    let root = site.person("root", true).await;
    site.person("zoe", false).await;
    let secret = secret_of(&link_for(&site, &root, "zoe").await);
    for _ in 0..2 {
        let whose = send(&site, "/join/whose", &[("link", &secret)]).await;
        assert_eq!((whose.status, whose.body.as_str()), (StatusCode::OK, "zoe"));
        assert_eq!(whose.header("cache-control"), "no-store");
    }
    // Without a script the page knows it when it comes back.
    let short = [("link", secret.as_str()), ("password", "short")];
    let refused = send(&site, "/join", &short).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert!(refused.body.contains("log in as <strong>zoe</strong>"));
    let joined = [("link", secret.as_str()), ("password", "a few fine words")];
    assert_eq!(
        send(&site, "/join", &joined).await.status,
        StatusCode::SEE_OTHER
    );
    let other = format!("{}{}", &secret[1..], &secret[..1]);
    let old = secret_of(&link_for(&site, &root, "zoe").await);
    // Over, or made by a clock that was three days ahead.
    for by in ["- 86400000", "+ 345600000"] {
        site.execute(format!("UPDATE links SET expires_at = expires_at {by}"))
            .await;
        for link in [&secret, &other, &old, ""] {
            let whose = send(&site, "/join/whose", &[("link", link)]).await;
            assert_eq!(whose.status, StatusCode::NOT_FOUND);
            assert!(!whose.body.contains("zoe"));
        }
    }
}

#[tokio::test]
async fn the_setup_page_knows_whether_there_is_an_account_and_names_the_command_for_a_link() {
    let site = Site::new().await;
    let fields = [
        ("link", "garbage"),
        ("name", "ada"),
        ("password", "a few fine words"),
    ];
    let refused = send(&site, "/setup", &fields).await;
    assert_eq!(refused.status, StatusCode::NOT_FOUND);
    assert!(refused.body.contains("`wst setup-link`"));
    assert!(refused.body.contains("Make the account"));
    site.person("root", true).await;
    let page = site.ask(Method::GET, "/setup").send().await;
    assert_eq!(page.status, StatusCode::OK);
    let refused = send(&site, "/setup", &fields).await;
    assert_eq!(refused.status, StatusCode::NOT_FOUND);
    for page in [page, refused] {
        assert!(page.body.contains("href=\"/login\""), "{}", page.body);
        assert!(!page.body.contains("Make the account"));
        assert!(!page.body.contains("setup-link"));
    }
}
