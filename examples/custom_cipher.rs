//! A cipher of one's own: tokens are sealed by a hardware module, over PKCS#11, and the key never leaves it.
//!
//! The module does the encryption: AES-256-GCM (`CKM_AES_GCM`) under a key for each row, which it derives from a
//! seal key (`CKM_AES_CBC_ENCRYPT_DATA`). Both are sensitive and not extractable, and the seal key can do nothing but
//! derive. Whoever steals the database and this machine's disk has nothing that opens a token; whoever has the
//! PIN and reaches the module can let it open them, for as long as it is reached.
//!
//! Run with, on SoftHSM2, which is a module in software to try it out:
//! ```text
//! apt-get install softhsm2
//! export SOFTHSM2_CONF=$(mktemp -d)/softhsm2.conf
//! echo "directories.tokendir = $(dirname $SOFTHSM2_CONF)" > $SOFTHSM2_CONF
//! softhsm2-util --init-token --free --label wst     # asks for two PINs: the second is the user's
//! read -rs WST_HSM_PIN && export WST_HSM_PIN        # or WST_HSM_PIN_FILE, a file that holds it
//! cargo run --example custom_cipher --features axum,test-util
//! ```
//! It prints a token; then, in another terminal:
//! ```text
//! TOKEN=…
//! curl -i http://127.0.0.1:3040/w/acme/notes                                    # 401, says what to do
//! curl -i http://127.0.0.1:3040/w/acme/notes -H "Authorization: Bearer $TOKEN"  # 200
//! curl -i http://127.0.0.1:3040/w/other/notes -H "Authorization: Bearer $TOKEN" # 401, another workspace
//! ```
//! Enter makes a new seal key in the module and seals the row anew; the token stays what it is. `-- --check` runs the
//! library's conformance suite on a fresh token in the directory that `SOFTHSM2_CONF` names.
//! `WST_HSM_MODULE` is the module's library, and `WST_HSM_TOKEN` the label of the token in it, `wst` by default.

use std::{
    env,
    error::Error,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, routing::get};
use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error as HsmError, RvError},
    mechanism::{Mechanism, aead::GcmParams, ekdf::AesCbcDeriveParams},
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::{Session, UserType},
    slot::Slot,
    types::AuthPin,
};
use sha2::{Digest as _, Sha256};
use tokio::{sync::Semaphore, time::timeout};
use tower_workspace_token::{
    Keys, MemoryStore, PathTemplate, TokenAuthority, TokenName, VerifiedToken, WorkspaceId,
    WorkspaceTokenLayer,
    authority::Rewrapped,
    cipher::{
        Cipher, CipherError, SealContext,
        envelope::{HEADER_LENGTH, Header, PRIVATE_ALGORITHMS},
        secrecy::SecretSlice,
    },
    id::KeyId,
    token::SealedToken,
};
use zeroize::Zeroizing;

/// The number of this cipher among those that the library leaves to others.
const ALGORITHM: u8 = *PRIVATE_ALGORITHMS.start();

/// Separates row keys from everything else that could be derived from a seal key.
const ROW_LABEL: &[u8] = b"custom_cipher v1 row";

/// What the seal keys are called in the module.
const KEY_LABEL: &[u8] = b"workspace token seal key";

const NONCE_LENGTH: usize = 12;
const TAG_LENGTH: usize = 16;

/// Zeros before the plaintext. GCM alone lets somebody who knows two keys make a ciphertext that opens under
/// both; 32 bytes that have to come out as zeros commit it to one.
const ZEROS: usize = 32;

/// How many sessions are open at once; a module allows so many and no more.
const SESSIONS: usize = 4;

/// How long a request waits for the module before it is answered with a 503.
const PATIENCE: Duration = Duration::from_secs(5);

/// Seals with the primary key of a hardware module, and opens with any seal key that the module holds.
///
/// What it seals:
///
/// | offset | length | field |
/// |---|---|---|
/// | 0 | 11 | [`Header`] with [`ALGORITHM`] |
/// | 11 | 12 | nonce |
/// | 23 | 32 + n | ciphertext of 32 zeros and the plaintext |
/// | 55 + n | 16 | tag |
///
/// Header and context are the additional data, and what the row key is derived from.
struct HsmCipher {
    hsm: Arc<Hsm>,
    primary: Mutex<KeyId>,
}

