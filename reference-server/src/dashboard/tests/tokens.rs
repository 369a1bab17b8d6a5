//! The pages about tokens.

use http::StatusCode;

use super::site::{Browser, Page, Site, Workspace};
use crate::people::Role;

/// A workspace with a token that was regenerated once, and its owner.
async fn regenerated() -> (Site, Workspace, Browser, Page) {
    let site = Site::new().await;
    let ada = site.person("ada", false).await;
    let shop = site.workspace("shop", &[(&ada, Role::Owner)]).await;
    let path = format!("/w/{}/tokens/primary/regenerate", shop.id);
    let form = site.get(&path, &ada).await;
    let fields = [
        ("once", &*form.field("once")),
        ("generation", "1"),
        ("reason", "routine"),
    ];
    let card = site.post(&path, &ada, &fields).await;
    assert_eq!(card.status, StatusCode::OK, "{}", card.body);
    (site, shop, ada, card)
}

/// Uses of a token that were refused.
async fn refuse(site: &Site, generation: u64, address: &'static str, times: i64) {
    site.write(move |transaction| {
        transaction
            .execute(
                "INSERT INTO token_rejections
                     (workspace, slot, generation, address, agent, version, times, first_at, last_at)
                 SELECT id, 'primary', ?1, ?2, 'python-httpx', '0.27', ?3, 1, unixepoch() * 1000
                 FROM workspaces WHERE true
                 ON CONFLICT DO UPDATE SET times = ?3",
                rusqlite::params![generation as i64, address, times],
            )
            .map_err(anyhow::Error::from)
    })
    .await;
}

#[tokio::test]
async fn the_card_of_a_new_token_shows_who_still_tries_the_old_one() {
    let (site, shop, ada, card) = regenerated().await;
    let back = format!("/w/{}/tokens/primary/back?generation=2", shop.id);
    assert!(
        card.body.contains(&format!("hx-get=\"{back}\"")),
        "{}",
        card.body
    );
    assert!(card.body.contains("Nobody since it was replaced"));
    refuse(&site, 1, "10.0.0.5", 3).await;
    refuse(&site, 7, "10.0.0.6", 1).await;
    let part = site.get(&back, &ada).await;
    let words = "old token tried 3 times from 10.0.0.5, python-httpx 0.27";
    assert!(part.body.contains(words), "{}", part.body);
    assert!(!part.body.contains("10.0.0.6"), "of that generation alone");
    assert!(!part.body.contains("Nobody since"), "{}", part.body);
}

#[tokio::test]
async fn replacing_says_its_cost_before_the_click_and_after_it() {
    let (site, shop, ada, _) = regenerated().await;
    let path = format!("/w/{}/tokens/primary", shop.id);
    let form = site.get(&format!("{path}/regenerate"), &ada).await;
    for words in [
        "<code>primary-2</code>",
        "<code>WORKSPACE_TOKEN_SHOP_PRIMARY_2</code> instead of <code>WORKSPACE_TOKEN_SHOP</code>",
        "committed <code>.mcp.json</code>",
    ] {
        assert!(form.body.contains(words), "{words}: {}", form.body);
    }
    let once = form.field("once");
    let (replace, fields) = (format!("{path}/replace"), [("once", &*once)]);
    let card = site.post(&replace, &ada, &fields).await.body;
    assert!(
        card.contains("export WORKSPACE_TOKEN_SHOP_PRIMARY_2="),
        "as it was said"
    );
    assert!(card.contains("put the new token into <code>WORKSPACE_TOKEN_SHOP</code> instead"));
    // The next one would be another.
    let form = site.get(&format!("{path}/regenerate"), &ada).await;
    assert!(form.body.contains("<code>primary-3</code>"));
}
