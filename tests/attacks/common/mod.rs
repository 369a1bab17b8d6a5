//! What the tests share: worlds to attack, an independent mint, and ways to send a request.

pub(crate) mod app;
pub(crate) mod frames;
pub(crate) mod oracle;
pub(crate) mod send;
pub(crate) mod spies;
pub(crate) mod stacks;

use std::sync::Arc;

use axum::body::Body;
use http::Request;
use secrecy::SecretBox;
use tower_workspace_token::{
    HostLabel, Keys, PathTemplate, TokenAuthority, TokenName, WorkspaceId, WorkspaceTokenLayer,
    cipher::{Aes256Gcm, Cipher as _, KeyRing, SealContext, SealKey},
    clock::{ManualClock, Timestamp},
    id::{Generation, Revision, SlotKey, TokenId},
    jwt::SigningKey,
    store::{Freshness, TokenRecord, TokenStore as _},
    token::SealedToken,
};

pub(crate) use app::{App, protect};
use spies::{SpyCipher, SpyStore};

pub(crate) const SIGNING: [u8; 32] = [0x51; 32];
pub(crate) const SEALING: [u8; 32] = [0x5e; 32];
pub(crate) const NOW: u64 = 1_800_000_000;
/// The secret of planted tokens: 128 bits in base64url.
pub(crate) const JTI: &str = "AAECAwQFBgcICQoLDA0ODw";
/// The host and the target of most requests.
pub(crate) const HOST: &str = "a.test";
pub(crate) const TARGET: &str = "/mcp/acme";

/// An authority with everything it depends on in the test's hand.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) store: SpyStore,
    pub(crate) cipher: SpyCipher,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) authority: TokenAuthority,
    /// The live token of acme's slot `primary`.
    pub(crate) token: String,
}

impl World {
    /// A world with one token, issued by the library itself.
    pub(crate) async fn new() -> Self {
        let mut world = Self::empty(None);
        world.token = world.issue("acme", "primary").await;
        world
    }

    /// A world whose store bounds how long memory may be trusted.
    pub(crate) async fn with_freshness(freshness: Freshness) -> Self {
        let mut world = Self::empty(Some(freshness));
        world.token = world.issue("acme", "primary").await;
        world
    }

    /// A world whose row of acme's `primary` seals `token`, made by somebody who holds every key:
    /// all that can still refuse the token is the reading of its own bytes.
    pub(crate) async fn planted(token: &str) -> Self {
        let mut world = Self::empty(None);
        let record = world
            .seal_row(&slot("acme", "primary"), 1, oracle::token_id(JTI), token)
            .await;
        world
            .store
            .compare_and_swap(&record.key.clone(), None, record, None)
            .await
            .unwrap();
        token.clone_into(&mut world.token);
        world
    }

    fn empty(freshness: Option<Freshness>) -> Self {
        let store = SpyStore::new(freshness);
        Self::over(store)
    }

    /// Another process over `store`, with the same keys.
    pub(crate) fn over(store: SpyStore) -> Self {
        let cipher = SpyCipher::new(keys().sealing);
        let clock = Arc::new(ManualClock::new(Timestamp::from_secs(NOW)));
        let authority = TokenAuthority::builder(store.clone(), keys())
            .cipher(cipher.clone())
            .clock(Arc::clone(&clock))
            .build()
            .unwrap();
        Self {
            store,
            cipher,
            clock,
            authority,
            token: String::new(),
        }
    }

    pub(crate) async fn issue(&self, workspace: &str, name: &str) -> String {
        let key = slot(workspace, name);
        let issued = self.authority.issue(&key.workspace, &key.name).await;
        issued.unwrap().expose_secret().to_owned()
    }

    pub(crate) async fn rotate(&self, workspace: &str, name: &str) -> String {
        let key = slot(workspace, name);
        let receipt = self.authority.rotate(&key.workspace, &key.name).await;
        receipt.unwrap().token.expose_secret().to_owned()
    }

    /// The row of a slot as the database holds it.
    pub(crate) async fn row(&self, workspace: &str, name: &str) -> TokenRecord {
        let key = slot(workspace, name);
        self.store.get(&key).await.unwrap().unwrap()
    }

    /// Seals `text` into a row, as somebody who holds the seal key can.
    pub(crate) async fn seal_row(
        &self,
        key: &SlotKey,
        generation: u64,
        token_id: TokenId,
        text: &str,
    ) -> TokenRecord {
        let generation = Generation::from_number(generation).unwrap();
        let context = SealContext {
            key: *key,
            token_id,
            generation,
        };
        let sealed: SealedToken = Aes256Gcm::new(keys().sealing)
            .seal(&context, text.as_bytes())
            .await
            .unwrap();
        let at = Timestamp::from_secs(NOW);
        TokenRecord::live(*key, Revision::FIRST, generation, token_id, sealed, at)
    }

    /// The workspace stands in the path; the token comes in the header.
    pub(crate) fn by_path(&self) -> App {
        protect(self.path_layer())
    }

    /// As [`by_path`](Self::by_path), and `?token=` is switched on.
    pub(crate) fn by_query(&self) -> App {
        protect(self.path_layer().with_query_token("token"))
    }

    /// The workspace is the label under `mcp.test`.
    pub(crate) fn by_host(&self) -> App {
        protect(WorkspaceTokenLayer::new(
            self.authority.clone(),
            HostLabel::under("mcp.test"),
        ))
    }

    pub(crate) fn path_layer(&self) -> WorkspaceTokenLayer {
        WorkspaceTokenLayer::new(
            self.authority.clone(),
            PathTemplate::new("/mcp/{workspace}"),
        )
    }
}

pub(crate) fn keys() -> Keys {
    Keys {
        signing: KeyRing::new(SigningKey::from_bytes(SecretBox::init_with(|| SIGNING))),
        sealing: KeyRing::new(SealKey::from_bytes(SecretBox::init_with(|| SEALING))),
    }
}

pub(crate) fn slot(workspace: &str, name: &str) -> SlotKey {
    SlotKey::new(workspace.parse().unwrap(), name.parse().unwrap())
}

pub(crate) fn acme() -> WorkspaceId {
    "acme".parse().unwrap()
}

pub(crate) fn primary() -> TokenName {
    TokenName::primary()
}

/// A GET of `target` with the given headers, beside `Host`.
pub(crate) fn get(target: &str, headers: &[(&str, &[u8])]) -> Request<Body> {
    let mut request = Request::get(target).header("host", HOST);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

/// A GET of [`TARGET`] with `credential` behind `Bearer `.
pub(crate) fn bearer(credential: &[u8]) -> Request<Body> {
    get(
        TARGET,
        &[("authorization", &[b"Bearer ", credential].concat())],
    )
}