impl HsmCipher {
    fn new(hsm: Arc<Hsm>, primary: KeyId) -> Self {
        Self {
            hsm,
            primary: Mutex::new(primary),
        }
    }

    /// Seals with `key` from here on; the former primary key goes on to open.
    fn promote(&self, key: KeyId) {
        *locked(&self.primary) = key;
    }
}

impl Cipher for HsmCipher {
    async fn seal(
        &self,
        context: &SealContext,
        plaintext: &[u8],
    ) -> Result<SealedToken, CipherError> {
        let header = Header::new(ALGORITHM, self.primary_key(), plaintext);
        let bound = bound(&header.to_bytes(), context);
        // As long as it has to be from the start: a vector that grows leaves a copy behind.
        let mut padded = Zeroizing::new(vec![0; ZEROS + plaintext.len()]);
        padded[ZEROS..].copy_from_slice(plaintext);
        let seal = move |session: &Session| seal(session, header, &bound, &padded);
        self.hsm.run(seal).await
    }

    async fn open(
        &self,
        context: &SealContext,
        sealed: &SealedToken,
    ) -> Result<SecretSlice<u8>, CipherError> {
        // The header says which key; nothing is decrypted on trial.
        let header = Header::of(sealed).filter(|header| header.algorithm() == ALGORITHM);
        let header = header.ok_or_else(CipherError::opaque)?;
        let bound = bound(&header.to_bytes(), context);
        let rest = sealed.as_bytes()[HEADER_LENGTH..].to_vec();
        let open = move |session: &Session| open(session, header.key_id(), &bound, &rest);
        self.hsm.run(open).await
    }

    fn primary_key(&self) -> KeyId {
        *locked(&self.primary)
    }
}

fn bound(header: &[u8; HEADER_LENGTH], context: &SealContext) -> Vec<u8> {
    [&header[..], &context.to_bytes()].concat()
}

fn seal(
    session: &Session,
    header: Header,
    bound: &[u8],
    padded: &[u8],
) -> Result<SealedToken, CipherError> {
    let mut nonce = [0; NONCE_LENGTH];
    session.generate_random_slice(&mut nonce).map_err(failed)?;
    let row_key = RowKey::derive(session, header.key_id(), bound)?;
    let ciphertext = session
        .encrypt(&gcm(&mut nonce.clone(), bound)?, row_key.handle, padded)
        .map_err(failed)?;
    let bytes = [&header.to_bytes()[..], &nonce, &ciphertext].concat();
    Ok(SealedToken::from_bytes(bytes))
}

fn open(
    session: &Session,
    key_id: KeyId,
    bound: &[u8],
    rest: &[u8],
) -> Result<SecretSlice<u8>, CipherError> {
    let (mut nonce, ciphertext) = rest
        .split_first_chunk::<NONCE_LENGTH>()
        .filter(|(_, ciphertext)| ciphertext.len() >= ZEROS + TAG_LENGTH)
        .map(|(nonce, ciphertext)| (*nonce, ciphertext))
        .ok_or_else(CipherError::opaque)?;
    let row_key = RowKey::derive(session, key_id, bound)?;
    let padded = session
        .decrypt(&gcm(&mut nonce, bound)?, row_key.handle, ciphertext)
        .map(Zeroizing::new)
        .map_err(refused_or_failed)?;
    match padded.split_at_checked(ZEROS) {
        Some((zeros, plaintext)) if zeros.iter().all(|byte| *byte == 0) => {
            Ok(SecretSlice::from(plaintext.to_vec()))
        }
        _ => Err(CipherError::opaque()),
    }
}

fn gcm<'a>(
    nonce: &'a mut [u8; NONCE_LENGTH],
    bound: &'a [u8],
) -> Result<Mechanism<'a>, CipherError> {
    let tag_bits = (8 * TAG_LENGTH as u64).into();
    let parameters = GcmParams::new(nonce, bound, tag_bits).map_err(failed)?;
    Ok(Mechanism::AesGcm(parameters))
}

/// The key of one row, inside the module; destroyed there when this is dropped.
///
/// It seals one plaintext, or a few where a row is sealed anew, so that the bound of 2^32 random nonces under one key
/// (NIST SP 800-38D §8.3) is out of reach.
struct RowKey<'s> {
    session: &'s Session,
    handle: ObjectHandle,
}

