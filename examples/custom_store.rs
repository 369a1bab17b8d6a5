//! A store of one's own: slots in Redis, shared by all processes of an application.
//!
//! A write is one script, which Redis runs whole or not at all: it compares the revision and writes row,
//! history, index and change feed. The feed is a stream with positions and not pub/sub, which forgets whom it could not
//! reach: who finds its position gone knows that it has missed something, and doubts all that it remembers.
//!
//! Redis acknowledges what it has in memory alone unless it is told otherwise, and the contract says *durable on
//! `Ok`*: a rotation that was acknowledged and then lost revives the old token. So this store asks for
//! `appendonly yes` and `appendfsync always`, and for `maxmemory-policy noeviction`, since a row that was evicted is a
//! generation that falls; where they are not set it says so. It is for one Redis: a replica that takes over lacks what
//! was acknowledged last, whatever is set (a script cannot wait for replicas), and `TokenStore::get` has to see it.
//!
//! Run with, where Redis 7 or later runs (`WST_REDIS_URL` names another one than that on this machine):
//! ```text
//! cargo run --example custom_store --features axum,test-util
//! ```
//! It prints a token; then, in another terminal:
//! ```text
//! TOKEN=…
//! curl -i http://127.0.0.1:3050/w/acme/notes                                    # 401, says what to do
//! curl -i http://127.0.0.1:3050/w/acme/notes -H "Authorization: Bearer $TOKEN"  # 200
//! curl -i http://127.0.0.1:3050/w/other/notes -H "Authorization: Bearer $TOKEN" # 401, another workspace
//! redis-cli HGETALL wst:slot:acme/primary                                       # nothing that opens anything
//! ```
//! Enter rotates the token. `-- --check` runs the library's conformance suite on `WST_TEST_REDIS_URL`, or on
//! Redis on this machine, under keys of its own; and, where there is a `redis-server`, on one that it starts and kills.

use std::{
    collections::HashMap,
    env,
    error::Error,
    fmt, io,
    sync::{Arc, Weak},
    time::Duration,
};

use axum::{Router, routing::get};
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, RedisError, RedisResult, Script,
    aio::MultiplexedConnection,
};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tower_workspace_token::{
    Keys, PathTemplate, TokenAuthority, TokenName, TokenStore, VerifiedToken, WorkspaceId,
    WorkspaceTokenLayer,
    clock::{Clock as _, SystemClock, Timestamp},
    error::ErrorKind as TokenErrorKind,
    id::{Generation, Revision, SlotKey},
    store::{
        ChangeObserver, Freshness, HistoryEvent, HistoryEventKind, Observers, StoreError,
        StoreErrorKind, TokenRecord,
    },
    token::{IssuedToken, SealedToken},
};

/// How long memory may be trusted after the feed was last confirmed; a rotation waits for as long.
const LEASE: Duration = Duration::from_millis(250);

/// A fifth of the lease: a look at the feed may come late, or fail, a few times before memory is doubted.
const TICK: Duration = Duration::from_millis(50);

/// How long Redis may take to connect, and to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many changes are read at once.
const PAGE: usize = 500;

/// How many slots are touched at once: nothing else runs in Redis meanwhile.
const TOUCHED_AT_ONCE: usize = 500;

/// Redis runs a script alone, but takes nothing back if it fails half-way: so whatever can fail, a key of another type,
/// is asked before the first write, and `#!lua` makes Redis refuse the whole where memory has run out.
///
/// Numbers are compared as texts, since those of Lua are exact up to 2^53 only.
const SWAP: &str = r"#!lua
local slot, history, slots, changes = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local expected, event, workspace, name, generation, token_id = unpack(ARGV, 1, 6)
local revision = redis.call('HGET', slot, 'revision') or ''
redis.call('LLEN', history)
redis.call('ZCARD', slots)
redis.call('XLEN', changes)
if revision ~= expected then return 0 end
redis.call('DEL', slot)
redis.call('HSET', slot, unpack(ARGV, 7))
if event ~= '' then redis.call('RPUSH', history, event) end
redis.call('ZADD', slots, 0, name)
redis.call('XADD', changes, 'MAXLEN', '~', 10000, '*',
    'workspace', workspace, 'name', name, 'generation', generation, 'token_id', token_id)
return 1";

/// All rows of a workspace as of one moment; equal scores are in the order of bytes.
const LIST: &str = r"#!lua flags=no-writes
local rows = {}
for _, name in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    table.insert(rows, { name, redis.call('HGETALL', ARGV[1] .. name) })
end
return rows";

const TOUCH: &str = r"#!lua
for number, slot in ipairs(KEYS) do
    local before = redis.call('HGET', slot, 'last_used_at')
    if redis.call('EXISTS', slot) == 1 and tonumber(before or -1) < tonumber(ARGV[number]) then
        redis.call('HSET', slot, 'last_used_at', ARGV[number])
    end
