//! This library, as an application puts it together.

use std::sync::Arc;

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

/// Makes a service that has been running, and what rotates up to `most` of its tokens: then nobody has
/// presented them yet, each of a workspace of its own.
pub fn rotated(
    world: &Arc<World>,
    most: usize,
) -> (
    WorkspaceTokenService<Handler>,
    impl Fn(usize) -> Vec<Resident> + use<>,
) {
    let authority = authority(MemoryStore::new(), &world.keys);
    let service = by_host(&authority, handler());
    world.tokens_of_many(&authority, most);
    let world = Arc::clone(world);
    let rotate = move |count| world.rotated_of_many(&authority, count);
    (service, rotate)
}

/// Makes tokens of which this service has only the rows.
pub fn of_another_issuer(
    world: &World,
    count: usize,
) -> (WorkspaceTokenService<Handler>, Vec<Resident>) {
    let store = MemoryStore::new();
    let residents = world.tokens_of_many(&authority(store.clone(), &world.keys), count);
    let checker = authority(store, &world.keys);
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
