//! Activity through its own API, over a real database file.

use tower_workspace_token::{
    TokenName,
    authority::{Keys, TokenAuthority, VerifiedToken},
    token::PresentedToken,
};
use tower_workspace_token_mcp::RequestKind;

use super::{
    hours::Counted,
    store::{HOURS, KnownClient, MILLIS_PER_HOUR, RejectedUse},
    testing::address,
    trail::Times,
    *,
};
use crate::{
    db::{self, Store},
    live::Heard,
    workspaces,
};

/// What is written in one test's transaction.
#[derive(Default)]
struct Batch {
    uses: Vec<Use>,
    hours: Vec<Counted>,
    trail: Vec<(Attempt, Times)>,
    now: i64,
}

impl Batch {
    /// Returns whether any of it is news.
    fn save(self, transaction: &crate::db::Transaction<'_>) -> Result<bool, DatabaseError> {
        let uses = self.uses.into_iter().map(Entry::Use);
        let hours = self.hours.into_iter().map(Entry::Hour);
        let tried = self.trail.into_iter();
        let tried = tried.map(|(attempt, times)| Entry::Attempt(attempt, times));
        let mut is_news = false;
        for entry in uses.chain(hours).chain(tried) {
            is_news |= entry.save(transaction, self.now)?;
        }
        Ok(is_news)
    }
}

struct Fixture {
    _directory: tempfile::TempDir,
    authority: TokenAuthority,
    database: Database,
    live: Live,
    activity: Activity,
}

impl Fixture {
    /// With the workspace `acme`, and no other.
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let opened = db::testing::open(directory.path()).await;
        Self::with(directory, opened).await
    }

    /// The same in a file, for what is done to one.
    async fn in_file() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let opened = db::testing::open_file(directory.path()).await;
        Self::with(directory, opened).await
    }

    async fn with(directory: tempfile::TempDir, (store, database): (Store, Database)) -> Self {
        let authority = TokenAuthority::builder(store, Keys::generate().unwrap());
        let insert = |transaction: &crate::db::Transaction<'_>| {
            workspaces::insert(transaction, &acme(), "acme", time::now())
        };
        database.write(insert).await.unwrap();
        let live = Live::default();
        Self {
            _directory: directory,
            authority: authority.build().unwrap(),
            database,
            activity: Activity::new(live.clone()),
            live,
        }
    }

    async fn verified(&self) -> VerifiedToken {
        let token = self.authority.issue(&acme(), &TokenName::primary()).await;
        let token = token.unwrap();
        let presented = PresentedToken::new(token.expose_secret().as_bytes());
        self.authority.verify(&acme(), presented).await.unwrap()
    }

    async fn lease(&self) -> Lease {
        self.verified().await.lease().clone()
    }

    /// The connection of a client that has opened a session.
    async fn session(&self) -> Arc<Connection> {
        testing::session(&self.activity, &self.authority, self.verified().await).await
    }

    fn modern(&self, lease: &Lease, client: &str, address: IpAddr) -> Option<Arc<Connection>> {
        let headers = HeaderMap::new();
        self.activity
            .of_client(lease, client, "1", Some(address), &headers)
    }

    async fn save(&self, batch: Batch) {
        self.database
            .write(move |transaction| batch.save(transaction))
            .await
            .unwrap();
    }

    /// Runs a statement on the connection that writes.
    async fn run(&self, sql: &'static str) {
        let run = move |transaction: &crate::db::Transaction<'_>| transaction.execute_batch(sql);
        self.database.write(run).await.unwrap();
    }

    async fn trail(&self) -> Vec<RejectedUse> {
        let read = |snapshot: &crate::db::Transaction<'_>| store::rejected_uses(snapshot, &acme());
        self.database.read(read).await.unwrap()
    }

    async fn clients(&self) -> Vec<KnownClient> {
        let read = |snapshot: &crate::db::Transaction<'_>| store::clients(snapshot, &acme());
        self.database.read(read).await.unwrap()
    }
}

fn acme() -> WorkspaceId {
    "acme".parse().unwrap()
}

fn slot() -> SlotKey {
    SlotKey::new(acme(), TokenName::primary())
}

