//! The rules of tokens, storage and revocation: a named test for each that the table alone cannot prove.

use std::{sync::Arc, time::Duration};

use tower_workspace_token::{
    Keys, TokenAuthority,
    cipher::{Aes256Gcm, Cipher as _, KeyRing, SealContext, SealKey},
    clock::{Clock as _, Timestamp},
    jwt::SigningKey,
    rejection::{Rejection, RejectionKind, TokenProblem},
    store::{Freshness, TokenStore as _},
    token::PresentedToken,
};

use crate::common::{
    JTI, NOW, SIGNING, TARGET, World, acme, bearer, get, keys,
    oracle::{self, WORKSPACE, claims, encode, header, mac_key, sign},
    primary,
    send::oneshot,
    slot,
};

const LEASE: Duration = Duration::from_millis(20);

async fn verify(authority: &TokenAuthority, token: &str) -> Result<(), Rejection> {
    let presented = PresentedToken::new(token.as_bytes());
    authority.verify(&acme(), presented).await.map(drop)
}

async fn problem(authority: &TokenAuthority, token: &str) -> TokenProblem {
    match verify(authority, token).await.unwrap_err().kind() {
        RejectionKind::InvalidToken(problem) => *problem,
        other => panic!("turned away for another reason: {other:?}"),
    }
}

/// Rule 1. The oracle derives everything from the documented labels, so a changed label is seen here.
#[tokio::test]
async fn an_independent_mint_makes_the_very_bytes_of_an_issued_token() {
    let world = World::new().await;
    let again = sign(WORKSPACE, header(WORKSPACE), oracle::payload(&world.token));
    assert_eq!(again, world.token);
}

/// Rule 2: no JSON and no MAC over what is too long. 64 checks of 16 MB each would take minutes.
#[tokio::test]
async fn a_token_beyond_4_kib_costs_nothing() {
    let world = World::new().await;
    let clock = tower_workspace_token::clock::SystemClock;
    let huge = format!("{}{}", world.token, "A".repeat(16 << 20));
    let started = clock.moment();
    for _ in 0..64 {
        assert_eq!(
            problem(&world.authority, &huge).await,
            TokenProblem::NotOurs
        );
    }
    let taken = clock.moment().saturating_since(started);
    assert!(taken < Duration::from_millis(200), "{taken:?}");
}

