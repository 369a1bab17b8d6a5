//! What other sites can make a browser do here: nothing. And what a GET changes: nothing.

use http::{Method, StatusCode};

use super::site::{Browser, Page, Site, Workspace};
use crate::people::Role;

/// All forms that the pages have.
fn posts(acme: &Workspace) -> Vec<String> {
    let of_workspace = [
        "members",
        "members/remove",
        "tokens",
        "tokens/primary/regenerate",
        "tokens/primary/replace",
        "tokens/primary/revoke",
        "connect",
        "connections/x/end",
        "approvals/x",
        "rules/x/remove",
        "board",
        "tasks/x/reply",
        "tasks/x/status",
        "tasks/x/assign",
        "tasks/x/edit",
        "tasks/x/move",
        "settings",
        "archive",
        "unarchive",
        "delete",
        "transfer",
        "transfer/accept",
        "transfer/cancel",
    ];
    let of_workspace = of_workspace.map(|path| {
        format!("/w/{}/{path}", acme.id)
            .trim_end_matches('/')
            .to_owned()
    });
    let others = [
        "/",
        "/login",
        "/logout",
        "/setup",
        "/join",
        "/join/whose",
        "/settings/name",
        "/settings/password",
        "/settings/logins/others/end",
        "/admin/users",
        "/admin/users/x",
        "/admin/users/x/link",
        "/admin/backup",
        "/admin/keys/rotate",
        "/admin/keys/rewrap",
        "/admin/keys/x/retire",
        "/api/v1/workspaces",
        "/api/v1/users",
        "/api/v1/me",
    ];
    of_workspace
        .into_iter()
        .chain(others.map(str::to_owned))
        .collect()
}

/// All pages that show something.
fn pages(acme: &Workspace) -> Vec<String> {
    let of_workspace = [
        "",
        "needs-count",
        "board",
        "tokens",
        "tokens/primary",
        "tokens/primary/regenerate",
        "tokens/primary/revoke",
        "connect",
        "connections",
        "members",
        "settings",
        "audit",
        "audit/export",
        "no-such-page",
    ];
    let of_workspace = of_workspace.map(|path| {
        format!("/w/{}/{path}", acme.id)
            .trim_end_matches('/')
            .to_owned()
    });
    let others = [
        "/",
        "/login",
        "/setup",
        "/join",
        "/settings",
        "/admin",
        "/admin/audit",
    ];
    of_workspace
        .into_iter()
        .chain(others.map(str::to_owned))
        .collect()
}

async fn acme(site: &Site) -> (Browser, Workspace) {
    let ada = site.person("ada", true).await;
    let acme = site.workspace("acme", &[(&ada, Role::Owner)]).await;
    (ada, acme)
}

#[tokio::test]
async fn no_form_of_another_site_is_taken() {
    let site = Site::new().await;
    let (ada, acme) = acme(&site).await;
    for target in posts(&acme) {
        for headers in [
            &[("sec-fetch-site", "cross-site")][..],
            &[("sec-fetch-site", "same-site")],
            &[("origin", "https://evil.example")],
            &[("origin", "http://127.0.0.1:9999")],
            &[("origin", "null")],
            &[
                ("sec-fetch-site", "cross-site"),
                ("origin", "http://127.0.0.1:8080"),
            ],
        ] {
            let mut ask = site.ask(Method::POST, &target).of(&ada).form(&[]);
            for (name, value) in headers {
                ask = ask.header(name, value);
            }
            let page = ask.send().await;
            assert_eq!(page.status, StatusCode::FORBIDDEN, "{target} {headers:?}");
        }
    }
    assert_eq!(site.get("/settings", &ada).await.status, StatusCode::OK);
}

#[tokio::test]
async fn forms_of_our_own_are_taken() {
    let site = Site::new().await;
    let (ada, _) = acme(&site).await;
    for (name, value) in [
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-site", "none"),
        ("origin", "http://127.0.0.1:8080"),
    ] {
        let ask = site
            .ask(Method::POST, "/settings/name")
            .of(&ada)
            .form(&[("name", "ada")]);
        let page = ask.header(name, value).send().await;
        assert_eq!(
            page.header("location"),
            "/settings?done=name",
            "{name}: {value}"
        );
    }
}

/// A hole of the product that this one replaces.
#[tokio::test]
async fn no_get_mints_a_credential_or_changes_anything() {
    let site = Site::new().await;
    let (ada, acme) = acme(&site).await;
    let rows = async || {
        site.write(|transaction| {
            let count = |table: &str| {
                let sql = format!("SELECT COUNT(*) FROM {table}");
                transaction
                    .query_row(&sql, [], |row| row.get::<_, i64>(0))
                    .map_err(anyhow::Error::from)
            };
            [
                "workspaces",
                "users",
                "logins",
                "links",
                "members",
                "audit",
                "sightings",
            ]
            .map(count)
            .into_iter()
            .collect::<anyhow::Result<Vec<_>>>()
        })
        .await
    };
    let tokens = async || {
        let id = acme.id.parse().unwrap();
        let tokens = site.app.authority().list(&id).await.unwrap();
        tokens
            .iter()
            .map(|token| token.generation.number())
            .collect::<Vec<_>>()
    };
    let before = (rows().await, tokens().await);
    let of_api = [
        "tokens",
        "tokens/primary/rotate",
        "tokens/primary/revoke",
        "archive",
    ];
    let of_api = of_api.map(|path| format!("/api/v1/workspaces/{}/{path}", acme.id));
    let others = ["/api/v1/setup-link", "/api/v1/users/ada/link"].map(str::to_owned);
    for target in posts(&acme).into_iter().chain(of_api).chain(others) {
        let page = site.get(&target, &ada).await;
        assert!(!page.status.is_server_error(), "{target}");
        assert!(page.headers.get("set-cookie").is_none(), "{target}");
        assert!(!page.body.contains("eyJ"), "{target}");
    }
    assert_eq!((rows().await, tokens().await), before);
}

