//! Who is connected, to whichever node: each writes down its own connections, and reads those of the others.
//!
//! What is read counts as long as its node is alive, which the store of tokens knows. A row says how a connection was
//! a moment ago, and is a help to people: nothing is decided by it but where to ask for the end of a session.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::Duration,
};

use tokio::time::{sleep, timeout};
use tower_workspace_token::{
    clock::{Clock as _, SystemClock},
    id::{SlotKey, WorkspaceId},
};

use super::{Nodes, outbox, outbox::Said};
use crate::{
    activity::{Activity, End, Seen},
    app::App,
    db::{Database, DatabaseError, Transaction, params},
    error::AppError,
    live::Topic,
    tasks::Announcement,
};

/// Keeps the rows of this node up to date.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    /// What the table holds, as far as this node knows.
    told: HashMap<String, Line>,
    rounds: u32,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    workspace: WorkspaceId,
    is_live: bool,
    seen: String,
}

/// What has to be done to the table.
#[derive(Debug, Default)]
struct Changes {
    put: Vec<(String, Line)>,
    gone: Vec<(String, WorkspaceId)>,
}

impl Presence {
    /// Writes what has changed since the last time. A failure is logged, and made good for the next time.
    pub(crate) async fn keep_up(
        &mut self,
        activity: &Activity,
        nodes: &Nodes,
        database: &Database,
    ) {
        if nodes.store.is_some()
            && let Err(error) = self.try_keep_up(activity, nodes, database).await
        {
            self.rounds = 0;
            tracing::warn!("other nodes do not know who is connected here: {error}");
        }
    }

    async fn try_keep_up(
        &mut self,
        activity: &Activity,
        nodes: &Nodes,
        database: &Database,
    ) -> Result<(), DatabaseError> {
        let node = nodes.name().to_owned();
        // Whatever became of the table: a crash of the database empties it, and others sweep what they take for dead.
        if self.rounds.is_multiple_of(ROUNDS_TO_READ) {
            self.told = told(database, node.clone()).await?;
        }
        let with_figures = self.rounds.is_multiple_of(ROUNDS_TO_FIGURES);
        self.rounds = self.rounds.wrapping_add(1);
        let now = activity.all().iter().filter_map(line).collect();
        let changes = self.changes(now, with_figures);
        if changes.put.is_empty() && changes.gone.is_empty() {
            return Ok(());
        }
        for (id, _) in &changes.gone {
            self.told.remove(id);
        }
        self.told.extend(changes.put.iter().cloned());
        let work = move |transaction: &Transaction<'_>| changes.write(transaction, &node);
        database.append(work).await
    }

    /// Returns what differs from the table; who has come and gone at once, and their figures now and then.
    fn changes(&self, now: HashMap<String, Line>, with_figures: bool) -> Changes {
        let is_news = |id: &String, line: &Line| match self.told.get(id) {
            Some(told) if with_figures => told != line,
            Some(told) => told.is_live != line.is_live,
            None => true,
        };
        let gone = self.told.iter().filter(|(id, _)| !now.contains_key(*id));
        let gone = gone.map(|(id, line)| (id.clone(), line.workspace));
        Changes {
            gone: gone.collect(),
            put: now
                .into_iter()
                .filter(|(id, line)| is_news(id, line))
                .take(PUT_AT_ONCE)
                .collect(),
        }
    }
}

impl Changes {
    fn write(&self, transaction: &Transaction<'_>, node: &str) -> Result<(), DatabaseError> {
        for (id, _) in &self.gone {
            transaction.execute(FORGET, params![node, id])?;
        }
        for (id, line) in &self.put {
            let workspace = line.workspace.as_str();
            let is_live = i64::from(line.is_live);
            transaction.execute(PUT, params![node, id, workspace, is_live, line.seen])?;
        }
        let put = self.put.iter().map(|(_, line)| line.workspace);
        let gone = self.gone.iter().map(|(_, workspace)| *workspace);
        let said = put.chain(gone).collect::<BTreeSet<_>>().into_iter();
        let said = said.map(|workspace| Said {
            workspace: Some(workspace.to_string()),
            announcement: Announcement::Topic(Topic::Connections),
        });
        outbox::put(transaction, node, said)
    }
}

