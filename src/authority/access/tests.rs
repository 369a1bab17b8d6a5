//! Exchange, and what access tokens are worth, through the authority's own API.

use super::*;
use crate::{
    Keys, TokenName,
    authority::Verdict,
    cipher::Profile,
    clock::ManualClock,
    id::WorkspaceId,
    rejection::{Rejection, RejectionKind},
    store::{MemoryStore, TokenStore as _},
    token::PresentedToken,
};

const NOW: u64 = 1_800_000_000;
const LIFE: u64 = 900;

struct World {
    store: MemoryStore,
    keys: Keys,
    clock: Arc<ManualClock>,
    authority: TokenAuthority,
    token: String,
}

impl World {
    async fn new() -> Self {
        Self::of(Profile::Token).await
    }

    async fn of(profile: Profile) -> Self {
        let (store, keys) = (MemoryStore::new(), Keys::generate().unwrap());
        let clock = Arc::new(ManualClock::new(Timestamp::from_secs(NOW)));
        let authority = process(&store, &keys, &clock, profile);
        let issued = authority.issue(&acme(), &primary()).await.unwrap();
        Self {
            token: issued.expose_secret().to_owned(),
            store,
            keys,
            clock,
            authority,
        }
    }

    /// Another process over the same store, which has seen nothing yet.
    fn other(&self) -> TokenAuthority {
        process(&self.store, &self.keys, &self.clock, Profile::Token)
    }

    async fn verified(&self) -> VerifiedToken {
        let presented = PresentedToken::new(self.token.as_bytes());
        self.authority.verify(&acme(), presented).await.unwrap()
    }

    async fn exchange(&self) -> String {
        let issued = self.authority.exchange(&self.verified().await).await;
        issued.unwrap().expose_secret().to_owned()
    }

    async fn check(&self, access: &str) -> Result<VerifiedToken, TokenProblem> {
        check(&self.authority, access).await
    }

    fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Mints an access token with the server's signing key, for the parent whose signature has `digest`.
    async fn forge(&self, digest: &[u8; 32]) -> String {
        self.forge_for(digest, [NOW, NOW + LIFE]).await
    }

    async fn forge_for(&self, digest: &[u8; 32], times: [u64; 2]) -> String {
        let verified = self.verified().await;
        let times = times.map(Timestamp::from_secs);
        let (key, id) = (verified.lease().key(), verified.token_id());
        let parent = ParentKey::of(digest);
        let claims = AccessClaims::new(key, id, verified.generation(), times, &parent);
        let codec = &self.authority.inner.access.codec;
        codec.mint(&claims.to_json()).expose_secret().to_owned()
    }
}

fn process(
    store: &MemoryStore,
    keys: &Keys,
    clock: &Arc<ManualClock>,
    profile: Profile,
) -> TokenAuthority {
    TokenAuthority::builder(store.clone(), keys.clone())
        .clock(Arc::clone(clock))
        .profile(profile)
        .build()
        .unwrap()
}

fn acme() -> WorkspaceId {
    "acme".parse().unwrap()
}

fn primary() -> TokenName {
    TokenName::primary()
}

async fn check(authority: &TokenAuthority, access: &str) -> Result<VerifiedToken, TokenProblem> {
    let presented = PresentedToken::new(access.as_bytes());
    let checked = authority.verify_access(&acme(), presented).await;
    checked.map_err(|rejection| problem(&rejection))
}

fn problem(rejection: &Rejection) -> TokenProblem {
    match rejection.kind() {
        RejectionKind::InvalidToken(problem) => *problem,
        other => panic!("rejected for another reason: {other:?}"),
    }
}

fn is_known(authority: &TokenAuthority, access: &str) -> bool {
    let presented = PresentedToken::new(access.as_bytes());
    let verdict = authority.verify_access_now(&acme(), presented, drop);
    matches!(verdict, Some(Verdict::Verified))
}