#[tokio::test]
async fn every_page_is_kept_by_no_cache_and_shown_in_no_frame() {
    let site = Site::new().await;
    let (ada, acme) = acme(&site).await;
    for target in pages(&acme) {
        for page in [
            site.get(&target, &ada).await,
            site.ask(Method::GET, &target).send().await,
        ] {
            assert_eq!(page.header("cache-control"), "no-store", "{target}");
            if target.ends_with("no-such-page") {
                continue;
            }
            let csp = page.header("content-security-policy");
            assert!(csp.contains("frame-ancestors 'none'"), "{target}: {csp}");
            assert!(
                csp.starts_with("default-src 'none'; script-src 'self'"),
                "{csp}"
            );
            assert_eq!(page.header("x-frame-options"), "DENY", "{target}");
            assert_eq!(page.header("x-content-type-options"), "nosniff", "{target}");
            assert!(!page.body.contains(" style=") && !page.body.contains("<script>"));
        }
    }
}

#[tokio::test]
async fn of_two_who_regenerate_the_token_they_look_at_one_does() {
    let site = Site::new().await;
    let ada = site.person("ada", false).await;
    let acme = site.workspace("acme", &[(&ada, Role::Owner)]).await;
    let rotate = async |generation: u64| {
        let target = format!("/api/v1/workspaces/{}/tokens/primary/rotate", acme.id);
        let body = serde_json::json!({"generation": generation});
        let ask = site.ask(Method::POST, &target).of(&ada).json(&body);
        ask.send().await.status
    };
    let (one, other) = tokio::join!(rotate(1), rotate(1));
    let mut statuses = [one, other];
    statuses.sort();
    assert_eq!(statuses, [StatusCode::OK, StatusCode::CONFLICT]);
    assert_eq!(rotate(0).await, StatusCode::CONFLICT);
    assert_eq!(rotate(2).await, StatusCode::OK);
}

/// What axum itself refuses is told in the words of whoever asks: pages to people, JSON to programs.
#[tokio::test]
async fn what_cannot_be_read_is_refused_in_the_words_of_its_face() {
    let site = Site::new().await;
    let (ada, acme) = acme(&site).await;
    let takes_nothing = [
        "/end",
        "/archive",
        "/unarchive",
        "/cancel",
        "/logout",
        "/rotate",
        "/rewrap",
        "/retire",
        "/remove",
        "/backup",
        "/offer",
    ];
    let not_text = "name=%ff&once=%ff";
    let not_a_form = "no form";
    let mut refused = 0;
    for target in posts(&acme) {
        let is_read = target.ends_with("/members/remove")
            || !takes_nothing.iter().any(|end| target.ends_with(end));
        if !is_read {
            continue;
        }
        for (media_type, body) in [
            ("text/plain", not_a_form),
            ("application/json", not_a_form),
            ("application/x-www-form-urlencoded", not_text),
            ("multipart/form-data; boundary=x", not_a_form),
            ("multipart/form-data", not_a_form),
        ] {
            let ask = site.ask(Method::POST, &target).of(&ada);
            let ask = ask.header("sec-fetch-site", "same-origin");
            let ask = ask.header("content-type", media_type).text(body);
            assert_refused_as_its_face_does(&target, &ask.send().await);
            refused += 1;
        }
    }
    assert!(refused > 100, "{refused}");

    let too_long = "x".repeat(9 * 1024 * 1024);
    let reply = format!("/w/{}/tasks/aaaaaaaaaaa/reply", acme.id);
    for (target, media_type) in [
        ("/settings/name", "application/x-www-form-urlencoded"),
        (&*reply, "multipart/form-data; boundary=x"),
        ("/login", "application/x-www-form-urlencoded"),
        ("/api/v1/me", "application/json"),
    ] {
        let ask = site.ask(Method::POST, target).of(&ada);
        let ask = ask.header("sec-fetch-site", "same-origin");
        let head = "--x\r\ncontent-disposition: form-data; name=\"text\"\r\n\r\n";
        let body = format!("{head}{too_long}");
        let ask = ask.header("content-type", media_type).text(&body);
        let page = ask.send().await;
        assert_eq!(page.status, StatusCode::PAYLOAD_TOO_LARGE, "{target}");
        assert_refused_as_its_face_does(target, &page);
    }
    for target in [
        "/w/%ff",
        "/w/%ff/tokens",
        "/w/%ff/tasks/%fe",
        "/admin/audit?before=noon",
        "/admin/audit/export?format=pdf",
        "/live?notify=perhaps",
        "/?done=%ff&done=2",
        "/api/v1/workspaces/%ff",
        "/api/v1/audit?before=noon",
        "/api/v1/audit?nothing=known",
    ] {
        assert_refused_as_its_face_does(target, &site.get(target, &ada).await);
    }
}

fn assert_refused_as_its_face_does(target: &str, page: &Page) {
    assert!(page.status.is_client_error(), "{target}: {}", page.status);
    if target.starts_with("/api/") {
        let body: serde_json::Value = serde_json::from_str(&page.body).expect(target);
        assert!(body["error"]["message"].is_string(), "{target}: {body}");
        assert!(body["error"]["code"].is_string(), "{target}: {body}");
        return;
    }
    let media_type = page.header("content-type");
    assert_eq!(media_type, "text/html; charset=utf-8", "{target}");
    assert!(page.body.contains("To the workspaces"), "{target}");
    // The names of fields are nobody's business who did not get them from a page.
    assert!(!page.body.contains("deserialize"), "{target}");
}