end";

/// Keeps slots in one Redis; clones share a connection.
#[derive(Clone)]
struct RedisStore {
    inner: Arc<Inner>,
}

/// | key | holds |
/// |---|---|
/// | `PREFIX:slot:WORKSPACE/NAME` | hash: the row; without `sealed`, a tombstone |
/// | `PREFIX:history:WORKSPACE/NAME` | list of JSON, oldest first |
/// | `PREFIX:slots:WORKSPACE` | sorted set of the names, all of score 0 |
/// | `PREFIX:changes` | stream of the last 10,000 changes |
struct Inner {
    client: Client,
    prefix: String,
    connection: tokio::sync::Mutex<Option<MultiplexedConnection>>,
    scripts: Scripts,
    observers: Observers,
    /// Where the feed runs: `watch` may be called outside of a runtime.
    runtime: Handle,
}

struct Scripts {
    list: Script,
    swap: Script,
    touch: Script,
}

/// Why a Redis is no store.
#[derive(Debug)]
enum OpenError {
    /// What has to be set otherwise.
    CanLose(Vec<String>),
    Redis(RedisError),
}

impl RedisStore {
    /// Opens a store whose settings keep what it acknowledges.
    async fn open(url: &str, prefix: &str) -> Result<Self, OpenError> {
        let store = Self::open_even_if_rotations_can_be_lost(url, prefix).await?;
        let lacking = store.inner.lacking_settings().await?;
        match lacking.is_empty() {
            true => Ok(store),
            false => Err(OpenError::CanLose(lacking)),
        }
    }

    /// Opens a store whatever its settings are.
    ///
    /// # Security
    /// What it acknowledges can be gone when Redis stops, and an old token alive again.
    async fn open_even_if_rotations_can_be_lost(
        url: &str,
        prefix: &str,
    ) -> Result<Self, OpenError> {
        let inner = Inner {
            client: Client::open(url)?,
            prefix: prefix.to_owned(),
            connection: tokio::sync::Mutex::default(),
            scripts: Scripts {
                list: Script::new(LIST),
                swap: Script::new(SWAP),
                touch: Script::new(TOUCH),
            },
            observers: Observers::new(),
            runtime: Handle::current(),
        };
        inner.connection().await?;
        Ok(Self {
            inner: Arc::new(inner),
        })
    }
}

impl TokenStore for RedisStore {
    async fn get(&self, key: &SlotKey) -> Result<Option<TokenRecord>, StoreError> {
        let mut command = redis::cmd("HGETALL");
        command.arg(self.inner.slot(key));
        let fields: Fields = self.inner.ask(&command).await?;
        match fields.is_empty() {
            true => Ok(None),
            false => record(*key, &fields).map(Some),
        }
    }

    async fn compare_and_swap(
        &self,
        key: &SlotKey,
        expected: Option<Revision>,
        next: TokenRecord,
        event: Option<HistoryEvent>,
    ) -> Result<(), StoreError> {
        // What fails here was not sent.
        let mut connection = self.inner.connection().await.map_err(unwritten)?;
        let expected = expected.map(|revision| revision.number().to_string());
        let event = event.as_ref().map(event_to_json);
        let mut swap = self.inner.scripts.swap.prepare_invoke();
        swap.key(self.inner.slot(key))
            .key(self.inner.history(key))
            .key(self.inner.slots(&key.workspace))
            .key(self.inner.changes())
            .arg(expected.unwrap_or_default())
            .arg(event.unwrap_or_default())
            .arg(key.workspace.as_str())
            .arg(key.name.as_str())
            .arg(next.generation.number())
            .arg(next.token_id.as_str());
        for (field, value) in fields(&next) {
            swap.arg(field).arg(value);
        }
        match swap.invoke_async::<u8>(&mut connection).await {
            Ok(0) => Err(StoreError::new(StoreErrorKind::Conflict)),
            Ok(_) => {
                // Before the write is acknowledged, so that this process need not wait for the feed.
                self.inner
                    .observers
                    .report(|observer| observer.changed(key, next.generation));
                Ok(())
            }
            Err(error) => {
                self.inner.forget_connection(&error).await;
                let error = perhaps_written(error);
                if error.kind() == StoreErrorKind::Ambiguous {
                    self.inner.observers.report(ChangeObserver::resync);
                }
                Err(error)
            }
        }
    }