#[tokio::test]
async fn an_access_token_stands_for_the_token_it_comes_from() {
    let world = World::new().await;
    let parent = world.verified().await;
    let issued = world.authority.exchange(&parent).await.unwrap();
    assert_eq!(issued.life(), Duration::from_secs(LIFE));
    assert_eq!(issued.expires_at(), Timestamp::from_secs(NOW + LIFE));
    assert_eq!(parent.expires_at(), None);
    for authority in [world.authority.clone(), world.other()] {
        for _ in 0..2 {
            let access = check(&authority, issued.expose_secret()).await.unwrap();
            assert_eq!(access.workspace(), &acme());
            assert_eq!(access.name(), &primary());
            assert_eq!(access.token_id(), parent.token_id());
            assert_eq!(access.generation(), parent.generation());
            assert_eq!(access.expires_at(), Some(Timestamp::from_secs(NOW + LIFE)));
            assert!(access.lease().is_live());
        }
        assert!(is_known(&authority, issued.expose_secret()));
    }
}

#[tokio::test]
async fn no_kind_is_taken_for_the_other() {
    let world = World::new().await;
    let access = world.exchange().await;
    let presented = PresentedToken::new(access.as_bytes());
    let rejection = world.authority.verify(&acme(), presented).await;
    assert_eq!(problem(&rejection.unwrap_err()), TokenProblem::NotOurs);
    assert_eq!(
        world.check(&world.token).await.unwrap_err(),
        TokenProblem::NotOurs
    );
}

#[tokio::test]
async fn an_access_token_is_not_exchanged() {
    let world = World::new().await;
    let access = world.check(&world.exchange().await).await.unwrap();
    let error = world.authority.exchange(&access).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotExchangeable);
}

