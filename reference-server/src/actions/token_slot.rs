//! What actions on one token share: the words for what goes wrong, and its last use before it ends.

use tower_workspace_token::{
    TokenName,
    error::{Error as TokenError, ErrorKind},
    id::{SlotKey, WorkspaceId},
};

use crate::{
    app::App,
    error::{AppError, ErrorCode},
    time,
};

/// When a generation was last used, as the store of tokens has counted it until its end.
pub(super) struct Counted {
    key: SlotKey,
    generation: u64,
    at: i64,
}

impl Counted {
    /// Asks for it before the generation ends; nothing if it was never used.
    pub(super) async fn of(
        app: &App,
        workspace: &WorkspaceId,
        name: &TokenName,
    ) -> Result<Option<Self>, AppError> {
        let tokens = app.authority().list(workspace).await?;
        let token = tokens.iter().find(|token| token.name == *name);
        Ok(token.and_then(|token| {
            Some(Self {
                key: SlotKey::new(*workspace, *name),
                generation: token.generation.number(),
                at: time::column(token.last_used_at?),
            })
        }))
    }

    /// Keeps it beyond the end of the generation.
    pub(super) async fn keep(self, app: &App) {
        app.activity()
            .note_counted(app.database(), self.key, self.generation, self.at)
            .await;
    }
}

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

/// Stops whoever looks at a page that is out of date.
pub(super) fn out_of_date() -> AppError {
    AppError::new(
        ErrorCode::Conflict,
        "the token was regenerated or revoked meanwhile: look at the list again",
    )
}
