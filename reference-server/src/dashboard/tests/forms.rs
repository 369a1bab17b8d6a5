//! What other sites can make a browser do here: nothing. And what a GET changes: nothing.

use http::{Method, StatusCode};

use super::site::{Browser, Site, Workspace};
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
