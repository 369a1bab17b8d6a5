//! The suite passes a cipher that keeps the contract, and names the sentence that another one breaks.

use std::sync::{Mutex, OnceLock};

use secrecy::SecretSlice;
use tokio::sync::Semaphore;

use super::*;
use crate::{
    cipher::{Aes256Gcm, KeyRing, RingKey as _, SealKey},
    id::KeyId,
    prove::words,
};

fn keys() -> [SealKey; 2] {
    static KEYS: OnceLock<[SealKey; 2]> = OnceLock::new();
    KEYS.get_or_init(|| [(); 2].map(|()| SealKey::generate().unwrap()))
        .clone()
}

struct Rotation {
    before: Aes256Gcm,
    after: Aes256Gcm,
    retired: Aes256Gcm,
}

fn rotation() -> Rotation {
    let [old, new] = keys();
    Rotation {
        before: Aes256Gcm::new(KeyRing::new(old.clone())),
        after: Aes256Gcm::new(KeyRing::new(new.clone()).with_retired(old).unwrap()),
        retired: Aes256Gcm::new(KeyRing::new(new)),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_default_cipher_keeps_the_contract() {
    run(|| async { rotation().before }).await;
    let Rotation {
        before,
        after,
        retired,
    } = rotation();
    run_rotation(before, after, || async { retired }).await;
}

#[tokio::test]
async fn a_cipher_behind_an_arc_keeps_the_contract() {
    run(|| async { Arc::new(rotation().after) }).await;
}

// The time stands still and leaps ahead where everybody waits, so that what hangs is found at once.
#[tokio::test(start_paused = true)]
async fn names_the_sentence_that_a_cipher_breaks() {
    let cases = [
        (
            Flaw::CutsLongTexts,
            "keeps plaintexts of any length and any bytes",
        ),
        (Flaw::ForgetsGeneration, "another context does not open"),
        (Flaw::IgnoresLastByte, "nothing can be cut off or added"),
        (Flaw::IgnoresVersion, "no bit can be flipped"),
        (Flaw::LosesSessions, "futures that are dropped harm nobody"),
        (Flaw::NamesAnotherKey, "a header tells the truth"),
        (
            Flaw::SealsTheSame,
            "seals the same plaintext differently each time",
        ),
        (
            Flaw::ShowsPlaintext,
            "what is sealed shows nothing of the plaintext",
        ),
    ];
    for (flaw, sentence) in cases {
        let suite = tokio::spawn(run(move || async move { flawed(rotation().before, flaw) }));
        assert_broken(suite, flaw, sentence).await;
    }
}

#[tokio::test]
async fn names_the_sentence_that_a_rotation_breaks() {
    let Rotation {
        before,
        after,
        retired,
    } = rotation();
    let cases = [
        (
            &before,
            Flaw::None,
            &retired,
            "a new primary key has another id",
        ),
        (&retired, Flaw::None, &retired, "a retired key opens"),
        (
            &after,
            Flaw::TriesEveryKey,
            &retired,
            "the header of one key does not open what another sealed",
        ),
        (
            &after,
            Flaw::None,
            &after,
            "a key that is gone opens nothing",
        ),
    ];
    for (after, flaw, retired, sentence) in cases {
        let [before, retired] = [&before, retired].map(|cipher| flawed(cipher.clone(), Flaw::None));
        let suite = run_rotation(before, flawed(after.clone(), flaw), || async { retired });
        assert_broken(tokio::spawn(suite), flaw, sentence).await;
    }
}

async fn assert_broken(suite: tokio::task::JoinHandle<()>, flaw: Flaw, sentence: &str) {
    let panic = suite.await.expect_err("the flaw is found").into_panic();
    let message = words(&*panic).to_owned();
    assert!(message.contains(sentence), "{flaw:?}: {message}");
}

/// What is wrong with a [`FlawedCipher`].
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flaw {
    CutsLongTexts,
    ForgetsGeneration,
    IgnoresLastByte,
    IgnoresVersion,
    LosesSessions,
    NamesAnotherKey,
    None,
    SealsTheSame,
    ShowsPlaintext,
    TriesEveryKey,
}

/// The default cipher with one flaw.
struct FlawedCipher {
    inner: Aes256Gcm,
    flaw: Flaw,
    sealed_before: Mutex<Vec<(Vec<u8>, SealedToken)>>,
    sessions: Semaphore,
}

fn flawed(inner: Aes256Gcm, flaw: Flaw) -> FlawedCipher {
    FlawedCipher {
        inner,
        flaw,
        sealed_before: Mutex::default(),
        sessions: Semaphore::new(4),
    }
}

impl FlawedCipher {
    fn context(&self, context: &SealContext) -> SealContext {
        let mut context = *context;
        if self.flaw == Flaw::ForgetsGeneration {
            context.generation = Generation::FIRST;
        }
        context
    }

    /// Takes a session, and gives it back only if the future is not dropped meanwhile.
    async fn use_session(&self) {
        if self.flaw == Flaw::LosesSessions {
            self.sessions.acquire().await.unwrap().forget();
            tokio::task::yield_now().await;
            self.sessions.add_permits(1);
        }
    }

    async fn open_any(
        &self,
        context: &SealContext,
        candidates: Vec<Vec<u8>>,
    ) -> Result<SecretSlice<u8>, CipherError> {
        for candidate in candidates {
            let candidate = SealedToken::from_bytes(candidate);
            if let Ok(opened) = self.inner.open(context, &candidate).await {
                return Ok(opened);
            }
        }
        Err(CipherError::opaque())
    }
}

impl Cipher for FlawedCipher {
    async fn seal(
        &self,
        context: &SealContext,
        plaintext: &[u8],
    ) -> Result<SealedToken, CipherError> {
        self.use_session().await;
        let context = self.context(context);
        let kept = match self.flaw {
            Flaw::CutsLongTexts => &plaintext[..plaintext.len().min(4095)],
            _ => plaintext,
        };
        let sealed = self.inner.seal(&context, kept).await?;
        match self.flaw {
            Flaw::SealsTheSame => {
                let mut before = self.sealed_before.lock().unwrap();
                let same = before.iter().find(|(text, _)| text == plaintext);
                if let Some((_, sealed)) = same {
                    return Ok(sealed.clone());
                }
                before.push((plaintext.to_vec(), sealed.clone()));
                Ok(sealed)
            }
            Flaw::ShowsPlaintext => {
                let length = (plaintext.len() as u16).to_be_bytes();
                let shown = [&length, plaintext, sealed.as_bytes()].concat();
                Ok(SealedToken::from_bytes(shown))
            }
            _ => Ok(sealed),
        }
    }

    async fn open(
        &self,
        context: &SealContext,
        sealed: &SealedToken,
    ) -> Result<SecretSlice<u8>, CipherError> {
        self.use_session().await;
        let context = self.context(context);
        let bytes = sealed.as_bytes().to_vec();
        let candidates = match self.flaw {
            Flaw::IgnoresLastByte => {
                let shorter = bytes[..bytes.len().saturating_sub(1)].to_vec();
                vec![bytes, shorter]
            }
            Flaw::IgnoresVersion => {
                let mut repaired = bytes;
                if let Some(version) = repaired.first_mut() {
                    *version = 1;
                }
                vec![repaired]
            }
            Flaw::ShowsPlaintext => {
                let length = bytes
                    .first_chunk()
                    .map_or(0, |length| u16::from_be_bytes(*length));
                let rest = bytes.get(2 + usize::from(length)..).unwrap_or_default();
                vec![rest.to_vec()]
            }
            Flaw::TriesEveryKey if bytes.len() > envelope::HEADER_LENGTH => {
                let with_id = |key: SealKey| {
                    let mut bytes = bytes.clone();
                    bytes[2..10].copy_from_slice(key.id().as_str().as_bytes());
                    bytes
                };
                keys().map(with_id).to_vec()
            }
            _ => vec![bytes],
        };
        self.open_any(&context, candidates).await
    }

    fn primary_key(&self) -> KeyId {
        match self.flaw {
            Flaw::NamesAnotherKey => "mzxw6ytb".parse().unwrap(),
            _ => self.inner.primary_key(),
        }
    }
}
