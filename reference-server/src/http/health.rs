//! Health, for supervisors: answered for any host, since they ask by address.

use std::{sync::Arc, time::Duration};

use axum::extract::{Request, State};
use http::StatusCode;
use tokio::sync::Mutex;
use tower_workspace_token::clock::{Clock as _, Moment, SystemClock};

use crate::{app::App, db::DatabaseError, workspaces};

/// Whether the database can be read, as of a moment ago. Cheap to clone; clones share the answer.
#[derive(Clone, Debug)]
pub(crate) struct Readiness {
    app: App,
    last: Arc<Mutex<Option<Answer>>>,
}

#[derive(Clone, Copy, Debug)]
struct Answer {
    at: Moment,
    is_ready: bool,
}

/// What is answered by a process that runs.
pub(crate) const ALIVE: &str = "ok\n";

/// Answers as long as the process does.
pub(crate) async fn live(State(readiness): State<Readiness>, request: Request) -> &'static str {
    readiness
        .app
        .probes()
        .note(request.headers(), request.extensions());
    ALIVE
}

/// Answers whether the database can be read.
pub(crate) async fn ready(State(readiness): State<Readiness>) -> (StatusCode, &'static str) {
    if readiness.is_ready().await {
        (StatusCode::OK, "ok\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the database cannot be read\n",
        )
    }
}

impl Readiness {
    pub(crate) fn new(app: &App) -> Self {
        Self {
            app: app.clone(),
            last: Arc::default(),
        }
    }

    async fn is_ready(&self) -> bool {
        // Whoever asks meanwhile waits for the same answer.
        let mut last = self.last.lock().await;
        recent(&mut last, SystemClock.moment(), || self.look()).await
    }

    async fn look(&self) -> bool {
        let database = self.app.database();
        let looked = database
            .read(|snapshot| workspaces::any_but(snapshot, None))
            .await;
        if let Err::<bool, DatabaseError>(error) = &looked {
            tracing::error!("not ready: {error}");
        }
        looked.is_ok()
    }
}

/// Returns the last answer, or a new one if that is too old: anybody may ask, as often as they like.
async fn recent(last: &mut Option<Answer>, now: Moment, look: impl AsyncFnOnce() -> bool) -> bool {
    if let Some(answer) = last
        && now.saturating_since(answer.at) < HOLDS_FOR
    {
        return answer.is_ready;
    }
    let is_ready = look().await;
    *last = Some(Answer { at: now, is_ready });
    is_ready
}

const HOLDS_FOR: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_database_is_asked_once_a_second() {
        let start = SystemClock.moment();
        let (mut last, mut asked) = (None, 0);
        for (millis, is_ready, expected) in [
            (0, true, true),
            (500, false, true),
            (999, false, true),
            (1000, false, false),
            (1999, true, false),
            (2000, true, true),
        ] {
            let now = start.saturating_add(Duration::from_millis(millis));
            let answer = recent(&mut last, now, async || {
                asked += 1;
                is_ready
            });
            assert_eq!(answer.await, expected, "{millis}");
        }
        assert_eq!(asked, 3);
    }
}
