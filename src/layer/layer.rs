//! [`WorkspaceTokenLayer`]: its options, and the decision about each request.

use std::{fmt, mem, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode,
    header::{CACHE_CONTROL, ORIGIN, REFERRER_POLICY, WWW_AUTHENTICATE},
};
use tower_layer::Layer;

use super::{
    RequestAddress, WorkspaceResolver, WorkspaceTokenService,
    credential::{Captured, capture},
    response,
};
use crate::{
    authority::{
        PendingCheck, TokenAuthority, Verdict, VerifiedToken, access::Deadline, liveness::Hold,
    },
    id::WorkspaceId,
    rejection::{AddressProblem, Rejection, RejectionKind},
    token::PresentedToken,
};

type RejectionResponse = dyn Fn(&Rejection) -> Response<Bytes> + Send + Sync;

/// Lets in requests that carry the current token of the workspace they are addressed to.
///
/// Behind it, the request's extensions hold a [`VerifiedToken`] and the credential is nowhere.
/// See the [module docs](super) for an example and the order of the layers.
#[derive(Clone)]
pub struct WorkspaceTokenLayer {
    gate: Arc<Gate>,
}

/// What the services of one layer share.
#[derive(Clone)]
pub(super) struct Gate {
    authority: TokenAuthority,
    resolver: Arc<dyn WorkspaceResolver>,
    query_parameter: Option<&'static str>,
    is_optional: bool,
    scheme: Option<&'static str>,
    hosts: Vec<String>,
    origins: Vec<String>,
    responder: Responder,
}

/// What is to be done with a request.
pub(super) enum Admission {
    /// There is no credential and none is needed.
    Anonymous(Manners),
    Pending(Box<PendingAdmission>, Manners),
    Rejected(Box<Response<Bytes>>),
    /// The token is in the request's extensions, and its hold where the caller wanted it.
    Verified(Manners),
    /// Likewise an access token, with what ends its uses.
    VerifiedAccess(Option<Box<Deadline>>, Manners),
}

/// What is left to do where memory could not decide.
pub(super) struct PendingAdmission {
    pub(super) check: Box<PendingCheck>,
    pub(super) resource_metadata: ResourceMetadata,
}

/// What the response says beside its own content.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manners {
    /// A credential stood in the query.
    no_trace: bool,
}

/// Where a client reads about a resource (RFC 9728 §5.1), if that can be said.
pub(super) type ResourceMetadata = Option<String>;

/// Makes the responses to requests that are turned away, in the application's words or in ours.
#[derive(Clone)]
pub(super) struct Responder {
    /// Static, since every request takes a copy along.
    help: Option<&'static str>,
    respond: Option<Arc<RejectionResponse>>,
}

impl WorkspaceTokenLayer {
    /// Makes a layer that asks `resolver` for the workspace and `authority` about the token.
    pub fn new(authority: TokenAuthority, resolver: impl WorkspaceResolver) -> Self {
        let gate = Gate {
            authority,
            resolver: Arc::new(resolver),
            query_parameter: None,
            is_optional: false,
            scheme: None,
            hosts: Vec::new(),
            origins: Vec::new(),
            responder: Responder {
                help: None,
                respond: None,
            },
        };
        Self {
            gate: Arc::new(gate),
        }
    }

    /// Accepts the token in the query parameter `name` too. Off by default: URLs end up in logs and histories.
    ///
    /// # Security
    /// Give a [`CredentialScrubLayer`](super::CredentialScrubLayer) outside of every logging layer the same name.
    pub fn with_query_token(self, name: &'static str) -> Self {
        self.with(|gate| gate.query_parameter = Some(name))
    }

    /// Lets requests without any credential through, without a [`VerifiedToken`], also where the address
    /// names no workspace, as `/health` does: where the resolver answers [`AddressProblem::NoWorkspace`].
    /// A bad credential is still refused.
    pub fn with_optional_token(self) -> Self {
        self.with(|gate| gate.is_optional = true)
    }

    /// Says that clients reach this server by https, or, with `false`, by plain http.
    ///
    /// Needed where it cannot be guessed: by default loopback hosts are taken for http and all others
    /// for https. It counts for `Origin` and for the metadata address in a challenge.
    pub fn with_https(self, is_https: bool) -> Self {
        self.with(|gate| gate.scheme = Some(if is_https { "https" } else { "http" }))
    }

    /// Answers only for the host `host`, and for others that are added; a leading `*.` stands for one label.
    ///
    /// By default every host that the resolver takes is answered for, which with a path or fixed
    /// resolver is every host: name yours to keep DNS rebinding out.
    pub fn with_host(self, host: impl Into<String>) -> Self {
        self.with(|gate| gate.hosts.push(host.into().to_ascii_lowercase()))
    }