    async fn list(&self, workspace: &WorkspaceId) -> Result<Vec<TokenRecord>, StoreError> {
        let mut connection = self.inner.connection().await.map_err(unwritten)?;
        let mut list = self.inner.scripts.list.key(self.inner.slots(workspace));
        list.arg(format!("{}:slot:{workspace}/", self.inner.prefix));
        let rows = list.invoke_async(&mut connection).await;
        let rows: Vec<(String, Fields)> = self.inner.answered(rows).await?;
        let records = rows.iter().map(|(name, fields)| {
            let name = name.parse().map_err(corrupt)?;
            record(SlotKey::new(*workspace, name), fields)
        });
        records.collect()
    }

    async fn history(&self, key: &SlotKey) -> Result<Vec<HistoryEvent>, StoreError> {
        let mut command = redis::cmd("LRANGE");
        command.arg(self.inner.history(key)).arg(0).arg(-1);
        let events: Vec<String> = self.inner.ask(&command).await?;
        let read = |event: &String| event_from_json(event).ok_or_else(|| corrupt("an event"));
        events.iter().map(read).collect()
    }

    async fn touch(&self, used: &[(SlotKey, Timestamp)]) -> Result<(), StoreError> {
        for used in used.chunks(TOUCHED_AT_ONCE) {
            let mut connection = self.inner.connection().await.map_err(unwritten)?;
            let mut touch = self.inner.scripts.touch.prepare_invoke();
            for (key, at) in used {
                touch.key(self.inner.slot(key)).arg(at.as_millis());
            }
            let touched = touch.invoke_async(&mut connection).await;
            self.inner.answered::<()>(touched).await?;
        }
        Ok(())
    }

    fn watch(&self, observer: ChangeObserver) -> Freshness {
        if self.inner.observers.add(observer) {
            let feed = feed(Arc::downgrade(&self.inner));
            self.inner.runtime.spawn(feed);
        }
        Freshness::Lease {
            duration: LEASE,
            // Other processes remember the same rows, so that a rotation waits for their leases to run out.
            shared: true,
        }
    }
}

impl Inner {
    fn slot(&self, key: &SlotKey) -> String {
        format!("{}:slot:{}/{}", self.prefix, key.workspace, key.name)
    }

    fn history(&self, key: &SlotKey) -> String {
        format!("{}:history:{}/{}", self.prefix, key.workspace, key.name)
    }

    fn slots(&self, workspace: &WorkspaceId) -> String {
        format!("{}:slots:{workspace}", self.prefix)
    }

    fn changes(&self) -> String {
        format!("{}:changes", self.prefix)
    }

    async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let client = &self.client;
        client
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }

    /// Returns the connection that all calls share, and makes it if there is none.
    async fn connection(&self) -> RedisResult<MultiplexedConnection> {
        let mut kept = self.connection.lock().await;
        if let Some(connection) = &*kept {
            return Ok(connection.clone());
        }
        let connection = self.connect().await?;
        *kept = Some(connection.clone());
        Ok(connection)
    }

    /// Lets the next call connect anew, if this one found the connection broken.
    async fn forget_connection(&self, error: &RedisError) {
        if error.is_unrecoverable_error() {
            *self.connection.lock().await = None;
        }
    }

    /// Asks something that writes nothing.
    async fn ask<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, StoreError> {
        let mut connection = self.connection().await.map_err(unwritten)?;
        let answer = command.query_async(&mut connection).await;
        self.answered(answer).await
    }

    async fn answered<T>(&self, answer: RedisResult<T>) -> Result<T, StoreError> {
        if let Err(error) = &answer {
            self.forget_connection(error).await;
        }
        answer.map_err(unwritten)
    }

    /// Returns what is not set as it has to be, if what is acknowledged is to be kept.
    async fn lacking_settings(&self) -> RedisResult<Vec<String>> {
        let mut connection = self.connection().await?;
        let mut lacking = Vec::new();
        for (name, right) in [
            ("appendonly", "yes"),
            ("appendfsync", "always"),
            ("maxmemory-policy", "noeviction"),
        ] {
            let mut command = redis::cmd("CONFIG");
            command.arg("GET").arg(name);
            let set: HashMap<String, String> = command.query_async(&mut connection).await?;
            if set.get(name).map(String::as_str) != Some(right) {
                lacking.push(format!("{name} {right}"));
            }
        }
        Ok(lacking)
    }
}

/// Tells the observers what other processes have written, until nobody listens.
async fn feed(store: Weak<Inner>) {
    let mut position = None;
    while let Some(inner) = store.upgrade() {
        let Some(observers) = inner.observers.for_feed() else {
            return;
        };
        // Read before Redis is asked: what is acknowledged later may not be in the answer.
        let as_of = SystemClock.moment();
        match look(&inner, &mut position).await {
            Ok(news) => {
                for observer in &observers {
                    match &news {
                        News::Changes(changes) => changes
                            .iter()
                            .for_each(|(key, generation)| observer.changed(key, *generation)),
                        News::Unknown => observer.resync(),
                    }
                    observer.confirmed(as_of);
                }
            }
            // Nothing is confirmed, so that soon every check reads through.
            Err(_) => position = None,
        }
        drop(inner);
        tokio::time::sleep(TICK).await;
    }
}

