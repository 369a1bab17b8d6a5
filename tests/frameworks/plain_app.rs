//! The application without a framework: a function of a request.

use std::convert::Infallible;

use axum::body::Body;
use http::{Request, Response};
use http_body_util::StreamBody;
use hyper::body::{Bytes, Frame, Incoming};
use tokio_stream::StreamExt as _;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_workspace_token::{SessionLayer, VerifiedToken};

use crate::desk::{Desk, describe, mcp};

/// Answers a request behind the layer.
pub(crate) async fn answer(
    request: Request<Incoming>,
    sessions: SessionLayer,
    desk: Desk,
) -> Result<Response<Body>, Infallible> {
    let token = request.extensions().get::<VerifiedToken>();
    let page = request.uri().path().rsplit('/').next();
    let body = match (page, token) {
        (Some("whoami"), Some(token)) => {
            desk.see((request.uri(), request.headers()));
            Body::from(describe(Some(token)))
        }
        (Some("who"), token) => {
            desk.see(());
            Body::from(describe(token))
        }
        (Some("hang"), Some(_)) => match desk.hang().await {},
        (Some("stream"), Some(_)) => {
            let pieces = desk.stream().map(|piece| {
                Ok::<_, Infallible>(Frame::data(Bytes::from_static(piece.as_bytes())))
            });
            Body::new(StreamBody::new(pieces))
        }
        (Some("mcp"), Some(_)) => {
            let mcp = service_fn(async |request: Request<Incoming>| {
                Ok::<_, Infallible>(mcp(request.headers()))
            });
            let response = sessions.layer(mcp).oneshot(request).await?;
            return Ok(response.map(Body::new));
        }
        _ => unreachable!("the layer lets nobody else in"),
    };
    Ok(Response::new(body))
}