fn used(client: &str, place: u32, at: i64) -> Use {
    Use {
        key: slot(),
        generation: 1,
        client: Client::new(client, "1"),
        agent: Client::new("node", ""),
        address: Some(address(place)),
        at,
    }
}

fn attempt(key: SlotKey, place: u32) -> (Attempt, trail::Times) {
    let attempt = Attempt {
        key,
        generation: 1,
        address: Some(address(place)),
        agent: Client::new("node", ""),
    };
    let times = trail::Times {
        times: 2,
        first: 10,
        last: 20,
    };
    (attempt, times)
}

#[tokio::test]
async fn a_client_without_sessions_is_there_for_a_minute_and_while_something_runs() {
    let fixture = Fixture::new().await;
    let lease = fixture.lease().await;
    let connection = fixture.modern(&lease, "mine", address(1)).unwrap();
    connection.begin(RequestKind::Call);
    let seen_at = connection.seen().last_seen;
    assert!(connection.is_there(seen_at + 10 * connections::SEEN_FOR));
    tower_workspace_token_mcp::Ongoing::ended(&*connection, RequestKind::Call);
    let seen_at = connection.seen().last_seen;
    assert!(connection.is_there(seen_at + connections::SEEN_FOR - 1));
    assert!(!connection.is_there(seen_at + connections::SEEN_FOR));
    assert_eq!(fixture.activity.connections(&acme()).len(), 1);
    fixture.activity.sweep(seen_at + connections::SEEN_FOR);
    assert_eq!(fixture.activity.connections(&acme()).len(), 0);
    // Its use is not lost with it.
    fixture.activity.flush(&fixture.database).await;
    assert_eq!(fixture.clients().await[0].client.name, "mine");
}

#[tokio::test]
async fn a_session_is_live_while_something_of_it_is_open_and_three_minutes_more() {
    let fixture = Fixture::new().await;
    let connection = fixture.session().await;
    let seen_at = connection.seen().last_seen;
    let minute = 60_000;
    assert!(connection.is_live(seen_at + 3 * minute - 1));
    assert!(!connection.is_live(seen_at + 3 * minute));
    // It holds all the same, is listed, and can be ended.
    assert!(connection.is_there(seen_at + 60 * minute));
    for kind in [RequestKind::Stream, RequestKind::Call] {
        connection.begin(kind);
        assert!(connection.is_live(connection.seen().last_seen + 60 * minute));
        tower_workspace_token_mcp::Ongoing::ended(&*connection, kind);
    }
    let seen_at = connection.seen().last_seen;
    assert_eq!(fixture.activity.counts()[&acme()], 1);
    // Pages are told once that it has gone quiet, and once that it is back.
    assert!(!connection.take_turned_idle(seen_at));
    let turns = || connection.take_turned_idle(seen_at + 3 * minute);
    assert_eq!((turns(), turns()), (true, false));
    connection.begin(RequestKind::Call);
    tower_workspace_token_mcp::Ongoing::ended(&*connection, RequestKind::Call);
    assert!(connection.is_live(seen_at) && connection.take_changed());
    assert!(connection.take_turned_idle(connection.seen().last_seen + 3 * minute));
}

#[tokio::test]
async fn a_client_is_one_connection_per_token_name_and_address() {
    let fixture = Fixture::new().await;
    let lease = fixture.lease().await;
    for (client, place) in [("a", 1), ("a", 1), ("b", 1), ("a", 2)] {
        fixture.modern(&lease, client, address(place));
    }
    let connections = fixture.activity.connections_of(&slot());
    let mut words: Vec<String> = connections.iter().map(Seen::words).collect();
    words.sort();
    assert_eq!(
        words,
        ["a 1 at 0.0.0.1", "a 1 at 0.0.0.2", "b 1 at 0.0.0.1"]
    );
    fixture
        .authority
        .rotate(&acme(), &TokenName::primary())
        .await
        .unwrap();
    assert_eq!(fixture.activity.connections(&acme()).len(), 0);
    assert_eq!(fixture.activity.counts().len(), 0);
}

