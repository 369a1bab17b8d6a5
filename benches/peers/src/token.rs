//! The tokens that everybody gets: issued by this library, checked by each candidate under the same key.
//!
//! The layout and the derivation of the key are in `docs/token-format.md`, so every peer verifies the
//! very bytes that this library does.

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hkdf::Hkdf;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use tokio::runtime::Runtime;
use tower_workspace_token::{
    Keys, MemoryStore, TokenAuthority, TokenName, WorkspaceId,
    cipher::{KeyRing, RingKey as _, SealKey, secrecy::SecretBox},
    jwt::SigningKey,
};

/// The workspace that every request with one token is for.
pub const WORKSPACE: &str = "acme";

/// The workspace whose tokens open nothing there.
const ELSEWHERE: &str = "elsewhere";

/// `info` of the key of workspace tokens, from `docs/token-format.md`.
const MAC_LABEL: &[u8] = b"tower-workspace-token v1 mac workspace+jwt";

/// What a token says, as peers hand it to a handler.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Claims {
    /// The audience: the workspace.
    pub aud: String,
    /// The generation.
    pub r#gen: u64,
    /// When it was issued.
    pub iat: u64,
    /// The secret of the token.
    pub jti: String,
    /// The slot.
    pub sub: String,
}

/// The key that tokens are signed with, as a peer needs it.
#[derive(Clone, Debug)]
pub struct PeerKey {
    /// The 32 bytes of the MAC key.
    pub bytes: [u8; 32],
    /// What tokens call it.
    pub id: String,
}

/// One token of one workspace, and what must not pass for it.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// The current token of the workspace.
    pub good: String,
    /// The same with one bit of its signature changed.
    pub forged: String,
    /// A good token of another workspace.
    pub foreign: String,
}

/// What all candidates share: keys, tokens, and this library's authority.
#[derive(Debug)]
pub struct World {
    /// For what is asynchronous while lanes are set up, and for whatever a candidate spawns.
    pub runtime: Runtime,
    /// The keys of every authority.
    pub keys: Keys,
    /// The authority of the one token; it has seen it before.
    pub authority: TokenAuthority,
    /// The workspace of the one token.
    pub workspace: WorkspaceId,
    /// The one token.
    pub tokens: Tokens,
    /// The key for peers.
    pub peer_key: PeerKey,
}

impl World {
    /// Makes keys and issues the token.
    ///
    /// # Errors
    /// There is no randomness, or no runtime.
    pub fn new() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).context("no randomness")?;
        let signing = SigningKey::from_bytes(SecretBox::new(Box::new(secret)));
        let peer_key = PeerKey::derive(&secret, signing.id().as_str());
        let keys = Keys {
            signing: KeyRing::new(signing),
            sealing: KeyRing::new(SealKey::generate()?),
        };
        let authority = authority(MemoryStore::new(), &keys);
        let workspace = WORKSPACE.parse()?;
        let good = issue(&runtime, &authority, &workspace, &TokenName::primary());
        let foreign = issue(
            &runtime,
            &authority,
            &ELSEWHERE.parse()?,
            &TokenName::primary(),
        );
        let tokens = Tokens {
            forged: forge(&good),
            good,
            foreign,
        };
        Ok(Self {
            runtime,
            keys,
            authority,
            workspace,
            tokens,
            peer_key,
        })
    }

    /// Issues `count` different tokens of the one workspace, for peers, which check one audience each.
    ///
    /// In a store of their own: a workspace that holds hundreds of slots is nobody's case.
    pub fn tokens_of_one_workspace(&self, count: usize) -> Vec<String> {
        let authority = authority(MemoryStore::new(), &self.keys);
        (0..count)
            .map(|slot| {
                let name = format!("slot{slot}").parse().expect("letters and digits");
                issue(&self.runtime, &authority, &self.workspace, &name)
            })
            .collect()
    }

    /// Issues a token for each of `count` workspaces.
    pub fn tokens_of_many(&self, authority: &TokenAuthority, count: usize) -> Vec<Resident> {
        let name = TokenName::primary();
        residents(count, |id| issue(&self.runtime, authority, id, &name))
    }

    /// Rotates the tokens of the first `count` of these workspaces.
    pub fn rotated_of_many(&self, authority: &TokenAuthority, count: usize) -> Vec<Resident> {
        let name = TokenName::primary();
        residents(count, |id| {
            let rotation = authority.rotate(id, &name);
            let receipt = self.runtime.block_on(rotation).expect("a live token");
            receipt.token.expose_secret().to_owned()
        })
    }
}

/// A workspace and its token.
#[derive(Clone, Debug)]
pub struct Resident {
    /// The id of the workspace.
    pub workspace: String,
    /// Its current token.
    pub token: String,
}

impl PeerKey {
    fn derive(secret: &[u8; 32], id: &str) -> Self {
        let mut bytes = [0; 32];
        Hkdf::<Sha256>::new(None, secret)
            .expand(MAC_LABEL, &mut bytes)
            .expect("32 bytes are within HKDF's bound");
        Self {
            bytes,
            id: id.to_owned(),
        }
    }

    /// Writes the key as a JWK Set (RFC 7517 §5, RFC 7518 §6.4).
    pub fn jwks(&self) -> String {
        serde_json::json!({ "keys": [{
            "alg": "HS256",
            "k": URL_SAFE_NO_PAD.encode(self.bytes),
            "kid": self.id,
            "kty": "oct",
        }] })
        .to_string()
    }
}

/// Makes an authority over `store`.
pub fn authority(store: MemoryStore, keys: &Keys) -> TokenAuthority {
    TokenAuthority::builder(store, keys.clone())
        .build()
        .expect("there was randomness before")
}

/// Changes one bit in the middle of the signature.
pub fn forge(token: &str) -> String {
    let mut bytes = token.as_bytes().to_vec();
    let place = bytes.len() - 20;
    bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
    String::from_utf8(bytes).expect("tokens are ASCII")
}

/// Makes `count` workspaces, each with the token that `token_of` has for it.
fn residents(count: usize, token_of: impl Fn(&WorkspaceId) -> String) -> Vec<Resident> {
    let workspaces = (0..count).map(|number| format!("w{number:010}"));
    let resident = |workspace: String| {
        let token = token_of(&workspace.parse().expect("letters and digits"));
        Resident { workspace, token }
    };
    workspaces.map(resident).collect()
}

fn issue(
    runtime: &Runtime,
    authority: &TokenAuthority,
    workspace: &WorkspaceId,
    name: &TokenName,
) -> String {
    runtime
        .block_on(authority.issue(workspace, name))
        .expect("the slot is free and the store is memory")
        .expose_secret()
        .to_owned()
}