impl<'s> RowKey<'s> {
    fn derive(session: &'s Session, seal_key: KeyId, bound: &[u8]) -> Result<Self, CipherError> {
        let seal_key = find_key(session, seal_key)?;
        // CBC over the two blocks of a digest: every context has another one, and none is chosen.
        let digest = Sha256::new().chain_update(ROW_LABEL).chain_update(bound);
        let digest = digest.finalize();
        let derivation = Mechanism::AesCbcEncryptData(AesCbcDeriveParams::new([0; 16], &digest));
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::ValueLen(32.into()),
            Attribute::Token(false),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
        ];
        let handle = session.derive_key(&derivation, seal_key, &template);
        handle
            .map(|handle| Self { session, handle })
            .map_err(failed)
    }
}

impl Drop for RowKey<'_> {
    fn drop(&mut self) {
        // If it fails, it goes with its session.
        let _already_gone = self.session.destroy_object(self.handle);
    }
}

/// Finds the one seal key of this id. Asked each time, so that a key which was destroyed is gone at once, and
/// one that another process made is there.
fn find_key(session: &Session, id: KeyId) -> Result<ObjectHandle, CipherError> {
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::Token(true),
        Attribute::Label(KEY_LABEL.to_vec()),
        Attribute::Id(id.as_str().as_bytes().to_vec()),
    ];
    match session.find_objects(&template).map_err(failed)?[..] {
        [key] => Ok(key),
        _ => Err(CipherError::opaque()),
    }
}

/// One token of a hardware module, and the sessions with it.
struct Hsm {
    pkcs11: Pkcs11,
    slot: Slot,
    pin: AuthPin,
    /// Set when the module refused the PIN: a few more attempts, and it would lock it.
    is_pin_refused: AtomicBool,
    idle: Mutex<Vec<Session>>,
    permits: Arc<Semaphore>,
}

impl Hsm {
    /// Logs in to the token labelled `label`, once, so that a wrong PIN is found at the start.
    fn open(pkcs11: Pkcs11, label: &str, pin: AuthPin) -> Result<Arc<Self>, Box<dyn Error>> {
        let mut found = None;
        for slot in pkcs11.get_slots_with_initialized_token()? {
            if pkcs11.get_token_info(slot)?.label() == label {
                found = Some(slot);
            }
        }
        let slot = found.ok_or_else(|| format!("the module has no token labelled {label}"))?;
        let hsm = Self {
            pkcs11,
            slot,
            pin,
            is_pin_refused: AtomicBool::new(false),
            idle: Mutex::default(),
            permits: Arc::new(Semaphore::new(SESSIONS)),
        };
        let session = hsm.session()?;
        locked(&hsm.idle).push(session);
        Ok(Arc::new(hsm))
    }

