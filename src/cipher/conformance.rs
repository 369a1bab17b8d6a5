//! The contract of a cipher as a test suite.
//!
//! Each case is named by the sentence it proves, and panics with its name where the cipher breaks the
//! sentence. The suite asks nothing of a cipher but what [`Cipher`] promises, so it runs on yours as
//! it runs on ours:
//!
//! ```
//! use tower_workspace_token::cipher::{Aes256Gcm, KeyRing, SealKey, conformance};
//!
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
//! let (old, new) = (SealKey::generate()?, SealKey::generate()?);
//! let before = Aes256Gcm::new(KeyRing::new(old.clone()));
//! let after = Aes256Gcm::new(KeyRing::new(new.clone()).with_retired(old)?);
//!
//! conformance::run(|| async { before.clone() }).await;
//! conformance::run_rotation(before, after, || async { Aes256Gcm::new(KeyRing::new(new)) }).await;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! In a test crate, the calls are the body of a `#[tokio::test(flavor = "multi_thread")]`. Time must be
//! enabled in the runtime. A run seals and opens some two thousand times: a key service on the network
//! takes as long as that takes.

use std::{future::Future, pin::pin, sync::Arc, task::Poll, time::Duration};

use secrecy::ExposeSecret as _;
use tokio::{task::JoinSet, time::timeout};

use super::{
    Cipher, CipherError, Profile, SealContext,
    envelope::{self, Header},
};
use crate::{
    id::{Generation, SlotKey, TokenId},
    prove::prove_case,
    token::SealedToken,
};

/// Runs the whole suite but [`run_rotation`]; `make` is called once per case and returns a cipher.
///
/// All of them may use the same keys.
///
/// # Panics
/// With the name of the case, if the cipher breaks the contract.
pub async fn run<C: Cipher, F: Future<Output = C>>(make: impl Fn() -> F) {
    macro_rules! prove {
        ($($case:ident)*) => {$(
            prove_case("cipher", stringify!($case), $case(Arc::new(make().await))).await;
        )*};
    }
    prove! {
        opens_what_it_sealed
        keeps_plaintexts_of_any_length_and_any_bytes
        keeps_a_digest_as_it_keeps_a_token
        seals_the_same_plaintext_differently_each_time
        what_is_sealed_shows_nothing_of_the_plaintext
        another_context_does_not_open
        no_bit_can_be_flipped
        nothing_can_be_cut_off_or_added
        two_sealings_cannot_be_mixed
        what_nobody_sealed_does_not_open
        a_header_tells_the_truth
        many_tasks_seal_and_open_at_once
        futures_that_are_dropped_harm_nobody
    }
}

/// Runs the cases about the replacement of the primary key.
///
/// `before` seals with the old key; `after` seals with a new one, and opens with the old one too. When
/// nothing needs the old key any longer, `retire` is called: it destroys it, where the cipher's keys are in one
/// place, and returns a cipher that has the new key alone.
///
/// Not part of [`run`], since not every cipher has keys to choose from.
///
/// # Panics
/// With the name of the case, if one of the ciphers breaks the contract.
pub async fn run_rotation<C: Cipher, F: Future<Output = C>>(
    before: C,
    after: C,
    retire: impl FnOnce() -> F,
) {
    let (before, after) = (Arc::new(before), Arc::new(after));
    macro_rules! prove {
        ($($case:ident)*) => {$({
            let case = $case(Arc::clone(&before), Arc::clone(&after));
            prove_case("cipher", stringify!($case), case).await;
        })*};
    }
    prove! {
        a_new_primary_key_has_another_id
        a_retired_key_opens
        the_header_of_one_key_does_not_open_what_another_sealed
    }
    let old = seal(&*before, &context(), TOKEN).await;
    let new = seal(&*after, &context(), TOKEN).await;
    let case = a_key_that_is_gone_opens_nothing(retire().await, old, new);
    prove_case("cipher", "a_key_that_is_gone_opens_nothing", case).await;
}

async fn opens_what_it_sealed<C: Cipher>(cipher: Arc<C>) {
    let sealed = seal(&*cipher, &context(), TOKEN).await;
    // More than once: nothing is used up.
    for _ in 0..3 {
        assert_opens(&*cipher, &context(), &sealed, TOKEN).await;
    }
}

