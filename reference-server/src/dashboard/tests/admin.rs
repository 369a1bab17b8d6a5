//! `/admin`.

use http::{Method, StatusCode};

use super::site::{Browser, Page, Site};
use crate::{once::OnceForm, people::Role};

#[tokio::test]
async fn adds_a_user_whose_link_is_shown_once_and_lets_them_in() {
    let site = Site::new().await;
    let root = site.person("root", true).await;
    let page = site.get("/admin", &root).await;
    let once = page.field_of("/admin/users", "once");
    let fields = [("name", "grace"), ("once", once.as_str())];
    let card = site.post("/admin/users", &root, &fields).await;
    assert_eq!(card.status, StatusCode::OK);
    assert_eq!(card.header("cache-control"), "no-store");
    let link = card.body.split("/join#").nth(1).unwrap();
    let link = link.split_once('<').unwrap().0;
    let again = site.post("/admin/users", &root, &fields).await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    assert!(!again.body.contains("/join#"));
    assert!(!site.get("/admin", &root).await.body.contains(link));
    let target = format!("/admin/users/{}/link", root.id);
    let page = site.get("/admin", &root).await;
    let once = page.field_of(&target, "once");
    let fields = [("once", once.as_str())];
    assert_eq!(
        site.post(&target, &root, &fields).await.status,
        StatusCode::OK
    );
    let again = site.post(&target, &root, &fields).await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    assert!(!again.body.contains("/join#"));
    let join = site
        .ask(Method::POST, "/join")
        .form(&[("link", link), ("password", "a few fine words")]);
    let joined = join.header("sec-fetch-site", "same-origin").send().await;
    assert_eq!(joined.status, StatusCode::SEE_OTHER, "{}", joined.body);
    assert!(joined.header("set-cookie").starts_with("wst="));
    assert!(!site.get("/admin/audit", &root).await.body.contains(link));
}

