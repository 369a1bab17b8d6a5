//! [`TestWorkspace`]: an authority, a workspace and a token, as a test of an application needs them.

use std::{fmt, sync::Arc};

use http::{HeaderValue, Method, Request, Uri, header};

use crate::{
    authority::{EndedUses, Keys, TokenAuthority, VerifiedToken},
    clock::{ManualClock, Timestamp},
    error::ErrorKind,
    id::{TokenName, WorkspaceId},
    store::{MemoryStore, TokenStore},
    token::{IssuedToken, PresentedToken},
};

/// When clocks of tests start: 2027-01-15, so that a mistake for the real time shows.
const START: Timestamp = Timestamp::from_secs(1_800_000_000);

/// The workspace `acme` with a live token in its slot `primary`, and the authority that has issued it.
///
/// Everything here panics where it cannot do what it is for, as tests should.
pub struct TestWorkspace {
    authority: TokenAuthority,
    clock: Arc<ManualClock>,
    id: WorkspaceId,
    token: IssuedToken,
}

impl TestWorkspace {
    /// Makes the workspace on a store in memory.
    pub async fn new() -> Self {
        Self::over(MemoryStore::new()).await
    }

    /// Makes the workspace on `store`, which has no workspace `acme` yet.
    ///
    /// # Panics
    /// If the store fails, or has the workspace.
    pub async fn over(store: impl TokenStore) -> Self {
        let clock = Arc::new(ManualClock::new(START));
        let authority = TokenAuthority::builder(store, keys())
            .clock(Arc::clone(&clock))
            .build()
            .expect("the operating system gives randomness");
        let id = "acme".parse().expect("it is a name for a workspace");
        let issued = authority.issue(&id, &TokenName::primary()).await;
        Self {
            authority,
            clock,
            id,
            token: issued.expect("a new store takes a token"),
        }
    }

    /// Returns the authority, for the layers of the application under test.
    pub fn authority(&self) -> &TokenAuthority {
        &self.authority
    }

    /// Returns the authority's clock.
    pub fn clock(&self) -> &ManualClock {
        &self.clock
    }

    /// Returns the id of the workspace.
    pub fn id(&self) -> &WorkspaceId {
        &self.id
    }

    /// Returns the current token.
    pub fn token(&self) -> &str {
        self.token.expose_secret()
    }

    /// Returns the value of `Authorization` with the current token.
    pub fn bearer(&self) -> HeaderValue {
        bearer(self.token())
    }

    /// Makes a request with the current token.
    ///
    /// Its `Host` is that of `uri`, or else `localhost`.
    ///
    /// # Panics
    /// If `uri` is none.
    pub fn request(&self, method: Method, uri: &str) -> Request<()> {
        let mut request = self.request_without_token(method, uri);
        request
            .headers_mut()
            .insert(header::AUTHORIZATION, self.bearer());
        request
    }

    /// Makes a request without a credential; else as [`request`](Self::request).
    ///
    /// # Panics
    /// If `uri` is none.
    pub fn request_without_token(&self, method: Method, uri: &str) -> Request<()> {
        let uri: Uri = uri.parse().expect("a path or an address");
        let host = uri.authority().map_or("localhost", |host| host.as_str());
        Request::builder()
            .method(method)
            .header(header::HOST, host)
            .uri(uri)
            .body(())
            .expect("a method, an address and a host make a request")
    }

    /// Rotates the token, and says what it had open; from here on [`token`](Self::token) is the next one.
    ///
    /// # Panics
    /// If the store fails.
    pub async fn rotate(&mut self) -> EndedUses {
        let name = TokenName::primary();
        let rotation = self.authority.rotate(&self.id, &name);
        let receipt = rotation.await.expect("the store takes a rotation");
        self.token = receipt.token;
        receipt.ended
    }

    /// Verifies a token of this workspace or of the other one.
    pub(super) async fn verify(&self, token: &str) -> VerifiedToken {
        let presented = PresentedToken::new(token.as_bytes());
        let other = "bad-workspace".parse().expect("it is a name");
        for workspace in [self.id(), &other] {
            if let Ok(verified) = self.authority().verify(workspace, presented).await {
                return verified;
            }
        }
        panic!("a token that was just issued is current")
    }

    /// Issues a token to a slot that may have one, which then is no longer current.
    pub(super) async fn fresh_token(&self, workspace: &str, name: &str) -> IssuedToken {
        let workspace = workspace.parse().expect("it is a name for a workspace");
        let name = name.parse().expect("it is a name for a slot");
        match self.authority.issue(&workspace, &name).await {
            Ok(issued) => issued,
            Err(error) if error.kind() == ErrorKind::AlreadyIssued => {
                let receipt = self.authority.rotate(&workspace, &name).await;
                receipt.expect("the store takes a rotation").token
            }
            Err(error) => panic!("the store takes a token: {error}"),
        }
    }
}

/// Writes the value of `Authorization`.
pub(super) fn bearer(token: &str) -> HeaderValue {
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).expect("visible ASCII");
    value.set_sensitive(true);
    value
}

/// Makes keys that no other test has.
pub(super) fn keys() -> Keys {
    Keys::generate().expect("the operating system gives randomness")
}

impl fmt::Debug for TestWorkspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestWorkspace")
            .field("id", &self.id)
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}