    /// Runs `job` in a session, on a thread that may wait: PKCS#11 knows no other way.
    ///
    /// A caller that goes away leaves nothing half-done: the session comes back when the job is done.
    async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        job: impl FnOnce(&Session) -> Result<T, CipherError> + Send + 'static,
    ) -> Result<T, CipherError> {
        let hsm = Arc::clone(self);
        let answer = async {
            let permit = Arc::clone(&hsm.permits).acquire_owned().await;
            let permit = permit.map_err(CipherError::with_source)?;
            let job = tokio::task::spawn_blocking(move || {
                let _permit = permit;
                hsm.run_now(job)
            });
            job.await.map_err(CipherError::with_source)?
        };
        let answer = timeout(PATIENCE, answer).await;
        answer.map_err(|_| CipherError::with_source("the hardware module does not answer"))?
    }

    fn run_now<T>(
        &self,
        job: impl FnOnce(&Session) -> Result<T, CipherError>,
    ) -> Result<T, CipherError> {
        let idle = locked(&self.idle).pop();
        let session = idle.map_or_else(|| self.session(), Ok)?;
        let answer = job(&session);
        // Nobody knows what state a session is in that has failed, so it is closed, and the next one is new.
        if answer.is_ok() {
            locked(&self.idle).push(session);
        }
        answer
    }

    /// Opens a session for work with keys.
    fn session(&self) -> Result<Session, CipherError> {
        if self.is_pin_refused.load(Ordering::Relaxed) {
            return Err(CipherError::with_source("the module has refused the PIN"));
        }
        let session = self.pkcs11.open_ro_session(self.slot).map_err(failed)?;
        self.log_in(&session).map_err(failed)?;
        Ok(session)
    }

    /// Logs in if no other session of this process has. Each session asks: the login ends with the last one that is
    /// closed, be it for a failure.
    fn log_in(&self, session: &Session) -> Result<(), HsmError> {
        match session.login(UserType::User, Some(&self.pin)) {
            Ok(()) | Err(HsmError::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(error) => {
                if matches!(
                    error,
                    HsmError::Pkcs11(RvError::PinIncorrect | RvError::PinLocked, _)
                ) {
                    self.is_pin_refused.store(true, Ordering::Relaxed);
                }
                Err(error)
            }
        }
    }

    /// Makes a seal key in the module, which is all that it is ever used for.
    fn generate_key(&self) -> Result<KeyId, HsmError> {
        let session = self.pkcs11.open_rw_session(self.slot)?;
        self.log_in(&session)?;
        let mut digest = [0; 5];
        session.generate_random_slice(&mut digest)?;
        let id = KeyId::from_digest(&digest);
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::ValueLen(32.into()),
            Attribute::Label(KEY_LABEL.to_vec()),
            Attribute::Id(id.as_str().as_bytes().to_vec()),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Modifiable(false),
            Attribute::Derive(true),
            Attribute::Encrypt(false),
            Attribute::Decrypt(false),
            Attribute::Wrap(false),
            Attribute::Unwrap(false),
        ];
        session.generate_key(&Mechanism::AesKeyGen, &template)?;
        Ok(id)
    }

    /// Returns the ids of all seal keys in the module.
    fn key_ids(&self) -> Result<Vec<KeyId>, HsmError> {
        let session = self.pkcs11.open_ro_session(self.slot)?;
        self.log_in(&session)?;
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::Token(true),
            Attribute::Label(KEY_LABEL.to_vec()),
        ];
        let mut ids = Vec::new();
        for key in session.find_objects(&template)? {
            for attribute in session.get_attributes(key, &[AttributeType::Id])? {
                if let Attribute::Id(id) = attribute {
                    ids.extend(
                        str::from_utf8(&id)
                            .ok()
                            .and_then(|id| id.parse::<KeyId>().ok()),
                    );
                }
            }
        }
        Ok(ids)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code panics while it holds one of these locks half-way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For operators: the codes of PKCS#11 hold no secret.
fn failed(error: HsmError) -> CipherError {
    CipherError::with_source(error)
}

/// Sorts an error of a decryption: a ciphertext that is refused says nothing more, whatever was wrong with it.
fn refused_or_failed(error: HsmError) -> CipherError {
    match error {
        HsmError::Pkcs11(
            // What modules say of a wrong tag; SoftHSM2 calls it a general error.
            RvError::EncryptedDataInvalid | RvError::EncryptedDataLenRange | RvError::GeneralError,
            _,
        ) => CipherError::opaque(),
        error => failed(error),
    }
}

async fn notes(token: VerifiedToken) -> String {
    format!("notes of {}\n", token.workspace())
}

fn app(authority: &TokenAuthority) -> Router {
    let workspace_of = PathTemplate::new("/w/{workspace}/notes");
    let layer = WorkspaceTokenLayer::new(authority.clone(), workspace_of);
    Router::new()
        .route("/w/{workspace}/notes", get(notes))
        .layer(layer)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    if env::args_os().any(|argument| argument == "--check") {
        return check::run().await;
    }
    let label = env::var("WST_HSM_TOKEN").unwrap_or_else(|_| "wst".into());
    let hsm = Hsm::open(load_module()?, &label, read_pin()?)?;
    let primary = match hsm.key_ids()?.as_slice() {
        [] => hsm.generate_key()?,
        // An application of more than one process would keep the choice in its configuration.
        [.., last] => *last,
    };
    eprintln!("sealing with {primary}");
    let cipher = Arc::new(HsmCipher::new(Arc::clone(&hsm), primary));

    // --- what an app adds: one line more than with the default cipher ---
    let authority = TokenAuthority::builder(MemoryStore::new(), Keys::generate()?)
        .cipher(Arc::clone(&cipher))
        .build()?;
    // --- and that is all ---

    let workspace = "acme".parse()?;
    let issued = authority.issue(&workspace, &TokenName::primary()).await?;
    eprintln!("TOKEN={}", issued.expose_secret());
    change_key_on_enter(authority.clone(), workspace, cipher);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3040").await?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app(&authority)).await?;
    Ok(())
}