async fn keeps_plaintexts_of_any_length_and_any_bytes<C: Cipher>(cipher: Arc<C>) {
    let every_byte: Vec<u8> = (0..=u8::MAX).collect();
    let long = every_byte.repeat(LARGEST / every_byte.len());
    for length in [1, 2, 15, 16, 17, 31, 32, 33, 255, 1000, LARGEST] {
        let plaintext = &long[long.len() - length..];
        let sealed = seal(&*cipher, &context(), plaintext).await;
        assert_opens(&*cipher, &context(), &sealed, plaintext).await;
    }
}

async fn keeps_a_digest_as_it_keeps_a_token<C: Cipher>(cipher: Arc<C>) {
    let digest = digest();
    let sealed = seal(&*cipher, &context(), &digest).await;
    assert_opens(&*cipher, &context(), &sealed, &digest).await;
}

async fn seals_the_same_plaintext_differently_each_time<C: Cipher>(cipher: Arc<C>) {
    let first = seal(&*cipher, &context(), TOKEN).await;
    let second = seal(&*cipher, &context(), TOKEN).await;
    assert!(
        first != second,
        "the same plaintext was sealed to the same bytes twice: where is the nonce?"
    );
}

async fn what_is_sealed_shows_nothing_of_the_plaintext<C: Cipher>(cipher: Arc<C>) {
    let sealed = seal(&*cipher, &context(), TOKEN).await;
    for piece in TOKEN.windows(8) {
        let is_shown = sealed.as_bytes().windows(8).any(|window| window == piece);
        assert!(!is_shown, "a piece of the plaintext is in what was sealed");
    }
}

async fn another_context_does_not_open<C: Cipher>(cipher: Arc<C>) {
    let sealed = seal(&*cipher, &context(), TOKEN).await;
    for (what, other) in other_contexts() {
        assert_refused(&*cipher, &other, &sealed, what).await;
    }
    assert_opens(&*cipher, &context(), &sealed, TOKEN).await;
}

async fn no_bit_can_be_flipped<C: Cipher>(cipher: Arc<C>) {
    let sealed = seal(&*cipher, &context(), &digest()).await;
    for bit in 0..sealed.as_bytes().len() * 8 {
        let mut changed = sealed.as_bytes().to_vec();
        changed[bit / 8] ^= 1 << (bit % 8);
        let what = format!("bit {} of byte {} flipped", bit % 8, bit / 8);
        assert_refused(
            &*cipher,
            &context(),
            &SealedToken::from_bytes(changed),
            &what,
        )
        .await;
    }
}

async fn nothing_can_be_cut_off_or_added<C: Cipher>(cipher: Arc<C>) {
    let sealed = seal(&*cipher, &context(), &digest()).await;
    let bytes = sealed.as_bytes();
    for length in 0..bytes.len() {
        let cases = [
            (format!("the first {length} bytes"), &bytes[..length]),
            (
                format!("the last {length} bytes"),
                &bytes[bytes.len() - length..],
            ),
        ];
        for (what, cut) in cases {
            let cut = SealedToken::from_bytes(cut.to_vec());
            assert_refused(&*cipher, &context(), &cut, &what).await;
        }
    }
    for (what, longer) in [
        ("a byte more at the end", [bytes, &[0]].concat()),
        ("a byte more at the beginning", [&[0], bytes].concat()),
        ("the same twice", bytes.repeat(2)),
    ] {
        let longer = SealedToken::from_bytes(longer);
        assert_refused(&*cipher, &context(), &longer, what).await;
    }
}

async fn two_sealings_cannot_be_mixed<C: Cipher>(cipher: Arc<C>) {
    let one = seal(&*cipher, &context(), &digest()).await;
    let other = seal(&*cipher, &context(), &[2; 41]).await;
    let (one, other) = (one.as_bytes(), other.as_bytes());
    for cut in 0..one.len().min(other.len()) {
        let mixed = [&one[..cut], &other[cut..]].concat();
        if mixed == one || mixed == other {
            continue;
        }
        let what = format!("the first {cut} bytes of another sealing");
        let mixed = SealedToken::from_bytes(mixed);
        assert_refused(&*cipher, &context(), &mixed, &what).await;
    }
}

