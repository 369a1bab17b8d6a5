//! The authority: issues, verifies, rotates and revokes workspace tokens.
//!
//! There is one per process and store. It remembers a live cell per slot, and every check ends with a
//! look at that cell, so that a rotation is obeyed by the next request, by running calls and by open streams.

pub(crate) mod access;
mod at_rest;
mod guard;
mod housekeeping;
mod issue;
mod key_files;
mod keys;
mod lease;
pub(crate) mod liveness;
mod others;
pub(crate) mod polls;
mod pool;
mod read_mostly;
mod rotate;
#[cfg(feature = "session")]
pub(crate) mod sessions;
mod slots;
mod verify;

use std::{
    fmt,
    sync::{
        Arc, OnceLock, PoisonError, RwLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{
    cipher::{Aes256Gcm, Cipher, CipherError, ErasedCipher, KeyRing, Profile, SealKey},
    clock::{Clock, Moment, SystemClock, Timestamp},
    error::Error,
    id::{Generation, KeyId, SlotKey, TokenId, TokenName, WorkspaceId},
    jwt::{Codec, SigningKey, TagKey, TokenKind},
    store::{
        ChangeObserver, ErasedStore, Freshness, HistoryEvent, ObserveChanges, StoreError,
        TokenRecord, TokenStore,
    },
    token::AccessTokenLife,
};

pub use guard::Guarded;
pub use key_files::{KeyFileError, KeyFileErrorKind};
pub use keys::{Rewrapped, TokenKeys};
pub use lease::{Lease, LeaseEnded, VerifiedToken};
pub use others::{Others, Wait};
pub use rotate::{EndedUses, RevocationReceipt, RotationReceipt};
use slots::SlotTable;
pub(crate) use verify::{PendingCheck, Verdict};

/// How long memory is trusted when the store reports nothing and no other bound was set.
const DEFAULT_MAX_STALENESS: Duration = Duration::from_secs(1);

/// How far in the future `iat` may lie: clocks of several nodes differ.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// Issues, verifies, rotates and revokes workspace tokens. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct TokenAuthority {
    inner: Arc<Inner>,
    note: Note,
    wait: Wait,
}

/// The two key rings of an authority.
///
/// [`Keys::generate`] is for trying things out: tokens outlive the process only if their keys do. Keep
/// 32 random bytes for each ring in a file of mode 0600, or in your secret store, and apart from the database:
/// ```
/// use tower_workspace_token::Keys;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = std::env::temp_dir().join(format!("keys-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # for name in ["signing", "sealing"] {
/// #     std::fs::write(folder.join(name), [name.len() as u8; 32])?;
/// #     #[cfg(unix)]
/// #     std::fs::set_permissions(folder.join(name), std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
/// # }
/// // Made once, in there: umask 077; for ring in signing sealing; do head -c 32 /dev/urandom > $ring; done
/// let keys = Keys::read_dir(&folder)?;
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok(())
/// # }
/// ```
/// From elsewhere, give the bytes to [`SigningKey::from_bytes`] and [`SealKey::from_bytes`].
///
/// With other keys than those it was issued under, every token is refused: compare
/// [`TokenAuthority::signing_key_ids`] and [`TokenAuthority::sealing_key_id`] with what you noted when the
/// database was made; or ask [`TokenAuthority::token_keys`] of a live token, which fails, or names no signing key,
/// where the keys are not those of the database.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The keys that tokens are signed with.
    pub signing: KeyRing<SigningKey>,
    /// The keys that tokens are sealed with at rest.
    pub sealing: KeyRing<SealKey>,
}

/// Sets up a [`TokenAuthority`].
#[must_use = "call `build`"]
pub struct TokenAuthorityBuilder {
    store: Box<dyn ErasedStore>,
    sealing: KeyRing<SealKey>,
    own_cipher: Option<Arc<dyn ErasedCipher>>,
    signing: KeyRing<SigningKey>,
    profile: Profile,
    clock: Arc<dyn Clock>,
    max_staleness: Duration,
    access_token_life: AccessTokenLife,
}

/// What a list of tokens shows of one slot: everything but the token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenSummary {
    /// The name of the slot.
    pub name: TokenName,
    /// The public id of the token; of the last one, if it was revoked.
    pub id: TokenId,
    /// The generation that the slot has reached.
    pub generation: Generation,
    /// Whether the token can be used.
    pub state: TokenState,
    /// When this generation began.
    pub changed_at: Timestamp,
    /// When the token was last used, to within a few seconds.
    pub last_used_at: Option<Timestamp>,
}

/// Whether a token can be used. Complete: a new state would be a breaking change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenState {
    /// It is the current token of its slot.
    Active,
    /// It was revoked and has no successor.
    Revoked,
}

/// Who acts, and why: goes into the history.
#[derive(Clone, Debug, Default)]
struct Note {
    actor: Option<Arc<str>>,
    reason: Option<Arc<str>>,
}