/// How far the feed has read.
struct Position {
    /// Of the feed alone, and never mended: one that broke has led to a Redis that may have been another.
    connection: MultiplexedConnection,
    /// The last change that was read.
    last: Option<Change>,
}

/// The id that Redis gave a change, and its fields.
type Change = (String, HashMap<String, String>);

/// What a look at the feed has found.
enum News {
    Changes(Vec<(SlotKey, Generation)>),
    /// What happened since the last look is not known.
    Unknown,
}

async fn look(inner: &Inner, position: &mut Option<Position>) -> RedisResult<News> {
    let begun = match position {
        None => {
            let connection = inner.connect().await?;
            position.insert(Position {
                connection,
                last: None,
            })
        }
        Some(begun) => {
            if let Some(changes) = begun.read_on(&inner.changes()).await? {
                return Ok(News::Changes(changes));
            }
            begun
        }
    };
    begun.go_to_end(&inner.changes()).await?;
    Ok(News::Unknown)
}

impl Position {
    /// Reads what came after the last change; `None` if that is not known.
    ///
    /// The last change has to stand where it stood, as it stood. If it does not, the stream was cut, or Redis came
    /// back with less than it had, and others have written since.
    async fn read_on(&mut self, stream: &str) -> RedisResult<Option<Vec<(SlotKey, Generation)>>> {
        let mut changes = Vec::new();
        loop {
            let from = self.last.as_ref().map_or("-", |(id, _)| id);
            let mut command = redis::cmd("XRANGE");
            command
                .arg(stream)
                .arg(from)
                .arg("+")
                .arg("COUNT")
                .arg(PAGE);
            let mut read: Vec<Change> = command.query_async(&mut self.connection).await?;
            let is_whole = match &self.last {
                Some(last) => read.first() == Some(last),
                None => read.is_empty(),
            };
            if !is_whole {
                return Ok(None);
            }
            for (_, fields) in read.iter().skip(1) {
                let Some(change) = change(fields) else {
                    return Ok(None);
                };
                changes.push(change);
            }
            let is_last_page = read.len() < PAGE;
            self.last = read.pop();
            if is_last_page {
                return Ok(Some(changes));
            }
        }
    }

    async fn go_to_end(&mut self, stream: &str) -> RedisResult<()> {
        let mut command = redis::cmd("XREVRANGE");
        command.arg(stream).arg("+").arg("-").arg("COUNT").arg(1);
        let mut read: Vec<Change> = command.query_async(&mut self.connection).await?;
        self.last = read.pop();
        Ok(())
    }
}

fn change(fields: &HashMap<String, String>) -> Option<(SlotKey, Generation)> {
    let workspace = fields.get("workspace")?.parse().ok()?;
    let name = fields.get("name")?.parse().ok()?;
    let generation = fields.get("generation")?.parse().ok()?;
    Some((
        SlotKey::new(workspace, name),
        Generation::from_number(generation)?,
    ))
}

/// The fields of a row's hash.
type Fields = HashMap<String, Vec<u8>>;

fn fields(record: &TokenRecord) -> Vec<(&'static str, Vec<u8>)> {
    let number = |number: u64| number.to_string().into_bytes();
    let mut fields = vec![
        ("revision", number(record.revision.number())),
        ("generation", number(record.generation.number())),
        ("token_id", record.token_id.as_str().into()),
        ("changed_at", number(record.changed_at.as_millis())),
    ];
    // An empty token is one, and no tombstone: what is not there has no field.
    let sealed = record.sealed.as_ref();
    fields.extend(sealed.map(|sealed| ("sealed", sealed.as_bytes().to_vec())));
    let last_used_at = record.last_used_at;
    fields.extend(last_used_at.map(|at| ("last_used_at", number(at.as_millis()))));
    fields
}

fn record(key: SlotKey, fields: &Fields) -> Result<TokenRecord, StoreError> {
    read_record(key, fields).ok_or_else(|| corrupt("a row"))
}

fn read_record(key: SlotKey, fields: &Fields) -> Option<TokenRecord> {
    let text = |field| str::from_utf8(fields.get(field)?).ok();
    let number = |field| text(field)?.parse::<u64>().ok();
    let mut record = TokenRecord::tombstone(
        key,
        Revision::from_number(number("revision")?)?,
        Generation::from_number(number("generation")?)?,
        text("token_id")?.parse().ok()?,
        Timestamp::from_millis(number("changed_at")?),
    );
    record.sealed = fields.get("sealed").cloned().map(SealedToken::from_bytes);
    if fields.contains_key("last_used_at") {
        record.last_used_at = Some(Timestamp::from_millis(number("last_used_at")?));
    }
    Some(record)
}

