//! Health, for supervisors: answered for any host, since they ask by address.

use axum::extract::State;
use http::StatusCode;

use crate::{app::App, db::DatabaseError, workspaces};

/// Answers as long as the process does.
pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// Answers whether the database can be read.
pub(super) async fn ready(State(app): State<App>) -> (StatusCode, &'static str) {
    let looked = app
        .database()
        .read(|snapshot| workspaces::any(snapshot))
        .await;
    match looked {
        Ok::<bool, DatabaseError>(_) => (StatusCode::OK, "ok\n"),
        Err(error) => {
            tracing::error!("not ready: {error}");
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "the database cannot be read\n",
            )
        }
    }
}