async fn what_nobody_sealed_does_not_open<C: Cipher>(cipher: Arc<C>) {
    let length = seal(&*cipher, &context(), TOKEN).await.as_bytes().len();
    for (what, bytes) in [
        ("nothing", Vec::new()),
        ("zeros", vec![0; length]),
        ("ones", vec![0xff; length]),
        ("the plaintext", TOKEN.to_vec()),
        ("eight kibibytes of text", b"sealed? ".repeat(1024)),
    ] {
        let bytes = SealedToken::from_bytes(bytes);
        assert_refused(&*cipher, &context(), &bytes, what).await;
    }
}

/// A form of one's own is allowed; one that begins as [`Header`] says has to mean it.
async fn a_header_tells_the_truth<C: Cipher>(cipher: Arc<C>) {
    for (plaintext, profile) in [
        (TOKEN, Profile::Token),
        (&digest()[..], Profile::SignatureDigest),
    ] {
        let sealed = seal(&*cipher, &context(), plaintext).await;
        let Some(header) = Header::of(&sealed) else {
            return;
        };
        assert_eq!(header.key_id(), cipher.primary_key(), "the key in a header");
        assert_eq!(header.profile(), profile, "the profile in a header");
    }
}

async fn many_tasks_seal_and_open_at_once<C: Cipher>(cipher: Arc<C>) {
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let cipher = Arc::clone(&cipher);
        tasks.spawn(async move {
            let context = SealContext {
                generation: generation(task + 1),
                ..context()
            };
            for round in 0..5 {
                let plaintext = format!("the token of task {task} in round {round}");
                let sealed = seal(&*cipher, &context, plaintext.as_bytes()).await;
                assert_opens(&*cipher, &context, &sealed, plaintext.as_bytes()).await;
            }
        });
    }
    tasks.join_all().await;
}

async fn futures_that_are_dropped_harm_nobody<C: Cipher>(cipher: Arc<C>) {
    let sealed = seal(&*cipher, &context(), TOKEN).await;
    let cipher = &*cipher;
    for _ in 0..DROPPED {
        poll_once(cipher.seal(&context(), TOKEN)).await;
        poll_once(cipher.open(&context(), &sealed)).await;
    }
    assert_opens(cipher, &context(), &sealed, TOKEN).await;
    let sealed = seal(cipher, &context(), TOKEN).await;
    assert_opens(cipher, &context(), &sealed, TOKEN).await;
}

/// Polls a future one time and drops it.
async fn poll_once<F: Future>(future: F) {
    let mut future = pin!(future);
    std::future::poll_fn(|context| {
        let _unfinished = future.as_mut().poll(context);
        Poll::Ready(())
    })
    .await;
}

async fn a_new_primary_key_has_another_id<C: Cipher>(before: Arc<C>, after: Arc<C>) {
    assert!(
        before.primary_key() != after.primary_key(),
        "two primary keys have one id"
    );
    let sealed = seal(&*after, &context(), TOKEN).await;
    assert_opens(&*after, &context(), &sealed, TOKEN).await;
}

async fn a_retired_key_opens<C: Cipher>(before: Arc<C>, after: Arc<C>) {
    let sealed = seal(&*before, &context(), TOKEN).await;
    assert_opens(&*after, &context(), &sealed, TOKEN).await;
}

/// What a cipher that tries one key after the other would open.
async fn the_header_of_one_key_does_not_open_what_another_sealed<C: Cipher>(
    before: Arc<C>,
    after: Arc<C>,
) {
    let old = seal(&*before, &context(), TOKEN).await;
    let new = seal(&*after, &context(), TOKEN).await;
    if Header::of(&old).is_none() || Header::of(&new).is_none() {
        return;
    }
    let (old, new) = (old.as_bytes(), new.as_bytes());
    for (header, rest) in [(new, old), (old, new)] {
        let header = &header[..envelope::HEADER_LENGTH];
        let swapped = [header, &rest[envelope::HEADER_LENGTH..]].concat();
        let swapped = SealedToken::from_bytes(swapped);
        assert_refused(&*after, &context(), &swapped, "the id of another key").await;
    }
}

async fn a_key_that_is_gone_opens_nothing<C: Cipher>(
    retired: C,
    old: SealedToken,
    new: SealedToken,
) {
    assert_refused(&retired, &context(), &old, "a key that is gone").await;
    assert_opens(&retired, &context(), &new, TOKEN).await;
}