fn change_key_on_enter(authority: TokenAuthority, workspace: WorkspaceId, cipher: Arc<HsmCipher>) {
    let runtime = tokio::runtime::Handle::current();
    std::thread::spawn(move || {
        for _line in io::stdin().lines().map_while(Result::ok) {
            match runtime.block_on(change_key(&authority, &workspace, &cipher)) {
                Ok(key) => eprintln!("sealed anew with {key}; the former key can be destroyed"),
                Err(error) => eprintln!("not sealed anew: {error}"),
            }
        }
    });
}

/// Makes a key, promotes it, and seals every row anew; here there is one.
async fn change_key(
    authority: &TokenAuthority,
    workspace: &WorkspaceId,
    cipher: &HsmCipher,
) -> Result<KeyId, Box<dyn Error>> {
    let hsm = Arc::clone(&cipher.hsm);
    let key = tokio::task::spawn_blocking(move || hsm.generate_key()).await??;
    cipher.promote(key);
    authority.rewrap(workspace, &TokenName::primary()).await?;
    Ok(key)
}

/// Loads the module's library and starts it.
fn load_module() -> Result<Pkcs11, Box<dyn Error>> {
    let path = module_path().ok_or("no module: install softhsm2, or name one in WST_HSM_MODULE")?;
    let pkcs11 = Pkcs11::new(path)?;
    pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))?;
    Ok(pkcs11)
}

fn module_path() -> Option<PathBuf> {
    const SOFTHSM2: [&str; 4] = [
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib64/softhsm/libsofthsm2.so",
        "/usr/local/lib/softhsm/libsofthsm2.so",
        "/opt/homebrew/lib/softhsm/libsofthsm2.so",
    ];
    let named = env::var_os("WST_HSM_MODULE").map(PathBuf::from);
    let installed = SOFTHSM2.iter().map(Path::new).find(|path| path.exists());
    named.or_else(|| installed.map(Path::to_owned))
}

/// Reads the PIN from the environment or a file: what stands in arguments, every process can read.
fn read_pin() -> Result<AuthPin, Box<dyn Error>> {
    let pin = match (env::var("WST_HSM_PIN"), env::var("WST_HSM_PIN_FILE")) {
        (Ok(pin), _) => Zeroizing::new(pin),
        (_, Ok(path)) => Zeroizing::new(fs::read_to_string(path)?),
        _ => {
            return Err(
                "give the user's PIN in WST_HSM_PIN, or its file in WST_HSM_PIN_FILE".into(),
            );
        }
    };
    Ok(AuthPin::from(pin.trim_end_matches(['\r', '\n'])))
}

/// What `--check` proves: the library's suite, and what is this cipher's own.
mod check {
    use std::sync::atomic::AtomicUsize;

    use axum::{body::Body, http::Request};
    use tokio::task::JoinSet;
    use tower::ServiceExt as _;
    use tower_workspace_token::{
        cipher::conformance,
        id::{Generation, SlotKey},
    };

    use super::*;

    type Checked = Result<(), Box<dyn Error>>;

    pub(super) async fn run() -> Checked {
        if module_path().is_none() {
            println!("skipped: softhsm2 is not installed, and WST_HSM_MODULE names no module");
            return Ok(());
        }
        if env::var_os("SOFTHSM2_CONF").is_none() {
            println!(
                "skipped: SOFTHSM2_CONF is not set: a check makes tokens in no place but its own"
            );
            return Ok(());
        }
        let pkcs11 = load_module()?;
        let hsm = fresh_token(&pkcs11, "wst-check")?;
        let old = hsm.generate_key()?;
        conformance::run(|| async { HsmCipher::new(Arc::clone(&hsm), old) }).await;
        println!("the cipher keeps the contract");

        let new = hsm.generate_key()?;
        let before = HsmCipher::new(Arc::clone(&hsm), old);
        let after = HsmCipher::new(Arc::clone(&hsm), new);
        let retire = || async {
            destroy(&hsm, old).expect("the key is there");
            HsmCipher::new(Arc::clone(&hsm), new)
        };
        conformance::run_rotation(before, after, retire).await;
        println!("it keeps it while its key is changed");

        the_keys_stay_in_the_module(&hsm, new)?;
        what_does_not_open_to_zeros_is_refused(&hsm, new)?;
        another_key_under_the_same_id_opens_nothing(&hsm).await?;
        no_more_sessions_are_used_than_there_may_be(&hsm).await?;
        a_wrong_pin_is_tried_once(&pkcs11)?;
        a_token_outlives_the_key_that_sealed_it(hsm).await?;
        println!("the key stays in the module, the sessions are bounded, and an app serves on it");
        Ok(())
    }

