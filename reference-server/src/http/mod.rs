//! The public listener: health, the MCP endpoint at its three URLs, and short answers for what MCP
//! clients try besides.
//!
//! From outside to inside: [`CredentialScrubLayer`] takes the credential out of the request, the trace
//! layer logs what is left, [`by_host`] tells the server's own hosts from workspaces' and strangers',
//! and [`WorkspaceTokenLayer`] guards the MCP endpoint, and nothing else.

mod health;
mod trace;
mod unserved;

use axum::{
    Router,
    extract::{Request, State},
    response::Response,
    routing::{MethodRouter, get, post},
};
use tower::{Layer as _, ServiceExt as _};
use tower_workspace_token::{
    CredentialScrubLayer, WorkspaceTokenLayer,
    layer::{CredentialScrub, RequestAddress},
};

use crate::{app::App, mcp};

/// The query parameter that clients which cannot send headers put the token into.
const QUERY_TOKEN: &str = "token";

/// The public service: the routers behind the layers that every request passes.
pub(crate) type PublicService = CredentialScrub<<trace::Layer as tower::Layer<Router>>::Service>;

/// Puts the public service together.
pub(crate) fn service(app: &App) -> PublicService {
    scrub_layer().layer(trace::layer().layer(router(app)))
}

fn scrub_layer() -> CredentialScrubLayer {
    CredentialScrubLayer::new().with_query_token(QUERY_TOKEN)
}

fn router(app: &App) -> Router {
    let endpoint = mcp::endpoint(app);
    let hosts = Hosts {
        app: app.clone(),
        own: own_host(app, endpoint.clone()),
        workspace: workspace_host(app, endpoint),
        foreign: foreign_host(app),
    };
    let any_host = Router::new()
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .with_state(app.clone());
    any_host.fallback(by_host).with_state(hosts)
}

/// What is behind the server's own hosts, behind workspaces' and behind all others.
#[derive(Clone)]
struct Hosts {
    app: App,
    own: Router,
    workspace: Router,
    foreign: Router,
}

/// Sends a request to the router of its host.
async fn by_host(State(hosts): State<Hosts>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let addresses = hosts.app.addresses();
    let router = match RequestAddress::of(&parts) {
        Ok(address) if addresses.is_own(address.host()) => hosts.own,
        Ok(address) if addresses.is_workspace(address.host()) => hosts.workspace,
        _ => hosts.foreign,
    };
    let answer = router.oneshot(Request::from_parts(parts, body)).await;
    answer.unwrap_or_else(|never| match never {})
}

fn own_host(app: &App, endpoint: MethodRouter) -> Router {
    let guarded = Router::new()
        .route("/mcp/{workspace}", endpoint)
        .route_layer(token_layer(app));
    Router::new()
        .route("/register", post(unserved::register))
        .route("/.well-known/{*path}", get(unserved::well_known))
        .with_state(app.clone())
        .merge(guarded)
        .fallback(unserved::not_found)
}

/// The router of a workspace's own host. The layer covers the fallback too.
fn workspace_host(app: &App, endpoint: MethodRouter) -> Router {
    let guarded = Router::new()
        .route("/", endpoint.clone())
        .route("/mcp", endpoint)
        .fallback(unserved::not_found)
        .layer(token_layer(app));
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
