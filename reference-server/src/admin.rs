//! The admin listener: metrics and health, for monitoring. It has no secrets and takes none.

use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::get,
};
use http::{StatusCode, header::CONTENT_TYPE};
use metrics_exporter_prometheus::PrometheusHandle;
use tower_workspace_token::layer::RequestAddress;

use crate::{
    addresses,
    app::App,
    http::health::{self, Readiness},
    metrics,
};

/// Returns the service of the admin listener.
///
/// `is_any_host` lets monitoring ask by a name; otherwise only addresses and `localhost` will do, so that
/// no page whose name was rebound to this machine reads along.
pub(crate) fn router(app: &App, handle: PrometheusHandle, is_any_host: bool) -> Router {
    let metrics = Router::new()
        .route("/metrics", get(show))
        .with_state((app.clone(), handle));
    let routes = Router::new()
        .route("/", get(contents))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .with_state(Readiness::new(app))
        .merge(metrics);
    if is_any_host {
        return routes;
    }
    routes.layer(middleware::from_fn(known_host))
}

async fn known_host(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let is_known = RequestAddress::of(&parts)
        .is_ok_and(|address| addresses::is_unmistakably_local(address.host()));
    if !is_known {
        let why = "ask by address or as localhost\n";
        return (StatusCode::MISDIRECTED_REQUEST, why).into_response();
    }
    next.run(Request::from_parts(parts, body)).await
}

async fn contents() -> &'static str {
    "/metrics\n/livez\n/readyz\n"
}

async fn show(State((app, handle)): State<(App, PrometheusHandle)>) -> Response {
    metrics::look(&app).await;
    let text = "text/plain; version=0.0.4; charset=utf-8";
    ([(CONTENT_TYPE, text)], handle.render()).into_response()
}