    /// Initializes a token of the module and logs in to it.
    fn fresh_token(pkcs11: &Pkcs11, label: &str) -> Result<Arc<Hsm>, Box<dyn Error>> {
        let slots = pkcs11.get_slots_with_token()?;
        // SoftHSM2 has one token more than are initialized: the next one.
        let slot = *slots.last().ok_or("the module has no slot")?;
        let pin = || AuthPin::from("only for this check");
        pkcs11.init_token(slot, &pin(), label)?;
        let session = pkcs11.open_rw_session(slot)?;
        session.login(UserType::So, Some(&pin()))?;
        session.init_pin(&pin())?;
        session.close()?;
        Hsm::open(pkcs11.clone(), label, pin())
    }

    fn destroy(hsm: &Hsm, id: KeyId) -> Checked {
        let session = hsm.pkcs11.open_rw_session(hsm.slot)?;
        hsm.log_in(&session)?;
        Ok(session.destroy_object(find_key(&session, id)?)?)
    }

    fn context() -> Result<SealContext, Box<dyn Error>> {
        Ok(SealContext {
            key: SlotKey::new("acme".parse()?, TokenName::primary()),
            token_id: "mzxw6ytbmzxw6ytb".parse()?,
            generation: Generation::FIRST,
        })
    }

    fn the_keys_stay_in_the_module(hsm: &Hsm, id: KeyId) -> Checked {
        let session = hsm.session()?;
        let seal_key = find_key(&session, id)?;
        let row_key = RowKey::derive(&session, id, b"a row")?;
        for (what, key) in [("seal key", seal_key), ("row key", row_key.handle)] {
            let attributes = session
                .get_attributes(key, &[AttributeType::Sensitive, AttributeType::Extractable])?;
            assert_eq!(
                attributes,
                [Attribute::Sensitive(true), Attribute::Extractable(false)],
                "the {what}"
            );
            let value = session.get_attributes(key, &[AttributeType::Value]);
            assert!(
                !matches!(value.as_deref(), Ok([Attribute::Value(_), ..])),
                "the {what} can be read"
            );
        }
        let encrypted = session.encrypt(&gcm(&mut [0; NONCE_LENGTH], b"")?, seal_key, b"text");
        assert!(encrypted.is_err(), "the seal key does more than derive");
        Ok(())
    }

    /// A right tag alone is not enough: a key that is committed to leaves the zeros as they are.
    fn what_does_not_open_to_zeros_is_refused(hsm: &Hsm, id: KeyId) -> Checked {
        let session = hsm.session()?;
        let nonce = [7; NONCE_LENGTH];
        for wrong in [None, Some(0), Some(ZEROS - 1)] {
            let mut padded = [&[0; ZEROS][..], b"a token"].concat();
            if let Some(position) = wrong {
                padded[position] = 1;
            }
            let row_key = RowKey::derive(&session, id, b"a row")?;
            let ciphertext =
                session.encrypt(&gcm(&mut nonce.clone(), b"a row")?, row_key.handle, &padded)?;
            let opened = open(&session, id, b"a row", &[&nonce[..], &ciphertext].concat());
            assert_eq!(opened.is_ok(), wrong.is_none(), "{wrong:?}");
        }
        Ok(())
    }

    /// As by somebody who may write to the module, but does not know its keys.
    async fn another_key_under_the_same_id_opens_nothing(hsm: &Arc<Hsm>) -> Checked {
        let id = hsm.generate_key()?;
        let cipher = HsmCipher::new(Arc::clone(hsm), id);
        let sealed = cipher.seal(&context()?, b"a token").await?;
        let twin = |id: KeyId| -> Checked {
            let session = hsm.pkcs11.open_rw_session(hsm.slot)?;
            hsm.log_in(&session)?;
            let template = [
                Attribute::Class(ObjectClass::SECRET_KEY),
                Attribute::ValueLen(32.into()),
                Attribute::Label(KEY_LABEL.to_vec()),
                Attribute::Id(id.as_str().as_bytes().to_vec()),
                Attribute::Token(true),
                Attribute::Derive(true),
            ];
            session.generate_key(&Mechanism::AesKeyGen, &template)?;
            Ok(())
        };
        twin(id)?;
        assert!(
            cipher.open(&context()?, &sealed).await.is_err(),
            "two keys of one id"
        );
        assert!(cipher.seal(&context()?, b"a token").await.is_err());

        let session = hsm.pkcs11.open_rw_session(hsm.slot)?;
        hsm.log_in(&session)?;
        let template = [Attribute::Id(id.as_str().as_bytes().to_vec())];
        for key in session.find_objects(&template)? {
            session.destroy_object(key)?;
        }
        assert!(
            cipher.open(&context()?, &sealed).await.is_err(),
            "no key of this id"
        );
        twin(id)?;
        assert!(
            cipher.open(&context()?, &sealed).await.is_err(),
            "another key of this id"
        );
        Ok(())
    }

