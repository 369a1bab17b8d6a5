//! The change feed: what other processes have committed, within the lease, and what they are told of it.
//!
//! A task with a connection of its own looks at each notification, and every fifth of the lease in any case. A look is one
//! statement, so one snapshot: the rows that were changed in a transaction which the last snapshot may not have seen. Whatever
//! a snapshot does not see belongs to a transaction that is not below its `xmin`, however transactions
//! overlap; so nothing is missed, and a long transaction of anybody makes rows be read again.
//!
//! The order is: the moment is read, the database is asked, what it says is reported, the moment is confirmed, and
//! only then is the snapshot acknowledged to others. The first look of a connection knows of no change, so the rows of what is
//! in use here are read in their place.

use std::{
    collections::BTreeSet,
    future::Future,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_postgres::{
    Error, Row, Statement,
    types::{ToSql, Type},
};
use tower_workspace_token::{
    clock::{Clock, Moment},
    id::{Generation, SlotKey},
    store::{ChangeObserver, Observers},
};

use crate::{
    connector::{Connector, Line},
    error::Failure,
    nodes::{self, BEAT, Janitor},
    queries::{Change, numbered, parsed, read},
    session,
};

/// The task of the feed, which runs while somebody watches; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Feed {
    place: Arc<Place>,
    running: Mutex<Option<Running>>,
}

/// What the feed works on.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) connector: Connector,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) observers: Arc<Observers>,
    pub(crate) node: String,
    pub(crate) database_id: String,
    pub(crate) channel: String,
    pub(crate) lease: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) limit: Duration,
}

#[derive(Debug)]
struct Running {
    task: JoinHandle<()>,
    /// Dropped to end the task.
    stop: watch::Sender<()>,
}

