//! The authority through its own API, over the memory store.

use std::time::Duration;

use super::*;
use crate::{
    clock::ManualClock,
    error::ErrorKind,
    rejection::{Rejection, RejectionKind, TokenProblem},
    store::{HistoryEventKind, MemoryStore},
    token::PresentedToken,
};

fn authority() -> TokenAuthority {
    TokenAuthority::builder(MemoryStore::new(), Keys::generate().unwrap())
        .build()
        .unwrap()
}

fn acme() -> WorkspaceId {
    "acme".parse().unwrap()
}

fn primary() -> TokenName {
    TokenName::primary()
}

async fn check(authority: &TokenAuthority, token: &str) -> Result<VerifiedToken, TokenProblem> {
    let presented = PresentedToken::new(token.as_bytes());
    authority
        .verify(&acme(), presented)
        .await
        .map_err(|rejection| problem(&rejection))
}

fn problem(rejection: &Rejection) -> TokenProblem {
    match rejection.kind() {
        RejectionKind::InvalidToken(problem) => *problem,
        other => panic!("rejected for another reason: {other:?}"),
    }
}

#[tokio::test]
async fn verifies_what_it_issued_from_the_store_and_from_memory() {
    let authority = authority();
    let issued = authority.issue(&acme(), &primary()).await.unwrap();
    for _ in 0..2 {
        let verified = check(&authority, issued.expose_secret()).await.unwrap();
        assert_eq!(verified.token_id(), issued.id());
        assert_eq!(verified.generation(), Generation::FIRST);
        assert!(verified.lease().is_live());
    }
}

/// Otherwise the token that the rotation shows would be dead from the start.
#[tokio::test]
async fn a_rotation_goes_on_from_the_highest_generation_known_when_an_older_row_was_put_back() {
    let store = MemoryStore::new();
    let authority = TokenAuthority::builder(store.clone(), Keys::generate().unwrap())
        .build()
        .unwrap();
    let key = SlotKey::new(acme(), primary());
    authority.issue(&acme(), &primary()).await.unwrap();
    let mut old_row = TokenStore::get(&store, &key).await.unwrap().unwrap();
    authority.rotate(&acme(), &primary()).await.unwrap();
    let third = authority.rotate(&acme(), &primary()).await.unwrap().token;
    let current = TokenStore::get(&store, &key)
        .await
        .unwrap()
        .unwrap()
        .revision;
    old_row.revision = current.next().unwrap();
    TokenStore::compare_and_swap(&store, &key, Some(current), old_row, None)
        .await
        .unwrap();
    let fourth = authority.rotate(&acme(), &primary()).await.unwrap().token;
    assert_eq!(fourth.generation().number(), 4);
    assert!(check(&authority, fourth.expose_secret()).await.is_ok());
    assert!(check(&authority, third.expose_secret()).await.is_err());
}

#[tokio::test]
async fn refuses_a_second_token_in_the_same_slot() {
    let authority = authority();
    authority.issue(&acme(), &primary()).await.unwrap();
    let error = authority.issue(&acme(), &primary()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyIssued);
}

#[tokio::test]
async fn a_rotated_token_is_dead_and_the_new_one_lives() {
    let authority = authority();
    let old = authority.issue(&acme(), &primary()).await.unwrap();
    let lease = check(&authority, old.expose_secret())
        .await
        .unwrap()
        .lease()
        .clone();
    let receipt = authority.rotate(&acme(), &primary()).await.unwrap();
    assert_eq!(
        check(&authority, old.expose_secret()).await.unwrap_err(),
        TokenProblem::Superseded
    );
    assert!(!lease.is_live());
    lease.ended().await;
    let verified = check(&authority, receipt.token.expose_secret())
        .await
        .unwrap();
    assert_eq!(verified.generation().number(), 2);
}

/// The lease of a shared store may run out before a token is recalled, and be confirmed right after.
#[tokio::test]
async fn memory_that_was_confirmed_meanwhile_does_not_refute_the_very_token() {
    let authority = authority();
    let token = authority.issue(&acme(), &primary()).await.unwrap();
    let token = token.expose_secret().as_bytes();
    let key = SlotKey::new(acme(), primary());
    let compare = |presented: &[u8]| {
        let inner = &authority.inner;
        let claims = inner.open(token).unwrap();
        let tag = inner.memory.tag_key.tag(presented).unwrap();
        let slot = inner.memory.slots.get(&key).unwrap();
        inner.compare_with_memory(&slot, &claims, &tag)
    };
    assert!(matches!(compare(token), Some(Ok(_))));
    assert!(matches!(compare(&token[1..]), Some(Err(_))));
}