fn event_to_json(event: &HistoryEvent) -> String {
    let event = json!({
        "kind": event.kind.as_str(),
        "generation": event.generation.number(),
        "token_id": event.token_id.as_str(),
        "at": event.at.as_millis(),
        "actor": event.actor,
        "reason": event.reason,
    });
    event.to_string()
}

fn event_from_json(json: &str) -> Option<HistoryEvent> {
    let json: Value = serde_json::from_str(json).ok()?;
    let text = |field: &str| json[field].as_str();
    let mut event = HistoryEvent::new(
        HistoryEventKind::from_word(text("kind")?)?,
        Generation::from_number(json["generation"].as_u64()?)?,
        text("token_id")?.parse().ok()?,
        Timestamp::from_millis(json["at"].as_u64()?),
    );
    event.actor = text("actor").map(str::to_owned);
    event.reason = text("reason").map(str::to_owned);
    Some(event)
}

/// Sorts an error of a call that has written nothing.
fn unwritten(error: RedisError) -> StoreError {
    let kind = match (error.kind(), error.code()) {
        (_, Some("OOM" | "READONLY" | "MISCONF" | "NOPERM" | "NOAUTH")) => StoreErrorKind::Full,
        (_, Some("WRONGTYPE")) | (ErrorKind::UnexpectedReturnType, _) => StoreErrorKind::Corrupt,
        _ => StoreErrorKind::Unavailable,
    };
    StoreError::with_source(kind, error)
}

/// Sorts an error of a write that was sent.
fn perhaps_written(error: RedisError) -> StoreError {
    match error.code() {
        // What Redis answers in place of running a script, or the script before it writes.
        Some(
            "BUSY" | "LOADING" | "MASTERDOWN" | "MISCONF" | "NOAUTH" | "NOPERM" | "NOREPLICAS"
            | "OOM" | "READONLY" | "WRONGTYPE",
        ) => unwritten(error),
        // No answer, or one that says nothing of what was written.
        _ => StoreError::with_source(StoreErrorKind::Ambiguous, error),
    }
}

fn corrupt(what: impl Into<Box<dyn Error + Send + Sync>>) -> StoreError {
    StoreError::with_source(StoreErrorKind::Corrupt, what)
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CanLose(lacking) => write!(
                f,
                "this Redis can lose a rotation that it has acknowledged, and the old token lives again: \
                 set {}",
                lacking.join(", ")
            ),
            Self::Redis(_) => f.write_str("Redis does not answer, or not what was asked"),
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::CanLose(_) => None,
            Self::Redis(error) => Some(error),
        }
    }
}

impl From<RedisError> for OpenError {
    fn from(error: RedisError) -> Self {
        Self::Redis(error)
    }
}