async fn seal<C: Cipher>(cipher: &C, context: &SealContext, plaintext: &[u8]) -> SealedToken {
    let sealed = timeout(PATIENCE, cipher.seal(context, plaintext)).await;
    sealed
        .expect("seal answers within a minute")
        .expect("seal succeeds")
}

async fn assert_opens<C: Cipher>(
    cipher: &C,
    context: &SealContext,
    sealed: &SealedToken,
    plaintext: &[u8],
) {
    let opened = timeout(PATIENCE, cipher.open(context, sealed)).await;
    let opened = opened
        .expect("open answers within a minute")
        .expect("what was sealed opens");
    assert!(
        opened.expose_secret() == plaintext,
        "{} bytes were sealed and {} others opened",
        plaintext.len(),
        opened.expose_secret().len()
    );
}

async fn assert_refused<C: Cipher>(
    cipher: &C,
    context: &SealContext,
    sealed: &SealedToken,
    what: &str,
) {
    let opened = timeout(PATIENCE, cipher.open(context, sealed)).await;
    match opened.expect("open answers within a minute") {
        Ok(_) => panic!("{what}: it opened"),
        Err(error) => assert_says_no_plaintext(&error),
    }
}

fn assert_says_no_plaintext(error: &CipherError) {
    let text = format!("{error:?}");
    for piece in TOKEN.windows(8) {
        let piece = std::str::from_utf8(piece).expect("the token is ASCII");
        assert!(
            !text.contains(piece),
            "an error holds a piece of the plaintext"
        );
    }
}

fn context() -> SealContext {
    context_of("acme", "primary")
}

fn context_of(workspace: &str, name: &str) -> SealContext {
    SealContext {
        key: SlotKey::new(
            workspace.parse().expect("the suite names workspaces well"),
            name.parse().expect("the suite names slots well"),
        ),
        token_id: TokenId::from_digest(&[3; 10]),
        generation: Generation::FIRST,
    }
}

fn other_contexts() -> [(&'static str, SealContext); 8] {
    let mut last_bit = [3; 10];
    last_bit[9] ^= 1;
    [
        ("another workspace", context_of("acma", "primary")),
        ("another slot", context_of("acme", "primarz")),
        (
            "the same letters, cut elsewhere",
            context_of("acmep", "rimary"),
        ),
        ("workspace and slot swapped", context_of("primary", "acme")),
        ("another token", other_token([4; 10])),
        ("a token that differs in one bit", other_token(last_bit)),
        ("the next generation", other_generation(2)),
        // Equal to the first where it is cut to 32 bits.
        ("a generation far ahead", other_generation((1 << 32) + 1)),
    ]
}

fn other_token(digest: [u8; 10]) -> SealContext {
    SealContext {
        token_id: TokenId::from_digest(&digest),
        ..context()
    }
}

fn other_generation(number: u64) -> SealContext {
    SealContext {
        generation: generation(number),
        ..context()
    }
}

fn generation(number: u64) -> Generation {
    Generation::from_number(number).expect("the suite counts from 1")
}

/// Makes what is sealed of a token in [`Profile::SignatureDigest`]: 41 bytes that are no text.
fn digest() -> Vec<u8> {
    let mut digest = vec![2];
    digest.extend_from_slice(b"mzxw6ytb");
    digest.extend((0..32).map(|byte: u8| byte.wrapping_mul(37) ^ 0xa5));
    digest
}

/// As long as a real one, of the letters of one; it opens nothing.
const TOKEN: &[u8] = b"not-a-token.but-as-long-as-one-ABCDEFGHIJKLMNOPQRSTUVWXYZ-abcdefghijklmnopqrstuvwxyz-0123456789_\
    the-quick-brown-fox-jumps-over-the-lazy-dog-and-pack-my-box-with-five-dozen-liquor-jugs-how-vexingly-\
    quick-daft-zebras-jump.sphinx-of-black-quartz-judge-my-vow";

/// What [`Cipher::seal`] says of the length of a plaintext.
const LARGEST: usize = 4096;

const TASKS: u64 = 16;

/// More than a pool of sessions or connections is likely to hold.
const DROPPED: usize = 64;

/// How long a busy machine may take for one call.
const PATIENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