/// What is issued here is remembered at once, and yet its MAC is checked before memory counts.
#[tokio::test]
async fn the_first_sight_of_an_issued_token_proves_it_without_the_store() {
    let authority = authority();
    let token = authority.issue(&acme(), &primary()).await.unwrap();
    let key = SlotKey::new(acme(), primary());
    let is_proven = || {
        let slot = authority.inner.memory.slots.get(&key)?;
        slot.known().map(|known| known.is_proven())
    };
    assert_eq!(is_proven(), Some(false));
    let presented = PresentedToken::new(token.expose_secret().as_bytes());
    let mut verified = None;
    let verdict = authority.verify_now(&acme(), presented, |token, _| verified = Some(token));
    assert!(matches!(verdict, Verdict::Verified), "{verdict:?}");
    assert_eq!(verified.unwrap().workspace(), &acme());
    assert_eq!(is_proven(), Some(true));
}

/// Between the exchange of the keys and the doubt about what was signed with them, there is only the MAC.
#[tokio::test]
async fn a_token_that_was_never_seen_is_not_accepted_for_its_tag_alone() {
    let authority = authority();
    let token = authority.issue(&acme(), &primary()).await.unwrap();
    let signing = KeyRing::new(SigningKey::generate().unwrap());
    authority.inner.workspace_tokens.replace_keys(&signing);
    let presented = PresentedToken::new(token.expose_secret().as_bytes());
    let verdict = authority.verify_now(&acme(), presented, |_, _| ());
    assert!(matches!(verdict, Verdict::Rejected(_)), "{verdict:?}");
}

/// The MAC was looked at under the former keys: what comes of that is remembered as doubted.
#[tokio::test]
async fn keys_that_are_replaced_during_a_check_are_not_outlived_by_it() {
    let (store, keys) = (MemoryStore::new(), Keys::generate().unwrap());
    let process = || {
        TokenAuthority::builder(store.clone(), keys.clone())
            .build()
            .unwrap()
    };
    let token = process().issue(&acme(), &primary()).await.unwrap();
    let authority = process();
    let presented = PresentedToken::new(token.expose_secret().as_bytes());
    let verdict = authority.verify_now(&acme(), presented, |_, _| ());
    let Verdict::Pending(check) = verdict else {
        panic!("{verdict:?}");
    };
    let signing = KeyRing::new(SigningKey::generate().unwrap());
    authority.replace_keys(Keys {
        signing,
        ..keys.clone()
    });
    // This check began before; the next one does not.
    assert!(authority.settle(check).await.is_ok());
    assert_eq!(
        self::check(&authority, token.expose_secret())
            .await
            .unwrap_err(),
        TokenProblem::NotOurs
    );
}

