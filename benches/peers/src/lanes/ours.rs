//! This library, as an application puts it together.

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body::Body as HttpBody;
use tower::{Layer as _, Service, ServiceExt as _};
use tower_workspace_token::{
    CredentialScrubLayer, HostLabel, MemoryStore, SessionLayer, TokenAuthority, VerifiedToken,
    WorkspaceTokenLayer,
    layer::{CredentialScrub, FixedWorkspace, WorkspaceTokenService},
    session::SessionService,
};

use crate::{
    inner::{Handler, Sessions},
    request::{self, Body, DOMAIN},
    token::{Resident, WORKSPACE, World, authority},
};

/// The name of the query parameter.
const QUERY_PARAMETER: &str = "token";

/// The layer with all that an application on the internet turns on around it.
pub type Everything<S> = CredentialScrub<WorkspaceTokenService<S>>;

/// Who sees the tokens of a cold lane for the first time.
#[derive(Clone, Copy, Debug)]
pub enum FirstSight {
    /// The authority that issued them: it knows the slots.
    ByTheIssuer,
    /// Another one over the same store: it knows nothing.
    ByAnother,
}

/// The handler behind the layer.
pub fn handler() -> Handler {
    Handler::behind::<VerifiedToken>()
}

/// The layer by itself, for one workspace.
pub fn fixed<S>(world: &World, inner: S) -> WorkspaceTokenService<S> {
    let resolver = FixedWorkspace(world.workspace);
    WorkspaceTokenLayer::new(world.authority.clone(), resolver).layer(inner)
}

/// The layer for the workspace that the host names.
pub fn by_host<S>(authority: &TokenAuthority, inner: S) -> WorkspaceTokenService<S> {
    WorkspaceTokenLayer::new(authority.clone(), HostLabel::under(DOMAIN)).layer(inner)
}

/// The layer for the workspace that the host names, with the scrub layer outside.
pub fn everything<S>(authority: &TokenAuthority, inner: S) -> Everything<S> {
    CredentialScrubLayer::new().layer(by_host(authority, inner))
}

/// The layer by itself, for one workspace, that takes `?token=` too.
pub fn with_query<S>(world: &World, inner: S) -> WorkspaceTokenService<S> {
    WorkspaceTokenLayer::new(world.authority.clone(), FixedWorkspace(world.workspace))
        .with_query_token(QUERY_PARAMETER)
        .layer(inner)
}

/// The layer with the session layer inside, and a session that it has opened.
pub fn with_session(
    world: &World,
) -> (WorkspaceTokenService<SessionService<Sessions>>, HeaderValue) {
    let sessions = SessionLayer::new(world.authority.clone());
    let service = fixed(world, sessions.layer(Sessions(handler())));
    let opening = request::bearer(WORKSPACE, &world.tokens.good);
    let response = world.runtime.block_on(service.clone().oneshot(opening));
    let session = request::session_of(&response.expect("it does not fail"));
    (service, session.expect("a session was opened"))
}

/// Makes tokens that nobody has presented yet, each of a workspace of its own, and the service that will
/// see them first.
pub fn first_sight(
    world: &World,
    by: FirstSight,
    count: usize,
) -> (WorkspaceTokenService<Handler>, Vec<Resident>) {
    let store = MemoryStore::new();
    let issuer = authority(store.clone(), &world.keys);
    let residents = world.tokens_of_many(&issuer, count);
    let checker = match by {
        FirstSight::ByTheIssuer => issuer,
        FirstSight::ByAnother => authority(store, &world.keys),
    };
    (by_host(&checker, handler()), residents)
}

/// Presents every token once.
///
/// # Panics
/// One is refused.
pub fn warm_up<S, B>(world: &World, service: &S, residents: &[Resident])
where
    S: Service<Request<Body>, Response = Response<B>> + Clone,
    B: HttpBody<Data = Bytes>,
{
    for Resident { workspace, token } in residents {
        let first = request::bearer(workspace, token);
        let response = world.runtime.block_on(service.clone().oneshot(first));
        assert!(response.is_ok_and(|response| response.status().is_success()));
    }
}
