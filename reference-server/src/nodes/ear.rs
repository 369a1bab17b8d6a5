//! Hears what other nodes tell, and passes it on to whoever waits for it here.

use std::{convert::Infallible, time::Duration};

use tokio::time::{sleep, timeout};
use tower_workspace_token::{
    clock::{Clock as _, SystemClock},
    id::WorkspaceId,
};
use tower_workspace_token_postgres::deadpool_postgres::Pool;

use super::{
    outbox::{Reader, Said, Told},
    presence,
};
use crate::{
    app::App,
    db::DatabaseError,
    error::{AppError, ErrorCode},
    key_check,
    live::Topic,
    tasks::{Announcement, Protocol},
    workspaces,
};

/// Why a node no longer listens.
enum Silence {
    /// For a moment.
    Database(DatabaseError),
    /// Until it is started with other keys.
    OldKeys(AppError),
}

impl From<DatabaseError> for Silence {
    fn from(error: DatabaseError) -> Self {
        Self::Database(error)
    }
}

/// Listens until it is dropped, or until the server must not go on with the keys that it has: it would refuse tokens
/// that others made, and is to end with this error.
pub(crate) async fn listen(app: App) -> AppError {
    let Some(store) = app.keys().store().postgres().cloned() else {
        // There can be no other node.
        return std::future::pending().await;
    };
    loop {
        match listen_once(&app, store.pool()).await {
            Silence::OldKeys(error) => return error,
            Silence::Database(error) => {
                tracing::warn!("other nodes are not heard for a moment: {error}");
            }
        }
        sleep(AGAIN).await;
    }
}

/// Listens as long as the connection holds.
async fn listen_once(app: &App, pool: &Pool) -> Silence {
    match hear_all(app, pool).await {
        Err(silence) => silence,
    }
}

async fn hear_all(app: &App, pool: &Pool) -> Result<Infallible, Silence> {
    let client = pool.get().await.map_err(DatabaseError::no_connection)?;
    let mut reader = in_time(Reader::begin(client, app.nodes().name())).await?;
    // Only now, when nothing more is missed.
    doubt_everything(app).await?;
    let mut burying = tokio::spawn(bury(app.clone()));
    let mut swept = SystemClock.moment();
    let mut looked = SystemClock.now();
    loop {
        let looking = SystemClock.now();
        let mut is_unknown = false;
        for told in in_time(reader.read()).await? {
            match told {
                Told::Said(said) => hear(app, said).await?,
                Told::Unknown => is_unknown = true,
            }
        }
        // Whatever it is about, whoever looks for themselves finds it.
        if is_unknown {
            doubt_everything(app).await?;
        }
        app.tasks().look_for_answers().await?;
        // By the clock on the wall, which goes on while a machine sleeps: what was told meanwhile may be swept.
        if looking.as_millis().saturating_sub(looked.as_millis()) > STALE.as_millis() as u64 {
            return Err(DatabaseError::no_answer().into());
        }
        looked = looking;
        if SystemClock.moment().saturating_since(swept) > SWEEP {
            swept = SystemClock.moment();
            in_time(reader.sweep()).await?;
            if burying.is_finished() {
                burying = tokio::spawn(bury(app.clone()));
            }
        }
        sleep(PAUSE).await;
    }
}

/// Closes what sessions of nodes wait for that are gone, and forgets who was connected there: beside the ear, since there may be many.
async fn bury(app: App) {
    if let Err(error) = app.tasks().close_sessions_of_the_dead().await {
        tracing::warn!("the requests of sessions that are gone stay open for a while: {error}");
    }
    if let Err(error) = presence::sweep(&app).await {
        let error = error.for_operator();
        tracing::warn!("who was connected to nodes that are gone is not forgotten yet: {error}");
    }
}

async fn in_time<T>(
    work: impl Future<Output = Result<T, DatabaseError>>,
) -> Result<T, DatabaseError> {
    let done = timeout(PATIENCE, work).await;
    done.unwrap_or_else(|_| Err(DatabaseError::no_answer()))
}

async fn hear(app: &App, said: Said) -> Result<(), Silence> {
    let workspace = said.workspace.map(|id| id.parse::<WorkspaceId>());
    let Ok(workspace) = workspace.transpose() else {
        return doubt_everything(app).await;
    };
    match (workspace, &said.announcement) {
        (Some(workspace), Announcement::Topic(Topic::Settings)) => {
            let legacy = app.database().read(workspaces::legacy).await?;
            app.protocols()
                .set(&workspace, protocol(&workspace, &legacy));
        }
        (Some(workspace), Announcement::EndConnection(id)) => {
            app.activity().end(&workspace, id);
        }
        (_, Announcement::Keys) => check_keys(app).await?,
        _ => {}
    }
    app.tasks().hear(workspace.as_ref(), said.announcement);
    Ok(())
}

/// Has everybody look for themselves, since nobody knows what was missed.
async fn doubt_everything(app: &App) -> Result<(), Silence> {
    check_keys(app).await?;
    let legacy = app.database().read(workspaces::legacy).await?;
    app.protocols().replace(legacy);
    app.tasks().doubt_everything();
    Ok(())
}

/// Fails if the keys were changed elsewhere, and this node does not have them.
async fn check_keys(app: &App) -> Result<(), Silence> {
    if missing_key(app).await?.is_none() {
        return Ok(());
    }
    // They may be changed right now, and here.
    let _turn = app.keys().turn().await;
    match missing_key(app).await? {
        None => Ok(()),
        Some((ring, id)) => Err(Silence::OldKeys(AppError::new(
            ErrorCode::Unavailable,
            format!(
                "the keys were changed on another node, and the {ring} key `{id}` is not here: give this server a copy of the key file that is used there, and start it again"
            ),
        ))),
    }
}

/// Returns the ring and the id of a key that the database needs and this node does not have.
async fn missing_key(app: &App) -> Result<Option<(String, String)>, DatabaseError> {
    let held = app.keys().ids().names();
    let missing = app
        .database()
        .read(move |snapshot| key_check::missing(snapshot, &held));
    Ok(missing.await?.into_iter().next())
}

fn protocol(workspace: &WorkspaceId, legacy: &[WorkspaceId]) -> Protocol {
    match legacy.contains(workspace) {
        true => Protocol::Legacy,
        false => Protocol::Dual,
    }
}

/// How long between two looks: about half of it is what a message takes to another node.
const PAUSE: Duration = Duration::from_millis(50);
const AGAIN: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a node may not have looked and still know that nothing was swept.
const STALE: Duration = Duration::from_secs(60);
const SWEEP: Duration = Duration::from_secs(30);
