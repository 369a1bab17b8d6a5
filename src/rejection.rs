//! Requests that are turned away before the inner service.
//!
//! A [`Rejection`] has two faces. Its [`kind`](Rejection::kind) and source are for operators: logs and
//! the response's extensions. What the client reads is chosen from few sentences, and for a bad
//! credential it is one and the same whatever is wrong with it.
//!
//! # What is logged
//! With the feature `tracing`, one line for each at level DEBUG:
//! `request turned away kind=InvalidToken(Superseded) status=401`. Nothing of the credential is in it.

use std::{borrow::Cow, error, fmt};

use http::StatusCode;

use crate::id::{Generation, SlotKey};

/// Why a request was turned away.
#[derive(Clone, Debug)]
pub struct Rejection {
    kind: RejectionKind,
    source: Option<std::sync::Arc<dyn error::Error + Send + Sync>>,
    /// Boxed, since hardly any rejection has one.
    superseded: Option<Box<SupersededToken>>,
}

/// The token of an earlier generation that somebody still presents; see [`Rejection::superseded`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SupersededToken {
    /// The slot that it was the token of.
    pub key: SlotKey,
    /// The generation that it was.
    pub generation: Generation,
}

/// Sorts a [`Rejection`], for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RejectionKind {
    /// The access token expired a minute ago that a call or stream was begun with.
    AccessTokenEnded,
    /// The request does not say unmistakably which workspace it is for.
    Address(AddressProblem),
    /// The credential is an empty text: most likely a variable that is not set.
    EmptyCredential,
    /// The `Origin` is neither the server's own nor a listed one.
    ForeignOrigin,
    /// There is a credential, and it is not the current token of the workspace.
    InvalidToken(TokenProblem),
    /// The request carries more than one credential, or one that cannot be read.
    MalformedCredential(CredentialProblem),
    /// The layers are put together wrongly: there is no token layer around what needs one.
    Misconfigured,
    /// There is no credential.
    MissingCredential,
    /// The request needs a session id and has none.
    MissingSession,
    /// The request has more than one session id.
    RepeatedSession,
    /// The token has as many sessions as it may have, and all are in use.
    SessionLimit,
    /// The store or the cipher could not say whether the token is current.
    StoreUnavailable,
    /// The token ended while the request was under way.
    TokenEnded,
    /// The session id is unknown, foreign, expired or ended.
    UnknownSession,
    /// The credential is literally `${NAME}`: the client did not replace the variable by its value.
    UnsetVariable(String),
}

/// What is wrong with a request's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressProblem {
    /// `Host` and the authority of the request's target differ (RFC 9112 §3.2.2).
    ContradictoryHost,
    /// The host belongs to somebody else: DNS rebinding, or a wrong setting.
    ForeignHost,
    /// The host label and the path name different workspaces.
    LabelIsNotPath,
    /// The host is not a plain host and port (RFC 9110 §7.2).
    MalformedHost,
    /// There is no `Host`, nor an authority.
    MissingHost,
    /// The host or path names no workspace.
    NoWorkspace,
    /// There is more than one `Host`.
    RepeatedHost,
}

/// What is wrong with a credential, for the log alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenProblem {
    /// It is an access token, and its time is over.
    Expired,
    /// Its workspace is locked, since an old copy of the database was put back.
    Locked,
    /// It was not minted here, or was changed: size, shape, header, MAC or claims.
    NotOurs,
    /// It is an access token that was issued in the future: the clocks of two machines are far apart.
    NotYet,
    /// It was the token of its slot and is no longer.
    Superseded,
    /// It is well signed and was never the token of its slot.
    Unknown,
    /// It is for another workspace.
    WrongWorkspace,
}

/// What is wrong with the places of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CredentialProblem {
    /// A percent-escape or its UTF-8 is broken.
    BadEscape,
    /// The query is longer than 8 KiB, and may hold a credential.
    LongQuery,
    /// There is more than one credential, be they equal or not (RFC 6750 §2).
    Repeated,
}

impl Rejection {
    pub(crate) fn new(kind: RejectionKind) -> Self {
        Self {
            kind,
            source: None,
            superseded: None,
        }
    }

    pub(crate) fn with_source(
        kind: RejectionKind,
        source: impl error::Error + Send + Sync + 'static,
    ) -> Self {
        Self {
            kind,
            source: Some(std::sync::Arc::new(source)),
            superseded: None,
        }
    }

    /// Makes the rejection of a request whose address names no workspace; for resolvers.
    pub fn bad_address(problem: AddressProblem) -> Self {
        Self::new(RejectionKind::Address(problem))
    }

    pub(crate) fn invalid_token(problem: TokenProblem) -> Self {
        Self::new(RejectionKind::InvalidToken(problem))
    }

    pub(crate) fn superseded_token(key: SlotKey, generation: Generation) -> Self {
        Self {
            superseded: Some(Box::new(SupersededToken { key, generation })),
            ..Self::invalid_token(TokenProblem::Superseded)
        }
    }

    /// Returns which token was presented, if it was a genuine one of an earlier generation: where an old
    /// token is still in use tells whom to give the new one. For operators, not for the client.
    ///
    /// `None` for every other rejection: of a token whose MAC is wrong, nothing that it says is told.
    pub fn superseded(&self) -> Option<&SupersededToken> {
        self.superseded.as_deref()
    }

