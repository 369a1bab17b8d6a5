//! Every kind of bad session id, to run an application with sessions against.

use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderValue, Request};
use secrecy::ExposeSecret as _;

use super::TestWorkspace;
use crate::{authority::sessions::SessionLimits, session::SESSION_ID};

pub(super) const HOUR: Duration = Duration::from_secs(3600);

/// A session id that names no session of the workspace's current token.
#[derive(Clone)]
pub struct BadSession {
    name: &'static str,
    id: HeaderValue,
}

impl BadSession {
    fn new(name: &'static str, id: &str) -> Self {
        let mut id = HeaderValue::try_from(id).expect("visible ASCII");
        id.set_sensitive(true);
        Self { name, id }
    }

    /// Says what is wrong with it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Puts it into a request as `Mcp-Session-Id`, in place of the one that is there.
    pub fn apply<B>(&self, request: &mut Request<B>) {
        request.headers_mut().insert(SESSION_ID, self.id.clone());
    }
}

impl TestWorkspace {
    /// Returns one session id of each bad kind (feature `session`); a [`SessionLayer`](crate::SessionLayer)
    /// answers each with the same 404.
    ///
    /// For that it issues tokens in slots and workspaces whose names begin with `bad-`. A rotation within the next second
    /// counts the one that has expired among those that it ends.
    ///
    /// # Panics
    /// If the store fails.
    pub async fn bad_sessions(&self) -> Vec<BadSession> {
        let good = self.token();
        let sibling = self.fresh_token(self.id().as_str(), "bad-sibling").await;
        let foreign = self.fresh_token("bad-workspace", "primary").await;
        let of_sibling = self.open_session(sibling.expose_secret(), HOUR).await;
        let of_foreign = self.open_session(foreign.expose_secret(), HOUR).await;
        let expired = self.open_session(good, Duration::ZERO).await;
        let ended = self.open_session(good, HOUR).await;
        vec![
            BadSession::new("garbage", "garbage"),
            BadSession::new("a workspace token", good),
            BadSession::new("an ended session", &ended),
            BadSession::new("an expired session", &expired),
            BadSession::new("a session of another token", &of_sibling),
            BadSession::new("a session of another workspace", &of_foreign),
        ]
    }

    /// Opens a session and returns its token; one of the current token that is not over from the start is ended at once,
    /// so that rotations don't count it.
    pub(super) async fn open_session(&self, token: &str, lifetime: Duration) -> String {
        let limits = SessionLimits {
            lifetime,
            idle: HOUR,
            per_token: usize::MAX,
        };
        let verified = self.verify(token).await;
        let inner_id = HeaderValue::from_static("bad");
        let authority = self.authority().inner();
        let opened = authority.open_session(verified.lease(), inner_id, &limits, Arc::new(|_| {}));
        let Ok((session_token, session)) = opened else {
            panic!("a token that is current opens a session");
        };
        if token == self.token() && !lifetime.is_zero() {
            session.close();
        }
        session_token.expose_secret().to_owned()
    }
}

impl fmt::Debug for BadSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BadSession")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