pub(crate) struct Inner {
    pub(crate) clock: Arc<dyn Clock>,
    store: Box<dyn ErasedStore>,
    cipher: RwLock<Arc<dyn ErasedCipher>>,
    /// The application's own cipher, which keeps keys of its own.
    has_own_cipher: bool,
    profile: Profile,
    workspace_tokens: Codec,
    access: access::AccessTokens,
    #[cfg(feature = "session")]
    pub(crate) sessions: sessions::SessionRegistry,
    memory: Arc<Memory>,
    freshness: Freshness,
    max_staleness: Duration,
    housekeeping: OnceLock<()>,
}

/// What is remembered of the store, and how far it may be trusted. Apart from [`Inner`], since the
/// store reports to it and must not keep the store alive.
#[derive(Debug)]
struct Memory {
    tag_key: TagKey,
    slots: SlotTable,
    /// Up to when the store's reports are complete: nanoseconds of the monotonic clock, plus one; 0 = never.
    confirmed: AtomicU64,
}

impl TokenAuthority {
    /// Starts to set up an authority over `store` with `keys`.
    pub fn builder(store: impl TokenStore, keys: Keys) -> TokenAuthorityBuilder {
        TokenAuthorityBuilder {
            store: Box::new(store),
            sealing: keys.sealing,
            own_cipher: None,
            signing: keys.signing,
            profile: Profile::default(),
            clock: Arc::new(SystemClock),
            max_staleness: DEFAULT_MAX_STALENESS,
            access_token_life: AccessTokenLife::default(),
        }
    }

    /// Returns an authority that notes `actor` in the history of what it does.
    pub fn with_actor(&self, actor: impl Into<Arc<str>>) -> Self {
        let note = Note {
            actor: Some(actor.into()),
            ..self.note.clone()
        };
        Self {
            note,
            ..self.clone()
        }
    }

    /// Returns an authority that notes `reason` in the history of what it does.
    pub fn with_reason(&self, reason: impl Into<Arc<str>>) -> Self {
        let note = Note {
            reason: Some(reason.into()),
            ..self.note.clone()
        };
        Self {
            note,
            ..self.clone()
        }
    }

    /// Returns an authority whose rotations and revocations wait as `wait` says; [`Wait::AllNodes`] unless it is called.
    pub fn with_wait(&self, wait: Wait) -> Self {
        Self {
            wait,
            ..self.clone()
        }
    }

    /// Returns the slots of `workspace`, revoked ones included, ordered by name.
    ///
    /// # Errors
    /// The store failed.
    pub async fn list(&self, workspace: &WorkspaceId) -> Result<Vec<TokenSummary>, Error> {
        self.inner.flush_uses().await;
        let records = self.inner.store.list(workspace).await?;
        records
            .iter()
            .for_each(|record| self.inner.note_seen(record));
        Ok(records.iter().map(TokenSummary::from_record).collect())
    }

    /// Returns what happened to a slot, oldest first.
    ///
    /// # Errors
    /// The store failed.
    pub async fn history(
        &self,
        workspace: &WorkspaceId,
        name: &TokenName,
    ) -> Result<Vec<HistoryEvent>, Error> {
        Ok(self
            .inner
            .store
            .history(&SlotKey::new(*workspace, *name))
            .await?)
    }

    /// Returns the ids of the signing keys, the one that signs first.
    pub fn signing_key_ids(&self) -> Vec<KeyId> {
        self.inner.workspace_tokens.key_ids()
    }

    /// Returns the id of the key that tokens are sealed with now.
    pub fn sealing_key_id(&self) -> KeyId {
        self.inner.cipher().primary_key()
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }
}

impl TokenAuthorityBuilder {
    /// Seals with `cipher` in place of AES-256-GCM under the sealing keys, which are not used then.
    pub fn cipher(mut self, cipher: impl Cipher) -> Self {
        self.own_cipher = Some(Arc::new(cipher));
        self
    }

    /// Chooses what of a token is sealed at rest. Defaults to [`Profile::Token`].
    ///
    /// Rows of either profile are accepted all along; [`TokenAuthority::rewrap`] brings those of
    /// [`Profile::Token`] to [`Profile::SignatureDigest`] if that is chosen, and there is no way back but a
    /// rotation.
    ///
    /// # Security
    /// With [`Profile::SignatureDigest`], nobody reads a workspace token out of the database, whatever keys they have;
    /// with both key rings and the row, they can make access tokens, each for an hour at most, until it is rotated. A
    /// check takes as long, and proves as much: the MAC covers the whole token, and the digest the MAC.
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// Takes the time from `clock` in place of the operating system's.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Bounds how long a change by another process may go unnoticed if the store reports none.
    ///
    /// Defaults to one second. A store that reports changes brings a bound of its own, and this is
    /// then the upper limit of it.
    pub fn max_staleness(mut self, max_staleness: Duration) -> Self {
        self.max_staleness = max_staleness;
        self
    }

    /// Chooses how long access tokens let in; see [`exchange`](TokenAuthority::exchange). Defaults to 15 minutes.
    ///
    /// What one has begun ends 60 seconds after it has expired, and with the workspace token at once.
    pub fn access_token_life(mut self, life: AccessTokenLife) -> Self {
        self.access_token_life = life;
        self
    }

