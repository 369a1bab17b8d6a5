//! Two servers on one PostgreSQL database, in this process: what is done on one is known on the other.

use std::{fs, time::Duration};

use serde_json::{from_value, json};
use tokio::{task::JoinSet, time::timeout};
use tower_workspace_token::{
    authority::{Lease, VerifiedToken},
    id::WorkspaceId,
    token::PresentedToken,
};

use crate::{
    actions::{ConnectionEnd, ConnectionList, TaskAdd, WorkspaceCreate, WorkspaceUpdate},
    activity::{self, Activity, End},
    addresses::{Addresses, DEFAULT_LISTEN},
    app::App,
    at_rest::AtRest,
    caller::Caller,
    data_dir::{DataDir, keys::KeySource},
    db::{DatabasePlace, params, scratch::Scratch},
    key_check,
    live::{Heard, Topic},
    nodes::{
        self,
        outbox::{Reader, Told},
        presence,
    },
    tasks::{Actor, Answer, ApprovalState, Author, Event, Protocol, Tasks, Who},
};

/// Two nodes, which listen and speak as servers do.
struct Pair {
    here: App,
    there: App,
    background: JoinSet<()>,
    _directories: [tempfile::TempDir; 2],
    _scratch: Scratch,
}

impl Pair {
    /// Starts both, or says why there are none.
    async fn start() -> Option<Self> {
        let scratch = Scratch::postgres().await?;
        let directories = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let data = directories
            .each_ref()
            .map(|directory| directory.path().join("data"));
        let here = open(&data[0], scratch.place()).await;
        // Both have one key file.
        let [first, second] = data
            .each_ref()
            .map(|path| DataDir::open_or_create(path).unwrap());
        fs::copy(first.key_file(), second.key_file()).unwrap();
        let there = open(&data[1], scratch.place()).await;
        let mut background = JoinSet::new();
        for app in [&here, &there] {
            background.spawn(nodes::speak(app.clone(), app.live().outward()));
        }
        let mut pair = Self {
            here,
            there,
            background,
            _directories: directories,
            _scratch: scratch,
        };
        pair.listen();
        pair.wait_until_heard().await;
        Some(pair)
    }

    fn listen(&mut self) {
        for app in [&self.here, &self.there] {
            let listening = nodes::listen(app.clone());
            self.background.spawn(async { drop(listening.await) });
        }
    }

    /// Has both hear and tell nothing any more.
    async fn fall_silent(&mut self) {
        self.background.shutdown().await;
    }

    /// Completes when both hear each other.
    async fn wait_until_heard(&self) {
        for (from, to) in [(&self.here, &self.there), (&self.there, &self.here)] {
            let mut listener = to.live().listen(None);
            let heard = async {
                loop {
                    from.live().announce(None, Topic::Audit);
                    let next = timeout(Duration::from_millis(200), listener.next()).await;
                    if let Ok(Heard::Change(..)) = next {
                        break;
                    }
                }
            };
            timeout(LONG, heard).await.unwrap();
        }
    }

    /// Makes a workspace here, and returns the lease of its token there.
    async fn workspace(&self) -> (WorkspaceId, Lease) {
        let (id, verified) = self.verified().await;
        (id, verified.lease().clone())
    }

    /// Makes a workspace here, whose token is used there.
    async fn verified(&self) -> (WorkspaceId, VerifiedToken) {
        let create = WorkspaceCreate {
            name: "acme".to_owned(),
            id: None,
        };
        let made = self
            .here
            .perform(create, &Caller::CommandLine)
            .await
            .unwrap();
        let id: WorkspaceId = made.workspace.id.parse().unwrap();
        let presented = PresentedToken::new(made.secret.expose_secret().as_bytes());
        let verified = self.there.authority().verify(&id, presented).await.unwrap();
        (id, verified)
    }
}

