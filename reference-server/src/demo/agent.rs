//! The agent's day: it connects, takes tasks, and goes on until its token ends.
//!
//! All it does is bounded: it makes one task of its own, says at most three lines in a task, takes at
//! most [`MOST_TASKS`] before the server is started again, and pauses after each step. With nothing to
//! do, it waits in calls that the server holds open.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::anyhow;
use serde_json::json;
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinError, JoinSet},
    time::sleep,
};

use super::{
    client::{Endpoint, Failure, Session},
    scenes::{Part, Stage},
};

/// Who plays.
#[derive(Debug)]
pub(crate) struct Cast {
    /// The second agent, which comes in once, when the demo is new.
    pub(super) documentalist: Option<Endpoint>,
    pub(super) builder: Endpoint,
}

impl Cast {
    /// Plays until the agent's token ends. Drop it to end it before.
    pub(crate) async fn play(self) {
        if let Some(endpoint) = self.documentalist
            && let Err(failure) = visit(Arc::new(endpoint)).await
        {
            tracing::debug!("the demo's second agent left early: {failure}");
        }
        work(Arc::new(self.builder)).await;
    }
}

/// Plays the first tasks and goes.
async fn visit(endpoint: Arc<Endpoint>) -> Result<(), Failure> {
    let stage = Arc::new(Stage::new(Session::open(endpoint).await?));
    for _ in 0..TASKS_OF_A_VISIT {
        if let Some(part) = take(&stage, Duration::ZERO).await? {
            Arc::clone(&stage).play(part).await?;
        }
    }
    match Arc::into_inner(stage) {
        Some(stage) => stage.session.close().await,
        None => Ok(()),
    }
}

/// Connects again whenever it was cut off, until its token is refused for good.
async fn work(endpoint: Arc<Endpoint>) {
    let allowance = Arc::new(AtomicU32::new(MOST_TASKS));
    let mut refused = 0;
    loop {
        let failure = match Session::open(Arc::clone(&endpoint)).await {
            Ok(session) => {
                refused = 0;
                shift(Stage::new(session), &allowance).await
            }
            Err(failure) => failure,
        };
        match failure {
            Failure::Refused if refused == RETRIES => break,
            // As a machine does that nobody gave the new token to.
            Failure::Refused => refused += 1,
            failure => tracing::warn!("the demo's agent was cut off and connects again: {failure}"),
        }
        sleep(PAUSE).await;
    }
    tracing::warn!(
        "the demo's agent has stopped, since its token was regenerated or revoked: start `wst serve --demo` again to give it a new one"
    );
}

/// Works in one session, and returns why it ended.
async fn shift(stage: Stage, allowance: &Arc<AtomicU32>) -> Failure {
    let stage = Arc::new(stage);
    let mut running = JoinSet::new();
    running.spawn(listen(Arc::clone(&stage)));
    match direct(&stage, &mut running, allowance).await {
        Err(failure) => failure,
        Ok(never) => match never {},
    }
}

/// Has each task played that was begun before, and each that is taken.
async fn direct(
    stage: &Arc<Stage>,
    running: &mut JoinSet<Result<(), Failure>>,
    allowance: &Arc<AtomicU32>,
) -> Result<Infallible, Failure> {
    let mut scenes: HashMap<String, AbortHandle> = HashMap::new();
    for part in begun(stage).await? {
        let scene = running.spawn(Arc::clone(stage).resume(part.clone()));
        scenes.insert(part.task, scene);
    }
    let (sender, mut taken) = mpsc::channel(1);
    // Beside, since a call that takes a task must not be broken off: what was taken has to be heard of.
    running.spawn(take_all(Arc::clone(stage), Arc::clone(allowance), sender));
    loop {
        tokio::select! {
            Some(scene) = running.join_next() => {
                settle(scene)?;
                scenes.retain(|_, scene| !scene.is_finished());
            }
            Some(part) = taken.recv(), if scenes.len() < MOST_SCENES => {
                let scene = running.spawn(Arc::clone(stage).play(part.clone()));
                if let Some(earlier) = scenes.insert(part.task, scene) {
                    // It was given back, and taken once more.
                    earlier.abort();
                }
            }
        }
    }
}

/// Lets a scene end that a tool refused to go on with; everything else ends the session, and `work` opens
/// another.
fn settle(scene: Result<Result<(), Failure>, JoinError>) -> Result<(), Failure> {
    match scene {
        Err(error) if error.is_cancelled() => Ok(()),
        Err(error) => Err(anyhow!("a scene broke off: {error}").into()),
        Ok(Err(Failure::Tool(refusal))) => {
            tracing::warn!("the demo's agent gave a task up: {refusal}");
            Ok(())
        }
        Ok(ended) => ended,
    }
}

/// Hears what the server begins, until the stream ends.
async fn listen(stage: Arc<Stage>) -> Result<(), Failure> {
    let mut events = stage.session.listen().await?;
    while let Some(message) = events.next().await? {
        stage.hear(&message);
    }
    Err(Failure::SessionOver)
}

