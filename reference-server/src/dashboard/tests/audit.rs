//! The audit pages, and what they are as files.

use http::StatusCode;

use super::site::Site;
use crate::people::Role;

async fn refuse_login(site: &Site, name: &str) {
    let ask = site.ask(http::Method::POST, "/login");
    let ask = ask.form(&[("name", name), ("password", "certainly not this")]);
    let page = ask.header("sec-fetch-site", "same-origin").send().await;
    assert_eq!(page.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn owners_see_what_was_done_in_their_workspace_and_nothing_of_others() {
    let site = Site::new().await;
    let (ada, eve) = (
        site.person("ada", false).await,
        site.person("eve", false).await,
    );
    let acme = site.workspace("acme", &[(&ada, Role::Owner)]).await;
    let other = site
        .workspace("other-workspace", &[(&eve, Role::Owner)])
        .await;
    let page = site.get(&format!("/w/{}/audit", acme.id), &ada).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.body.contains("workspace.create"), "{}", page.body);
    assert!(!page.body.contains("other-workspace"));
    for path in ["audit", "audit/export?format=csv"] {
        let page = site.get(&format!("/w/{}/{path}", other.id), &ada).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn filters_and_pages_lose_no_entry_and_repeat_none() {
    let site = Site::new().await;
    let ada = site.person("ada", true).await;
    let acme = site.workspace("acme", &[(&ada, Role::Owner)]).await;
    site.execute(
        "INSERT INTO audit (at, workspace, actor, action, subject)
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 120)
         SELECT i, (SELECT id FROM workspaces), 'grace', 'task.edit', 'number-' || i || '.' FROM n",
    )
    .await;
    let mut target = format!("/w/{}/audit?area=task&actor=Grace", acme.id);
    let mut seen = Vec::new();
    for is_last in [false, false, true] {
        let page = site.get(&target, &ada).await;
        assert!(!page.body.contains("workspace.create"));
        let pieces = page.body.split("number-").skip(1);
        seen.extend(pieces.map(|piece| piece.split_once('.').unwrap().0.parse::<u32>().unwrap()));
        let older = page.body.split("&amp;before=").nth(1);
        assert_eq!(older.is_none(), is_last);
        if let Some(older) = older {
            let before = older.split_once('"').unwrap().0;
            target = format!("/w/{}/audit?area=task&actor=grace&before={before}", acme.id);
        }
    }
    assert_eq!(seen, (1..=120).rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn exports_are_files_that_no_cache_keeps_and_no_spreadsheet_runs() {
    let site = Site::new().await;
    let ada = site.person("ada", false).await;
    let acme = site.workspace("acme", &[(&ada, Role::Owner)]).await;
    site.execute(
        "INSERT INTO audit (at, workspace, actor, action, detail)
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)
         SELECT i, (SELECT id FROM workspaces), 'ada', 'token.rotate', '=HYPERLINK(1)' FROM n",
    )
    .await;
    for (format, media_type, head) in [
        ("csv", "text/csv; charset=utf-8; header=present", 1),
        ("jsonl", "application/x-ndjson", 0),
    ] {
        let target = format!("/w/{}/audit/export?area=token&format={format}", acme.id);
        let file = site.get(&target, &ada).await;
        assert_eq!(file.header("content-type"), media_type);
        assert_eq!(file.header("cache-control"), "no-store");
        let expected = format!("attachment; filename=\"audit-{}.{format}\"", acme.id);
        assert_eq!(file.header("content-disposition"), expected);
        assert_eq!(file.body.lines().count(), 2500 + head);
        assert!(!file.body.contains(",=") && !file.body.contains(",\"="));
    }
}

#[tokio::test]
async fn refused_logins_are_kept_without_the_name_of_nobody_and_not_each() {
    let site = Site::new().await;
    let (ada, root) = (
        site.person("ada", false).await,
        site.person("root", true).await,
    );
    let acme = site.workspace("acme", &[(&ada, Role::Owner)]).await;
    for _ in 0..4 {
        refuse_login(&site, "ada").await;
    }
    refuse_login(&site, "hunter2 typed into the wrong field").await;
    // They are kept beside the answer, whose time must not tell which names there are.
    let mut all = String::new();
    for _ in 0..200 {
        all = site.get("/admin/audit?area=account", &root).await.body;
        if all.matches("<code>account.refused</code>").count() == 3 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(
        all.matches("<code>account.refused</code>").count(),
        3,
        "{all}"
    );
    assert!(all.contains("wrong password: 3 attempts from there"));
    assert!(all.contains("no such account") && !all.contains("hunter2"));
    let own = site
        .get(&format!("/w/{}/audit?actor=stranger", acme.id), &ada)
        .await
        .body;
    assert_eq!(
        own.matches("<code>account.refused</code>").count(),
        2,
        "{own}"
    );
}

#[tokio::test]
async fn the_logins_of_members_are_their_workspaces_from_when_they_are_members() {
    let site = Site::new().await;
    let (ada, eve) = (
        site.person("ada", false).await,
        site.person("eve", false).await,
    );
    let acme = site.workspace("acme", &[(&ada, Role::Owner)]).await;
    site.workspace("other", &[(&eve, Role::Owner)]).await;
    site.execute(
        "INSERT INTO audit (at, user, actor, action, detail, address)
         SELECT at, id, name, 'account.login', name || when_, '203.0.113.7' FROM users,
           (SELECT 1 AS at, '-before' AS when_ UNION ALL SELECT 99999999999999, '-after') AS times",
    )
    .await;
    let page = site.get(&format!("/w/{}/audit", acme.id), &ada).await.body;
    assert!(page.contains("ada-after"), "{page}");
    assert!(!page.contains("ada-before") && !page.contains("eve-"));
    // Where somebody logged in from is the operator's to know, and of every workspace they are in.
    let operator = site.person("operator", true).await;
    for (target, shows_address) in [
        (format!("/w/{}/audit", acme.id), false),
        (format!("/w/{}/audit/export?format=csv", acme.id), false),
        (format!("/api/v1/workspaces/{}/audit", acme.id), false),
        ("/admin/audit".to_owned(), true),
    ] {
        let page = site.get(&target, &operator).await;
        assert_eq!(page.status, StatusCode::OK, "{target}");
        assert!(page.body.contains("ada-after"), "{target}");
        assert_eq!(page.body.contains("203.0.113.7"), shows_address, "{target}");
    }
}