/// The tag alone would let in a token whose key was taken out of the ring.
#[tokio::test]
async fn memory_of_a_removed_key_is_worth_nothing() {
    let keys = Keys::generate().unwrap();
    let authority = TokenAuthority::builder(MemoryStore::new(), keys.clone())
        .build()
        .unwrap();
    let token = authority.issue(&acme(), &primary()).await.unwrap();
    assert!(check(&authority, token.expose_secret()).await.is_ok());
    let signing = KeyRing::new(SigningKey::generate().unwrap());
    authority.replace_keys(Keys { signing, ..keys });
    assert_eq!(
        check(&authority, token.expose_secret()).await.unwrap_err(),
        TokenProblem::NotOurs
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_those_who_rotate_the_generation_they_saw_one_does() {
    let authority = authority();
    let first = authority.issue(&acme(), &primary()).await.unwrap();
    let rotations = (0..8).map(|_| {
        let (authority, seen) = (authority.clone(), first.generation());
        tokio::spawn(async move {
            let (workspace, name) = (acme(), primary());
            let rotated = authority.rotate_generation(&workspace, &name, seen);
            rotated.await.map_err(|error| error.kind())
        })
    });
    let rotations: Vec<_> = rotations.collect();
    let mut rotated = Vec::new();
    for rotation in rotations {
        match rotation.await.unwrap() {
            Ok(receipt) => rotated.push(receipt.token),
            Err(kind) => assert_eq!(kind, ErrorKind::Conflict),
        }
    }
    let [token] = &*rotated else {
        panic!("{} rotated", rotated.len());
    };
    assert_eq!(token.generation().number(), 2);
    assert!(check(&authority, token.expose_secret()).await.is_ok());
    let (workspace, empty) = (acme(), "empty".parse().unwrap());
    let nothing = authority.rotate_generation(&workspace, &empty, first.generation());
    assert_eq!(nothing.await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn whoever_revokes_what_they_found_does_not_end_its_successor() {
    let authority = authority();
    let found = authority.issue(&acme(), &primary()).await.unwrap();
    let current = authority.rotate(&acme(), &primary()).await.unwrap().token;
    let (workspace, name) = (acme(), primary());
    let revoked = authority.revoke_generation(&workspace, &name, found.generation());
    assert_eq!(revoked.await.unwrap_err().kind(), ErrorKind::Conflict);
    assert!(check(&authority, current.expose_secret()).await.is_ok());
    let revoked = authority.revoke_generation(&workspace, &name, current.generation());
    assert_eq!(revoked.await.unwrap().generation.number(), 3);
    assert!(check(&authority, current.expose_secret()).await.is_err());
}

#[tokio::test]
async fn a_rejection_names_the_slot_and_generation_of_a_superseded_token_alone() {
    let store = Arc::new(MemoryStore::new());
    let keys = Keys::generate().unwrap();
    let authority = TokenAuthority::builder(Arc::clone(&store), keys.clone())
        .build()
        .unwrap();
    let old = authority.issue(&acme(), &primary()).await.unwrap();
    let current = authority.rotate(&acme(), &primary()).await.unwrap().token;
    // By memory, and by the store alone.
    let restarted = TokenAuthority::builder(store, keys).build().unwrap();
    for authority in [&authority, &restarted] {
        let presented = PresentedToken::new(old.expose_secret().as_bytes());
        let rejection = authority.verify(&acme(), presented).await.unwrap_err();
        let superseded = rejection.superseded().unwrap();
        assert_eq!(superseded.key, SlotKey::new(acme(), primary()));
        assert_eq!(superseded.generation, Generation::FIRST);
        assert!(!rejection.message().contains("primary"), "{rejection}");
    }
    let mut forged = old.expose_secret().to_owned();
    let last = if forged.ends_with('A') { 'B' } else { 'A' };
    forged.pop();
    forged.push(last);
    for (workspace, token) in [
        (acme(), &*forged),
        ("other".parse().unwrap(), old.expose_secret()),
        ("other".parse().unwrap(), current.expose_secret()),
    ] {
        let presented = PresentedToken::new(token.as_bytes());
        let rejection = authority.verify(&workspace, presented).await.unwrap_err();
        assert_eq!(rejection.superseded(), None, "{rejection}");
    }
}

#[tokio::test]
async fn a_revoked_slot_goes_on_with_the_next_generation() {
    let authority = authority();
    let first = authority.issue(&acme(), &primary()).await.unwrap();
    authority.revoke(&acme(), &primary()).await.unwrap();
    assert!(check(&authority, first.expose_secret()).await.is_err());
    assert_eq!(
        authority
            .rotate(&acme(), &primary())
            .await
            .unwrap_err()
            .kind(),
        ErrorKind::NotFound
    );
    let third = authority.issue(&acme(), &primary()).await.unwrap();
    assert_eq!(third.generation().number(), 3);
    assert!(check(&authority, first.expose_secret()).await.is_err());
    assert!(check(&authority, third.expose_secret()).await.is_ok());
}

#[tokio::test]
async fn revoking_all_ends_each_live_token_of_the_workspace_and_no_other() {
    let authority = authority();
    let name = |name: &str| -> TokenName { name.parse().unwrap() };
    let other: WorkspaceId = "other".parse().unwrap();
    let mut issued = Vec::new();
    for slot in ["primary", "second", "third"] {
        issued.push(authority.issue(&acme(), &name(slot)).await.unwrap());
    }
    let foreign = authority.issue(&other, &primary()).await.unwrap();
    authority.revoke(&acme(), &name("third")).await.unwrap();
    authority.revoke_all(&acme()).await.unwrap();
    for token in issued {
        let problem = check(&authority, token.expose_secret()).await.unwrap_err();
        assert_eq!(problem, TokenProblem::Superseded);
    }
    let listed = authority.list(&acme()).await.unwrap();
    let two = Generation::from_number(2).unwrap();
    assert_eq!(listed.len(), 3);
    // What was revoked before has not been revoked once more.
    assert!(listed.iter().all(|token| token.generation == two));
    let presented = PresentedToken::new(foreign.expose_secret().as_bytes());
    authority.verify(&other, presented).await.unwrap();
}

#[test]
fn what_was_ended_is_summed_up_kind_by_kind() {
    let ended = |sessions, streams, calls, left_behind, seconds| EndedUses {
        sessions,
        streams,
        calls,
        left_behind,
        others: Others::NotAwaited,
        elapsed: Duration::from_secs(seconds),
    };
    let mut sum = ended(1, 2, 3, 4, 5);
    sum.others = Others::LeaseRanOut;
    sum.add(ended(10, 20, 30, 40, 50));
    assert_eq!(
        (sum.sessions, sum.streams, sum.calls, sum.left_behind),
        (11, 22, 33, 44)
    );
    assert_eq!(sum.elapsed, Duration::from_secs(55));
    assert_eq!(sum.others, Others::NotAwaited);
}

#[tokio::test]
async fn refuses_a_token_of_another_workspace() {
    let authority = authority();
    let other = "other".parse().unwrap();
    let issued = authority.issue(&other, &primary()).await.unwrap();
    assert_eq!(
        check(&authority, issued.expose_secret()).await.unwrap_err(),
        TokenProblem::WrongWorkspace
    );
}

#[tokio::test]
async fn a_token_that_is_well_signed_but_not_in_the_store_is_refused() {
    let keys = Keys::generate().unwrap();
    let build = |keys| {
        TokenAuthority::builder(MemoryStore::new(), keys)
            .build()
            .unwrap()
    };
    let (leaked, ours) = (build(keys.clone()), build(keys));
    let forged = leaked.issue(&acme(), &primary()).await.unwrap();
    assert_eq!(
        check(&ours, forged.expose_secret()).await.unwrap_err(),
        TokenProblem::Unknown
    );
    // Nor when the slot exists, with the very generation: the sealed token decides.
    let genuine = ours.issue(&acme(), &primary()).await.unwrap();
    assert_eq!(
        check(&ours, forged.expose_secret()).await.unwrap_err(),
        TokenProblem::Unknown
    );
    check(&ours, genuine.expose_secret()).await.unwrap();
    assert_eq!(
        check(&ours, forged.expose_secret()).await.unwrap_err(),
        TokenProblem::Unknown
    );
}

#[tokio::test]
async fn another_authority_on_the_same_store_obeys_a_rotation_at_once() {
    let (store, keys) = (MemoryStore::new(), Keys::generate().unwrap());
    let build = || {
        TokenAuthority::builder(store.clone(), keys.clone())
            .build()
            .unwrap()
    };
    let (one, other) = (build(), build());
    let old = one.issue(&acme(), &primary()).await.unwrap();
    let lease = check(&other, old.expose_secret())
        .await
        .unwrap()
        .lease()
        .clone();
    let receipt = one.rotate(&acme(), &primary()).await.unwrap();
    assert!(!lease.is_live());
    assert!(check(&other, old.expose_secret()).await.is_err());
    assert!(check(&other, receipt.token.expose_secret()).await.is_ok());
}

#[tokio::test]
async fn the_history_says_who_and_why() {
    let authority = authority();
    authority
        .with_actor("alice")
        .issue(&acme(), &primary())
        .await
        .unwrap();
    authority
        .with_actor("bob")
        .with_reason("lost device")
        .rotate(&acme(), &primary())
        .await
        .unwrap();
    authority.revoke(&acme(), &primary()).await.unwrap();
    let history = authority.history(&acme(), &primary()).await.unwrap();
    let kinds: Vec<_> = history.iter().map(|event| event.kind).collect();
    assert_eq!(
        kinds,
        [
            HistoryEventKind::Issued,
            HistoryEventKind::Rotated,
            HistoryEventKind::Revoked
        ]
    );
    assert_eq!(history[0].actor.as_deref(), Some("alice"));
    assert_eq!(history[1].reason.as_deref(), Some("lost device"));
    assert_eq!(history[2].actor, None);
}

#[tokio::test]
async fn a_clock_set_back_locks_nobody_out() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_secs(2_000_000_000)));
    let authority = TokenAuthority::builder(MemoryStore::new(), Keys::generate().unwrap())
        .clock(Arc::clone(&clock))
        .build()
        .unwrap();
    let issued = authority.issue(&acme(), &primary()).await.unwrap();
    clock.set(Timestamp::from_secs(1_000_000_000));
    assert!(check(&authority, issued.expose_secret()).await.is_ok());
}

#[tokio::test]
async fn the_list_shows_when_a_token_was_last_used() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_secs(2_000_000_000)));
    let authority = TokenAuthority::builder(MemoryStore::new(), Keys::generate().unwrap())
        .clock(Arc::clone(&clock))
        .build()
        .unwrap();
    let issued = authority.issue(&acme(), &primary()).await.unwrap();
    assert_eq!(authority.list(&acme()).await.unwrap()[0].last_used_at, None);
    clock.advance(Duration::from_secs(60));
    check(&authority, issued.expose_secret()).await.unwrap();
    let used_at = authority.list(&acme()).await.unwrap()[0].last_used_at;
    assert_eq!(used_at, Some(Timestamp::from_secs(2_000_000_060)));
}

