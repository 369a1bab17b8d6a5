//! The public listener: health, the MCP endpoint at its three URLs, and short answers for what MCP
//! clients try besides.
//!
//! From outside to inside: [`CredentialScrubLayer`] takes the credential out of the request, the trace
//! layer logs what is left, [`by_host`] tells the server's own hosts from workspaces' and strangers',
//! and [`WorkspaceTokenLayer`] guards the MCP endpoint, and nothing else. Around it [`TallyLayer`] counts.

pub(crate) mod client_address;
pub(crate) mod health;
mod private;
mod trace;
mod unserved;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    middleware,
    response::Response,
    routing::{MethodRouter, get, post},
};
use client_address::Arrivals;
use health::Readiness;
use tower::{Layer as _, ServiceExt as _, util::MapRequestLayer};
use tower_workspace_token::{
    CredentialScrubLayer, WorkspaceTokenLayer,
    clock::{Clock as _, SystemClock},
    layer::{CredentialScrub, RequestAddress},
    rejection::Rejection,
};

use crate::{
    activity::TallyLayer,
    app::App,
    dashboard, mcp,
    metrics::{self, Face},
};

/// The query parameter that clients which cannot send headers put the token into.
const QUERY_TOKEN: &str = "token";

/// The public service: the routers behind the layers that every request passes.
pub(crate) type PublicService = CredentialScrub<<trace::Layer as tower::Layer<Router>>::Service>;

/// Puts the public service together; `arrivals` tell where requests come from.
pub(crate) fn service(app: &App, arrivals: Arrivals) -> PublicService {
    scrub_layer().layer(trace::layer().layer(router(app, arrivals)))
}

pub(crate) fn scrub_layer() -> CredentialScrubLayer {
    CredentialScrubLayer::new().with_query_token(QUERY_TOKEN)
}

/// Returns all routers, without the layers around them.
pub(crate) fn router(app: &App, arrivals: Arrivals) -> Router {
    let endpoint = mcp::endpoint(app);
    let hosts = Hosts {
        app: app.clone(),
        own: own_host(app, endpoint.clone()),
        workspace: workspace_host(app, endpoint),
        foreign: foreign_host(app),
        arrivals: arrivals.clone(),
    };
    let any_host = Router::new()
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .with_state(Readiness::new(app));
    any_host
        .fallback(by_host)
        .with_state(Arc::new(hosts))
        .layer(MapRequestLayer::new(move |request: Request| {
            arrivals.identify(request)
        }))
}

/// What is behind the server's own hosts, behind workspaces' and behind all others.
struct Hosts {
    app: App,
    own: Router,
    workspace: Router,
    foreign: Router,
    arrivals: Arrivals,
}

/// Sends a request to the router of its host.
async fn by_host(State(hosts): State<Arc<Hosts>>, request: Request) -> Response {
    let began = SystemClock.moment();
    let (parts, body) = request.into_parts();
    let addresses = hosts.app.addresses();
    let (router, face) = match RequestAddress::of(&parts) {
        Ok(address) if addresses.is_own(address.host()) => (&hosts.own, face(address.path())),
        Ok(address) if addresses.is_workspace(address.host()) => (&hosts.workspace, Face::Mcp),
        _ => (&hosts.foreign, Face::Foreign),
    };
    let answer = if hosts.arrivals.is_bypass(&parts.extensions) {
        unserved::bypass().await
    } else {
        let answer = router
            .clone()
            .oneshot(Request::from_parts(parts, body))
            .await;
        answer.unwrap_or_else(|never| match never {})
    };
    let took = SystemClock.moment().saturating_since(began);
    let rejection = answer.extensions().get::<Rejection>();
    metrics::answered(face, answer.status(), took, rejection);
    answer
}

/// Returns what a path of the server's own hosts is for.
fn face(path: &str) -> Face {
    if path.starts_with("/mcp/") {
        Face::Mcp
    } else if path.starts_with("/api/") {
        Face::Api
    } else {
        Face::Page
    }
}

fn own_host(app: &App, endpoint: MethodRouter) -> Router {
    let guarded = Router::new()
        .route("/mcp/{workspace}", endpoint)
        .route_layer(token_layer(app))
        .route_layer(TallyLayer::new(app));
    Router::new()
        .route("/register", post(unserved::register))
        .route("/.well-known/{*path}", get(unserved::well_known))
        .fallback(nothing_here)
        .with_state(app.clone())
        .merge(guarded)
        .merge(dashboard::router(app).layer(middleware::from_fn(private::only)))
}

/// A page for people, a few words for programs.
async fn nothing_here(State(app): State<App>, request: Request) -> Response {
    match dashboard::not_found(&app, request.headers()).await {
        Some(page) => page,
        None => unserved::not_found().await,
    }
}

/// The router of a workspace's own host. The layer covers the fallback too.
fn workspace_host(app: &App, endpoint: MethodRouter) -> Router {
    let guarded = Router::new()
        .route("/", endpoint.clone())
        .route("/mcp", endpoint)
        .fallback(unserved::not_found)
        .layer(token_layer(app))
        .layer(TallyLayer::new(app));
    Router::new()
        .route("/register", post(unserved::register))
        .route("/.well-known/{*path}", get(unserved::well_known_of_host))
        .with_state(app.clone())
        .merge(guarded)
}

/// Behind a host that is nobody's here, as after DNS rebinding, the token layer turns everything away
/// before it looks at anything else.
fn foreign_host(app: &App) -> Router {
    Router::new()
        .fallback(unserved::not_found)
        .layer(token_layer(app))
        .layer(TallyLayer::new(app))
}

fn token_layer(app: &App) -> WorkspaceTokenLayer {
    let addresses = app.addresses().clone();
    let is_https = addresses.public_url().is_https();
    let resolver = move |address: &RequestAddress<'_>| addresses.resolve(address);
    WorkspaceTokenLayer::new(app.authority().clone(), resolver)
        .with_query_token(QUERY_TOKEN)
        .with_https(is_https)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tower::service_fn;

    use super::*;

    /// The trace layer leaves the query out by itself: this is the first of two bolts, and each has to hold alone.
    #[tokio::test]
    async fn no_layer_behind_the_scrub_layer_sees_a_credential() {
        let inner = service_fn(async |request: http::Request<()>| {
            Ok::<_, Infallible>(format!("{request:?}"))
        });
        let request = http::Request::get("/mcp/acme?a=1&token=in-the-query")
            .header("authorization", "Bearer in-the-header")
            .body(())
            .unwrap();
        let seen = scrub_layer().layer(inner).oneshot(request).await.unwrap();
        assert!(seen.contains("/mcp/acme?a=1"), "{seen}");
        assert!(!seen.contains("in-the-"), "{seen}");
    }
}
