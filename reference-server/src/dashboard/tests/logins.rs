//! What a login is, where it comes from, and how it ends.

use http::{Method, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};

use super::site::{Page, Site};
use crate::{
    error::AppError,
    people::{Role, links, setup, users},
    time,
};

const PASSWORD: &str = "four words are enough";

async fn log_in(site: &Site, name: &str, password: &str, next: &str) -> Page {
    let fields = [("name", name), ("password", password), ("next", next)];
    let ask = site.ask(Method::POST, "/login").form(&fields);
    ask.header("sec-fetch-site", "same-origin").send().await
}

/// Makes the first account through the setup link, and returns the answer.
async fn claim(site: &Site, link: &str) -> Page {
    let fields = [("link", link), ("name", "ada"), ("password", PASSWORD)];
    let ask = site.ask(Method::POST, "/setup").form(&fields);
    ask.header("sec-fetch-site", "same-origin").send().await
}

async fn setup_link(site: &Site) -> String {
    let link = setup::link(&site.app).await.unwrap().unwrap();
    link.expose_secret().to_owned()
}

fn cookie_of(page: &Page) -> String {
    let cookie = page.header("set-cookie").split(';').next().unwrap();
    cookie.split_once('=').unwrap().1.to_owned()
}

async fn is_in(site: &Site, cookie: &str) -> bool {
    let page = site
        .ask(Method::GET, "/settings")
        .cookie(cookie)
        .send()
        .await;
    page.status == StatusCode::OK
}

#[tokio::test]
async fn the_setup_link_works_once_and_for_one_of_two_at_once() {
    let site = Site::new().await;
    let link = setup_link(&site).await;
    let (one, two) = tokio::join!(claim(&site, &link), claim(&site, &link));
    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [303, 404]);
    assert_eq!(claim(&site, &link).await.status, StatusCode::NOT_FOUND);
    let count = |transaction: &crate::db::Transaction<'_>| users::list(transaction);
    assert_eq!(site.write(count).await.len(), 1);
}

#[tokio::test]
async fn a_setup_link_that_is_wrong_or_too_old_makes_no_account() {
    let site = Site::new().await;
    let link = setup_link(&site).await;
    let other = if link.ends_with('A') { 'E' } else { 'A' };
    let wrong = format!("{}{other}", &link[..link.len() - 1]);
    for wrong in [wrong.as_str(), "", "#", "setup"] {
        assert_eq!(
            claim(&site, wrong).await.status,
            StatusCode::NOT_FOUND,
            "{wrong}"
        );
    }
    // Over, or made by a clock that was a day ahead.
    for by in ["- 3600000", "+ 90000000"] {
        site.execute(format!("UPDATE links SET expires_at = expires_at {by}"))
            .await;
        assert_eq!(claim(&site, &link).await.status, StatusCode::NOT_FOUND);
    }
    let is_any = |transaction: &crate::db::Transaction<'_>| users::any(transaction);
    assert!(!site.write(is_any).await);
}