/// Returns what the table holds of a node.
async fn told(database: &Database, node: String) -> Result<HashMap<String, Line>, DatabaseError> {
    let rows = database.read(move |snapshot| {
        let sql = "SELECT connection, workspace, is_live, seen FROM presence WHERE node = ?1";
        let mut statement = snapshot.prepare_cached(sql)?;
        let rows = statement.query_map([&node], |row| {
            let workspace: String = row.get(1)?;
            let line = Line {
                workspace: workspace.parse().map_err(DatabaseError::unreadable)?,
                is_live: row.get::<_, i64>(2)? == 1,
                seen: row.get(3)?,
            };
            Ok((row.get(0)?, line))
        })?;
        rows.collect()
    });
    rows.await
}

fn line(seen: &Seen) -> Option<(String, Line)> {
    let line = Line {
        workspace: seen.key.workspace,
        is_live: seen.is_live,
        seen: serde_json::to_string(seen).ok()?,
    };
    Some((seen.id.clone(), line))
}

/// Returns the connections of a workspace to all nodes, idle sessions included, oldest first.
pub(crate) async fn connections(app: &App, workspace: &WorkspaceId) -> Result<Vec<Seen>, AppError> {
    let mut all = app.activity().connections(workspace);
    let elsewhere = elsewhere(app, workspace).await?;
    all.extend(elsewhere.into_iter().map(|(_, seen)| seen));
    all.sort_by(|a, b| (a.since, &a.id).cmp(&(b.since, &b.id)));
    Ok(all)
}

/// Returns the connections of one slot to all nodes, idle sessions included: whom its rotation cuts off.
pub(crate) async fn connections_of(app: &App, key: &SlotKey) -> Result<Vec<Seen>, AppError> {
    let mut all = connections(app, &key.workspace).await?;
    all.retain(|seen| seen.key == *key);
    Ok(all)
}

/// The same for whoever is about to end them, and must not wait for it: those of this node alone where the others'
/// cannot be read at once.
pub(crate) async fn connections_before_the_end(app: &App, key: &SlotKey) -> Vec<Seen> {
    match timeout(BEFORE_THE_END, connections_of(app, key)).await {
        Ok(Ok(all)) => return all,
        Ok(Err(error)) => {
            tracing::warn!(
                "who is connected to other nodes is not known: {}",
                error.for_operator()
            );
        }
        Err(_) => tracing::warn!("who is connected to other nodes is not known in time"),
    }
    app.activity().connections_of(key)
}

/// Returns how many live connections each workspace has that has any.
pub(crate) async fn counts(app: &App) -> Result<HashMap<WorkspaceId, usize>, AppError> {
    let mut counts = app.activity().counts();
    let Some(alive) = others_alive(app).await? else {
        return Ok(counts);
    };
    let sql =
        "SELECT node, workspace, count(*) FROM presence WHERE is_live = 1 GROUP BY node, workspace";
    let rows = app.database().read(move |snapshot| {
        let mut statement = snapshot.prepare_cached(sql)?;
        let rows = statement.query_map([], |row| {
            let (node, workspace): (String, String) = (row.get(0)?, row.get(1)?);
            Ok((node, workspace, row.get::<_, u32>(2)?))
        })?;
        rows.collect::<Result<Vec<_>, DatabaseError>>()
    });
    for (node, workspace, count) in rows.await? {
        if let Ok(workspace) = workspace.parse()
            && alive.contains(&node)
        {
            *counts.entry(workspace).or_default() += count as usize;
        }
    }
    Ok(counts)
}