async fn open(path: &std::path::Path, place: DatabasePlace) -> App {
    let data_dir = DataDir::open_or_create(path).unwrap();
    let lock = data_dir.try_lock().unwrap().unwrap();
    let database = place.find(&data_dir).await.unwrap();
    let keys = KeySource::DataDir.read_or_create(&data_dir, database.is_new());
    let addresses = Addresses::new(DEFAULT_LISTEN, false, None, None);
    let at_rest = AtRest::default();
    let app = App::open(
        &data_dir,
        lock,
        database,
        keys.unwrap(),
        Some(addresses),
        &at_rest,
    );
    app.await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_here_reaches_agents_and_pages_there() {
    let Some(pair) = Pair::start().await else {
        return;
    };
    let (id, _) = pair.workspace().await;
    let mut agent = pair.there.tasks().subscribe(&id);
    let mut page = pair.there.live().listen(None);
    let add = TaskAdd {
        workspace: id.to_string(),
        title: "from the other node".to_owned(),
        body: "as it was written".to_owned(),
        assignee: Actor::Agent,
        attachments: Vec::new(),
    };
    let task = pair
        .here
        .perform(add, &Caller::CommandLine)
        .await
        .unwrap()
        .task
        .id;
    let Event::TaskAdded(added) = timeout(LONG, agent.next()).await.unwrap() else {
        panic!("another event");
    };
    assert_eq!((&added.id, &*added.body), (&task, "as it was written"));
    let told = async {
        loop {
            if let Heard::Change(_, change) = page.next().await
                && change.topic == Topic::Task(task.to_string())
            {
                break change.workspace;
            }
        }
    };
    assert_eq!(timeout(LONG, told).await.unwrap(), Some(id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_setting_of_here_is_the_setting_there() {
    let Some(pair) = Pair::start().await else {
        return;
    };
    let (id, _) = pair.workspace().await;
    for protocol in [Protocol::Legacy, Protocol::Dual] {
        let update = WorkspaceUpdate {
            workspace: id.to_string(),
            name: None,
            description: None,
            protocol: Some(protocol),
        };
        pair.here
            .perform(update, &Caller::CommandLine)
            .await
            .unwrap();
        let known = async {
            while pair.there.protocols().of(&id) != protocol {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(LONG, known).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_given_here_reaches_the_session_there() {
    let Some(pair) = Pair::start().await else {
        return;
    };
    let (id, lease) = pair.workspace().await;
    let mut inbox = pair.there.tasks().open_session().unwrap();
    let asked = ask(pair.there.tasks(), &lease, inbox.key().clone(), "first").await;
    // Whoever starts here closes nothing of a node that is alive.
    pair.here
        .tasks()
        .close_sessions_of_the_dead()
        .await
        .unwrap();
    let answered = pair
        .here
        .tasks()
        .answer(person(id), &asked, Answer::Allow)
        .await
        .unwrap();
    assert_eq!(answered.state, ApprovalState::Allowed);
    let verdict = timeout(LONG, inbox.next()).await.unwrap();
    assert!(verdict.is_allowed);
    assert_eq!(verdict.request, "first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_was_given_while_nobody_listened_is_looked_up_and_sent_once() {
    let Some(mut pair) = Pair::start().await else {
        return;
    };
    let (id, lease) = pair.workspace().await;
    let mut inbox = pair.there.tasks().open_session().unwrap();
    let asked = ask(pair.there.tasks(), &lease, inbox.key().clone(), "unheard").await;
    let waits = ask(pair.there.tasks(), &lease, inbox.key().clone(), "pending").await;
    pair.fall_silent().await;
    let tasks = pair.here.tasks().clone();
    tasks
        .answer(person(id), &asked, Answer::Deny)
        .await
        .unwrap();
    pair.listen();
    let verdict = timeout(LONG, inbox.next()).await.unwrap();
    assert_eq!((&*verdict.request, verdict.is_allowed), ("unheard", false));
    // What comes next is the next answer, and not the same one again.
    pair.there.tasks().doubt_everything();
    pair.there.tasks().look_for_answers().await.unwrap();
    tasks
        .answer(person(id), &waits, Answer::Allow)
        .await
        .unwrap();
    let verdict = timeout(LONG, inbox.next()).await.unwrap();
    assert_eq!((&*verdict.request, verdict.is_allowed), ("pending", true));
}

/// A commit that had no answer may be seen much later than the look that came of the doubt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_of_this_node_is_heard_by_itself_and_nothing_else_is() {
    let Some(pair) = Pair::start().await else {
        return;
    };
    let (id, lease) = pair.workspace().await;
    let mut inbox = pair.there.tasks().open_session().unwrap();
    let mut agent = pair.there.tasks().subscribe(&id);
    let asked = ask(pair.there.tasks(), &lease, inbox.key().clone(), "late").await;
    let said = json!({"workspace": id.as_str(), "announcement": {"Verdict": {
        "session": inbox.key(),
        "verdict": {"approval": asked, "request": "late", "is_allowed": true},
    }}});
    let added = json!({"workspace": id.as_str(), "announcement": {"Event": "Missed"}});
    let node = pair.there.nodes().name().to_owned();
    let tell = move |transaction: &crate::db::Transaction<'_>| {
        for said in [&added, &said] {
            let sql = "INSERT INTO announcements (node, said) VALUES (?1, ?2)";
            transaction.execute(sql, params![node, said.to_string()])?;
        }
        Ok::<_, crate::db::DatabaseError>(())
    };
    pair.there.database().write(tell).await.unwrap();
    let verdict = timeout(LONG, inbox.next()).await.unwrap();
    assert!(verdict.is_allowed);
    let pushed = timeout(Duration::from_millis(200), agent.next());
    assert!(pushed.await.is_err(), "it was told that here already");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_told_before_a_node_listens_is_not_heard() {
    let Some(pair) = Pair::start().await else {
        return;
    };
    let store = pair.here.keys().store().postgres().unwrap();
    let (open, writer) = (
        store.pool().get().await.unwrap(),
        store.pool().get().await.unwrap(),
    );
    // A transaction that goes on keeps what is told after its begin within what is read first.
    open.batch_execute("BEGIN; SELECT pg_current_xact_id()")
        .await
        .unwrap();
    writer.batch_execute(&told_of("before")).await.unwrap();
    let mut reader = Reader::begin(store.pool().get().await.unwrap(), "reader")
        .await
        .unwrap();
    writer.batch_execute(&told_of("after")).await.unwrap();
    assert_eq!(workspaces_of(reader.read().await.unwrap()), ["after"]);
    open.batch_execute("COMMIT").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_session_of_a_dead_node_waits_for_is_closed() {
    let Some(pair) = Pair::start().await else {
        return;
    };
    let (id, lease) = pair.workspace().await;
    let inbox = pair.there.tasks().open_session().unwrap();
    let asked = ask(pair.there.tasks(), &lease, inbox.key().clone(), "last").await;
    // As if it had been asked on a node that is gone.
    let rename = "UPDATE approvals SET session = 'gone/' || session WHERE id = ?1";
    let of = asked.to_string();
    pair.here
        .database()
        .write(move |transaction| transaction.execute(rename, params![of]))
        .await
        .unwrap();
    pair.here
        .tasks()
        .close_sessions_of_the_dead()
        .await
        .unwrap();
    let answered = pair
        .here
        .tasks()
        .answer(person(id), &asked, Answer::Allow)
        .await;
    assert!(answered.is_err(), "there is nobody to answer to");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_connected_there_is_shown_here_and_can_be_ended() {
    let Some(pair) = Pair::start().await else {
        return;
    };
    let (here, there) = (&pair.here, &pair.there);
    let (id, verified) = pair.verified().await;
    let key = *verified.lease().key();
    let _keepers = [here, there].map(Activity::keep);
    let mut page = here.live().listen(None);
    let modern = activity::testing::modern(there.activity(), verified.lease());
    let session = activity::testing::session(there.activity(), there.authority(), verified);
    let session = session.await.seen();
    let told = async {
        loop {
            if let Heard::Change(_, change) = page.next().await
                && change.topic == Topic::Connections
                && presence::connections(here, &id).await.unwrap().len() == 2
            {
                break;
            }
        }
    };
    timeout(LONG, told).await.unwrap();
    let seen = presence::connections_before_the_end(here, &key).await;
    let shown = seen.iter().find(|seen| seen.id == session.id).unwrap();
    assert_eq!(
        (shown.words(), shown.key, shown.is_session),
        (session.words(), key, true)
    );
    assert_eq!(presence::counts(here).await.unwrap()[&id], 2);
    assert_eq!(presence::counts(there).await.unwrap()[&id], 2);
    // Of no other workspace.
    let other: WorkspaceId = "another".parse().unwrap();
    assert!(
        presence::connections(here, &other)
            .await
            .unwrap()
            .is_empty()
    );
    let end =
        async |workspace: &WorkspaceId, id: &str| presence::end(here, workspace, id).await.unwrap();
    assert!(matches!(end(&other, &session.id).await, End::NotThere));
    assert!(matches!(end(&id, "nobody").await, End::NotThere));
    assert!(matches!(end(&id, &modern.seen().id).await, End::NoSession));
    let ended = here.perform(
        ConnectionEnd {
            workspace: id.to_string(),
            connection: session.id.clone(),
        },
        &Caller::CommandLine,
    );
    assert_eq!(ended.await.unwrap().connection.id, session.id);
    assert!(
        there
            .activity()
            .all()
            .iter()
            .all(|seen| seen.id != session.id)
    );
    let list = ConnectionList {
        workspace: id.to_string(),
    };
    let left = here.perform(list, &Caller::CommandLine).await.unwrap();
    let left: Vec<_> = left
        .connections
        .iter()
        .map(|line| &*line.client_name)
        .collect();
    assert_eq!(left, ["modern"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_does_not_answer_has_ended_nothing() {
    let Some(mut pair) = Pair::start().await else {
        return;
    };
    let (id, verified) = pair.verified().await;
    let there = pair.there.clone();
    let session = activity::testing::session(there.activity(), there.authority(), verified);
    let session = session.await.seen();
    let mut presence = presence::Presence::default();
    presence
        .keep_up(there.activity(), there.nodes(), there.database())
        .await;
    pair.fall_silent().await;
    let ended = presence::end(&pair.here, &id, &session.id).await.unwrap();
    assert!(matches!(ended, End::NoAnswer), "{ended:?}");
    assert_eq!(there.activity().all().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_connected_to_a_node_that_is_gone_is_not_shown_and_is_forgotten() {
    let Some(pair) = Pair::start().await else {
        return;
    };
    let (here, there) = (&pair.here, &pair.there);
    let (id, verified) = pair.verified().await;
    activity::testing::modern(there.activity(), verified.lease());
    let mut presence = presence::Presence::default();
    let mut keep_up = async || {
        let (activity, nodes) = (there.activity(), there.nodes());
        presence.keep_up(activity, nodes, there.database()).await;
    };
    keep_up().await;
    let nodes = async || {
        let read = |snapshot: &crate::db::Transaction<'_>| {
            let mut statement = snapshot.prepare_cached("SELECT node FROM presence")?;
            let rows = statement.query_map([], |row| row.get(0))?;
            rows.collect::<Result<Vec<String>, crate::db::DatabaseError>>()
        };
        here.database().read(read).await.unwrap()
    };
    let run = async |sql: &'static str| {
        let work = move |transaction: &crate::db::Transaction<'_>| transaction.execute_batch(sql);
        here.database().write(work).await.unwrap();
    };
    assert_eq!(nodes().await, [there.nodes().name()]);
    presence::sweep(here).await.unwrap();
    assert_eq!(nodes().await, [there.nodes().name()], "it is alive");
    assert_eq!(presence::connections(here, &id).await.unwrap().len(), 1);
    run("UPDATE presence SET node = 'gone'").await;
    assert!(presence::connections(here, &id).await.unwrap().is_empty());
    assert!(presence::counts(here).await.unwrap().is_empty());
    presence::sweep(here).await.unwrap();
    assert!(nodes().await.is_empty());
    // A row that was lost comes back within a minute.
    for _ in 0..60 {
        keep_up().await;
    }
    assert_eq!(nodes().await, [there.nodes().name()]);
}

async fn ask(
    tasks: &Tasks,
    lease: &Lease,
    session: crate::tasks::SessionKey,
    request: &str,
) -> crate::tasks::ApprovalId {
    let request = json!({"request_id": request, "tool_name": "Bash"});
    let asked = tasks
        .ask(lease, &session, from_value(request).unwrap())
        .await;
    asked.unwrap().id
}

fn person(id: WorkspaceId) -> Author {
    let who = Who {
        user: None,
        name: "command line".to_owned(),
    };
    Author::Human(id, who)
}

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_commits_late_is_heard_and_nothing_is_heard_twice() {
    let Some(pair) = Pair::start().await else {
        return;
    };
    let store = pair.here.keys().store().postgres().unwrap();
    let (late, early) = (
        store.pool().get().await.unwrap(),
        store.pool().get().await.unwrap(),
    );
    let mut reader = Reader::begin(store.pool().get().await.unwrap(), "reader")
        .await
        .unwrap();
    let mut read = async || workspaces_of(reader.read().await.unwrap());
    late.batch_execute(&format!("BEGIN; {}", told_of("late")))
        .await
        .unwrap();
    early.batch_execute(&told_of("early")).await.unwrap();
    assert_eq!(read().await, ["early"]);
    assert_eq!(read().await, [""; 0]);
    late.batch_execute("COMMIT").await.unwrap();
    assert_eq!(read().await, ["late"]);
    early.batch_execute(&told_of("last")).await.unwrap();
    assert_eq!(read().await, ["last"]);
    assert_eq!(read().await, [""; 0]);
}

/// A statement that tells something of a workspace, as another node would.
fn told_of(workspace: &str) -> String {
    format!(
        r#"INSERT INTO announcements (node, said)
           VALUES ('writer', '{{"workspace": "{workspace}", "announcement": {{"Topic": "Audit"}}}}')"#
    )
}

fn workspaces_of(told: Vec<Told>) -> Vec<String> {
    let workspaces = told.into_iter().filter_map(|told| match told {
        Told::Said(said) => said.workspace,
        Told::Unknown => Some("unknown".to_owned()),
    });
    workspaces.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_newer_version_tells_has_everybody_look_for_themselves() {
    let Some(pair) = Pair::start().await else {
        return;
    };
    let mut page = pair.there.live().listen(None);
    let store = pair.here.keys().store().postgres().unwrap();
    let newer = r#"INSERT INTO announcements (node, said)
                   VALUES ('writer', '{"workspace": null, "announcement": "Newer"}')"#;
    let writer = store.pool().get().await.unwrap();
    writer.batch_execute(newer).await.unwrap();
    let doubted = async { while !matches!(page.next().await, Heard::Everything(..)) {} };
    timeout(LONG, doubted).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_the_keys_that_others_changed_to_ends() {
    let Some(mut pair) = Pair::start().await else {
        return;
    };
    pair.fall_silent().await;
    let mut listening = Box::pin(nodes::listen(pair.there.clone()));
    // With the keys that it has, it goes on.
    assert!(
        timeout(Duration::from_secs(2), &mut listening)
            .await
            .is_err()
    );
    let nodes = pair.here.nodes().clone();
    let changed = move |transaction: &crate::db::Transaction<'_>| {
        key_check::note(transaction, &[("signing", "elsewhere".to_owned())])?;
        nodes.tell_of_keys(transaction)
    };
    pair.here.database().write(changed).await.unwrap();
    let told = timeout(LONG, listening).await.unwrap();
    // And so does one that was not there to be told.
    let late = timeout(LONG, nodes::listen(pair.there.clone()))
        .await
        .unwrap();
    for error in [told, late] {
        let said = error.to_string();
        assert!(
            said.contains("signing key `elsewhere` is not here"),
            "{said}"
        );
    }
}