#[tokio::test]
async fn a_link_of_one_purpose_is_none_of_the_other() {
    let site = Site::new().await;
    let link = setup_link(&site).await;
    let secret = link.split_once('#').unwrap().1;
    let fields = [("link", secret), ("password", PASSWORD)];
    let join = site.ask(Method::POST, "/join").form(&fields);
    let page = join.header("sec-fetch-site", "same-origin").send().await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    let eve = site.person("eve", false).await;
    let made = move |transaction: &crate::db::Transaction<'_>| {
        Ok::<SecretString, AppError>(links::make_password(transaction, &eve.id, time::now())?)
    };
    let link = site.write(made).await;
    assert_eq!(
        claim(&site, link.expose_secret()).await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn a_cookie_is_for_scripts_and_other_sites_and_plain_text_unreachable() {
    let site = Site::new().await;
    let claimed = claim(&site, &setup_link(&site).await).await;
    let attributes = "; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax";
    let expected = format!("wst={}{attributes}", cookie_of(&claimed));
    assert_eq!(claimed.header("set-cookie"), expected);

    let site = Site::behind_tls().await;
    let claimed = claim(&site, &setup_link(&site).await).await;
    let expected = format!("__Host-wst={}{attributes}; Secure", cookie_of(&claimed));
    assert_eq!(claimed.header("set-cookie"), expected);
    assert!(is_in(&site, &cookie_of(&claimed)).await);
    let plain = format!("wst={}", cookie_of(&claimed));
    let page = site
        .ask(Method::GET, "/settings")
        .header("cookie", &plain)
        .send()
        .await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_session_that_somebody_else_chose_is_never_taken() {
    let site = Site::new().await;
    claim(&site, &setup_link(&site).await).await;
    let chosen = "A".repeat(43);
    let fields = [("name", "ada"), ("password", PASSWORD)];
    let ask = site
        .ask(Method::POST, "/login")
        .form(&fields)
        .cookie(&chosen);
    let page = ask.header("sec-fetch-site", "same-origin").send().await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    let own = cookie_of(&page);
    assert!(own != chosen && own.len() == 43);
    assert!(!is_in(&site, &chosen).await);
    assert!(is_in(&site, &own).await);
    // Of two cookies neither is taken: one of them is not the browser's own.
    for [first, second] in [[&chosen, &own], [&own, &chosen]] {
        let both = format!("wst={first}; wst={second}");
        let ask = site.ask(Method::GET, "/settings").header("cookie", &both);
        assert_eq!(ask.send().await.status, StatusCode::SEE_OTHER);
    }
    let again = log_in(&site, "ada", PASSWORD, "").await;
    assert_ne!(cookie_of(&again), own);
}

#[tokio::test]
async fn logging_out_ends_the_login_on_the_server() {
    let site = Site::new().await;
    let ada = site.person("ada", false).await;
    let other = site.login(&ada.id).await;
    let page = site.post("/logout", &ada, &[]).await;
    assert!(
        page.header("set-cookie")
            .starts_with("wst=; Path=/; Max-Age=0;")
    );
    assert!(!is_in(&site, &ada.cookie).await);
    assert!(is_in(&site, &other).await);
}

#[tokio::test]
async fn a_login_ends_after_a_week_unused_and_after_thirty_days_whatever_it_was_used_for() {
    for (sql, holds) in [
        (
            "UPDATE logins SET last_seen_at = last_seen_at - 518400000",
            true,
        ),
        (
            "UPDATE logins SET last_seen_at = last_seen_at - 604800000",
            false,
        ),
        (
            "UPDATE logins SET created_at = created_at - 2505600000",
            true,
        ),
        (
            "UPDATE logins SET created_at = created_at - 2592000000",
            false,
        ),
        // By a clock that is set back a little, and by one that was a day ahead when it began.
        ("UPDATE logins SET created_at = created_at + 30000", true),
        (
            "UPDATE logins SET created_at = created_at + 86400000",
            false,
        ),
    ] {
        let site = Site::new().await;
        let ada = site.person("ada", false).await;
        site.execute(sql).await;
        assert_eq!(is_in(&site, &ada.cookie).await, holds, "{sql}");
        // Its use moves the end of a login that is over no more.
        assert_eq!(is_in(&site, &ada.cookie).await, holds, "{sql}");
    }
}

#[tokio::test]
async fn guessing_is_stopped_with_a_sentence_and_the_right_password_waits_too() {
    let site = Site::new().await;
    claim(&site, &setup_link(&site).await).await;
    let mut statuses = Vec::new();
    for _ in 0..11 {
        statuses.push(
            log_in(&site, "ada", "a wrong password", "")
                .await
                .status
                .as_u16(),
        );
    }
    assert_eq!(statuses, [[401; 10].as_slice(), &[429]].concat());
    let page = log_in(&site, "ADA", PASSWORD, "").await;
    assert_eq!(page.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(
        page.body.contains("Too many attempts: try again in "),
        "{}",
        page.body
    );
    assert!(page.headers.get("set-cookie").is_none());
}

#[tokio::test]
async fn a_wrong_password_and_a_wrong_name_get_the_same_answer() {
    let site = Site::new().await;
    claim(&site, &setup_link(&site).await).await;
    let wrong = log_in(&site, "ada", "a wrong password", "").await;
    let nobody = log_in(&site, "bob", "a wrong password", "").await;
    assert_eq!(wrong.status, nobody.status);
    assert_eq!(wrong.body.replace("ada", "bob"), nobody.body);
}

#[tokio::test]
async fn a_login_leads_to_no_other_site() {
    let site = Site::new().await;
    claim(&site, &setup_link(&site).await).await;
    for (next, expected) in [
        ("/settings?x=1", "/settings?x=1"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("/\\evil.example/", "/"),
        ("javascript:alert(1)", "/"),
    ] {
        let page = log_in(&site, "ada", PASSWORD, next).await;
        assert_eq!(page.header("location"), expected, "{next}");
    }
}

/// A hole of the product that this one replaces.
#[tokio::test]
async fn a_workspace_token_is_no_dashboard_cookie() {
    for site in [Site::new().await, Site::behind_tls().await] {
        let ada = site.person("ada", false).await;
        let acme = site.workspace("acme", &[(&ada, Role::Owner)]).await;
        let token = acme.secret.expose_secret();
        let bearer = format!("Bearer {token}");
        let in_query = format!("/settings?token={token}");
        for ask in [
            site.ask(Method::GET, "/settings").cookie(token),
            site.ask(Method::GET, "/settings")
                .header("authorization", &bearer),
            site.ask(Method::GET, &in_query),
        ] {
            let page = ask.send().await;
            assert_eq!(page.status, StatusCode::SEE_OTHER);
            assert!(!page.header("location").contains(token));
        }
    }
}

/// A hole of the product that this one replaces.
#[tokio::test]
async fn an_oauth_state_is_no_login() {
    let site = Site::new().await;
    let ada = site.person("ada", false).await;
    for target in [
        format!("/login?state={}&code=x", ada.cookie),
        format!("/oauth/callback?state={}&code=x", ada.cookie),
        format!("/settings?state={}", ada.cookie),
    ] {
        let page = site.ask(Method::GET, &target).send().await;
        assert!(page.headers.get("set-cookie").is_none(), "{target}");
        assert!(!page.body.contains("Your settings"), "{target}");
    }
}