    /// Allows web pages of `origin`, such as `https://app.example.com`, beside the server's own.
    pub fn with_origin(self, origin: impl Into<String>) -> Self {
        self.with(|gate| gate.origins.push(origin.into()))
    }

    /// Names the page `uri` that tells people how they come by a token that works: at the end of the sentence of
    /// each 401, and as the `error_uri` of a challenge (RFC 6750 §3). None by default.
    ///
    /// An `error_uri` comes with an error code: also with the 400 to a doubled credential, and not with the 401 to a
    /// request that carried none.
    ///
    /// # Panics
    /// If `uri` is not an absolute `http` or `https` URI of letters, digits and `-._~:/?#&=%+@[]`.
    pub fn with_help(self, uri: &'static str) -> Self {
        let is_plain =
            |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#&=%+@[]".contains(&byte);
        let is_absolute = uri.starts_with("https://") || uri.starts_with("http://");
        assert!(
            is_absolute && uri.bytes().all(is_plain),
            "the address of the help page is not a plain absolute URI"
        );
        self.with(|gate| gate.responder.help = Some(uri))
    }

    /// Answers rejected requests with what `respond` makes, in place of a JSON-RPC error.
    ///
    /// A 401, and a 400 about the credential, gets its `WWW-Authenticate` afterwards if it has none, and the
    /// [`Rejection`] goes into the response's extensions. Status, `Content-Type` and `Cache-Control: no-store` are yours to
    /// set:
    /// ```
    /// use bytes::Bytes;
    /// use http::{HeaderValue, Response, header::{CACHE_CONTROL, CONTENT_TYPE}};
    /// # use tower_workspace_token::{Keys, MemoryStore, PathTemplate, TokenAuthority, WorkspaceTokenLayer};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let authority = TokenAuthority::builder(MemoryStore::new(), Keys::generate()?).build()?;
    ///
    /// let layer = WorkspaceTokenLayer::new(authority, PathTemplate::new("/w/{workspace}/*"))
    ///     .with_rejection_response(|rejection| {
    ///         // No sentence holds what JSON would have to escape.
    ///         let body = format!(r#"{{"error":"{}"}}"#, rejection.message());
    ///         let mut response = Response::new(Bytes::from(body));
    ///         *response.status_mut() = rejection.status();
    ///         let headers = response.headers_mut();
    ///         headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    ///         headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    ///         response
    ///     });
    /// # let _ = layer;
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_rejection_response(
        self,
        respond: impl Fn(&Rejection) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        self.with(|gate| gate.responder.respond = Some(Arc::new(respond)))
    }

    fn with(mut self, change: impl FnOnce(&mut Gate)) -> Self {
        change(Arc::make_mut(&mut self.gate));
        self
    }
}

impl<S> Layer<S> for WorkspaceTokenLayer {
    type Service = WorkspaceTokenService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        WorkspaceTokenService::new(inner, Arc::clone(&self.gate))
    }
}

impl Gate {
    pub(super) fn authority(&self) -> &TokenAuthority {
        &self.authority
    }

    pub(super) fn responder(&self) -> &Responder {
        &self.responder
    }

    /// Takes the credential out of a request and decides about it.
    ///
    /// The hold of a valid token goes to `hold` at once: each hand that it went through with the rest would
    /// wait for the one before.
    pub(super) fn admit<B>(&self, request: &mut Request<B>, hold: &mut Option<Hold>) -> Admission {
        let captured = capture(request, self.query_parameter);
        let manners = Manners {
            no_trace: captured.was_in_query(),
        };
        // Apart from the request, which is read while a token is put into them.
        let mut extensions = mem::take(request.extensions_mut());
        let accept = |token: VerifiedToken, held: Hold| {
            *hold = Some(held);
            extensions.insert(token);
        };
        let (Ok(admission) | Err(admission)) = self.decide(request, &captured, accept, manners);
        *request.extensions_mut() = extensions;
        admission
    }

