//! [`Observer`]: hears who works with a service, for a list of live connections.

use std::{fmt, sync::Arc};

use http::{Extensions, HeaderMap, Method, Request, request::Parts};
use tower_workspace_token::{authority::VerifiedToken, session::SessionHandle};

use crate::message::{Envelope, Message};

/// Hears of the sessions and requests of an [`McpService`](crate::McpService).
///
/// It is called on the path of requests and must not block. It hears of requests that the token layer
/// and, in the era of sessions, the session layer have let in, and of no others.
///
/// ```
/// use std::sync::{Arc, atomic::{AtomicUsize, Ordering}};
/// use tower_workspace_token_mcp::{ObservedRequest, Observer, Ongoing, RequestKind};
///
/// #[derive(Debug, Default)]
/// struct OpenStreams(AtomicUsize);
///
/// struct Counter(Arc<OpenStreams>);
///
/// impl Observer for Counter {
///     fn request(&self, request: &ObservedRequest<'_>) -> Option<Arc<dyn Ongoing>> {
///         if request.kind() != RequestKind::Stream {
///             return None;
///         }
///         self.0.0.fetch_add(1, Ordering::SeqCst);
///         Some(Arc::clone(&self.0) as _)
///     }
/// }
///
/// impl Ongoing for OpenStreams {
///     fn ended(&self, _kind: RequestKind) {
///         self.0.fetch_sub(1, Ordering::SeqCst);
///     }
/// }
/// ```
pub trait Observer: Send + Sync + 'static {
    /// Hears of a request before it is answered. What it returns is told when the request is over, and
    /// may be one and the same for many requests.
    fn request(&self, request: &ObservedRequest<'_>) -> Option<Arc<dyn Ongoing>>;

    /// Hears that `initialize` has opened a session, before the client does.
    ///
    /// The session may have ended already: ask it, after what is kept of it was made ready to be ended.
    fn session_opened(&self, session: &SessionHandle, initialize: &ObservedRequest<'_>) {
        let _ = (session, initialize);
    }

    /// Hears that the session with this [`inner_id`](SessionHandle::inner_id) has ended, by whatever
    /// cause. There may have been none that was told of.
    fn session_ended(&self, inner_id: &str) {
        let _ = inner_id;
    }
}

/// What an [`Observer`] keeps of a request that is not over.
pub trait Ongoing: Send + Sync {
    /// The response has ended, or nobody reads it any longer.
    fn ended(&self, kind: RequestKind);
}

/// What kind of request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestKind {
    /// A JSON-RPC request, to which there is an answer.
    Call,
    /// A notification, an answer of the client's, the end of a session, or what could not be read.
    Other,
    /// The stream of a GET, or `subscriptions/listen`.
    Stream,
}

/// A request, as far as an [`Observer`] may want to know it.
#[derive(Clone, Copy)]
pub struct ObservedRequest<'a> {
    method: &'a Method,
    headers: &'a HeaderMap,
    extensions: &'a Extensions,
    message: &'a Message,
}

/// The name and version that a client gives itself. Its own words: nothing vouches for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientInfo<'a> {
    /// The name.
    pub name: &'a str,
    /// The version, if it gives one.
    pub version: Option<&'a str>,
}

impl<'a> ObservedRequest<'a> {
    pub(crate) fn of<B>(request: &'a Request<B>, message: &'a Message) -> Self {
        Self {
            method: request.method(),
            headers: request.headers(),
            extensions: request.extensions(),
            message,
        }
    }

    pub(crate) fn of_parts(parts: &'a Parts, message: &'a Message) -> Self {
        Self {
            method: &parts.method,
            headers: &parts.headers,
            extensions: &parts.extensions,
            message,
        }
    }

    /// Returns the token that the request was let in with.
    pub fn token(&self) -> Option<&'a VerifiedToken> {
        self.extensions.get()
    }

    /// Returns the session that the request belongs to; in the era without sessions there is none.
    pub fn session(&self) -> Option<&'a SessionHandle> {
        self.extensions.get()
    }

    /// Returns what the client calls itself in this very request: in `initialize`, and in the `_meta` of
    /// each request of the era without sessions.
    pub fn client(&self) -> Option<ClientInfo<'a>> {
        let envelope = self.message.envelope()?;
        Some(ClientInfo {
            name: envelope.client_name.as_deref()?,
            version: envelope.client_version.as_deref(),
        })
    }

    /// Returns the method of the JSON-RPC message.
    pub fn method(&self) -> Option<&'a str> {
        self.message.envelope()?.method.as_deref()
    }

    /// Returns what kind of request it is.
    pub fn kind(&self) -> RequestKind {
        let envelope = self.message.envelope();
        let is_listen = envelope.is_some_and(Envelope::is_listen);
        match self.message.id() {
            _ if self.method == Method::GET || is_listen => RequestKind::Stream,
            Some(_) => RequestKind::Call,
            None => RequestKind::Other,
        }
    }

    /// Returns whether the request belongs to the era without sessions.
    pub fn is_modern(&self) -> bool {
        self.message.modern_version(self.headers).is_some()
    }

    /// Returns the headers, without the credential.
    pub fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// Returns what the layers have noted of the request.
    pub fn extensions(&self) -> &'a Extensions {
        self.extensions
    }
}

/// Tells what an observer keeps of a request that the request is over.
pub(crate) struct Observation {
    ongoing: Arc<dyn Ongoing>,
    kind: RequestKind,
}

impl Observation {
    pub(crate) fn begin(observer: &dyn Observer, request: &ObservedRequest<'_>) -> Option<Self> {
        Some(Self {
            ongoing: observer.request(request)?,
            kind: request.kind(),
        })
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        self.ongoing.ended(self.kind);
    }
}

impl fmt::Debug for ObservedRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObservedRequest")
            .field("kind", &self.kind())
            .field("client", &self.client())
            .finish_non_exhaustive()
    }
}
