//! The one handler that all actions share.

use axum::{
    Json,
    body::Bytes,
    extract::{RawPathParams, RawQuery, State},
};

use super::arguments;
use crate::{actions::Action, app::App, error::AppError};

/// Reads an action from a request, runs it, and answers with its outcome.
pub(super) async fn handle<A: Action>(
    State(app): State<App>,
    path: RawPathParams,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Result<Json<A::Outcome>, AppError> {
    let action: A = arguments::decode(&path, query.as_deref(), &body)?;
    // In a task of its own: a caller who hangs up must not stop an action half-way.
    let running = tokio::spawn(async move { action.run(&app).await });
    let outcome = running
        .await
        .map_err(|error| anyhow::anyhow!("the action stopped: {error}"))?;
    outcome.map(Json)
}
