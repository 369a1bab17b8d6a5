//! The pages about tokens.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::site::{Browser, Page, Site, Workspace};
use crate::{people::Role, time};

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
                 SELECT id, 'primary', ?1, ?2, 'python-httpx', '0.27', ?3, 1, ?4
                 FROM workspaces WHERE true
                 ON CONFLICT (workspace, slot, generation, address, agent, version)
                 DO UPDATE SET times = ?3",
                crate::db::params![generation as i64, address, times, time::now()],
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
    let replace = format!("{path}/replace");
    let once = form.field_of(&replace, "once");
    let fields = [("once", &*once)];
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

/// Uses of the token by a client that was always there, and by one that is new.
async fn use_it(site: &Site) {
    let now = time::now();
    site.execute(format!(
        "INSERT INTO token_clients
             (workspace, slot, client, address, agent, version, generation, first_at, last_at)
         SELECT id, 'primary', column1, column2, '', '1', 2, column3, {now}
         FROM workspaces, (VALUES ('always', '10.0.0.1', 1),
             ('stranger', '10.0.0.2', {now}), ('stranger', '10.0.0.3', {now})) AS clients",
    ))
    .await;
}

#[tokio::test]
async fn a_reminder_of_a_new_client_is_gone_when_an_owner_knows_it() {
    let (site, shop, ada, _) = regenerated().await;
    use_it(&site).await;
    let tokens = format!("/w/{}/tokens", shop.id);
    let page = site.get(&tokens, &ada).await.body;
    assert_eq!(
        page.matches("That was us").count(),
        2,
        "one a client and place: {page}"
    );
    assert!(page.contains(">Regenerate primary</a>"), "{page}");
    assert!(!page.contains("Do it"));
    let confirm = format!("{tokens}/primary/clients/confirm");
    let fields = [("client_name", "stranger"), ("address", "10.0.0.2")];
    let answer = site.post(&confirm, &ada, &fields).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
    let page = site.get(answer.header("location"), &ada).await.body;
    assert!(page.contains("you are not reminded of that client again"));
    assert!(!page.contains("stranger 1 at 10.0.0.2"), "{page}");
    assert!(page.contains("stranger 1 at 10.0.0.3"), "{page}");
    let audit = site.get(&format!("/w/{}/audit", shop.id), &ada).await.body;
    assert!(audit.contains("token.confirm_client"), "{audit}");
    assert!(audit.contains("stranger at 10.0.0.2"), "{audit}");
    for (address, status) in [("10.0.0.9", 404), ("somewhere", 400)] {
        let fields = [("client_name", "stranger"), ("address", address)];
        let answer = site.post(&confirm, &ada, &fields).await;
        assert_eq!(answer.status, status, "{address}");
    }
}

#[tokio::test]
async fn a_trail_that_was_seen_is_hidden_until_the_token_is_tried_again() {
    let (site, shop, ada, _) = regenerated().await;
    refuse(&site, 1, "10.0.0.5", 3).await;
    let tokens = format!("/w/{}/tokens", shop.id);
    let words = |times| format!("old token tried {times} times from 10.0.0.5");
    let shows = async |target: &str, times: i64| {
        let page = site.get(target, &ada).await.body;
        page.contains(&words(times))
    };
    assert!(shows(&tokens, 3).await);
    let hide = format!("{tokens}/primary/rejected/hide");
    let fields = |times| {
        [
            ("generation", "1"),
            ("address", "10.0.0.5"),
            ("agent", "python-httpx"),
            ("agent_version", "0.27"),
            ("times", times),
        ]
    };
    // It was tried once more while somebody read.
    let answer = site.post(&hide, &ada, &fields("2")).await;
    assert_eq!(answer.header("location"), tokens);
    assert!(shows(&tokens, 3).await);
    let answer = site.post(&hide, &ada, &fields("3")).await;
    assert_eq!(answer.header("location"), format!("{tokens}?done=hidden"));
    assert!(!shows(&tokens, 3).await);
    let one = format!("{tokens}/primary");
    assert!(shows(&one, 3).await, "what was tried is never forgotten");
    refuse(&site, 1, "10.0.0.5", 4).await;
    assert!(shows(&tokens, 4).await);
    let api = format!(
        "/api/v1/workspaces/{}/tokens/primary/rejected/hide",
        shop.id
    );
    let nothing = json!({"generation": 9, "agent": "", "agent_version": "", "times": 1});
    let ask = site.ask(Method::POST, &api).of(&ada).json(&nothing);
    let answer: Value = serde_json::from_str(&ask.send().await.body).unwrap();
    assert_eq!(answer["error"]["code"], "not_found");
}

#[tokio::test]
async fn pages_of_a_token_that_is_none_say_so() {
    let (site, shop, ada, _) = regenerated().await;
    let base = format!("/w/{}", shop.id);
    let once = site.get(&format!("{base}/tokens"), &ada).await;
    let once = once.field("once");
    let fields = [("name", "laptop"), ("once", &*once)];
    let answer = site.post(&format!("{base}/tokens"), &ada, &fields).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let one = format!("{base}/tokens/laptop");
    let fields = [("confirm", "laptop"), ("reason", "routine")];
    site.post(&format!("{one}/revoke"), &ada, &fields).await;

    let connect = |slot| format!("{base}/connect?slot={slot}");
    for (slot, words, again) in [
        (
            "laptop",
            "The token <code>laptop</code> was revoked",
            "slot=laptop",
        ),
        (
            "a%26b",
            "There is no token <code>a&#38;b</code>",
            "slot=a%26b",
        ),
    ] {
        let page = site.get(&connect(slot), &ada).await.body;
        assert!(page.contains(words), "{page}");
        assert!(page.contains("What follows is for <code>primary</code>"));
        // It is asked for again by the same name: the words do not go away by themselves.
        assert!(page.contains(&format!("/connect?{again}\"")), "{page}");
    }
    let page = site.get(&connect("primary"), &ada).await.body;
    assert!(!page.contains("What follows is for"), "{page}");

    for (page, form) in [
        ("regenerate", "name=\"reason\""),
        ("revoke", "name=\"confirm\""),
    ] {
        let dead = site.get(&format!("{one}/{page}"), &ada).await.body;
        assert!(dead.contains("laptop was revoked"), "{dead}");
        assert!(!dead.contains(form) && !dead.contains("Make a second token"));
        let live = site
            .get(&format!("{base}/tokens/primary/{page}"), &ada)
            .await;
        assert!(live.body.contains(form) && !live.body.contains("was revoked"));
    }
}

#[tokio::test]
async fn the_words_of_tokens_and_connections_are_explained_where_they_stand() {
    let (site, shop, ada, _) = regenerated().await;
    let base = format!("/w/{}", shop.id);
    for (page, words) in [
        ("tokens", &["Public id", "Generation", "Refused"][..]),
        ("tokens/primary", &["Public id", "Generation", "Refused"]),
        ("connections", &["Session", "No session", "Listens", "Idle"]),
    ] {
        let page = site.get(&format!("{base}/{page}"), &ada).await.body;
        let (_, explained) = page.split_once("What do these words mean?").unwrap();
        for word in words {
            assert!(explained.contains(&format!("<dt>{word}</dt>")), "{word}");
        }
    }
    let page = site.get(&format!("{base}/connections"), &ada).await.body;
    assert!(page.contains("(blue)") && page.contains("(red)"), "{page}");
}