#[tokio::test]
async fn clients_without_sessions_fill_no_memory() {
    let fixture = Fixture::new().await;
    let lease = fixture.lease().await;
    let busy = fixture.modern(&lease, "busy", address(0)).unwrap();
    busy.begin(RequestKind::Stream);
    for number in 1..1_000 {
        fixture.modern(&lease, "idle", address(number)).unwrap();
    }
    let connections = fixture.activity.connections(&acme());
    assert_eq!(connections.len(), 256);
    assert!(connections.iter().any(|seen| seen.client.name == "busy"));
}

#[tokio::test]
async fn pages_are_told_who_comes_and_of_figures_once_a_tick() {
    let fixture = Fixture::new().await;
    let lease = fixture.lease().await;
    let start = fixture.live.cursor();
    let connection = fixture.modern(&lease, "mine", address(1)).unwrap();
    for _ in 0..100 {
        connection.begin(RequestKind::Call);
    }
    fixture.activity.tick();
    fixture.activity.tick();
    let mut listener = fixture.live.listen(Some(start));
    for _ in 0..2 {
        let Heard::Change(_, change) = listener.next().await else {
            panic!("nothing was missed");
        };
        assert_eq!(change.topic, Topic::Connections);
        assert_eq!(change.workspace, Some(acme()));
    }
    let next = tokio::time::timeout(Duration::from_millis(50), listener.next());
    assert!(next.await.is_err(), "that was all");
}

#[test]
fn what_tells_of_tokens_is_for_owners() {
    use crate::actions::{
        Access, Action, ActivityHours, ConnectionEnd, ConnectionList, RejectedUses, TokenClients,
    };
    assert_eq!(ConnectionEnd::ACCESS, Access::Owner);
    assert_eq!(ConnectionList::ACCESS, Access::Owner);
    assert_eq!(RejectedUses::ACCESS, Access::Owner);
    assert_eq!(TokenClients::ACCESS, Access::Owner);
    assert_eq!(ActivityHours::ACCESS, Access::Member);
}

#[tokio::test]
async fn what_could_not_be_written_is_written_when_the_database_is_back() {
    // In one piece with the rest, and more than there is room for in the pages that there are.
    const CLIENTS: usize = PIECE - 10;
    let fixture = Fixture::in_file().await;
    let activity = &fixture.activity;
    let (tried, _) = attempt(slot(), 1);
    for number in 0..CLIENTS {
        let agent = Client {
            name: "x".repeat(4096),
            ..Client::default()
        };
        activity.save_later(Use {
            agent,
            ..used(&number.to_string(), 1, 100)
        });
    }
    activity.count_call(&acme());
    lock(&activity.shared.trail).note(tried.clone(), 100);
    // As if the disk were full: it cannot grow.
    fixture.run("PRAGMA max_page_count = 1").await;
    activity.flush(&fixture.database).await;
    assert_eq!(fixture.trail().await.len(), 0);
    // Meanwhile more of it happens.
    activity.count_call(&acme());
    lock(&activity.shared.trail).note(tried, 200);
    fixture.run("PRAGMA max_page_count = 1000000").await;
    activity.flush(&fixture.database).await;
    let trail = fixture.trail().await;
    let of = |one: &RejectedUse| (one.times, one.first_at, one.last_at);
    assert_eq!(trail.iter().map(of).collect::<Vec<_>>(), [(2, 100, 200)]);
    assert_eq!(fixture.clients().await.len(), CLIENTS);
    let hours =
        |snapshot: &crate::db::Transaction<'_>| store::hours(snapshot, &acme(), time::now());
    let hours = fixture.database.read(hours).await.unwrap();
    assert_eq!(hours.iter().map(|hour| hour.calls).sum::<u64>(), 2);
}

#[tokio::test]
async fn what_cannot_be_written_takes_its_piece_with_it_and_no_more() {
    let fixture = Fixture::in_file().await;
    fixture
        .run(
            "CREATE TRIGGER poison BEFORE INSERT ON token_clients WHEN new.client = 'client 150'
             BEGIN SELECT raise(ABORT, 'no'); END",
        )
        .await;
    for number in 0..250 {
        let used = used(&format!("client {number}"), 1, number);
        fixture.activity.save_later(used);
    }
    for _ in 0..2 {
        fixture.activity.flush(&fixture.database).await;
        let clients = fixture.clients().await;
        assert_eq!(
            clients.len(),
            250 - PIECE,
            "the piece of the middle is lost"
        );
    }
}