#[tokio::test]
async fn a_use_of_the_old_token_is_not_one_of_the_new() {
    let authority = authority();
    let old = authority.issue(&acme(), &primary()).await.unwrap();
    check(&authority, old.expose_secret()).await.unwrap();
    authority.rotate(&acme(), &primary()).await.unwrap();
    let listed = authority.list(&acme()).await.unwrap();
    assert_eq!(listed[0].last_used_at, None);
}

#[test]
fn rotating_outside_of_a_runtime_is_an_error_and_no_panic() {
    let mut rotation = Box::pin(async { authority().rotate(&acme(), &primary()).await });
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(Err(error)) = rotation.as_mut().poll(&mut cx) else {
        panic!("it waits for a runtime that is not there");
    };
    assert_eq!(error.kind(), ErrorKind::Runtime);
}

#[tokio::test(flavor = "multi_thread")]
async fn work_in_a_task_of_its_own_is_dropped_before_rotate_returns() {
    struct Dropped(Arc<std::sync::atomic::AtomicBool>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    let authority = authority();
    let issued = authority.issue(&acme(), &primary()).await.unwrap();
    let verified = check(&authority, issued.expose_secret()).await.unwrap();
    let dropped = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (lease, guard) = (verified.lease().clone(), Dropped(Arc::clone(&dropped)));
    let task = tokio::spawn(async move {
        let work = async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        };
        lease.guard(work).await
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    let receipt = authority.rotate(&acme(), &primary()).await.unwrap();
    assert!(dropped.load(Ordering::SeqCst));
    assert_eq!(receipt.ended.calls + receipt.ended.streams, 0);
    assert_eq!(receipt.ended.left_behind, 0);
    assert_eq!(task.await.unwrap(), None);
}

#[tokio::test]
async fn work_under_a_lease_that_holds_is_left_alone() {
    let authority = authority();
    let issued = authority.issue(&acme(), &primary()).await.unwrap();
    let verified = check(&authority, issued.expose_secret()).await.unwrap();
    let work = async {
        tokio::task::yield_now().await;
        7
    };
    assert_eq!(verified.lease().guard(work).await, Some(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn rotate_waits_for_work_that_is_running_at_this_moment() {
    use std::sync::atomic::AtomicBool;

    let authority = authority();
    let issued = authority.issue(&acme(), &primary()).await.unwrap();
    let verified = check(&authority, issued.expose_secret()).await.unwrap();
    let (begun, over) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let (lease, flags) = (
        verified.lease().clone(),
        (Arc::clone(&begun), Arc::clone(&over)),
    );
    tokio::spawn(async move {
        let work = async {
            flags.0.store(true, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(100));
            flags.1.store(true, Ordering::SeqCst);
        };
        lease.guard(work).await
    });
    while !begun.load(Ordering::SeqCst) {
        tokio::task::yield_now().await;
    }
    authority.rotate(&acme(), &primary()).await.unwrap();
    assert!(over.load(Ordering::SeqCst));
}
