//! What goes wrong with a token's name, and what helps.

use tower_workspace_token::error::{Error as TokenError, ErrorKind};

use crate::error::{AppError, ErrorCode};

/// Says what to do where there is a live token already, or none.
pub(super) fn explain(error: TokenError) -> AppError {
    match error.kind() {
        ErrorKind::AlreadyIssued => AppError::new(
            ErrorCode::AlreadyExists,
            "there is a live token of that name already: choose another name, or regenerate that one",
        )
        .with_hint("`wst token rotate` regenerates it"),
        ErrorKind::NotFound => not_found(),
        _ => error.into(),
    }
}

pub(super) fn not_found() -> AppError {
    AppError::new(ErrorCode::NotFound, "there is no live token of that name")
        .with_hint("`wst token list` shows all, `wst token create` makes one")
}