#[tokio::test]
async fn what_is_too_old_and_cannot_be_deleted_keeps_nothing_from_being_written() {
    let fixture = Fixture::in_file().await;
    fixture
        .run(
            "INSERT INTO activity_hours (workspace, hour, calls, rejections) VALUES ('acme', 1, 1, 1);
             CREATE TRIGGER stays BEFORE DELETE ON activity_hours BEGIN SELECT raise(ABORT, 'no'); END",
        )
        .await;
    fixture.activity.save_later(used("a", 1, 100));
    fixture.activity.flush(&fixture.database).await;
    assert_eq!(fixture.clients().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_that_is_broken_off_loses_nothing() {
    let fixture = Fixture::in_file().await;
    let clients = PIECE + PIECE / 2;
    for number in 0..clients {
        let number = i64::try_from(number).unwrap();
        let used = used(&format!("client {number}"), 1, number);
        fixture.activity.save_later(used);
    }
    fixture.activity.prune(&fixture.database).await.unwrap();
    // Somebody else's write goes on until the flush was broken off.
    let (go_on, held) = std::sync::mpsc::channel::<()>();
    let database = fixture.database.clone();
    let other = tokio::spawn(async move {
        let wait = move |_: &crate::db::Transaction<'_>| {
            let _ = held.recv();
            Ok::<_, DatabaseError>(())
        };
        database.write(wait).await
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let flush = fixture.activity.flush(&fixture.database);
    let broken_off = tokio::time::timeout(Duration::from_millis(200), flush);
    assert!(broken_off.await.is_err());
    go_on.send(()).unwrap();
    other.await.unwrap().unwrap();
    fixture.activity.flush(&fixture.database).await;
    assert_eq!(fixture.clients().await.len(), clients);
}

#[tokio::test]
async fn the_first_use_by_a_client_from_an_address_is_remembered() {
    let fixture = Fixture::new().await;
    for (number, one) in [used("a", 1, 100), used("a", 1, 200), used("a", 2, 300)]
        .into_iter()
        .enumerate()
    {
        let batch = Batch {
            uses: vec![one],
            ..Batch::default()
        };
        let save = move |transaction: &crate::db::Transaction<'_>| batch.save(transaction);
        let is_news = fixture.database.write(save).await.unwrap();
        assert_eq!(is_news, number != 1, "told of what is new alone");
    }
    let clients = fixture.clients().await;
    let times = clients
        .iter()
        .map(|client| (client.first_at, client.last_at));
    assert_eq!(times.collect::<Vec<_>>(), [(300, 300), (100, 200)]);
    let new = |since| {
        let read = move |snapshot: &crate::db::Transaction<'_>| {
            store::new_clients(snapshot, &acme(), since)
        };
        fixture.database.read(read)
    };
    let found = new(0).await.unwrap();
    assert_eq!(found.len(), 1, "the very first is no surprise");
    assert_eq!(found[0].address, Some(address(2)));
    assert_eq!(new(301).await.unwrap().len(), 0);
}

#[tokio::test]
async fn an_older_use_that_is_saved_late_is_not_the_last_one() {
    let fixture = Fixture::new().await;
    for one in [used("late", 1, 200), used("early", 1, 100)] {
        let batch = Batch {
            uses: vec![one],
            ..Batch::default()
        };
        fixture.save(batch).await;
    }
    let read = |snapshot: &crate::db::Transaction<'_>| store::last_uses(snapshot, &acme());
    let last = fixture.database.read(read).await.unwrap();
    assert_eq!(last["primary"][0].client.as_ref().unwrap().name, "late");
}

#[tokio::test]
async fn the_last_uses_of_the_two_latest_generations_are_kept() {
    let fixture = Fixture::new().await;
    for (generation, client, at) in [
        (1, "a", 100),
        (2, "b", 200),
        (1, "late", 210),
        (3, "c", 300),
    ] {
        let batch = Batch {
            uses: vec![Use {
                generation,
                ..used(client, 1, at)
            }],
            ..Batch::default()
        };
        fixture.save(batch).await;
    }
    // What the store has counted tells when, and not who; it takes no name away, and keeps none away that
    // is saved late.
    for (generation, at) in [(2, 250), (3, 50)] {
        let (activity, database) = (&fixture.activity, &fixture.database);
        activity
            .note_counted(database, slot(), generation, at)
            .await;
    }
    let last = || async {
        let read = |snapshot: &crate::db::Transaction<'_>| store::last_uses(snapshot, &acme());
        let mut last = fixture.database.read(read).await.unwrap();
        let uses = last.remove("primary").unwrap().into_iter();
        let fields = |one: store::LastUse| {
            let client = one.client.map(|client| client.name);
            (one.generation, one.at, client)
        };
        uses.map(fields).collect::<Vec<_>>()
    };
    let (b, c) = (Some("b".to_owned()), Some("c".to_owned()));
    assert_eq!(last().await, [(3, 300, c.clone()), (2, 250, b)]);
    let (activity, database) = (&fixture.activity, &fixture.database);
    activity.note_counted(database, slot(), 4, 400).await;
    assert_eq!(last().await, [(4, 400, None), (3, 300, c.clone())]);
    let late = Use {
        generation: 4,
        ..used("d", 1, 390)
    };
    let batch = Batch {
        uses: vec![late],
        ..Batch::default()
    };
    fixture.save(batch).await;
    let d = Some("d".to_owned());
    assert_eq!(last().await, [(4, 400, d), (3, 300, c)]);
}

#[tokio::test]
async fn a_refused_client_is_called_as_when_its_token_was_good() {
    let fixture = Fixture::new().await;
    let batch = Batch {
        uses: vec![used("claude-code", 1, 100)],
        trail: vec![attempt(slot(), 1), attempt(slot(), 2)],
        ..Batch::default()
    };
    fixture.save(batch).await;
    let trail = fixture.trail().await;
    let name = |place| {
        let mut trail = trail.iter();
        let found = trail.find(|rejected| rejected.address == Some(address(place)));
        found.unwrap().client.name.clone()
    };
    assert_eq!((name(1), name(2)), ("claude-code".into(), "node".into()));
}

#[tokio::test]
async fn a_refused_use_is_blamed_on_who_held_that_generation_alone() {
    let fixture = Fixture::new().await;
    let of_generation = |generation, client, place| Use {
        generation,
        agent: Client::new("python-httpx", "0.27"),
        ..used(client, place, 100)
    };
    let tried = |generation, agent_version, place| {
        let (attempt, times) = attempt(slot(), place);
        let agent = Client::new("python-httpx", agent_version);
        let attempt = trail::Attempt {
            generation,
            agent,
            ..attempt
        };
        (attempt, times)
    };
    let batch = Batch {
        uses: vec![
            of_generation(1, "bot-b", 1),
            of_generation(2, "innocent", 1),
            of_generation(1, "one", 2),
            of_generation(1, "other", 2),
            of_generation(2, "later", 3),
        ],
        trail: vec![
            tried(1, "0.27", 1),
            tried(1, "0.28", 1),
            tried(1, "0.27", 2),
            tried(1, "0.27", 3),
        ],
        ..Batch::default()
    };
    fixture.save(batch).await;
    let trail = fixture.trail().await;
    let mut words: Vec<_> = trail
        .iter()
        .map(|one| {
            assert_eq!(one.agent.name, "python-httpx");
            (
                one.address.unwrap().to_string(),
                &*one.agent.version,
                one.client.words(),
            )
        })
        .collect();
    words.sort();
    let expected = [
        ("0.0.0.1", "0.27", "bot-b 1"),
        ("0.0.0.1", "0.28", "python-httpx 0.28"),
        // Two held it under that name, and nobody can tell which of them this is.
        ("0.0.0.2", "0.27", "python-httpx 0.27"),
        // Who came with the new token has nothing to do with the old one.
        ("0.0.0.3", "0.27", "python-httpx 0.27"),
    ];
    let expected = expected.map(|(place, version, who)| (place.into(), version, who.into()));
    assert_eq!(words, expected);
}

#[tokio::test]
async fn a_flood_of_old_tokens_fills_no_table_and_is_counted() {
    let fixture = Fixture::new().await;
    for _ in 0..2 {
        let batch = Batch {
            trail: (0..500).map(|place| attempt(slot(), place)).collect(),
            ..Batch::default()
        };
        fixture.save(batch).await;
    }
    let trail = fixture.trail().await;
    assert_eq!(trail.len(), 201);
    let times: u64 = trail.iter().map(|rejected| rejected.times).sum();
    assert_eq!(times, 2 * 2 * 500);
    let elsewhere: Vec<_> = trail.iter().filter(|one| one.address.is_none()).collect();
    assert_eq!((elsewhere.len(), elsewhere[0].times), (1, 2 * 2 * 300));
}

#[tokio::test]
async fn clients_fill_no_table() {
    let fixture = Fixture::new().await;
    let batch = Batch {
        uses: (0..600)
            .map(|number| used("a", number, number.into()))
            .collect(),
        ..Batch::default()
    };
    fixture.save(batch).await;
    let clients = fixture.clients().await;
    assert_eq!(clients.len(), 500);
    assert_eq!(clients[0].address, Some(address(599)));
    let count = |snapshot: &crate::db::Transaction<'_>| -> Result<(i64, i64), DatabaseError> {
        let sql = "SELECT count(*), min(last_at) FROM token_holders";
        snapshot.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
    };
    let holders = fixture.database.read(count).await.unwrap();
    assert_eq!(holders, (500, 100), "the latest");
}

#[tokio::test]
async fn nothing_is_kept_of_workspaces_that_there_are_not() {
    let fixture = Fixture::new().await;
    let nowhere: WorkspaceId = "nowhere".parse().unwrap();
    let key = SlotKey::new(nowhere, TokenName::primary());
    let batch = Batch {
        uses: vec![Use {
            key,
            ..used("a", 1, 1)
        }],
        hours: vec![hours::Counted {
            workspace: nowhere,
            calls: 1,
            rejections: 1,
        }],
        trail: vec![attempt(key, 1)],
        now: 0,
    };
    fixture.save(batch).await;
    let count = |snapshot: &crate::db::Transaction<'_>| -> Result<i64, DatabaseError> {
        snapshot.query_row(
            "SELECT (SELECT count(*) FROM token_uses) + (SELECT count(*) FROM token_clients)
                 + (SELECT count(*) FROM token_rejections) + (SELECT count(*) FROM activity_hours)
                 + (SELECT count(*) FROM token_holders)",
            [],
            |row| row.get(0),
        )
    };
    assert_eq!(fixture.database.read(count).await.unwrap(), 0);
}

