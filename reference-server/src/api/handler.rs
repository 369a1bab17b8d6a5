//! The one handler that all actions share.

use axum::{
    Extension,
    body::Bytes,
    extract::{
        RawPathParams, RawQuery, State,
        rejection::{BytesRejection, RawPathParamsRejection},
    },
    response::Response,
};

use super::arguments;
use http::StatusCode;

use crate::{
    actions::{Action, Answer},
    app::App,
    caller::Caller,
    error::{AppError, ErrorCode},
};

/// Reads an action from a request, runs it, and answers with its outcome.
pub(super) async fn handle<A: Action>(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    path: Result<RawPathParams, RawPathParamsRejection>,
    RawQuery(query): RawQuery,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, AppError> {
    let path = path.map_err(|_| AppError::invalid("the path is not UTF-8"))?;
    let body = body.map_err(|refused| match refused.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            AppError::new(ErrorCode::TooLarge, "the body is too large")
        }
        _ => AppError::invalid("the body could not be read"),
    })?;
    let action: A = arguments::decode(&path, query.as_deref(), &body)?;
    let outcome = app.perform(action, &caller).await;
    outcome
        .map(Answer::into_answer)
        .map_err(|error| error.told_to(&caller))
}
