//! The application in axum.

use std::convert::Infallible;

use axum::{
    Router,
    body::Body,
    extract::{OriginalUri, Request, State},
    http::HeaderMap,
    response::Response,
    routing::{any, get},
};
use tokio_stream::StreamExt as _;
use tower_workspace_token::{SessionLayer, VerifiedToken};

use crate::desk::{Desk, describe, mcp};

/// The routes of the application, below `prefix`, without the layer.
pub(crate) fn routes(prefix: &str, sessions: SessionLayer, desk: Desk) -> Router {
    let mcp = any(async |headers: HeaderMap| mcp(&headers)).layer(sessions);
    Router::new()
        .route(&format!("{prefix}/whoami"), get(whoami))
        .route(&format!("{prefix}/who"), get(who))
        .route(&format!("{prefix}/hang"), get(hang))
        .route(&format!("{prefix}/stream"), get(stream))
        .route(&format!("{prefix}/mcp"), mcp)
        .with_state(desk)
}

async fn whoami(
    State(desk): State<Desk>,
    OriginalUri(uri): OriginalUri,
    token: VerifiedToken,
    request: Request,
) -> String {
    desk.see((uri, request.uri(), request.headers()));
    describe(Some(&token))
}

async fn who(State(desk): State<Desk>, token: Option<VerifiedToken>) -> String {
    desk.see(());
    describe(token.as_ref())
}

async fn hang(State(desk): State<Desk>, _token: VerifiedToken) -> String {
    match desk.hang().await {}
}

async fn stream(State(desk): State<Desk>, _token: VerifiedToken) -> Response {
    let pieces = desk.stream().map(Ok::<_, Infallible>);
    Response::new(Body::from_stream(pieces))
}