#[tokio::test]
async fn hours_are_added_up_and_old_ones_deleted() {
    let fixture = Fixture::new().await;
    let now = 500_000 * MILLIS_PER_HOUR;
    for (ago, calls) in [(HOURS + 1, 7), (HOURS - 1, 1), (1, 2), (0, 3), (0, 4)] {
        let batch = Batch {
            hours: vec![hours::Counted {
                workspace: acme(),
                calls,
                rejections: 1,
            }],
            now: now - ago * MILLIS_PER_HOUR,
            ..Batch::default()
        };
        fixture.save(batch).await;
    }
    let prune = move |transaction: &crate::db::Transaction<'_>| store::prune(transaction, now);
    fixture.database.write(prune).await.unwrap();
    let read = move |snapshot: &crate::db::Transaction<'_>| {
        let rows = "SELECT count(*) FROM activity_hours";
        let rows: i64 = snapshot.query_row(rows, [], |row| row.get(0))?;
        Ok::<_, DatabaseError>((rows, store::hours(snapshot, &acme(), now)?))
    };
    let (rows, hours) = fixture.database.read(read).await.unwrap();
    assert_eq!((rows, hours.len()), (3, 48));
    let calls: Vec<u64> = hours.iter().map(|hour| hour.calls).collect();
    assert_eq!((calls[0], calls[1], calls[46], calls[47]), (1, 0, 2, 7));
    assert_eq!(hours[47].rejections, 2);
}