    /// Returns why the request was turned away; for operators, not for the client.
    pub fn kind(&self) -> &RejectionKind {
        &self.kind
    }

    /// Returns the status of the response.
    pub fn status(&self) -> StatusCode {
        match self.kind {
            RejectionKind::Address(_)
            | RejectionKind::MalformedCredential(_)
            | RejectionKind::MissingSession
            | RejectionKind::RepeatedSession => StatusCode::BAD_REQUEST,
            RejectionKind::AccessTokenEnded
            | RejectionKind::EmptyCredential
            | RejectionKind::InvalidToken(_)
            | RejectionKind::MissingCredential
            | RejectionKind::TokenEnded
            | RejectionKind::UnsetVariable(_) => StatusCode::UNAUTHORIZED,
            RejectionKind::ForeignOrigin => StatusCode::FORBIDDEN,
            RejectionKind::Misconfigured => StatusCode::INTERNAL_SERVER_ERROR,
            RejectionKind::SessionLimit => StatusCode::TOO_MANY_REQUESTS,
            RejectionKind::StoreUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            RejectionKind::UnknownSession => StatusCode::NOT_FOUND,
        }
    }

    /// Returns the error code of RFC 6750 §3.1, where there is one.
    pub fn error_code(&self) -> Option<&'static str> {
        match self.kind {
            RejectionKind::Address(_) | RejectionKind::MalformedCredential(_) => {
                Some("invalid_request")
            }
            RejectionKind::AccessTokenEnded
            | RejectionKind::EmptyCredential
            | RejectionKind::InvalidToken(_)
            | RejectionKind::TokenEnded
            | RejectionKind::UnsetVariable(_) => Some("invalid_token"),
            _ => None,
        }
    }

    /// Returns the sentence that the client reads: what to do, and nothing of what it sent.
    pub fn message(&self) -> String {
        self.sentence().into_owned()
    }

    /// Returns [`message`](Self::message), copied only where it names something.
    pub(crate) fn sentence(&self) -> Cow<'static, str> {
        let sentence = match &self.kind {
            RejectionKind::AccessTokenEnded => {
                "The access token has expired. Exchange the workspace token for another one, then connect again."
            }
            RejectionKind::Address(problem) => problem.message(),
            RejectionKind::EmptyCredential => {
                "The workspace token is empty. Set the variable that your client's configuration takes it from, then connect again."
            }
            RejectionKind::ForeignOrigin => {
                "Requests from this web page's origin are not allowed here. Open the page from the server's own address, or have the origin listed."
            }
            RejectionKind::InvalidToken(_) => {
                "The workspace token is not valid here. It may have been regenerated: ask for the new one, then connect again."
            }
            RejectionKind::MalformedCredential(CredentialProblem::BadEscape) => {
                "The request's query has a percent-escape that cannot be read. Send the workspace token in the Authorization header."
            }
            RejectionKind::MalformedCredential(CredentialProblem::LongQuery) => {
                "The request's query is too long for a workspace token in it. Send the workspace token in the Authorization header, and at most 8 KiB of query."
            }
            RejectionKind::MalformedCredential(CredentialProblem::Repeated) => {
                "The request carries more than one credential. Send the workspace token once, in the Authorization header."
            }
            RejectionKind::Misconfigured => {
                "The server is put together wrongly: this route needs a WorkspaceTokenLayer around it."
            }
            RejectionKind::MissingCredential => {
                "This address needs a workspace token. Send it as `Authorization: Bearer <token>`."
            }
            RejectionKind::MissingSession => {
                "The Mcp-Session-Id header is missing. Send the one that the response to initialize carried."
            }
            RejectionKind::RepeatedSession => {
                "The Mcp-Session-Id header is there more than once. Send it once."
            }
            RejectionKind::SessionLimit => {
                "This workspace token has too many open sessions. Close some, or wait and connect again."
            }
            RejectionKind::StoreUnavailable => {
                "The server cannot check workspace tokens right now. Try again in a moment."
            }
            RejectionKind::TokenEnded => {
                "The workspace token was regenerated. Ask whoever regenerated it for the new one, then connect again."
            }
            RejectionKind::UnknownSession => {
                "The session is not known. Send initialize again to open a new one."
            }
            RejectionKind::UnsetVariable(name) => {
                return Cow::Owned(format!(
                    "The variable {name} is not set. Export it with your workspace token where the client starts, then connect again."
                ));
            }
        };
        Cow::Borrowed(sentence)
    }
}

impl AddressProblem {
    fn message(self) -> &'static str {
        match self {
            Self::ContradictoryHost => {
                "The Host header and the address of the request differ. Send one host."
            }
            Self::ForeignHost => {
                "This server does not answer for that host. Use the address that the workspace shows."
            }
            Self::LabelIsNotPath => {
                "The host and the path name different workspaces. Use the address that the workspace shows."
            }
            Self::MalformedHost => {
                "The Host header is not a host name with an optional port. Use the address that the workspace shows."
            }
            Self::MissingHost => "The request has no Host header. Send it once.",
            Self::NoWorkspace => {
                "The address names no workspace. Use the address that the workspace shows."
            }
            Self::RepeatedHost => "The request has more than one Host header. Send it once.",
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request turned away: {:?}", self.kind)
    }
}

impl error::Error for Rejection {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}