#[tokio::test]
async fn it_expires_at_the_very_second_known_or_not() {
    let world = World::new().await;
    let access = world.exchange().await;
    assert!(world.check(&access).await.is_ok());
    world.clock.advance(Duration::from_millis(LIFE * 1000 - 1));
    assert!(world.check(&access).await.is_ok());
    assert!(check(&world.other(), &access).await.is_ok());
    world.clock.advance(Duration::from_millis(1));
    for authority in [world.authority.clone(), world.other()] {
        let refused = check(&authority, &access).await.unwrap_err();
        assert_eq!(refused, TokenProblem::Expired);
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_does_not_give_a_known_one_more_time() {
    let world = World::new().await;
    let access = world.exchange().await;
    world.check(&access).await.unwrap();
    world.advance(LIFE - 1);
    world.clock.set(Timestamp::from_secs(NOW));
    assert!(is_known(&world.authority, &access));
    world.advance(1);
    assert!(!is_known(&world.authority, &access));
    for _ in 0..2 {
        let refused = world.check(&access).await.unwrap_err();
        assert_eq!(refused, TokenProblem::Expired);
        world.authority.inner.access.sweep();
    }
}

/// What is looked up anew keeps the term of when it was seen first.
#[tokio::test]
async fn a_look_at_the_store_gives_a_known_one_no_more_time() {
    let world = World::new().await;
    let access = world.exchange().await;
    world.check(&access).await.unwrap();
    world.advance(LIFE - 1);
    world.clock.set(Timestamp::from_secs(NOW));
    world.authority.inner.memory.slots.doubt_all();
    world.check(&access).await.unwrap();
    world.advance(1);
    let refused = world.check(&access).await.unwrap_err();
    assert_eq!(refused, TokenProblem::Expired);
}

/// A machine that slept: by the date it is over, and the monotonic clock stood still.
#[tokio::test]
async fn a_clock_that_is_set_forward_ends_what_was_begun() {
    let world = World::new().await;
    let access = world.exchange().await;
    let lease = world.check(&access).await.unwrap().lease().clone();
    world.clock.set(Timestamp::from_secs(NOW + LIFE + 59));
    assert!(lease.is_live());
    world.clock.set(Timestamp::from_secs(NOW + LIFE + 60));
    assert!(!lease.is_live());
}

#[tokio::test]
async fn one_that_would_live_for_longer_than_any_is_not_ours() {
    let world = World::new().await;
    let right = crate::jwt::signature_digest(world.token.as_bytes());
    for (issued, expires, is_right) in [
        (NOW, NOW + 3600, true),
        (NOW, NOW + 3601, false),
        (NOW - 3600, NOW + 1, false),
        (NOW + 1, NOW + 1, false),
        (NOW + 2, NOW + 1, false),
    ] {
        let access = world.forge_for(&right, [issued, expires]).await;
        match world.check(&access).await {
            Ok(_) => assert!(is_right, "{issued} {expires}"),
            Err(problem) => assert!(!is_right && problem == TokenProblem::NotOurs),
        }
    }
}

#[tokio::test]
async fn a_token_that_stood_in_the_url_is_not_exchanged() {
    let world = World::new().await;
    for doubted in [false, true] {
        if doubted {
            world.authority.inner().doubt_everything();
        }
        let presented = PresentedToken::from_url(world.token.as_bytes());
        let token = world.authority.verify(&acme(), presented).await.unwrap();
        assert!(token.was_in_url());
        let error = world.authority.exchange(&token).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotExchangeable);
    }
}

#[tokio::test]
async fn an_access_token_that_stood_in_the_url_is_refused() {
    let world = World::new().await;
    let access = world.exchange().await;
    for _ in 0..2 {
        let presented = PresentedToken::from_url(access.as_bytes());
        let refused = world.authority.verify_access(&acme(), presented).await;
        let not_ours = Rejection::invalid_token(TokenProblem::NotOurs);
        assert_eq!(refused.unwrap_err().kind(), not_ours.kind());
        world.check(&access).await.unwrap();
    }
}

/// A store that was put back, or another one after a failover: it has counted to the same revision and generation, for
/// another token.
#[tokio::test]
async fn an_access_token_brings_no_other_token_back() {
    let world = World::new().await;
    world.verified().await;
    let mut elsewhere = World::new().await;
    elsewhere.keys = world.keys.clone();
    elsewhere.store = MemoryStore::new();
    elsewhere.authority = elsewhere.other();
    let issued = elsewhere
        .authority
        .issue(&acme(), &primary())
        .await
        .unwrap();
    elsewhere.token = issued.expose_secret().to_owned();
    let access = elsewhere.exchange().await;
    let key = SlotKey::new(acme(), primary());
    let row = elsewhere.store.get(&key).await.unwrap().unwrap();
    let former = world.store.get(&key).await.unwrap().unwrap();
    assert_eq!(
        (row.revision, row.generation),
        (former.revision, former.generation)
    );
    let swap = world
        .store
        .compare_and_swap(&key, Some(row.revision), row, None);
    swap.await.unwrap();
    world.check(&access).await.unwrap();
    for (token, is_current) in [(&world.token, false), (&elsewhere.token, true)] {
        let presented = PresentedToken::new(token.as_bytes());
        let verified = world.authority.verify(&acme(), presented).await;
        assert_eq!(verified.is_ok(), is_current);
    }
}

#[tokio::test]
async fn one_from_more_than_a_minute_ahead_is_refused() {
    let world = World::new().await;
    let access = world.exchange().await;
    world.clock.set(Timestamp::from_secs(NOW - 60));
    assert!(check(&world.other(), &access).await.is_ok());
    world.clock.set(Timestamp::from_millis(NOW * 1000 - 60_001));
    let refused = check(&world.other(), &access).await.unwrap_err();
    assert_eq!(refused, TokenProblem::NotYet);
}

#[tokio::test]
async fn it_is_for_one_workspace() {
    let world = World::new().await;
    let access = world.exchange().await;
    let other: WorkspaceId = "other".parse().unwrap();
    for is_known in [false, true] {
        let presented = PresentedToken::new(access.as_bytes());
        let rejection = world.authority.verify_access(&other, presented).await;
        let problem = problem(&rejection.unwrap_err());
        assert_eq!(problem, TokenProblem::WrongWorkspace, "{is_known}");
        world.check(&access).await.unwrap();
    }
}

#[tokio::test]
async fn it_dies_with_its_parent_and_stays_dead() {
    let world = World::new().await;
    let access = world.exchange().await;
    let lease = world.check(&access).await.unwrap().lease().clone();
    let never_seen = world.exchange().await;
    let parent = world.verified().await;
    let next = world.authority.rotate(&acme(), &primary()).await.unwrap();
    assert!(!lease.is_live());
    lease.ended().await;
    for access in [&access, &never_seen] {
        for authority in [&world.authority, &world.other()] {
            let refused = check(authority, access).await.unwrap_err();
            assert_eq!(refused, TokenProblem::Superseded);
        }
    }
    let error = world.authority.exchange(&parent).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Ended);
    let presented = PresentedToken::new(next.token.expose_secret().as_bytes());
    let verified = world.authority.verify(&acme(), presented).await.unwrap();
    let access = world.authority.exchange(&verified).await.unwrap();
    assert!(world.check(access.expose_secret()).await.is_ok());
    world.authority.revoke(&acme(), &primary()).await.unwrap();
    for authority in [&world.authority, &world.other()] {
        let refused = check(authority, access.expose_secret()).await;
        assert_eq!(refused.unwrap_err(), TokenProblem::Superseded);
    }
    let error = world.authority.exchange(&verified).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Ended);
}