/// Ends a connection of a workspace, on whichever node it is.
pub(crate) async fn end(app: &App, workspace: &WorkspaceId, id: &str) -> Result<End, AppError> {
    let ended = app.activity().end(workspace, id);
    if !matches!(ended, End::NotThere) {
        return Ok(ended);
    }
    let find = async || {
        let all = elsewhere(app, workspace).await?;
        let found = all.into_iter().find(|(_, seen)| seen.id == id);
        Ok::<_, AppError>(found)
    };
    let Some((_, seen)) = find().await? else {
        return Ok(End::NotThere);
    };
    if !seen.is_session {
        return Ok(End::NoSession);
    }
    tell(app, workspace, id).await?;
    let asked = SystemClock.moment();
    while SystemClock.moment().saturating_since(asked) < PATIENCE {
        sleep(PAUSE).await;
        if find().await?.is_none() {
            return Ok(End::Ended(Box::new(seen)));
        }
    }
    Ok(End::NoAnswer)
}

/// Asks the node that has it to end a session.
async fn tell(app: &App, workspace: &WorkspaceId, id: &str) -> Result<(), DatabaseError> {
    let node = app.nodes().name().to_owned();
    let said = Said {
        workspace: Some(workspace.to_string()),
        announcement: Announcement::EndConnection(id.to_owned()),
    };
    let work = move |transaction: &Transaction<'_>| outbox::put(transaction, &node, [said]);
    app.database().append(work).await
}

/// Forgets the rows of nodes that are gone.
pub(super) async fn sweep(app: &App) -> Result<(), AppError> {
    // The rows first: a node is alive before it writes its first one.
    let nodes = app.database().read(|snapshot| {
        let mut statement = snapshot.prepare_cached("SELECT DISTINCT node FROM presence")?;
        let rows = statement.query_map([], |row| row.get(0))?;
        rows.collect::<Result<Vec<String>, DatabaseError>>()
    });
    let nodes = nodes.await?;
    let Some(alive) = others_alive(app).await? else {
        return Ok(());
    };
    let own = app.nodes().name().to_owned();
    let is_gone = |node: &String| !alive.contains(node) && *node != own;
    let gone: Vec<String> = nodes.into_iter().filter(is_gone).collect();
    let work = move |transaction: &Transaction<'_>| {
        for node in &gone {
            transaction.execute("DELETE FROM presence WHERE node = ?1", [node])?;
        }
        Ok::<_, DatabaseError>(())
    };
    Ok(app.database().append(work).await?)
}

/// Returns the connections of a workspace to the other nodes, each with the name of its node.
async fn elsewhere(app: &App, workspace: &WorkspaceId) -> Result<Vec<(String, Seen)>, AppError> {
    let Some(alive) = others_alive(app).await? else {
        return Ok(Vec::new());
    };
    let workspace = *workspace;
    let rows = app.database().read(move |snapshot| {
        let sql = "SELECT node, seen FROM presence WHERE workspace = ?1";
        let mut statement = snapshot.prepare_cached(sql)?;
        let rows =
            statement.query_map([workspace.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect::<Result<Vec<(String, String)>, DatabaseError>>()
    });
    let rows = rows.await?.into_iter();
    let rows = rows.filter(|(node, _)| alive.contains(node));
    // What a newer version wrote in other words is left out.
    Ok(rows
        .filter_map(|(node, seen)| Some((node, serde_json::from_str(&seen).ok()?)))
        .collect())
}

/// Returns who else serves; `None` if there can be nobody.
async fn others_alive(app: &App) -> Result<Option<HashSet<String>>, AppError> {
    if app.nodes().store.is_none() {
        return Ok(None);
    }
    let alive = app.nodes().alive().await.map_err(anyhow::Error::from)?;
    let others = alive.into_iter().filter(|node| node != app.nodes().name());
    Ok(Some(others.collect()))
}

const PUT: &str = "\
INSERT INTO presence (node, connection, workspace, is_live, seen) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (node, connection) DO UPDATE SET is_live = excluded.is_live, seen = excluded.seen";

const FORGET: &str = "DELETE FROM presence WHERE node = ?1 AND connection = ?2";

/// More wait for the next time, so that nobody waits for this.
const PUT_AT_ONCE: usize = 500;

/// A round is a second.
const ROUNDS_TO_FIGURES: u32 = 5;
const ROUNDS_TO_READ: u32 = 60;

/// What a rotation gives others' rows.
const BEFORE_THE_END: Duration = Duration::from_millis(500);

/// How long another node has to end a session: it hears of it in 50 ms, and writes after a second.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(100);