    /// Decides; an error is what a request comes to that is turned away before a token counts.
    #[inline]
    fn decide<B>(
        &self,
        request: &Request<B>,
        captured: &Captured,
        mut accept: impl FnMut(VerifiedToken, Hold),
        manners: Manners,
    ) -> Result<Admission, Admission> {
        let turned_away = |rejection| self.turn_away(rejection, None, manners);
        let headers = request.headers();
        let address =
            RequestAddress::read(request.uri(), headers, request.version()).map_err(turned_away)?;
        self.check_host(&address).map_err(turned_away)?;
        let resolved = self.resolver.resolve(&address);
        if self.is_optional && is_open_to_all(&resolved, captured) {
            self.check_origin(headers, &address).map_err(turned_away)?;
            return Ok(Admission::Anonymous(manners));
        }
        let workspace = resolved.map_err(turned_away)?;
        self.check_origin(headers, &address).map_err(turned_away)?;
        let credential = captured.as_result().map_err(turned_away)?;
        // A scrub layer may take out more than this layer accepts.
        let credential = credential
            .filter(|credential| self.query_parameter.is_some() || !credential.is_from_query());
        let Some(credential) = credential else {
            if self.is_optional {
                return Ok(Admission::Anonymous(manners));
            }
            let missing = Rejection::new(RejectionKind::MissingCredential);
            return Err(self.turn_away(missing, Some(&address), manners));
        };
        let presented = credential.as_presented();
        // Given away as it is: a closure around this one would be one copy more of the token.
        match self
            .authority
            .verify_now(&workspace, presented, &mut accept)
        {
            Verdict::Verified => Ok(Admission::Verified(manners)),
            Verdict::Pending(check) => Ok(self.pending(check, &address, manners)),
            Verdict::Rejected(rejection) => self
                .decide_access(&workspace, presented, &address, accept, manners)
                .unwrap_or_else(|| {
                    let rejection = credential.placeholder().unwrap_or(rejection);
                    Err(self.turn_away(rejection, Some(&address), manners))
                }),
        }
    }

    /// Decides about what is no workspace token; `None` if it is no access token either.
    #[inline(never)]
    fn decide_access(
        &self,
        workspace: &WorkspaceId,
        presented: PresentedToken<'_>,
        address: &RequestAddress<'_>,
        mut accept: impl FnMut(VerifiedToken, Hold),
        manners: Manners,
    ) -> Option<Result<Admission, Admission>> {
        let mut deadline = None;
        let verdict = self
            .authority
            .verify_access_now(workspace, presented, |token| {
                deadline = token.lease().deadline();
                let hold = token.lease().hold();
                accept(token, hold);
            })?;
        Some(match verdict {
            Verdict::Verified => Ok(Admission::VerifiedAccess(deadline, manners)),
            Verdict::Pending(check) => Ok(self.pending(check, address, manners)),
            Verdict::Rejected(rejection) => Err(self.turn_away(rejection, Some(address), manners)),
        })
    }

    fn pending(
        &self,
        check: Box<PendingCheck>,
        address: &RequestAddress<'_>,
        manners: Manners,
    ) -> Admission {
        let pending = PendingAdmission {
            check,
            resource_metadata: self.resource_metadata(address),
        };
        Admission::Pending(Box::new(pending), manners)
    }

    /// Answers a request that is turned away; it is told of the resource where its address is one.
    #[inline(never)]
    fn turn_away(
        &self,
        rejection: Rejection,
        address: Option<&RequestAddress<'_>>,
        manners: Manners,
    ) -> Admission {
        let metadata = address.and_then(|address| self.resource_metadata(address));
        let response = self
            .responder
            .reject(rejection, metadata.as_deref(), manners);
        Admission::Rejected(Box::new(response))
    }

    #[inline]
    fn check_host(&self, address: &RequestAddress<'_>) -> Result<(), Rejection> {
        let is_ours =
            self.hosts.is_empty() || self.hosts.iter().any(|host| covers(host, address.host()));
        is_ours
            .then_some(())
            .ok_or_else(|| Rejection::bad_address(AddressProblem::ForeignHost))
    }

    /// MCP 2025-11-25, Transports, "Security Warning": servers must validate `Origin`.
    #[inline]
    fn check_origin(
        &self,
        headers: &HeaderMap,
        address: &RequestAddress<'_>,
    ) -> Result<(), Rejection> {
        let Some(origin) = headers.get(ORIGIN) else {
            return Ok(());
        };
        let is_allowed = headers.get_all(ORIGIN).iter().count() == 1
            && origin.to_str().is_ok_and(|origin| {
                self.origins.iter().any(|listed| listed == origin) || self.is_own(origin, address)
            });
        is_allowed
            .then_some(())
            .ok_or_else(|| Rejection::new(RejectionKind::ForeignOrigin))
    }