/// Whose old token is still in use is told of workspace tokens: of access tokens, each client has an old one at every
/// rotation, and gets the next by itself.
#[tokio::test]
async fn an_access_token_of_an_earlier_generation_is_nobodys_old_token() {
    let world = World::new().await;
    let access = world.exchange().await;
    world.authority.rotate(&acme(), &primary()).await.unwrap();
    for authority in [&world.authority, &world.other()] {
        let presented = PresentedToken::new(access.as_bytes());
        let rejection = authority.verify_access(&acme(), presented).await;
        assert_eq!(rejection.unwrap_err().superseded(), None);
    }
}

#[tokio::test]
async fn there_is_none_without_a_row() {
    let world = World::new().await;
    let access = world.exchange().await;
    let empty = process(
        &MemoryStore::new(),
        &world.keys,
        &world.clock,
        Profile::Token,
    );
    assert_eq!(
        check(&empty, &access).await.unwrap_err(),
        TokenProblem::Unknown
    );
}

/// With the signing key, and all that a row and an activity log show of a token.
#[tokio::test]
async fn a_signing_key_alone_mints_no_access_token() {
    for profile in [Profile::Token, Profile::SignatureDigest] {
        let world = World::of(profile).await;
        let right = crate::jwt::signature_digest(world.token.as_bytes());
        let forged = world.forge(&[0; 32]).await;
        assert_eq!(
            world.check(&forged).await.unwrap_err(),
            TokenProblem::Unknown
        );
        let mut near = right;
        near[31] ^= 1;
        let forged = world.forge(&near).await;
        assert_eq!(
            world.check(&forged).await.unwrap_err(),
            TokenProblem::Unknown
        );
        assert!(world.check(&world.forge(&right).await).await.is_ok());
    }
}

#[tokio::test]
async fn with_the_digest_alone_in_the_row_all_is_as_with_the_token() {
    let world = World::of(Profile::SignatureDigest).await;
    let access = world.exchange().await;
    for authority in [world.authority.clone(), world.other()] {
        check(&authority, &access).await.unwrap();
        assert!(is_known(&authority, &access));
        // What was remembered of the row is no token's tag, and the parent is found by the row as before.
        let presented = PresentedToken::new(world.token.as_bytes());
        assert!(authority.verify(&acme(), presented).await.is_ok());
        assert!(is_known(&authority, &access));
    }
    world.authority.rotate(&acme(), &primary()).await.unwrap();
    assert!(world.check(&access).await.is_err());
}