#[tokio::test]
async fn the_number_of_somebody_elses_form_does_nothing() {
    let site = Site::new().await;
    let (root, eve) = (
        site.person("root", true).await,
        site.person("eve", true).await,
    );
    let once = site.get("/", &root).await.field("once");
    let fields = [("name", "shop"), ("once", &*once)];
    let refused = site.post("/", &eve, &fields).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert!(refused.body.contains("Open the page again"));
    let of_another_form = site.post("/admin/users", &root, &fields).await;
    assert_eq!(of_another_form.status, StatusCode::BAD_REQUEST);
    assert_eq!(site.post("/", &root, &fields).await.status, StatusCode::OK);
    let done = site.post("/", &root, &fields).await;
    assert_eq!(done.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn who_is_locked_out_is_out_at_once_and_comes_in_again_when_let_in() {
    let site = Site::new().await;
    let (root, eve) = (
        site.person("root", true).await,
        site.person("eve", false).await,
    );
    let target = format!("/admin/users/{}", eve.id);
    let done = site.post(&target, &root, &[("is_disabled", "true")]).await;
    assert_eq!(done.header("location"), "/admin?done=user");
    assert_eq!(
        site.get("/", &eve).await.header("location"),
        "/login?next=%2F"
    );
    site.post(&target, &root, &[("is_disabled", "false")]).await;
    // The login has ended; a new one is needed.
    assert_eq!(site.get("/", &eve).await.status, StatusCode::SEE_OTHER);
    let cookie = site.login(&eve.id).await;
    let page = site.ask(Method::GET, "/").cookie(&cookie).send().await;
    assert_eq!(page.status, StatusCode::OK);
}

#[tokio::test]
async fn the_last_administrator_stays_one() {
    let site = Site::new().await;
    let root = site.person("root", true).await;
    let target = format!("/admin/users/{}", root.id);
    for field in [("is_disabled", "true"), ("is_administrator", "false")] {
        let page = site.post(&target, &root, &[field]).await;
        assert_eq!(page.status, StatusCode::CONFLICT, "{field:?}");
    }
    assert_eq!(site.get("/admin", &root).await.status, StatusCode::OK);
}

#[tokio::test]
async fn is_for_administrators_alone() {
    let site = Site::new().await;
    let eve = site.person("eve", false).await;
    for target in ["/admin", "/admin/audit", "/admin/audit/export?format=csv"] {
        assert_eq!(
            site.get(target, &eve).await.status,
            StatusCode::FORBIDDEN,
            "{target}"
        );
    }
    for target in ["/admin/users/x", "/admin/users/x/link", "/admin/users"] {
        let form = match target {
            "/admin/users" => OnceForm::UserAdd,
            _ => OnceForm::UserLink,
        };
        let once = site.app.once().number(&eve.id, form).unwrap();
        let fields = [
            ("name", "x"),
            ("is_administrator", "true"),
            ("once", &*once),
        ];
        let page = site.post(target, &eve, &fields).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "{target}");
    }
}

/// Adds a user, and returns what the page says.
async fn add(site: &Site, root: &Browser, name: &str) -> Page {
    let page = site.get("/admin", root).await;
    let once = page.field_of("/admin/users", "once");
    let fields = [("name", name), ("once", &*once)];
    site.post("/admin/users", root, &fields).await
}

#[tokio::test]
async fn nobody_gets_a_name_that_is_taken_for_somebody_elses() {
    let site = Site::new().await;
    let root = site.person("root", true).await;
    let bob = site.person("BOB", false).await;
    for name in ["ВОВ", "B0B", "вов"] {
        let looks_alike = name != "вов";
        let page = add(&site, &root, name).await;
        assert_eq!(page.status == StatusCode::CONFLICT, looks_alike, "{name}");
        let says = page.body.contains("looks like the name of another user");
        assert_eq!(says, looks_alike, "{name}: {}", page.body);
    }
    for name in ["rооt", "Вob", "ѕystem"] {
        let page = add(&site, &root, name).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{name}");
        assert!(page.body.contains("mixes letters"), "{name}: {}", page.body);
    }
    assert_eq!(
        add(&site, &root, "ѕуѕтеm").await.status,
        StatusCode::BAD_REQUEST
    );
    let eve = site.person("eve", false).await;
    for (name, status) in [
        ("ВОВ", StatusCode::CONFLICT),
        ("rооt", StatusCode::BAD_REQUEST),
        ("Eve", StatusCode::SEE_OTHER),
        ("3ve", StatusCode::SEE_OTHER),
    ] {
        let page = site.post("/settings/name", &eve, &[("name", name)]).await;
        assert_eq!(page.status, status, "{name}: {}", page.body);
    }
    // What there is already goes on, and may be sent again.
    site.execute("UPDATE users SET name = 'Вob' WHERE name = 'BOB'")
        .await;
    let same = site.post("/settings/name", &bob, &[("name", "Вob")]).await;
    assert_eq!(same.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_workspace_gets_no_word_of_two_scripts() {
    let site = Site::new().await;
    let ada = site.person("ada", false).await;
    let old = site.workspace("old", &[(&ada, Role::Owner)]).await;
    let once = site.get("/", &ada).await.field("once");
    let create = async |name: &str| {
        let fields = [("name", name), ("once", &*once)];
        site.post("/", &ada, &fields).await
    };
    assert_eq!(create("Shоp").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(create("Shop Москва").await.status, StatusCode::OK);
    let settings = format!("/w/{}/settings", old.id);
    let rename = async |name: &str| {
        let fields = [("name", name), ("description", "x"), ("protocol", "dual")];
        site.post(&settings, &ada, &fields).await.status
    };
    assert_eq!(rename("оld").await, StatusCode::BAD_REQUEST);
    site.execute("UPDATE workspaces SET name = 'оld' WHERE name = 'old'")
        .await;
    assert_eq!(rename("оld").await, StatusCode::SEE_OTHER);
}
