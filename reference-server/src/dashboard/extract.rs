//! [`Form`], [`Path`] and [`Query`] as axum has them, but that what they refuse is answered by a page.

use axum::{
    extract::{FromRequest, FromRequestParts, Request},
    response::{IntoResponse, Response},
};
use http::{StatusCode, request::Parts};
use serde::de::DeserializeOwned;

use super::page::PageError;
use crate::error::{AppError, ErrorCode};

/// The body of a form.
#[derive(Debug)]
pub(super) struct Form<T>(pub(super) T);

/// What the route leaves open of the path.
#[derive(Debug)]
pub(super) struct Path<T>(pub(super) T);

/// The query of the address.
#[derive(Debug)]
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Form<T> {
    type Rejection = PageError;

    async fn from_request(request: Request, state: &S) -> Result<Self, PageError> {
        let form = axum::Form::from_request(request, state).await;
        form.map(|axum::Form(form)| Self(form))
            .map_err(|refused| bad_form(refused.status()).into())
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, PageError> {
        let path = axum::extract::Path::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(path)| Self(path))
            .map_err(bad_address)
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, PageError> {
        let query = axum::extract::Query::from_request_parts(parts, state).await;
        query
            .map(|axum::extract::Query(query)| Self(query))
            .map_err(bad_address)
    }
}

/// Says what is wrong with a form that axum refuses with `status`. Its own words are for programmers.
pub(super) fn bad_form(status: StatusCode) -> AppError {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => AppError::new(
            ErrorCode::TooLarge,
            "this is more than is taken at once: send less",
        ),
        _ => AppError::invalid(
            "the form did not arrive as its page sends it: open the page again and send it from there",
        ),
    }
}

fn bad_address(refused: impl IntoResponse) -> PageError {
    let refused: Response = refused.into_response();
    // A route with other parts than its handler takes is a mistake of ours.
    if refused.status().is_server_error() {
        return anyhow::anyhow!("the path of a route is not what its handler takes").into();
    }
    AppError::invalid("no link of ours leads to this address: go there from another page").into()
}
