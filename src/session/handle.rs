//! [`SessionHandle`]: a session in the hand of whoever lists sessions, or ends one.

use std::{fmt, future::Future, sync::Arc};

use crate::{
    authority::{Guarded, sessions::Session},
    id::{Generation, SlotKey, TokenId},
};

/// A session that was opened with a workspace token. Cheap to clone.
///
/// [`SessionLayer`](super::SessionLayer) puts it into the extensions of each request of the session, for
/// the services behind it, and into those of the response that opened the session. It is no credential:
/// nothing in it lets anybody into the session. It keeps neither the session nor the authority alive.
#[derive(Clone)]
pub struct SessionHandle {
    session: Arc<Session>,
}

impl SessionHandle {
    pub(super) fn new(session: &Arc<Session>) -> Self {
        Self {
            session: Arc::clone(session),
        }
    }

    /// Returns the inner service's own id of the session, with which
    /// [`on_session_end`](super::SessionLayer::on_session_end) tells of its end.
    pub fn inner_id(&self) -> &str {
        self.session.inner_id_text()
    }

    /// Returns the slot of the token that the session was opened with.
    pub fn key(&self) -> &SlotKey {
        self.session.key()
    }

    /// Returns the public id of that token.
    pub fn token_id(&self) -> TokenId {
        self.session.token_id()
    }

    /// Returns the generation of that token.
    pub fn generation(&self) -> Generation {
        self.session.generation()
    }

    /// Returns whether the session has not been ended. One that is too old or was idle for too long
    /// counts as live until that is noticed, which takes a second.
    pub fn is_live(&self) -> bool {
        self.session.hold().is_live()
    }

    /// Ends the session and returns whether it was live: its id is unknown from here on, its open streams
    /// end, and work under [`guard`](Self::guard) is dropped.
    ///
    /// The token stays as it is, and its client may open another session.
    pub fn end(&self) -> bool {
        self.session.close()
    }

    /// Runs `work` as long as the session lives; `None` is that it ended first and `work` was dropped.
    /// As [`Lease::guard`](crate::authority::Lease::guard), which a rotation needs beside it.
    pub fn guard<F: Future>(&self, work: F) -> Guarded<F> {
        Guarded::new(work, self.session.hold())
    }
}

