//! [`SessionLayer`]: how long sessions live and how many there may be.

use std::{fmt, sync::Arc, time::Duration};

use http::HeaderValue;
use tower_layer::Layer;

use super::SessionService;
use crate::authority::{
    TokenAuthority,
    sessions::{OnEnd, SessionLimits, tell_end},
};

/// An hour would cut off clients that do not initialize again by themselves; those that do are given less by [`SessionLifetime`].
const DEFAULT_LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);

/// Claude Code sends no DELETE and opens two sessions after each 404: unused ones must go by themselves.
const DEFAULT_IDLE: Duration = Duration::from_secs(30 * 60);

const DEFAULT_PER_TOKEN: usize = 64;

/// Gives clients session tokens in place of the inner service's session ids.
///
/// See the [module docs](super).
#[derive(Clone)]
pub struct SessionLayer {
    pub(super) authority: TokenAuthority,
    pub(super) limits: SessionLimits,
    pub(super) on_end: OnEnd,
}

/// The lifetime of the session that a request may open; put into the request's extensions by a
/// service that knows the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLifetime(pub Duration);

impl SessionLayer {
    /// Makes a layer that keeps its sessions with `authority`, whose rotations end them.
    pub fn new(authority: TokenAuthority) -> Self {
        let limits = SessionLimits {
            lifetime: DEFAULT_LIFETIME,
            idle: DEFAULT_IDLE,
            per_token: DEFAULT_PER_TOKEN,
        };
        Self {
            authority,
            limits,
            on_end: Arc::new(|_| {}),
        }
    }

    /// Ends a session this long after it was opened, whatever goes on in it. Defaults to 12 hours.
    pub fn with_lifetime(mut self, lifetime: Duration) -> Self {
        self.limits.lifetime = lifetime;
        self
    }

    /// Ends a session in which no call and no stream was open for this long. Defaults to 30 minutes.
    pub fn with_idle_timeout(mut self, idle: Duration) -> Self {
        self.limits.idle = idle;
        self
    }

    /// Lets one token have this many sessions, at least one; a further one ends the one that was idle
    /// for longest, and is refused if all are in use. Defaults to 64.
    pub fn with_sessions_per_token(mut self, sessions: usize) -> Self {
        self.limits.per_token = sessions.max(1);
        self
    }

    /// Calls `end` with the inner service's session id when a session ends, by whatever cause.
    pub fn on_session_end(mut self, end: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.on_end = Arc::new(end);
        self
    }
}

impl SessionLayer {
    /// Ends a session of the inner service that has none of ours.
    pub(super) fn end_inner(&self, inner_id: &HeaderValue) {
        tell_end(&self.on_end, inner_id);
    }
}

impl<S> Layer<S> for SessionLayer {
    type Service = SessionService<S>;

    fn layer(&self, inner: S) -> SessionService<S> {
        SessionService::new(inner, Arc::new(self.clone()))
    }
}

impl fmt::Debug for SessionLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionLayer")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