/// Takes tasks, one after the other, as many as there may be.
async fn take_all(
    stage: Arc<Stage>,
    allowance: Arc<AtomicU32>,
    taken: mpsc::Sender<Part>,
) -> Result<(), Failure> {
    while allowance.load(Ordering::Relaxed) > 0 {
        // No scene, and so not to be given up: an agent that takes nothing only looks connected.
        let taking = take(&stage, WAIT).await.map_err(|failure| match failure {
            Failure::Tool(refusal) => Failure::Broken(refusal),
            other => other,
        });
        if let Some(part) = taking? {
            allowance.fetch_sub(1, Ordering::Relaxed);
            // Nobody hears of it only if the session is over.
            let _ = taken.send(part).await;
        }
        sleep(BREATH).await;
    }
    tracing::warn!(
        "the demo's agent has played {MOST_TASKS} tasks, and takes no more before the server is started again"
    );
    Ok(())
}

/// Takes the next task, if there is one by the end of `wait`.
async fn take(stage: &Stage, wait: Duration) -> Result<Option<Part>, Failure> {
    let arguments = json!({ "waitSeconds": wait.as_secs() });
    let text = stage.session.call("getTask", arguments, wait).await?;
    Ok(Part::read(&text))
}

/// Lists what agents of the workspace have begun.
async fn begun(stage: &Stage) -> Result<Vec<Part>, Failure> {
    let mut parts = Vec::new();
    for status in ["ongoing", "blocked"] {
        let arguments = json!({ "status": status, "limit": MOST_SCENES });
        let call = stage.session.call("listTasks", arguments, Duration::ZERO);
        let text = call.await?;
        parts.extend(text.split("\n\n").filter_map(Part::read));
    }
    Ok(parts)
}

/// How many tasks the second agent plays.
const TASKS_OF_A_VISIT: u32 = 2;
/// How many tasks the agent takes at most, whoever makes them.
const MOST_TASKS: u32 = 500;
/// How many it plays at a time.
const MOST_SCENES: usize = 12;
/// How often it tries a token again that was refused.
const RETRIES: u32 = 5;
/// Before it connects again.
const PAUSE: Duration = Duration::from_secs(2);
/// Between two tasks.
const BREATH: Duration = Duration::from_secs(1);
/// How long one call waits for a task.
const WAIT: Duration = Duration::from_secs(50);

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, net::SocketAddr, sync::Mutex};

    use axum::{Json, Router, routing::post};
    use serde_json::Value;
    use tokio::{net::TcpListener, time::timeout};
    use tower_workspace_token::serve::serve;

    use super::*;
    use crate::mcp::NOT_NOW;

    const TASK: &str = "Next assigned task:\nID: a1\nTitle: Why?\nStatus: ongoing";

    /// A session with a server whose tools say these texts in turn, each of them as an error or not.
    async fn stage(said: &[(&'static str, bool)]) -> Arc<Stage> {
        let said = Arc::new(Mutex::new(VecDeque::from(said.to_vec())));
        let answer = async move |Json(request): Json<Value>| {
            let result = match request["method"] == "tools/call" {
                true => {
                    let (text, is_error) = said.lock().unwrap().pop_front().unwrap();
                    json!({ "content": [{ "type": "text", "text": text }], "isError": is_error })
                }
                false => json!({}),
            };
            let answer = json!({ "jsonrpc": "2.0", "id": request["id"], "result": result });
            ([("mcp-session-id", "s1")], Json(answer))
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let router = Router::new().route("/mcp/acme", post(answer));
        tokio::spawn(async move { serve(listener, router).await });
        let url = format!("http://{address}/mcp/acme");
        let endpoint = Endpoint::new(address, &url, "a token".into()).unwrap();
        let session = Session::open(Arc::new(endpoint)).await.unwrap();
        Arc::new(Stage::new(session))
    }

    #[tokio::test]
    async fn what_a_tool_cannot_do_now_is_asked_for_again() {
        let stage = stage(&[(NOT_NOW, true), (TASK, false)]).await;
        let (sender, mut taken) = mpsc::channel(1);
        tokio::spawn(take_all(stage, Arc::new(AtomicU32::new(1)), sender));
        let part = timeout(Duration::from_secs(10), taken.recv()).await;
        assert_eq!(part.unwrap().unwrap().task, "a1");
    }

    #[tokio::test]
    async fn a_scene_may_give_up_and_the_taking_of_tasks_may_not() {
        let stage = stage(&[("No.", true), ("No.", true)]).await;
        let scene = Arc::clone(&stage).play(Part::read(TASK).unwrap()).await;
        settle(Ok(scene)).unwrap();
        let (sender, _taken) = mpsc::channel(1);
        let ended = take_all(stage, Arc::new(AtomicU32::new(1)), sender).await;
        assert!(matches!(settle(Ok(ended)), Err(Failure::Broken(_))));
    }
}