/// A parent that was seen last under an access token has to show its MAC again, and does.
#[tokio::test]
async fn a_parent_is_verified_after_its_access_token() {
    let world = World::new().await;
    let access = world.exchange().await;
    let other = world.other();
    check(&other, &access).await.unwrap();
    let presented = PresentedToken::new(world.token.as_bytes());
    assert!(other.verify(&acme(), presented).await.is_ok());
    let mut changed = world.token.clone().into_bytes();
    *changed.last_mut().unwrap() ^= 1;
    let presented = PresentedToken::new(&changed);
    assert!(other.verify(&acme(), presented).await.is_err());
}

#[tokio::test]
async fn it_goes_with_the_key_that_signed_it_and_with_the_one_that_signed_its_parent() {
    let new = Keys::generate().unwrap();
    let ring = |world: &World| Keys {
        signing: new
            .signing
            .clone()
            .with_retired(world.keys.signing.primary().clone())
            .unwrap(),
        sealing: world.keys.sealing.clone(),
    };
    let without_former = |world: &World| Keys {
        signing: new.signing.clone(),
        sealing: world.keys.sealing.clone(),
    };
    let world = World::new().await;
    let of_former = world.exchange().await;
    world.check(&of_former).await.unwrap();
    world.authority.replace_keys(ring(&world));
    assert!(world.check(&of_former).await.is_ok());
    let of_new = world.exchange().await;
    world.check(&of_new).await.unwrap();
    world.authority.replace_keys(without_former(&world));
    assert_eq!(
        world.check(&of_former).await.unwrap_err(),
        TokenProblem::NotOurs
    );
    assert_eq!(
        world.check(&of_new).await.unwrap_err(),
        TokenProblem::Unknown
    );
}

/// Its MAC was right under the former keys.
#[tokio::test]
async fn what_was_checked_while_keys_were_replaced_is_not_remembered() {
    let world = World::new().await;
    let access = world.exchange().await;
    let authority = world.other();
    let known = || authority.inner.access.known.pin().len();
    let pending = || {
        let presented = PresentedToken::new(access.as_bytes());
        match authority.verify_access_now(&acme(), presented, drop) {
            Some(Verdict::Pending(check)) => check,
            other => panic!("{other:?}"),
        }
    };
    let check = pending();
    authority.replace_keys(Keys::generate().unwrap());
    authority.replace_keys(world.keys.clone());
    assert!(authority.settle(check).await.is_ok());
    assert_eq!(known(), 0);
    assert!(authority.settle(pending()).await.is_ok());
    assert_eq!(known(), 1);
}

/// What is remembered in between was checked under the former keys, and the doubt came too late to be noticed.
#[tokio::test]
async fn nothing_is_forgotten_before_it_is_doubted() {
    let world = World::new().await;
    let inner = Arc::clone(&world.authority.inner);
    let before = inner.memory.slots.resyncs();
    // Forgetting waits for it.
    let table = inner.access.table();
    let replacing = std::thread::spawn({
        let (authority, keys) = (world.authority.clone(), Keys::generate().unwrap());
        move || authority.replace_keys(keys)
    });
    let is_doubted = (0..2_000).any(|_| {
        std::thread::sleep(Duration::from_millis(5));
        inner.memory.slots.resyncs() > before
    });
    drop(table);
    replacing.join().unwrap();
    assert!(is_doubted);
}