    async fn no_more_sessions_are_used_than_there_may_be(hsm: &Arc<Hsm>) -> Checked {
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut tasks = JoinSet::new();
        for task in 0..64 {
            let (hsm, running, most) = (Arc::clone(hsm), Arc::clone(&running), Arc::clone(&most));
            tasks.spawn(async move {
                let job = move |session: &Session| {
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    let random = session.generate_random_vec(16).map_err(failed);
                    running.fetch_sub(1, Ordering::SeqCst);
                    // Every other one fails, upon which its session is closed.
                    random.and_then(|_| {
                        if task % 2 == 0 {
                            Ok(())
                        } else {
                            Err(CipherError::opaque())
                        }
                    })
                };
                assert_eq!(hsm.run(job).await.is_ok(), task % 2 == 0);
            });
        }
        tasks.join_all().await;
        let most = most.load(Ordering::SeqCst);
        assert!(most <= SESSIONS, "{most} sessions were used at once");
        assert!(locked(&hsm.idle).len() <= SESSIONS);
        Ok(())
    }

    fn a_wrong_pin_is_tried_once(pkcs11: &Pkcs11) -> Checked {
        let hsm = fresh_token(pkcs11, "wst-check-pin")?;
        let slot = hsm.slot;
        // The sessions end, and with them the login.
        drop(hsm);
        let wrong = Hsm {
            pkcs11: pkcs11.clone(),
            slot,
            pin: AuthPin::from("another PIN"),
            is_pin_refused: AtomicBool::new(false),
            idle: Mutex::default(),
            permits: Arc::new(Semaphore::new(SESSIONS)),
        };
        let says = |error: CipherError| error.source().map(ToString::to_string);
        let first = wrong.session().map(drop).map_err(says);
        assert!(first.is_err(), "logged in with a wrong PIN");
        let second = wrong.session().map(drop).map_err(says);
        assert_eq!(second, Err(Some("the module has refused the PIN".into())));
        Ok(())
    }

    async fn a_token_outlives_the_key_that_sealed_it(hsm: Arc<Hsm>) -> Checked {
        let old = hsm.generate_key()?;
        let cipher = Arc::new(HsmCipher::new(Arc::clone(&hsm), old));
        let (store, keys) = (MemoryStore::new(), Keys::generate()?);
        // A new one each time remembers no token, so that the row has to be opened.
        let authority = || {
            let builder = TokenAuthority::builder(store.clone(), keys.clone());
            builder.cipher(Arc::clone(&cipher)).build()
        };
        let workspace: WorkspaceId = "acme".parse()?;
        let issued = authority()?
            .issue(&workspace, &TokenName::primary())
            .await?;
        let token = issued.expose_secret();
        assert_eq!(status(&authority()?, token).await?, 200);

        let new = change_key(&authority()?, &workspace, &cipher).await?;
        let name = TokenName::primary();
        let again = authority()?.rewrap(&workspace, &name).await?;
        assert_eq!(again, Rewrapped::AlreadyCurrent);
        let needed = authority()?.token_keys(&workspace, &name).await?;
        assert_eq!(needed.and_then(|keys| keys.sealing), Some(new));
        destroy(&hsm, old)?;
        assert_eq!(status(&authority()?, token).await?, 200);

        // Without any key: not "probably fine", and not "your token is wrong" either.
        destroy(&hsm, new)?;
        assert_eq!(status(&authority()?, token).await?, 503);
        Ok(())
    }

    async fn status(authority: &TokenAuthority, token: &str) -> Result<u16, Box<dyn Error>> {
        let request = Request::get("/w/acme/notes")
            .header("host", "example.com")
            .header("authorization", format!("Bearer {token}"))
            .body(Body::empty())?;
        Ok(app(authority).oneshot(request).await?.status().as_u16())
    }
}