impl fmt::Debug for SessionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionHandle")
            .field("key", self.key())
            .field("generation", &self.generation())
            .field("is_live", &self.is_live())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::Mutex, time::Duration};

    use bytes::Bytes;
    use http::{HeaderValue, Request, Response, StatusCode};
    use http_body_util::Full;
    use tower::ServiceExt as _;
    use tower_layer::Layer as _;

    use super::*;
    use crate::{
        Keys, MemoryStore, TokenAuthority, TokenName, VerifiedToken,
        cipher::KeyRing,
        clock::{Clock as _, ManualClock, Timestamp},
        jwt::SigningKey,
        session::{SESSION_ID, SessionBody, SessionLayer},
        token::PresentedToken,
    };

    async fn token(authority: &TokenAuthority) -> VerifiedToken {
        let (acme, name) = ("acme".parse().unwrap(), TokenName::primary());
        let issued = authority.issue(&acme, &name).await.unwrap();
        let presented = PresentedToken::new(issued.expose_secret().as_bytes());
        authority.verify(&acme, presented).await.unwrap()
    }

    /// Sends a request to an inner service that calls its session `inner`.
    async fn send(
        layer: &SessionLayer,
        token: &VerifiedToken,
        session: Option<HeaderValue>,
    ) -> (Response<SessionBody<Full<Bytes>>>, Option<SessionHandle>) {
        let seen = Arc::new(Mutex::new(None));
        let sees = Arc::clone(&seen);
        let inner = tower::service_fn(move |request: Request<()>| {
            *sees.lock().unwrap() = request.extensions().get::<SessionHandle>().cloned();
            let response = Response::builder().header(SESSION_ID, "inner");
            let response = response.body(Full::<Bytes>::default()).unwrap();
            std::future::ready(Ok::<_, Infallible>(response))
        });
        let mut request = Request::post("/").body(()).unwrap();
        request.extensions_mut().insert(token.clone());
        if let Some(session) = session {
            request.headers_mut().insert(SESSION_ID, session);
        }
        let response = layer.layer(inner).oneshot(request).await.unwrap();
        let seen = seen.lock().unwrap().take();
        (response, seen)
    }

    #[tokio::test]
    async fn a_handle_comes_with_the_session_and_ends_it() {
        let authority = TokenAuthority::builder(MemoryStore::new(), Keys::generate().unwrap())
            .build()
            .unwrap();
        let (layer, token) = (
            SessionLayer::new(authority.clone()),
            token(&authority).await,
        );
        let (opened, seen) = send(&layer, &token, None).await;
        assert!(seen.is_none(), "there is no session yet");
        let handle = opened.extensions().get::<SessionHandle>().unwrap();
        assert_eq!(handle.inner_id(), "inner");
        assert_eq!(handle.key(), token.lease().key());
        assert_eq!(handle.generation(), token.generation());
        assert_eq!(handle.token_id(), token.token_id());
        let session = opened.headers()[SESSION_ID].clone();
        let (_, seen) = send(&layer, &token, Some(session.clone())).await;
        assert_eq!(seen.unwrap().inner_id(), "inner");

        let work = handle.guard(std::future::pending::<()>());
        assert!(handle.is_live() && handle.end());
        assert_eq!(work.await, None);
        assert!(!handle.is_live() && !handle.end());
        assert!(token.lease().is_live(), "the token stays as it is");
        let (response, _) = send(&layer, &token, Some(session)).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
    }

    /// Known by its tag, a token is not asked for its MAC again: not under keys that would refuse it.
    #[tokio::test]
    async fn a_session_that_a_removed_key_has_signed_is_unknown() {
        let keys = Keys::generate().unwrap();
        let authority = TokenAuthority::builder(MemoryStore::new(), keys.clone())
            .build()
            .unwrap();
        let (layer, token) = (
            SessionLayer::new(authority.clone()),
            token(&authority).await,
        );
        let (opened, _) = send(&layer, &token, None).await;
        let session = opened.headers()[SESSION_ID].clone();
        for _ in 0..2 {
            let (response, _) = send(&layer, &token, Some(session.clone())).await;
            assert_eq!(response.status(), StatusCode::OK);
        }
        let signing = KeyRing::new(SigningKey::generate().unwrap());
        let retired = signing
            .clone()
            .with_retired(keys.signing.primary().clone())
            .unwrap();
        authority.replace_keys(Keys {
            signing: retired,
            ..keys.clone()
        });
        let (response, _) = send(&layer, &token, Some(session.clone())).await;
        assert_eq!(response.status(), StatusCode::OK, "a retired key verifies");
        authority.replace_keys(Keys { signing, ..keys });
        let (response, _) = send(&layer, &token, Some(session)).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
    }

    /// To the second of its token's `exp`, whenever in a second it began and however late the last tick was.
    #[tokio::test]
    async fn a_session_ends_on_time_by_either_clock() {
        let began = Timestamp::from_millis(1_800_000_000_700);
        let hour = Duration::from_secs(3600);
        for (is_set, lag) in [(false, 0), (false, 900), (true, 0), (true, 900)] {
            let clock = Arc::new(ManualClock::new(began));
            clock.set_lag(Duration::from_millis(lag));
            let authority = TokenAuthority::builder(MemoryStore::new(), Keys::generate().unwrap())
                .clock(Arc::clone(&clock))
                .build()
                .unwrap();
            let token = token(&authority).await;
            let layer = SessionLayer::new(authority.clone())
                .with_lifetime(hour)
                .with_idle_timeout(2 * hour);
            let (opened, _) = send(&layer, &token, None).await;
            let session = opened.headers()[SESSION_ID].clone();
            let exp = Timestamp::from_secs(1_800_000_000 + 3600);
            for (millis, expected) in [(-1, StatusCode::OK), (0, StatusCode::NOT_FOUND)] {
                let time = Timestamp::from_millis(exp.as_millis().strict_add_signed(millis));
                if is_set {
                    clock.set(time);
                } else {
                    clock.advance(Duration::from_millis(
                        time.as_millis() - clock.now().as_millis(),
                    ));
                }
                let (response, _) = send(&layer, &token, Some(session.clone())).await;
                assert_eq!(response.status(), expected, "set: {is_set}, lag: {lag}");
            }
        }
    }

    /// As two layers of one authority may have it, each with a limit of its own.
    #[tokio::test]
    async fn a_session_that_finds_no_room_costs_nobody_one() {
        let authority = TokenAuthority::builder(MemoryStore::new(), Keys::generate().unwrap())
            .build()
            .unwrap();
        let token = token(&authority).await;
        let layer = SessionLayer::new(authority.clone());
        let narrow = layer.clone().with_sessions_per_token(1);
        let mut sessions = Vec::new();
        for _ in 0..2 {
            let (opened, _) = send(&layer, &token, None).await;
            sessions.push(opened.headers()[SESSION_ID].clone());
        }
        let inner = authority.inner();
        let in_use = inner.use_session(token.lease(), sessions[1].as_bytes());
        assert!(in_use.is_some());
        let (refused, _) = send(&narrow, &token, None).await;
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        for session in sessions {
            let (response, _) = send(&layer, &token, Some(session)).await;
            assert_eq!(response.status(), StatusCode::OK);
        }
        drop(in_use);
        let (opened, _) = send(&narrow, &token, None).await;
        assert_eq!(opened.status(), StatusCode::OK);
    }
}