/// Rules 2 and 10: who has no right MAC never makes the store work, whatever the claims say.
#[tokio::test]
async fn the_store_is_not_asked_before_the_mac_is_right() {
    let world = World::new().await;
    let fresh = World::over(world.store.clone());
    let app = fresh.by_path();
    let before = world.store.reads();
    let (input, _) = world.token.rsplit_once('.').unwrap();
    let forged = [
        format!("{input}.{}", encode([0; 32])),
        oracle::sign_text(&[1; 32], encode(header(WORKSPACE)), encode(claims())),
        sign(WORKSPACE, header(WORKSPACE), r#"{"aud":"acme"}"#),
        String::from("x"),
    ];
    for token in &forged {
        assert_eq!(oneshot(&app, bearer(token.as_bytes())).await.status, 401);
    }
    assert_eq!(oneshot(&app, get(TARGET, &[])).await.status, 401);
    assert_eq!(world.store.reads(), before, "the store was asked");
    assert_eq!(
        oneshot(&app, bearer(world.token.as_bytes())).await.status,
        200
    );
    assert_eq!(world.store.reads(), before + 1, "the control asks it once");
}

/// Rule 2: a token of another workspace is refused before the store is asked about that workspace.
#[tokio::test]
async fn the_store_is_not_asked_about_a_foreign_workspace() {
    let world = World::new().await;
    let other = world.issue("other", "primary").await;
    let before = world.store.reads();
    assert_eq!(
        problem(&world.authority, &other).await,
        TokenProblem::WrongWorkspace
    );
    assert_eq!(world.store.reads(), before);
}

/// Rule 3: what the signing key signs is nothing, as long as the row does not hold it.
#[tokio::test]
async fn a_leaked_signing_key_alone_opens_nothing() {
    let world = World::new().await;
    let minted = sign(WORKSPACE, header(WORKSPACE), claims());
    assert_eq!(
        problem(&world.authority, &minted).await,
        TokenProblem::Unknown
    );
    // Not even with the right secret: the row holds every byte, and the time is one of them.
    let later = oracle::payload(&world.token).replace(&NOW.to_string(), &(NOW + 1).to_string());
    let minted = sign(WORKSPACE, header(WORKSPACE), later);
    assert_eq!(
        problem(&world.authority, &minted).await,
        TokenProblem::Unknown
    );
    let fresh = World::over(world.store.clone());
    assert_eq!(
        problem(&fresh.authority, &minted).await,
        TokenProblem::Unknown
    );
}

/// Rule 3: the comparison is of the whole token, not of how it begins.
#[tokio::test]
async fn a_row_that_seals_the_beginning_of_a_token_does_not_let_the_token_in() {
    let token = sign(WORKSPACE, header(WORKSPACE), claims());
    let world = World::planted(&token).await;
    verify(&world.authority, &token).await.unwrap();
    for cut in [0, 1, 100, token.len() - 1] {
        let world = World::planted(&token).await;
        let key = slot("acme", "primary");
        let row = world
            .seal_row(&key, 1, oracle::token_id(JTI), &token[..cut])
            .await;
        world.store.force(row);
        assert_eq!(
            problem(&world.authority, &token).await,
            TokenProblem::Unknown,
            "{cut}"
        );
    }
}

/// Rule 3: the database alone opens nothing, be it read or written: there is no seal key in it.
#[tokio::test]
async fn a_leaked_database_alone_opens_nothing() {
    let world = World::new().await;
    let row = world.row("acme", "primary").await;
    let thief = SealKey::generate().unwrap();
    let context = SealContext {
        key: row.key,
        token_id: row.token_id,
        generation: row.generation,
    };
    assert!(
        Aes256Gcm::new(KeyRing::new(thief.clone()))
            .open(&context, row.sealed.as_ref().unwrap())
            .await
            .is_err()
    );
    // A row of their own making, under a key of their own.
    let own = sign(WORKSPACE, header(WORKSPACE), claims());
    let mut forged = row;
    forged.token_id = oracle::token_id(JTI);
    let context = SealContext {
        token_id: forged.token_id,
        ..context
    };
    let sealed = Aes256Gcm::new(KeyRing::new(thief))
        .seal(&context, own.as_bytes())
        .await;
    forged.sealed = Some(sealed.unwrap());
    let fresh = World::over(world.store.clone());
    fresh.store.force(forged);
    let rejection = verify(&fresh.authority, &own).await.unwrap_err();
    assert_eq!(rejection.kind(), &RejectionKind::StoreUnavailable);
}

/// Rule 4: the key of a kind signs that kind alone, whatever stands in the header.
#[tokio::test]
async fn each_kind_of_token_has_a_key_of_its_own() {
    let [workspace, session] =
        ["workspace+jwt", "mcp-session+jwt"].map(|typ| mac_key(&SIGNING, typ));
    assert_ne!(workspace, session);
    let minted = oracle::sign_text(&session, encode(header(WORKSPACE)), encode(claims()));
    let world = World::planted(&minted).await;
    assert_eq!(
        problem(&world.authority, &minted).await,
        TokenProblem::NotOurs
    );
}

/// Rule 12: "cannot show it again" is a fact. The thief has the row, the signing key, even the seal key
/// of other rows; what is missing is 128 bits that exist in the token alone.
#[tokio::test]
async fn row_and_signing_key_cannot_mint_the_token_again() {
    let world = World::new().await;
    let row = world.row("acme", "primary").await;
    let stolen = format!("{row:?}");
    let payload = oracle::payload(&world.token);
    let jti = payload.split("\"jti\":\"").nth(1).unwrap()[..22].to_owned();
    let sealed = row.sealed.as_ref().unwrap().as_bytes();
    assert!(!stolen.contains(&jti));
    assert!(!sealed.windows(12).any(|piece| {
        world
            .token
            .as_bytes()
            .windows(12)
            .any(|token| token == piece)
    }));
    // Everything but the secret is known, and makes the very token with it, and another one without.
    let mint = |jti: &str| {
        let payload = format!(
            r#"{{"aud":"{}","gen":{},"iat":{},"jti":"{jti}","sub":"{}"}}"#,
            row.key.workspace,
            row.generation,
            row.changed_at.as_secs(),
            row.key.name
        );
        sign(WORKSPACE, header(WORKSPACE), payload)
    };
    assert_eq!(
        mint(&jti),
        world.token,
        "the control: nothing else is secret"
    );
    for guess in [
        encode([0; 16]),
        encode(&sealed[..16]),
        format!("{:A<22}", row.token_id),
    ] {
        assert_eq!(
            problem(&world.authority, &mint(&guess)).await,
            TokenProblem::Unknown
        );
    }
    assert_eq!(
        oracle::token_id(&jti),
        row.token_id,
        "the id is one-way, and the documented one"
    );
}

/// Rule 12: what is sealed opens in its own slot, under its own id and generation, and nowhere else.
#[tokio::test]
async fn a_sealed_token_opens_in_its_own_place_alone() {
    let world = World::new().await;
    let row = world.row("acme", "primary").await;
    let own = SealContext {
        key: row.key,
        token_id: row.token_id,
        generation: row.generation,
    };
    let opens = async |context: SealContext| {
        let cipher = Aes256Gcm::new(keys().sealing);
        let opened = cipher.open(&context, row.sealed.as_ref().unwrap()).await;
        opened.is_ok()
    };
    assert!(opens(own).await);
    for key in [
        slot("other", "primary"),
        slot("acme", "second"),
        // The same characters, cut elsewhere.
        slot("acmep", "rimary"),
    ] {
        assert!(!opens(SealContext { key, ..own }).await, "{key:?}");
    }
    let generation = row.generation.next().unwrap();
    assert!(!opens(SealContext { generation, ..own }).await);
    let token_id = oracle::token_id("x");
    assert!(!opens(SealContext { token_id, ..own }).await);
}

/// Rule 12: each generation has a secret of its own.
#[tokio::test]
async fn a_rotation_keeps_nothing_of_the_secret() {
    let world = World::new().await;
    let new = world.rotate("acme", "primary").await;
    let pieces: Vec<_> = oracle::payload(&world.token).into_bytes();
    let jti = |payload: &[u8]| {
        let text = String::from_utf8_lossy(payload).into_owned();
        text.split("\"jti\":\"").nth(1).unwrap()[..22].to_owned()
    };
    assert_ne!(jti(&pieces), jti(oracle::payload(&new).as_bytes()));
}

/// Rules 13 and 15: generations only rise, over revocation and a new issue as well.
#[tokio::test]
async fn a_slot_never_goes_back_to_a_generation_it_had() {
    let world = World::new().await;
    let mut last = 1;
    for _ in 0..3 {
        world.authority.revoke(&acme(), &primary()).await.unwrap();
        let tombstone = world.row("acme", "primary").await;
        assert!(
            tombstone.sealed.is_none(),
            "a tombstone carries no ciphertext"
        );
        assert_eq!(tombstone.generation.number(), last + 1);
        let token = world.issue("acme", "primary").await;
        assert_eq!(
            world.row("acme", "primary").await.generation.number(),
            last + 2
        );
        verify(&world.authority, &token).await.unwrap();
        last += 2;
    }
    assert_eq!(
        problem(&world.authority, &world.token).await,
        TokenProblem::Superseded
    );
}

/// Rule 15: create never overwrites, and a write that lost the race writes nothing.
#[tokio::test]
async fn a_row_is_only_replaced_by_who_has_seen_it() {
    let world = World::new().await;
    let row = world.row("acme", "primary").await;
    assert!(
        world
            .store
            .compare_and_swap(&row.key, None, row.clone(), None)
            .await
            .is_err()
    );
    world.rotate("acme", "primary").await;
    let late = world
        .store
        .compare_and_swap(&row.key, Some(row.revision), row.clone(), None)
        .await;
    assert!(late.is_err());
    assert_eq!(world.row("acme", "primary").await.generation.number(), 2);
}

/// Rules 3 and 20: once loaded, a token is compared with a keyed tag, and no row is opened again.
#[tokio::test]
async fn the_warm_path_opens_no_row_and_asks_no_store() {
    let issuer = World::new().await;
    // Another process, which knows nothing yet: what one has issued itself it never has to open.
    let world = World {
        token: issuer.token.clone(),
        ..World::over(issuer.store)
    };
    let app = world.by_path();
    assert_eq!(
        oneshot(&app, bearer(world.token.as_bytes())).await.status,
        200
    );
    let (opened, reads) = (world.cipher.opened(), world.store.reads());
    assert_eq!(opened, 1);
    for _ in 0..100 {
        assert_eq!(
            oneshot(&app, bearer(world.token.as_bytes())).await.status,
            200
        );
    }
    assert_eq!(
        (world.cipher.opened(), world.store.reads()),
        (opened, reads)
    );
}

/// Rule 20, in this process: at once, also for what memory knew.
#[tokio::test]
async fn a_rotated_or_revoked_token_is_dead_from_memory_too() {
    let world = World::new().await;
    verify(&world.authority, &world.token).await.unwrap();
    let new = world.rotate("acme", "primary").await;
    assert_eq!(
        problem(&world.authority, &world.token).await,
        TokenProblem::Superseded
    );
    verify(&world.authority, &new).await.unwrap();
    world.authority.revoke(&acme(), &primary()).await.unwrap();
    assert_eq!(
        problem(&world.authority, &new).await,
        TokenProblem::Superseded
    );
}

/// Rule 20: one slot's end is not another's.
#[tokio::test]
async fn a_rotation_touches_no_other_slot_and_no_other_workspace() {
    let world = World::new().await;
    let second = world.issue("acme", "second").await;
    let other = world.issue("other", "primary").await;
    world.rotate("acme", "primary").await;
    verify(&world.authority, &second).await.unwrap();
    let presented = PresentedToken::new(other.as_bytes());
    world
        .authority
        .verify(&"other".parse().unwrap(), presented)
        .await
        .unwrap();
    world.authority.revoke_all(&acme()).await.unwrap();
    assert_eq!(
        problem(&world.authority, &second).await,
        TokenProblem::Superseded
    );
    world
        .authority
        .verify(&"other".parse().unwrap(), presented)
        .await
        .unwrap();
}

/// Rule 21: memory is trusted for one lease after the last confirmation, and not a moment longer. A read is none.
#[tokio::test]
async fn memory_is_read_through_once_the_lease_has_run_out() {
    let world = World::with_freshness(Freshness::Lease {
        duration: LEASE,
        shared: false,
    })
    .await;
    // The lease ends by the exact time, however late the last tick was.
    world.clock.set_lag(Duration::from_millis(10));
    let other = World::over(world.store.clone());
    world.store.confirm(world.clock.moment());
    verify(&world.authority, &world.token).await.unwrap();
    let reads = world.store.reads();
    world.clock.advance(LEASE);
    verify(&world.authority, &world.token).await.unwrap();
    assert_eq!(world.store.reads(), reads, "within the lease");
    world.clock.advance(Duration::from_millis(1));
    verify(&world.authority, &world.token).await.unwrap();
    assert_eq!(world.store.reads(), reads + 1, "after it");
    // A confirmation as of now begins the lease anew.
    world.clock.advance(Duration::from_millis(15));
    world.store.confirm(world.clock.moment());
    world.clock.advance(LEASE);
    verify(&world.authority, &world.token).await.unwrap();
    assert_eq!(world.store.reads(), reads + 1);
    // A rotation elsewhere, of which no report ever comes.
    other.rotate("acme", "primary").await;
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(
        problem(&world.authority, &world.token).await,
        TokenProblem::Superseded
    );
}

/// Rule 21: a process that rotates waits until no other one trusts its memory of the old token.
#[tokio::test]
async fn a_rotation_returns_when_every_lease_on_the_old_token_has_run_out() {
    let lease = Duration::from_millis(300);
    let world = World::with_freshness(Freshness::Lease {
        duration: lease,
        shared: true,
    })
    .await;
    let clock = tower_workspace_token::clock::SystemClock;
    let started = clock.moment();
    world.rotate("acme", "primary").await;
    assert!(clock.moment().saturating_since(started) >= lease);
}

/// Rule 22: the store gone is a 503 once memory is no longer trusted, and never a yes.
#[tokio::test]
async fn a_store_that_is_gone_is_a_503_and_never_probably_fine() {
    let world = World::with_freshness(Freshness::Lease {
        duration: LEASE,
        shared: false,
    })
    .await;
    let app = world.by_path();
    let check = async || oneshot(&app, bearer(world.token.as_bytes())).await;
    assert_eq!(check().await.status, 200);
    world.store.set_gone(true);
    world.clock.advance(LEASE + Duration::from_millis(1));
    for _ in 0..3 {
        let answer = check().await;
        assert_eq!(answer.status, 503);
        assert!(answer.header("retry-after").is_some());
        assert!(
            answer.header("www-authenticate").is_none(),
            "it is not the token's fault"
        );
    }
    // Who has no right MAC is told nothing about the store.
    assert_eq!(oneshot(&app, bearer(b"x")).await.status, 401);
    assert!(world.authority.rotate(&acme(), &primary()).await.is_err());
    world.store.set_gone(false);
    assert_eq!(check().await.status, 200);
}

/// Rule 22: a store that says it may have missed something is asked again about everything.
#[tokio::test]
async fn a_resync_makes_every_check_read_through() {
    let world = World::with_freshness(Freshness::Immediate).await;
    let other = World::over(world.store.clone());
    verify(&world.authority, &world.token).await.unwrap();
    other.rotate("acme", "primary").await;
    verify(&world.authority, &world.token)
        .await
        .expect("the control: nothing was reported");
    world.store.resync();
    assert_eq!(
        problem(&world.authority, &world.token).await,
        TokenProblem::Superseded
    );
}

/// Rule 27: a clock set back locks nobody out of their workspace.
#[tokio::test]
async fn the_issue_time_of_a_workspace_token_is_never_compared() {
    let world = World::new().await;
    for now in [0, 1, NOW - 3600, NOW * 2] {
        world.clock.set(Timestamp::from_secs(now));
        let fresh = World::over(world.store.clone());
        fresh.clock.set(Timestamp::from_secs(now));
        verify(&world.authority, &world.token).await.unwrap();
        verify(&fresh.authority, &world.token).await.unwrap();
    }
    let future = claims().replace(&NOW.to_string(), &(NOW * 2).to_string());
    let token = sign(WORKSPACE, header(WORKSPACE), future);
    verify(&World::planted(&token).await.authority, &token)
        .await
        .unwrap();
}

/// Rule 5: a signing key is 32 bytes or does not exist; another key's tokens are nobody's.
#[tokio::test]
async fn a_token_of_another_key_ring_is_not_ours() {
    let world = World::new().await;
    let strangers = Keys {
        signing: KeyRing::new(SigningKey::generate().unwrap()),
        ..keys()
    };
    let stranger = TokenAuthority::builder(world.store.clone(), strangers)
        .clock(Arc::clone(&world.clock))
        .build()
        .unwrap();
    assert_eq!(
        problem(&stranger, &world.token).await,
        TokenProblem::NotOurs
    );
    // Retired, the key still verifies.
    let retired = KeyRing::new(SigningKey::generate().unwrap());
    let heirs = Keys {
        signing: retired
            .with_retired(keys().signing.primary().clone())
            .unwrap(),
        ..keys()
    };
    let heir = TokenAuthority::builder(world.store.clone(), heirs)
        .build()
        .unwrap();
    verify(&heir, &world.token).await.unwrap();
}
