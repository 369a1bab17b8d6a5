//! warp's filters without the layer; what they do behind it is in the table of `frameworks`.

#![cfg(feature = "warp")]

use std::fmt::Debug;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt as _, Empty};
use tower::ServiceExt as _;
use tower_workspace_token::{
    VerifiedToken,
    warp::{Unprotected, verified_token},
};
use warp::{Filter, Rejection, Reply, http::StatusCode};

/// Answers a request that came through no layer.
async fn answer(
    routes: impl Filter<Extract = (impl Reply,), Error = Rejection>,
) -> Response<impl Body<Data: Debug, Error: Debug>> {
    let request = Request::new(Empty::<Bytes>::new());
    warp::service(routes).oneshot(request).await.unwrap()
}

#[tokio::test]
async fn without_the_layer_the_filter_rejects_and_says_why() {
    let unprotected = verified_token().map(|token: VerifiedToken| token.workspace().to_string());
    let response = answer(unprotected).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body = String::from_utf8_lossy(&body);
    assert!(body.contains("no WorkspaceTokenLayer"), "{body}");
}

#[tokio::test]
async fn an_application_may_answer_the_rejection_itself() {
    async fn sign_in(rejection: Rejection) -> Result<impl Reply, Rejection> {
        match rejection.find::<Unprotected>() {
            Some(_) => Ok(StatusCode::UNAUTHORIZED),
            None => Err(rejection),
        }
    }
    let routes = verified_token().map(|_token| "inside").recover(sign_in);
    let response = answer(routes).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}
