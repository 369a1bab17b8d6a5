//! Keeps passwords and login cookies off connections that others can read.

use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use super::client_address::Arrival;
use crate::error::{AppError, ErrorCode};

/// Lets requests through that nobody on the way could read. The answer to the others comes before any form
/// is shown, so that nobody types a password into one.
pub(super) async fn only(request: Request, next: Next) -> Response {
    if Arrival::is_private(request.extensions()) {
        return next.run(request).await;
    }
    AppError::new(ErrorCode::Forbidden, REFUSAL).into_response()
}

const REFUSAL: &str = "logins and pages are there over https only, since this connection can be read on the way: use the server's https:// address";
