//! The public listener: health, the MCP endpoint at its three URLs, and short answers for what MCP
//! clients try besides.
//!
//! From outside to inside: [`CredentialScrubLayer`] takes the credential out of the request, the trace
//! layer logs what is left, [`ByHost`] tells the server's own hosts from workspaces' and strangers',
//! and [`WorkspaceTokenLayer`] guards the MCP endpoint, and what is nothing at a workspace's or a stranger's host. Around it [`TallyLayer`] counts,
//! and asks the [`FailureLimit`] about those whose token was no good. Behind it [`CallLimit`] bounds what is
//! open of one token.

mod by_host;
mod calls;
mod caps;
pub(crate) mod client_address;
pub(crate) mod failures;
pub(crate) mod health;
mod pace;
mod private;
mod trace;
mod unserved;

use axum::{
    Router,
    extract::{Request, State},
    middleware,
    response::Response,
    routing::{get, post},
};
use by_host::{ByHost, Hosts};
use calls::CallLimit;
use client_address::Arrivals;
use failures::FailureLimit;
use health::Readiness;
use tower::{Layer as _, util::MapResponse};
use tower_workspace_token::{
    CredentialScrubLayer, WorkspaceTokenLayer,
    exchange::TokenExchange,
    layer::{CredentialScrub, RequestAddress},
};

use crate::{activity::TallyLayer, app::App, dashboard, limits::Limits, mcp, metrics};

/// The query parameter that clients which cannot send headers put the token into.
const QUERY_TOKEN: &str = "token";

/// The public service: what is behind the layers that every request passes.
pub(crate) type PublicService = CredentialScrub<<trace::Layer as tower::Layer<ByHost>>::Service>;

/// Puts the public service together; `arrivals` tell where requests come from.
pub(crate) fn service(app: &App, arrivals: Arrivals, limits: &Limits) -> PublicService {
    scrub_layer().layer(trace::layer().layer(by_host(app, arrivals, limits)))
}

pub(crate) fn scrub_layer() -> CredentialScrubLayer {
    CredentialScrubLayer::new().with_query_token(QUERY_TOKEN)
}

/// Returns all there is, without the layers around it.
pub(crate) fn by_host(app: &App, arrivals: Arrivals, limits: &Limits) -> ByHost {
    let failures = FailureLimit::new(limits.failed_tokens_per_minute);
    let guard = guard(app, failures);
    let hosts = Hosts {
        addresses: app.addresses().clone(),
        arrivals,
        health: health(app),
        own: own_host(app),
        workspace: workspace_host(app, &guard),
        exchange: exchange(app, limits, &guard),
        foreign: guarded_nothing(&guard),
        bypass: Router::new().fallback(unserved::bypass),
    };
    let endpoint = CallLimit::new(mcp::endpoint(app), limits.calls_per_token);
    ByHost::new(guard.layer(endpoint), hosts)
}

fn health(app: &App) -> Router {
    Router::new()
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .with_state(Readiness::new(app))
}

fn own_host(app: &App) -> Router {
    Router::new()
        .route("/register", post(unserved::register))
        .route("/.well-known/{*path}", get(unserved::well_known))
        .route(dashboard::help::PATH, get(dashboard::help::show))
        .fallback(nothing_here)
        .with_state(app.clone())
        .merge(dashboard::router(app).layer(middleware::from_fn(private::only)))
}

/// A page for people, a few words for programs.
async fn nothing_here(State(app): State<App>, request: Request) -> Response {
    match dashboard::not_found(&app, request.headers()).await {
        Some(page) => page,
        None => unserved::not_found().await,
    }
}

/// The router of a workspace's own host, but for the endpoint. Whoever looks for something there that is
/// not there needs a token too.
fn workspace_host(app: &App, guard: &Guard) -> Router {
    Router::new()
        .route("/register", post(unserved::register))
        .route("/.well-known/{*path}", get(unserved::well_known_of_host))
        .with_state(app.clone())
        .merge(guarded_nothing(guard))
}

/// Where a workspace token is exchanged for an access token. Behind the same layers as the endpoint: what fails here
/// counts as what fails there.
fn exchange(app: &App, limits: &Limits, guard: &Guard) -> Router {
    let exchange = TokenExchange::new(app.authority().clone());
    let exchange = CallLimit::new(exchange, limits.calls_per_token);
    let exchange = MapResponse::new(exchange, |response: http::Response<_>| {
        if response.status().is_success() {
            metrics::exchanged();
        }
        response
    });
    Router::new()
        .fallback_service(exchange)
        .layer(guard.clone())
}

/// Nothing at all, behind the token layer. At a host that is nobody's here, as after DNS rebinding, that turns
/// everything away before it looks at anything else.
fn guarded_nothing(guard: &Guard) -> Router {
    Router::new()
        .fallback(unserved::not_found)
        .layer(guard.clone())
}

/// Asks for the workspace's token, and counts what comes of it.
type Guard = (TallyLayer, WorkspaceTokenLayer);

fn guard(app: &App, failures: FailureLimit) -> Guard {
    (TallyLayer::new(app, failures), token_layer(app))
}

fn token_layer(app: &App) -> WorkspaceTokenLayer {
    let addresses = app.addresses().clone();
    let is_https = addresses.public_url().is_https();
    let resolver = move |address: &RequestAddress<'_>| addresses.resolve(address);
    // Static, since every request carries it along; a process makes one server.
    let help = format!("{}{}", app.addresses().public_url(), dashboard::help::PATH).leak();
    WorkspaceTokenLayer::new(app.authority().clone(), resolver)
        .with_query_token(QUERY_TOKEN)
        .with_https(is_https)
        .with_help(help)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tower::{ServiceExt as _, service_fn};

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