impl Feed {
    pub(crate) fn new(place: Place) -> Self {
        Self {
            place: Arc::new(place),
            running: Mutex::new(None),
        }
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Adds an observer, and starts the task if it does not run.
    pub(crate) fn watch(&self, observer: ChangeObserver) {
        if self.place.observers.add(observer) {
            self.start();
        }
    }

    fn start(&self) {
        let (stop, stopped) = watch::channel(());
        let feed = FeedTask {
            place: Arc::clone(&self.place),
            stopped,
        };
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        // One that ended by itself, for want of observers, may still be leaving the table of nodes.
        let before = running.take().map(|before| before.task);
        let task = self.place.connector.runtime().spawn(async move {
            if let Some(before) = before {
                let _ended = before.await;
            }
            feed.run().await;
        });
        *running = Some(Running { task, stop });
    }

    /// Ends the task, and returns when this node has left the table of nodes, or could not.
    pub(crate) async fn close(&self) {
        let running = self
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(Running { task, stop }) = running {
            drop(stop);
            let _ended = task.await;
        }
    }
}

struct FeedTask {
    place: Arc<Place>,
    stopped: watch::Receiver<()>,
}

/// How far a session has read.
struct Position {
    /// Transactions below this were all seen.
    xmin: String,
    /// What was acknowledged.
    snapshot: String,
}

/// A connection in the table of nodes that has the statement of a look.
struct Session {
    line: Line,
    look: Statement,
    janitor: Janitor,
    /// When the beat was sent that the database has.
    beaten: Moment,
    /// When those were looked after last that are silent.
    swept: Moment,
    /// `None` before the first look. What an earlier session has read says nothing: a server that crashed gives
    /// numbers of transactions anew that it had not written down, and what could not be read in time can't be next time.
    position: Option<Position>,
}

/// What a look at the database has found.
struct Seen {
    position: Position,
    changes: Vec<Change>,
    /// Whether some of it was not in what was acknowledged last.
    is_news: bool,
}

/// Why a session ended. What failed is not kept: the operations of the store meet the same failure, and report it.
enum Ended {
    Broken,
    Stopped,
    Unwatched,
}

impl<E: Into<Failure>> From<E> for Ended {
    fn from(_: E) -> Self {
        Self::Broken
    }
}

impl FeedTask {
    async fn run(mut self) {
        let mut pause = SHORTEST_PAUSE;
        loop {
            let ended = match self.open().await {
                Ok(mut session) => {
                    pause = SHORTEST_PAUSE;
                    let ended = self.follow(&mut session).await;
                    if !matches!(ended, Ended::Broken) {
                        self.leave(&session).await;
                    }
                    ended
                }
                Err(ended) => ended,
            };
            if !matches!(ended, Ended::Broken) || self.rest(pause).await {
                return;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Waits before the next attempt; returns whether there is none.
    async fn rest(&mut self, pause: Duration) -> bool {
        tokio::select! {
            () = sleep(pause) => self.place.observers.for_feed().is_none(),
            _ = self.stopped.changed() => true,
        }
    }

    /// Enters the table of nodes with a new connection.
    async fn open(&mut self) -> Result<Session, Ended> {
        let place = Arc::clone(&self.place);
        let opening = async {
            let line = place.connector.line().await?;
            session::set_up(&line.client, place.limit).await?;
            for setting in FEED_SETTINGS {
                line.client.batch_execute(setting).await?;
            }
            // Before the first look, so that nothing falls between the two.
            let listen = format!("LISTEN {}", place.channel);
            line.client.batch_execute(&listen).await?;
            let beaten = place.clock.moment();
            let (node, database) = (&*place.node, &*place.database_id);
            if session::database_of(&line.client).await?.as_deref() != Some(database)
                || !nodes::register(&line.client, node, database, place.lease).await?
            {
                return Err(Ended::Broken);
            }
            let look = line.client.prepare(LOOK).await?;
            Ok(Session {
                line,
                look,
                janitor: Janitor::default(),
                beaten,
                swept: beaten,
                position: None,
            })
        };
        let limit = place.connect_timeout + place.limit;
        let mut opening = pin!(opening);
        tokio::select! {
            opened = timeout(limit, &mut opening) => return opened.unwrap_or(Err(Ended::Broken)),
            _ = self.stopped.changed() => {}
        }
        // It may be in the table already, and others would wait for it until it is buried.
        if let Ok(Ok(session)) = timeout(self.place.limit, opening).await {
            self.leave(&session).await;
        }
        Err(Ended::Stopped)
    }

    /// Looks until something ends it.
    async fn follow(&mut self, session: &mut Session) -> Ended {
        let tick = self.place.lease / 5;
        loop {
            let mut stopped = self.stopped.clone();
            let looked = tokio::select! {
                looked = self.tick(session) => looked,
                _ = stopped.changed() => return Ended::Stopped,
            };
            if let Err(ended) = looked {
                return ended;
            }
            tokio::select! {
                () = session.line.rung.notified() => {}
                () = sleep(tick) => {}
                _ = self.stopped.changed() => return Ended::Stopped,
            }
        }
    }

    /// Reports what is new, confirms the moment before the look, and acknowledges it; nothing of this if anything failed.
    async fn tick(&mut self, session: &mut Session) -> Result<(), Ended> {
        if self.place.observers.for_feed().is_none() {
            return Err(Ended::Unwatched);
        }
        let as_of = self.place.clock.moment();
        // Compared with the moment that will be confirmed: a process that was frozen here confirms one that is long past.
        if as_of.saturating_since(session.beaten) >= BEAT {
            self.beat(session).await?;
        }
        // Apart from the beat, which an acknowledgement is too: where there is always news, nobody would look after
        // those who are gone, and every rotation would wait for them.
        if as_of.saturating_since(session.swept) >= BEAT {
            self.sweep(session).await?;
            session.swept = as_of;
        }
        let seen = self.within(self.look(session)).await?;
        // Only now: whoever began to watch while we looked, and read a row before, has to hear of what was found.
        let observers = self.place.observers.for_feed().ok_or(Ended::Unwatched)?;
        if session.position.is_none() {
            self.catch_up(session, &observers).await?;
        }
        for observer in &observers {
            seen.changes.iter().for_each(|change| change.tell(observer));
            observer.confirmed(as_of);
        }
        match &mut session.position {
            // The snapshot stays that of the last acknowledgement.
            Some(position) if !seen.is_news => position.xmin = seen.position.xmin,
            _ => {
                self.acknowledge(session, &seen.position.snapshot).await?;
                session.position = Some(seen.position);
            }
        }
        Ok(())
    }

    async fn look(&self, session: &Session) -> Result<Seen, Ended> {
        let (xmin, snapshot) = match &session.position {
            Some(position) => (&*position.xmin, &*position.snapshot),
            None => (NO_TRANSACTION, EMPTY_SNAPSHOT),
        };
        let rows = session
            .line
            .client
            .query(&session.look, &[&xmin, &snapshot])
            .await?;
        Ok(Seen::read(&rows)?)
    }

    /// Has everything doubted, and reports the rows of what is in use, which asks for nothing: what ended while there was no
    /// connection has to end here before others are told that we know.
    async fn catch_up(
        &self,
        session: &mut Session,
        observers: &[ChangeObserver],
    ) -> Result<(), Ended> {
        observers.iter().for_each(ChangeObserver::resync);
        // After the doubt: whatever is let in from here on was compared with a row that the look saw, or a later one.
        let in_use = observers.iter().flat_map(ChangeObserver::in_use);
        let in_use: BTreeSet<SlotKey> = in_use.collect();
        let in_use: Vec<SlotKey> = in_use.into_iter().collect();
        for slots in in_use.chunks(SLOTS_AT_ONCE) {
            // So many that others would take us for gone.
            if self.place.clock.moment().saturating_since(session.beaten) >= BEAT {
                self.beat(session).await?;
            }
            let reached = self.within(reached(session, slots)).await?;
            for observer in observers {
                reached.iter().for_each(|change| change.tell(observer));
            }
        }
        Ok(())
    }

    async fn beat(&self, session: &mut Session) -> Result<(), Ended> {
        let sent = self.place.clock.moment();
        let client = &session.line.client;
        if !self
            .within(ok(nodes::beat(client, &self.place.node)))
            .await?
        {
            // Taken for gone: rotations did not wait for us, so everything is doubtful.
            return Err(Ended::Broken);
        }
        session.beaten = sent;
        Ok(())
    }

    async fn sweep(&self, session: &mut Session) -> Result<(), Ended> {
        let clock = &*self.place.clock;
        let client = &session.line.client;
        let swept = session.janitor.sweep(client, &self.place.node, clock);
        self.within(ok(swept)).await
    }

    async fn acknowledge(&self, session: &mut Session, snapshot: &str) -> Result<(), Ended> {
        let sent = self.place.clock.moment();
        let client = &session.line.client;
        let acknowledged = nodes::acknowledge(client, &self.place.node, snapshot);
        if !self.within(ok(acknowledged)).await? {
            return Err(Ended::Broken);
        }
        session.beaten = sent;
        Ok(())
    }

    /// Waits for an answer no longer than memory is trusted.
    async fn within<T>(&self, answer: impl Future<Output = Result<T, Ended>>) -> Result<T, Ended> {
        timeout(self.place.lease, answer)
            .await
            .unwrap_or(Err(Ended::Broken))
    }

    /// Takes this node out of the table, when nobody trusts what it has confirmed. Best effort: others do it otherwise.
    async fn leave(&self, session: &Session) {
        if self.place.observers.are_there() {
            self.place.observers.report(ChangeObserver::resync);
            sleep(self.place.lease).await;
        }
        let left = nodes::leave(&session.line.client, &self.place.node);
        let _left = timeout(self.place.limit, left).await;
    }
}

/// Reads how far `slots` have come.
async fn reached(session: &Session, slots: &[SlotKey]) -> Result<Vec<Change>, Ended> {
    let workspaces: Vec<&str> = slots.iter().map(|key| key.workspace.as_str()).collect();
    let names: Vec<&str> = slots.iter().map(|key| key.name.as_str()).collect();
    let client = &session.line.client;
    let parameters: [(&(dyn ToSql + Sync), Type); 2] =
        [(&workspaces, Type::TEXT_ARRAY), (&names, Type::TEXT_ARRAY)];
    let rows = client.query_typed(REACHED, &parameters).await?;
    let changes = rows.iter().map(|row| change(row, 0));
    Ok(changes.collect::<Result<_, Failure>>()?)
}

/// Reads a slot and its generation, in three columns from `first` on.
fn change(row: &Row, first: usize) -> Result<Change, Failure> {
    Ok(Change {
        key: SlotKey::new(parsed(row, first)?, parsed(row, first + 1)?),
        generation: numbered(row, first + 2, Generation::from_number)?,
    })
}

impl Seen {
    fn read(rows: &[Row]) -> Result<Self, Failure> {
        let first = rows
            .first()
            .ok_or_else(|| Failure::Nonsense("a look has one row at least".into()))?;
        let position = Position {
            snapshot: read(first, 0)?,
            xmin: read(first, 1)?,
        };
        let (mut changes, mut is_news) = (Vec::new(), false);
        for row in rows {
            if read::<Option<&str>>(row, 2)?.is_none() {
                continue;
            }
            changes.push(change(row, 2)?);
            is_news |= read::<bool>(row, 5)?;
        }
        Ok(Self {
            position,
            changes,
            is_news,
        })
    }
}

async fn ok<T>(answer: impl Future<Output = Result<T, Error>>) -> Result<T, Ended> {
    Ok(answer.await?)
}

const LOOK: &str = "
SELECT now.snapshot::text, pg_snapshot_xmin(now.snapshot)::text, slot.workspace, slot.name, slot.generation,
       NOT pg_visible_in_snapshot(slot.changed_in, $2::text::pg_snapshot)
FROM (SELECT pg_current_snapshot() AS snapshot) AS now
LEFT JOIN wst_slots AS slot ON slot.changed_in >= $1::text::xid8";

const REACHED: &str = "
SELECT slot.workspace, slot.name, slot.generation
FROM unnest($1, $2) AS in_use (workspace, name) JOIN wst_slots AS slot USING (workspace, name)";

/// How many rows of what is in use are read at once: some milliseconds of a server, whatever the lease.
const SLOTS_AT_ONCE: usize = 1000;

/// Above every transaction: no row was changed in it.
const NO_TRANSACTION: &str = "18446744073709551615";

/// Sees no transaction of ours.
const EMPTY_SNAPSHOT: &str = "1:1:";

/// A plan without the index would read all slots at each look.
const FEED_SETTINGS: [&str; 2] = ["SET enable_seqscan = off", "SET jit = off"];

const SHORTEST_PAUSE: Duration = Duration::from_millis(20);

const LONGEST_PAUSE: Duration = Duration::from_secs(1);
