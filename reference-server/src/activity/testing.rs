//! Connections for tests, as clients open them.

use std::{convert::Infallible, net::IpAddr, sync::Arc};

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Request, Response};
use tower::{Layer as _, ServiceExt as _};
use tower_workspace_token::{
    authority::{Lease, TokenAuthority, VerifiedToken},
    session::{SessionHandle, SessionLayer},
};

use super::{
    Activity, Client,
    connections::{Connection, Identity},
};

/// Opens a session as its client does, and returns its connection.
pub(crate) async fn session(
    activity: &Activity,
    authority: &TokenAuthority,
    verified: VerifiedToken,
) -> Arc<Connection> {
    let answer = |request: Request<Body>| async move {
        let mut response = Response::new(Body::empty());
        let inner_id = HeaderValue::from_static("inner");
        response.headers_mut().insert(SESSION_ID, inner_id);
        if let Some(handle) = request.extensions().get::<SessionHandle>() {
            response.extensions_mut().insert(handle.clone());
        }
        Ok::<_, Infallible>(response)
    };
    let layer = SessionLayer::new(authority.clone());
    let service = layer.layer(tower::service_fn(answer));
    let lease = verified.lease().clone();
    let (mut id, mut handle) = (None, None);
    for _ in 0..2 {
        let mut request = Request::post("/mcp").body(Body::empty()).unwrap();
        request.extensions_mut().insert(verified.clone());
        if let Some(id) = id {
            request.headers_mut().insert(SESSION_ID, id);
        }
        let response = service.clone().oneshot(request).await.unwrap();
        id = response.headers().get(SESSION_ID).cloned();
        handle = response.extensions().get::<SessionHandle>().cloned();
    }
    let identity = Identity {
        counter: activity.counter(lease.workspace()),
        lease,
        session: Some(handle.unwrap()),
        client: Client::new("mine", "1"),
        agent: Client::default(),
        address: Some(address(1)),
    };
    activity.add(activity.table(), identity).unwrap()
}

/// A client without sessions.
pub(crate) fn modern(activity: &Activity, lease: &Lease) -> Arc<Connection> {
    let headers = HeaderMap::new();
    let connection = activity.of_client(lease, "modern", "1", Some(address(2)), &headers);
    connection.unwrap()
}

pub(super) fn address(number: u32) -> IpAddr {
    IpAddr::from(number.to_be_bytes())
}

const SESSION_ID: &str = "mcp-session-id";