async fn notes(token: VerifiedToken) -> String {
    format!("notes of {}\n", token.workspace())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    if env::args_os().any(|argument| argument == "--check") {
        return check::run().await;
    }
    // A URL may hold a password: from the environment, since every process can read arguments.
    let url = env::var("WST_REDIS_URL").unwrap_or_else(|_| LOCAL.into());
    let store = match RedisStore::open(&url, "wst").await {
        Err(error @ OpenError::CanLose(_)) => {
            eprintln!("only to try it out: {error}");
            RedisStore::open_even_if_rotations_can_be_lost(&url, "wst").await?
        }
        store => store?,
    };

    // --- what is added to the app ---
    let authority = TokenAuthority::builder(store, Keys::generate()?).build()?;
    let workspace_of = PathTemplate::new("/w/{workspace}/notes");
    let layer = WorkspaceTokenLayer::new(authority.clone(), workspace_of);
    let app = Router::new()
        .route("/w/{workspace}/notes", get(notes))
        .layer(layer);
    // --- and that is all ---

    let workspace = "acme".parse()?;
    let token = issue_or_rotate(&authority, &workspace).await?;
    eprintln!("TOKEN={}", token.expose_secret());
    rotate_on_enter(authority, workspace);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3050").await?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

/// The rows of an earlier run are there yet, but not its keys: an application keeps those too.
async fn issue_or_rotate(
    authority: &TokenAuthority,
    workspace: &WorkspaceId,
) -> Result<IssuedToken, Box<dyn Error>> {
    match authority.issue(workspace, &TokenName::primary()).await {
        Err(error) if error.kind() == TokenErrorKind::AlreadyIssued => Ok(authority
            .rotate(workspace, &TokenName::primary())
            .await?
            .token),
        issued => Ok(issued?),
    }
}

fn rotate_on_enter(authority: TokenAuthority, workspace: WorkspaceId) {
    let runtime = Handle::current();
    std::thread::spawn(move || {
        for _line in io::stdin().lines().map_while(Result::ok) {
            match runtime.block_on(authority.rotate(&workspace, &TokenName::primary())) {
                Ok(receipt) => eprintln!("TOKEN={}", receipt.token.expose_secret()),
                Err(error) => eprintln!("not rotated: {error}"),
            }
        }
    });
}

const LOCAL: &str = "redis://127.0.0.1:6379";

/// What `--check` proves: the library's suite, and what is this store's own.
mod check {
    use std::{
        path::PathBuf,
        process::{Child, Command, Stdio},
        sync::atomic::{AtomicU32, Ordering},
    };

    use tower_workspace_token::{
        store::conformance::{self, Report, Watcher},
        token::PresentedToken,
    };

    use super::*;

    type Checked = Result<(), Box<dyn Error>>;

    pub(super) async fn run() -> Checked {
        let named = env::var("WST_TEST_REDIS_URL").ok();
        let url = named.clone().unwrap_or_else(|| LOCAL.into());
        match RedisStore::open_even_if_rotations_can_be_lost(&url, "wst-check").await {
            Ok(_) => on(&url).await?,
            // Named, it has to be there.
            Err(error) if named.is_some() => return Err(error.into()),
            Err(_) => {
                println!("skipped: no Redis on this machine, and WST_TEST_REDIS_URL names none")
            }
        }
        match Server::start().await? {
            Some(server) => on_its_own(server).await,
            None => {
                println!("skipped: no redis-server of 7 or later to start and kill");
                Ok(())
            }
        }
    }

    /// On a Redis that others use too.
    async fn on(url: &str) -> Checked {
        match RedisStore::open(url, "wst-check").await {
            Ok(_) => println!("this Redis keeps what it acknowledges"),
            Err(error) => println!("not durable: {error}"),
        }
        let names = Names::new(url);
        conformance::run(|| names.store()).await;
        conformance::run_shared(|| async {
            let (one, other) = (names.store().await, names.last_store().await);
            (one, other)
        })
        .await;
        println!("the store keeps the contract");
        a_feed_that_lost_something_doubts_everything(names.store().await).await?;
        what_makes_no_sense_is_corrupt_and_stays(names.store().await).await?;
        names.clear().await?;
        println!("it doubts what it remembers when changes are lost");
        Ok(())
    }

    /// On a Redis that is started with the settings that keep what is acknowledged, and killed.
    async fn on_its_own(mut server: Server) -> Checked {
        let names = Names::new(&server.url);
        settings_that_can_lose_a_write_are_refused(&server.url, names.store().await).await?;
        conformance::run(|| names.store()).await;
        println!("a Redis that is set to keep what it acknowledges does, and the store on it");
        a_feed_that_was_cut_off_doubts_everything(names.store().await).await?;
        full_memory_writes_nothing(names.store().await).await?;
        a_rotation_is_seen_by_the_other_process(&names).await?;
        what_was_acknowledged_outlives_a_kill(&mut server, names.store().await).await?;
        println!("killed, it comes back with every rotation, and nothing is trusted meanwhile");
        Ok(())
    }

    fn key() -> SlotKey {
        let workspace = "acme".parse().expect("a label");
        SlotKey::new(workspace, TokenName::primary())
    }

    fn number(number: u64) -> (Revision, Generation) {
        let revision = Revision::from_number(number).expect("counted from 1");
        let generation = Generation::from_number(number).expect("counted from 1");
        (revision, generation)
    }

    /// Writes generation `next`, of which nothing can be opened.
    async fn rotate_to(store: &RedisStore, next: u64) -> Result<(), StoreError> {
        let (revision, generation) = number(next);
        let token_id = "mzxw6ytbmzxw6ytb".parse().expect("sixteen letters");
        let sealed = SealedToken::from_bytes(vec![0; 100]);
        let at = Timestamp::from_secs(next);
        let record = TokenRecord::live(key(), revision, generation, token_id, sealed, at);
        let event = HistoryEvent::new(HistoryEventKind::Rotated, generation, token_id, at);
        let expected = Revision::from_number(next - 1);
        store
            .compare_and_swap(&key(), expected, record, Some(event))
            .await
    }

    async fn rotate_up_to(store: &RedisStore, last: u64) -> Result<(), StoreError> {
        for next in 1..=last {
            rotate_to(store, next).await?;
        }
        Ok(())
    }

    async fn command(store: &RedisStore, words: &[&str]) -> Checked {
        let mut connection = store.inner.connect().await?;
        let mut command = redis::Cmd::new();
        command.arg(words);
        let _answer: redis::Value = command.query_async(&mut connection).await?;
        Ok(())
    }

    async fn a_feed_that_lost_something_doubts_everything(store: RedisStore) -> Checked {
        let stream = store.inner.changes();
        rotate_up_to(&store, 3).await?;
        let watcher = Watcher::of(&store);
        let cuts: [&[&str]; 3] = [
            &["DEL", &stream],
            &["XADD", &stream, "*", "what", "is this"],
            &["XTRIM", &stream, "MAXLEN", "0"],
        ];
        for (next, cut) in (4..).zip(cuts) {
            assert!(watcher.is_confirmed_after(SystemClock.moment()).await);
            // A change that the feed has read, so that there is a position to be lost.
            rotate_to(&store, next).await?;
            assert_doubts(&store, &watcher, cut).await?;
        }
        Ok(())
    }

    /// Cuts off whoever is connected, so on no Redis but our own.
    async fn a_feed_that_was_cut_off_doubts_everything(store: RedisStore) -> Checked {
        rotate_up_to(&store, 1).await?;
        let watcher = Watcher::of(&store);
        let cut = ["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"];
        assert_doubts(&store, &watcher, &cut).await?;
        // The connection of all calls was cut too, and is made anew.
        while store.get(&key()).await.is_err() {}
        Ok(())
    }

    async fn assert_doubts(store: &RedisStore, watcher: &Watcher, cut: &[&str]) -> Checked {
        assert!(watcher.is_confirmed_after(SystemClock.moment()).await);
        let mark = watcher.mark();
        command(store, cut).await?;
        let doubts = || watcher.reports()[mark..].contains(&Report::Resync);
        assert!(
            watcher.wait_until(doubts).await,
            "trusts its memory after {cut:?}"
        );
        Ok(())
    }

    async fn what_makes_no_sense_is_corrupt_and_stays(store: RedisStore) -> Checked {
        rotate_up_to(&store, 1).await?;
        command(
            &store,
            &["HSET", &store.inner.slot(&key()), "generation", "-1"],
        )
        .await?;
        let error = store
            .get(&key())
            .await
            .expect_err("there is no such generation");
        assert_eq!(error.kind(), StoreErrorKind::Corrupt);

        // What would fail after the first write is found before it.
        let changes = store.inner.changes();
        command(&store, &["SET", &changes, "no stream"]).await?;
        let error = rotate_to(&store, 2).await.expect_err("there is no stream");
        assert_eq!(error.kind(), StoreErrorKind::Corrupt);
        assert_eq!(store.history(&key()).await?.len(), 1);
        Ok(())
    }

    async fn settings_that_can_lose_a_write_are_refused(url: &str, store: RedisStore) -> Checked {
        for (name, wrong, right) in [
            ("appendonly", "no", "yes"),
            ("appendfsync", "everysec", "always"),
            ("maxmemory-policy", "allkeys-lru", "noeviction"),
        ] {
            command(&store, &["CONFIG", "SET", name, wrong]).await?;
            match RedisStore::open(url, "durable").await {
                Err(OpenError::CanLose(lacking)) => {
                    assert_eq!(lacking, [format!("{name} {right}")])
                }
                _ => panic!("{name} {wrong} is not refused"),
            }
            command(&store, &["CONFIG", "SET", name, right]).await?;
        }
        RedisStore::open(url, "durable").await?;
        Ok(())
    }

    async fn full_memory_writes_nothing(store: RedisStore) -> Checked {
        rotate_up_to(&store, 2).await?;
        command(&store, &["CONFIG", "SET", "maxmemory", "1"]).await?;
        let error = rotate_to(&store, 3).await.expect_err("there is no room");
        assert_eq!(error.kind(), StoreErrorKind::Full);
        command(&store, &["CONFIG", "SET", "maxmemory", "0"]).await?;
        assert_eq!(store.history(&key()).await?.len(), 2);
        Ok(rotate_to(&store, 3).await?)
    }

    /// Two authorities, each on a store of its own, are two processes to each other.
    async fn a_rotation_is_seen_by_the_other_process(names: &Names) -> Checked {
        let keys = Keys::generate()?;
        let (one, other) = (names.store().await, names.last_store().await);
        let one = TokenAuthority::builder(one, keys.clone()).build()?;
        let other = TokenAuthority::builder(other, keys).build()?;
        let (workspace, name) = (key().workspace, key().name);
        let mut token = one.issue(&workspace, &name).await?;
        for _ in 0..3 {
            let next = {
                let presented = PresentedToken::new(token.expose_secret().as_bytes());
                other
                    .verify(&workspace, presented)
                    .await
                    .map_err(|_| "the token is refused")?;
                let next = one.rotate(&workspace, &name).await?.token;
                // The rotation has waited for the lease: from here on nobody lets the old one in.
                let refused = other.verify(&workspace, presented).await;
                assert!(
                    refused.is_err(),
                    "the old token is alive in another process"
                );
                next
            };
            token = next;
        }
        Ok(())
    }

    /// A kill shows what was in the log, and no more: only a power cut shows what was on the disk.
    async fn what_was_acknowledged_outlives_a_kill(
        server: &mut Server,
        store: RedisStore,
    ) -> Checked {
        let watcher = Watcher::of(&store);
        rotate_up_to(&store, 50).await?;
        assert!(watcher.is_confirmed_after(SystemClock.moment()).await);
        server.kill()?;
        let killed_at = SystemClock.moment();
        let error = store.get(&key()).await.expect_err("nobody answers");
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
        tokio::time::sleep(2 * LEASE).await;
        assert!(
            watcher.latest_confirmed() <= Some(killed_at),
            "confirmed by nobody"
        );

        let mark = watcher.mark();
        server.run().await?;
        let row = store.get(&key()).await?.ok_or("the row is gone")?;
        assert_eq!(row.generation, number(50).1);
        assert_eq!(store.history(&key()).await?.len(), 50);
        let doubts = || watcher.reports()[mark..].contains(&Report::Resync);
        assert!(watcher.wait_until(doubts).await);
        Ok(())
    }

    /// Prefixes that nobody else has.
    struct Names {
        url: String,
        prefix: String,
        last: AtomicU32,
    }

    impl Names {
        fn new(url: &str) -> Self {
            let started = SystemClock.now().as_millis();
            Self {
                url: url.to_owned(),
                prefix: format!("wst-check:{}:{started}", std::process::id()),
                last: AtomicU32::new(0),
            }
        }

        async fn store(&self) -> RedisStore {
            self.last.fetch_add(1, Ordering::SeqCst);
            self.last_store().await
        }

        /// Opens the store that was opened last once more.
        async fn last_store(&self) -> RedisStore {
            let prefix = format!("{}:{}", self.prefix, self.last.load(Ordering::SeqCst));
            let store = RedisStore::open_even_if_rotations_can_be_lost(&self.url, &prefix).await;
            store.expect("Redis answers")
        }

        async fn clear(&self) -> Checked {
            let store = self.last_store().await;
            let mut connection = store.inner.connect().await?;
            let mut cursor = String::from("0");
            loop {
                let mut scan = redis::cmd("SCAN");
                scan.arg(&cursor)
                    .arg("MATCH")
                    .arg(format!("{}:*", self.prefix));
                let (next, keys): (String, Vec<String>) = scan.query_async(&mut connection).await?;
                for key in keys {
                    let mut unlink = redis::cmd("UNLINK");
                    unlink.arg(key).query_async::<()>(&mut connection).await?;
                }
                if next == "0" {
                    return Ok(());
                }
                cursor = next;
            }
        }
    }

    /// A Redis in a directory of its own, on a socket in it.
    struct Server {
        directory: PathBuf,
        url: String,
        child: Option<Child>,
    }

    impl Server {
        async fn start() -> Result<Option<Self>, Box<dyn Error>> {
            let version = Command::new("redis-server").arg("--version").output();
            let version = version.map_or_else(|_| Vec::new(), |output| output.stdout);
            let version = String::from_utf8_lossy(&version).into_owned();
            let major = version
                .split_once("v=")
                .and_then(|(_, rest)| rest.split('.').next());
            let major = major.and_then(|major| major.parse::<u32>().ok());
            if major.is_none_or(|major| major < 7) {
                return Ok(None);
            }
            let name = format!("wst-check-redis-{}", std::process::id());
            let directory = env::temp_dir().join(name);
            std::fs::create_dir_all(&directory)?;
            let url = format!("unix://{}", directory.join("socket").display());
            let mut server = Self {
                directory,
                url,
                child: None,
            };
            server.run().await?;
            Ok(Some(server))
        }

        async fn run(&mut self) -> Checked {
            let child = Command::new("redis-server")
                .current_dir(&self.directory)
                .args(["--port", "0", "--unixsocket", "socket", "--save", ""])
                .args(["--appendonly", "yes", "--appendfsync", "always"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()?;
            self.child = Some(child);
            for _ in 0..500 {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let store = RedisStore::open_even_if_rotations_can_be_lost(&self.url, "ping").await;
                if let Ok(store) = store
                    && store.get(&key()).await.is_ok()
                {
                    return Ok(());
                }
            }
            Err("the redis-server that was started does not answer".into())
        }

        fn kill(&mut self) -> Checked {
            if let Some(mut child) = self.child.take() {
                child.kill()?;
                child.wait()?;
            }
            Ok(())
        }
    }

    impl Drop for Server {
        fn drop(&mut self) {
            let _already_gone = self.kill();
            let _left_behind = std::fs::remove_dir_all(&self.directory);
        }
    }
}