    fn is_own(&self, origin: &str, address: &RequestAddress<'_>) -> bool {
        let scheme = self.scheme_of(address);
        let default_port = if scheme == "https" { ":443" } else { ":80" };
        let own = address.authority();
        let own = own.strip_suffix(default_port).unwrap_or(&own);
        let authority = origin
            .strip_prefix(scheme)
            .and_then(|rest| rest.strip_prefix("://"));
        authority.is_some_and(|authority| {
            authority
                .strip_suffix(default_port)
                .unwrap_or(authority)
                .eq_ignore_ascii_case(own)
        })
    }

    fn scheme_of(&self, address: &RequestAddress<'_>) -> &'static str {
        self.scheme.unwrap_or(if address.is_loopback() {
            "http"
        } else {
            "https"
        })
    }

    /// Writes the metadata address of RFC 9728 §3.1 for the resource that `address` is.
    fn resource_metadata(&self, address: &RequestAddress<'_>) -> ResourceMetadata {
        // The resolver took the path, but the HTTP library lets characters through that would end the quoted text.
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%".contains(&byte);
        let path = match address.path() {
            "/" => "",
            path => path,
        };
        path.bytes().all(is_plain).then(|| {
            let (scheme, authority) = (self.scheme_of(address), address.authority());
            format!("{scheme}://{authority}/.well-known/oauth-protected-resource{path}")
        })
    }
}

impl Responder {
    /// Makes the response to a request that is turned away.
    pub(super) fn reject(
        &self,
        rejection: Rejection,
        resource_metadata: Option<&str>,
        manners: Manners,
    ) -> Response<Bytes> {
        let mut response = match &self.respond {
            Some(respond) => respond(&rejection),
            None => response::reject_with_help(&rejection, self.help),
        };
        if wants_challenge(response.status(), &rejection)
            && !response.headers().contains_key(WWW_AUTHENTICATE)
        {
            let challenge = challenge(&rejection, self.help, resource_metadata);
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        manners.apply(response.headers_mut());
        #[cfg(feature = "tracing")]
        tracing::debug!(kind = ?rejection.kind(), status = response.status().as_u16(), "request turned away");
        response.extensions_mut().insert(rejection);
        response
    }
}

impl Manners {
    /// Keeps an answer to a URL that held a credential out of caches and `Referer` headers.
    #[inline(always)]
    pub(super) fn apply(self, headers: &mut HeaderMap) {
        if self.no_trace {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        }
    }
}

/// Returns whether a request is for no workspace and carries nothing that could be for one.
fn is_open_to_all(resolved: &Result<WorkspaceId, Rejection>, captured: &Captured) -> bool {
    let names_none = resolved.as_ref().is_err_and(|rejection| {
        *rejection.kind() == RejectionKind::Address(AddressProblem::NoWorkspace)
    });
    names_none && matches!(captured.as_result(), Ok(None))
}

/// RFC 6750 §3.1: a request with two credentials reads `invalid_request` in a challenge, as one with a bad one does.
fn wants_challenge(status: StatusCode, rejection: &Rejection) -> bool {
    match status {
        StatusCode::UNAUTHORIZED => true,
        StatusCode::BAD_REQUEST => {
            matches!(rejection.kind(), RejectionKind::MalformedCredential(_))
        }
        _ => false,
    }
}

/// Writes the challenge of RFC 6750 §3; without an error code where there was no credential.
fn challenge(
    rejection: &Rejection,
    help: Option<&str>,
    resource_metadata: Option<&str>,
) -> HeaderValue {
    let mut challenge = String::with_capacity(320);
    challenge.push_str("Bearer realm=\"workspace\"");
    let mut add = |parameter: &str, value: &str| {
        for part in [", ", parameter, "=\"", value, "\""] {
            challenge.push_str(part);
        }
    };
    if let Some(code) = rejection.error_code() {
        add("error", code);
        // The sentences hold no quote and no backslash, and a variable's name neither.
        add("error_description", &rejection.sentence());
        if let Some(uri) = help {
            add("error_uri", uri);
        }
    }
    if let Some(address) = resource_metadata {
        add("resource_metadata", address);
    }
    HeaderValue::try_from(challenge)
        .expect("sentences, names and plain addresses are visible ASCII")
}

fn covers(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        None => host.eq_ignore_ascii_case(pattern),
        Some(domain) => host
            .split_once('.')
            .is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(domain)),
    }
}

impl fmt::Debug for WorkspaceTokenLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkspaceTokenLayer")
            .field("gate", &self.gate)
            .finish()
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("authority", &self.authority)
            .field("query_parameter", &self.query_parameter)
            .field("is_optional", &self.is_optional)
            .field("hosts", &self.hosts)
            .field("origins", &self.origins)
            .finish_non_exhaustive()
    }
}