    /// Builds the authority and begins to watch the store.
    ///
    /// # Errors
    /// The operating system gave no randomness.
    pub fn build(self) -> Result<TokenAuthority, CipherError> {
        let memory = Arc::new(Memory {
            tag_key: TagKey::generate()?,
            slots: SlotTable::default(),
            confirmed: AtomicU64::new(0),
        });
        let target: Weak<dyn ObserveChanges> = Arc::downgrade(&memory) as _;
        let freshness = self.store.watch(ChangeObserver::new(target));
        let has_own_cipher = self.own_cipher.is_some();
        let cipher = match self.own_cipher {
            Some(cipher) => cipher,
            None => Arc::new(Aes256Gcm::new(self.sealing)),
        };
        let inner = Inner {
            clock: self.clock,
            store: self.store,
            cipher: RwLock::new(cipher),
            has_own_cipher,
            profile: self.profile,
            workspace_tokens: Codec::new(TokenKind::Workspace, &self.signing),
            access: access::AccessTokens::new(
                Codec::new(TokenKind::Access, &self.signing),
                self.access_token_life,
            ),
            #[cfg(feature = "session")]
            sessions: sessions::SessionRegistry::new(Codec::new(TokenKind::Session, &self.signing)),
            memory,
            freshness,
            max_staleness: self.max_staleness,
            housekeeping: OnceLock::new(),
        };
        Ok(TokenAuthority {
            inner: Arc::new(inner),
            note: Note::default(),
            wait: Wait::default(),
        })
    }
}

impl Keys {
    /// Makes a new key for each ring.
    ///
    /// # Errors
    /// The operating system gave no randomness.
    pub fn generate() -> Result<Self, CipherError> {
        Ok(Self {
            signing: KeyRing::new(SigningKey::generate()?),
            sealing: KeyRing::new(SealKey::generate()?),
        })
    }
}

impl TokenSummary {
    fn from_record(record: &TokenRecord) -> Self {
        Self {
            name: record.key.name,
            id: record.token_id,
            generation: record.generation,
            state: if record.is_live() {
                TokenState::Active
            } else {
                TokenState::Revoked
            },
            changed_at: record.changed_at,
            last_used_at: record.last_used_at,
        }
    }
}

impl Note {
    fn sign(&self, mut event: HistoryEvent) -> HistoryEvent {
        event.actor = self.actor.as_deref().map(str::to_owned);
        event.reason = self.reason.as_deref().map(str::to_owned);
        event
    }
}

impl Inner {
    /// Reads a row for somebody who is told of it.
    async fn read(&self, key: &SlotKey) -> Result<Option<TokenRecord>, StoreError> {
        let record = self.store.get(key).await?;
        if let Some(record) = &record {
            self.note_seen(record);
        }
        Ok(record)
    }

    /// Sees to it that no check lags behind a row that was seen: a rotation that has committed may not have
    /// come to say so yet, and whoever was told of it must not find the old token alive.
    fn note_seen(&self, record: &TokenRecord) {
        if let Some(slot) = self.memory.slots.get(&record.key) {
            slot.cell().observe(record.generation.number());
        }
    }

    /// Returns the cipher of this moment.
    fn cipher(&self) -> Arc<dyn ErasedCipher> {
        let cipher = self.cipher.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&cipher)
    }
}

#[cfg(test)]
impl Inner {
    /// Has the next check of each token look at the store.
    pub(crate) fn doubt_everything(&self) {
        self.memory.slots.doubt_all();
    }

    /// Returns how many calls and streams of a workspace are registered with its cells.
    pub(crate) fn open_uses(&self, workspace: &WorkspaceId) -> usize {
        let open = self.memory.slots.collect(|slot| {
            let is_its_own = slot.key.workspace == *workspace;
            is_its_own.then(|| slot.cell().open_below(u64::MAX).total())
        });
        open.into_iter().sum()
    }
}

impl Memory {
    fn confirmed(&self) -> Option<Moment> {
        let nanos = self.confirmed.load(Ordering::SeqCst).checked_sub(1)?;
        Some(Moment::from_start(Duration::from_nanos(nanos)))
    }
}

impl ObserveChanges for Memory {
    fn changed(&self, key: &SlotKey, generation: Generation) {
        // A slot nobody asked about yet is made after this and then read from the store.
        if let Some(slot) = self.slots.get(key) {
            slot.cell().observe(generation.number());
        }
    }

    fn resync(&self) {
        self.slots.doubt_all();
    }

    fn confirmed(&self, as_of: Moment) {
        self.confirmed
            .fetch_max(as_of.as_nanos().saturating_add(1), Ordering::SeqCst);
    }

    fn in_use(&self) -> Vec<SlotKey> {
        let in_use = self.slots.in_use();
        in_use.into_iter().map(|slot| slot.key).collect()
    }
}

impl fmt::Debug for TokenAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenAuthority")
            .field("freshness", &self.inner.freshness)
            .field("signing_keys", &self.signing_key_ids())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for TokenAuthorityBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenAuthorityBuilder")
            .field("clock", &self.clock)
            .field("max_staleness", &self.max_staleness)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