#[tokio::test]
async fn what_is_remembered_is_bounded_and_forgotten_in_time() {
    let world = World::new().await;
    for _ in 0..KNOWN_PER_TOKEN + 10 {
        let access = world.exchange().await;
        world.check(&access).await.unwrap();
        world.check(&access).await.unwrap();
        world.advance(1);
    }
    let access = &world.authority.inner.access;
    assert_eq!(access.known(), KNOWN_PER_TOKEN);
    access.sweep();
    assert_eq!(access.known(), KNOWN_PER_TOKEN);
    world.advance(LIFE - 30);
    access.sweep();
    assert_eq!(access.known(), 29);
    let key = SlotKey::new(acme(), primary());
    let slot = world.authority.inner.memory.slots.get(&key).unwrap();
    slot.cell().observe(2);
    access.sweep();
    assert_eq!(access.known(), 0);
}

/// The one that was pushed out is looked up in the store once more.
#[tokio::test]
async fn one_that_was_forgotten_holds_all_the_same() {
    let world = World::new().await;
    let first = world.exchange().await;
    world.check(&first).await.unwrap();
    for _ in 0..KNOWN_PER_TOKEN {
        world.advance(1);
        world.check(&world.exchange().await).await.unwrap();
    }
    assert!(!is_known(&world.authority, &first));
    assert!(world.check(&first).await.is_ok());
}

#[tokio::test]
async fn the_chosen_life_counts() {
    let world = World::new().await;
    let life = AccessTokenLife::try_from(AccessTokenLife::SHORTEST).unwrap();
    let authority = TokenAuthority::builder(world.store.clone(), world.keys.clone())
        .clock(Arc::clone(&world.clock))
        .access_token_life(life)
        .build()
        .unwrap();
    let presented = PresentedToken::new(world.token.as_bytes());
    let parent = authority.verify(&acme(), presented).await.unwrap();
    let access = authority.exchange(&parent).await.unwrap();
    assert_eq!(access.expires_at(), Timestamp::from_secs(NOW + 60));
    for (seconds, is_right) in [(59, false), (60, true), (3600, true), (3601, false)] {
        let life = AccessTokenLife::try_from(Duration::from_secs(seconds));
        assert_eq!(life.is_ok(), is_right, "{seconds} s");
    }
    assert!(AccessTokenLife::try_from(Duration::from_millis(60_500)).is_err());
}

/// A row that names the token, put there by somebody who has no key.
#[tokio::test]
async fn a_row_that_does_not_open_answers_for_nothing() {
    let world = World::new().await;
    let access = world.exchange().await;
    let parent = world.verified().await;
    let key = SlotKey::new(acme(), primary());
    let mut row = world.store.get(&key).await.unwrap().unwrap();
    let before = row.revision;
    let mut sealed = row.sealed.unwrap().as_bytes().to_vec();
    *sealed.last_mut().unwrap() ^= 1;
    row.sealed = Some(crate::token::SealedToken::from_bytes(sealed));
    row.revision = before.next().unwrap();
    let store = &world.store;
    store
        .compare_and_swap(&key, Some(before), row, None)
        .await
        .unwrap();
    let presented = PresentedToken::new(access.as_bytes());
    let rejection = world.other().verify_access(&acme(), presented).await;
    assert_eq!(
        *rejection.unwrap_err().kind(),
        RejectionKind::StoreUnavailable
    );
    let error = world.authority.exchange(&parent).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cipher);
}

#[tokio::test(start_paused = true)]
async fn a_lease_ends_a_minute_after_the_access_token() {
    let world = World::new().await;
    let access = world.exchange().await;
    let lease = world.check(&access).await.unwrap().lease().clone();
    let ended = tokio::spawn(lease.ended());
    let work = lease.clone();
    let work = tokio::spawn(async move { work.guard(std::future::pending::<()>()).await });
    let step = async |seconds: u64| {
        world.advance(seconds);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        tokio::task::yield_now().await;
    };
    step(LIFE + 59).await;
    assert!(lease.is_live() && !ended.is_finished() && !work.is_finished());
    step(1).await;
    assert!(!lease.is_live());
    ended.await.unwrap();
    assert_eq!(work.await.unwrap(), None);
}
