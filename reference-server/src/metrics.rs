//! What the server counts, for Prometheus. Without an admin listener nothing is kept.
//!
//! Labels are words of this file and nothing else: whatever a request says would let strangers make as
//! many series as they like, and might be a secret.

use std::{
    fs,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use ::metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use anyhow::Context as _;
use http::StatusCode;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::sync::Notify;
use tower_workspace_token::{
    clock::{Clock as _, SystemClock},
    rejection::{Rejection, RejectionKind, TokenProblem},
};

use crate::{
    activity,
    app::App,
    db::{DatabaseError, meta},
    workspaces,
};

/// How a handshake ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Handshake {
    Done,
    Failed,
    /// There were too many.
    GivenUp,
    TimedOut,
}

/// What a request was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Face {
    Api,
    /// A host that is not ours.
    Foreign,
    Mcp,
    Page,
}

/// What kept a client from getting on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    CallsPerToken,
    Connections,
    ConnectionsPerSource,
    FailedTokens,
}

/// A connection that is counted as open while this is there.
#[derive(Debug)]
pub(crate) struct OpenConnection(&'static str);

/// Starts to keep what is counted from here on, and returns what shows it.
pub(crate) fn keep() -> anyhow::Result<PrometheusHandle> {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(REQUEST_SECONDS.to_owned()), BUCKETS)
        .context("the buckets are wrong")?
        .build_recorder();
    let handle = recorder.handle();
    // Fails only if there is one already, which a process has once.
    ::metrics::set_global_recorder(recorder)
        .map_err(|_| anyhow::anyhow!("metrics are kept already"))?;
    describe();
    activity::describe_figures();
    begin();
    Ok(handle)
}

/// Returns whether anything is kept: else it need not be measured.
pub(crate) fn are_kept() -> bool {
    STARTED.get().is_some()
}

/// Folds what was measured into its buckets, now and then, whether anybody asks or not.
pub(crate) async fn fold(handle: PrometheusHandle) {
    loop {
        // In a flood sooner than every second.
        let _ = tokio::time::timeout(FOLD_EVERY, ENOUGH.notified()).await;
        UNFOLDED.store(0, Ordering::Relaxed);
        handle.run_upkeep();
    }
}

/// Counts an answer that is not folded yet, and has them folded when there are many.
fn measured(unfolded: &AtomicU32, enough: &Notify) {
    if (unfolded.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(FOLD_AT) {
        enough.notify_one();
    }
}

/// Counts a request when its response begins.
pub(crate) fn answered(
    face: Face,
    status: StatusCode,
    took: Duration,
    rejection: Option<&Rejection>,
) {
    let face = face.label();
    counter!(REQUESTS, "face" => face, "status" => class(status)).increment(1);
    histogram!(REQUEST_SECONDS, "face" => face).record(took.as_secs_f64());
    measured(&UNFOLDED, &ENOUGH);
    if let Some(rejection) = rejection {
        counter!(REJECTIONS, "reason" => reason(rejection.kind())).increment(1);
    }
}

pub(crate) fn handshake_ended(handshake: Handshake) {
    counter!(HANDSHAKES, "result" => handshake.label()).increment(1);
}

/// Counts an exchange.
pub(crate) fn exchanged() {
    counter!(EXCHANGES).increment(1);
}

/// Counts whom a limit kept out, or had wait.
pub(crate) fn limited(limit: Limit) {
    counter!(LIMITED, "limit" => limit.label()).increment(1);
}

pub(crate) fn certificate_reloaded(is_new: bool) {
    let result = if is_new { "ok" } else { "failed" };
    counter!(CERTIFICATE_RELOADS, "result" => result).increment(1);
}

impl OpenConnection {
    pub(crate) fn new(listener: &'static str) -> Self {
        counter!(CONNECTIONS, "listener" => listener).increment(1);
        gauge!(OPEN_CONNECTIONS, "listener" => listener).increment(1);
        Self(listener)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        gauge!(OPEN_CONNECTIONS, "listener" => self.0).decrement(1);
    }
}

/// Looks at what is not counted as it happens.
pub(crate) async fn look(app: &App) {
    process();
    let looked = app.database().read(|snapshot| {
        let workspaces = workspaces::count(snapshot)?;
        Ok::<_, DatabaseError>((meta::size(snapshot)?, workspaces))
    });
    let Ok((bytes, (all, archived))) = looked.await else {
        return;
    };
    gauge!(DATABASE_BYTES).set(bytes as f64);
    gauge!(WORKSPACES, "state" => "live").set((all - archived) as f64);
    gauge!(WORKSPACES, "state" => "archived").set(archived as f64);
}

fn process() {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(kilobytes) = field(&status, "VmRSS:") {
        gauge!(RESIDENT).set(kilobytes * 1024.0);
    }
    if let Some(threads) = field(&status, "Threads:") {
        gauge!(THREADS).set(threads);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        gauge!(OPEN_FILES).set(open.count() as f64);
    }
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    if let Some(limit) = limit.current {
        gauge!(MAX_FILES).set(limit as f64);
    }
    if let Some(started) = STARTED.get() {
        gauge!(START_TIME).set(*started);
        gauge!(UPTIME).set(seconds() - started);
    }
}

fn field(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

fn begin() {
    STARTED.get_or_init(seconds);
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1);
    // What has not happened yet is nought and not nothing, so that a rise from it is seen.
    for listener in [PUBLIC, ADMIN] {
        gauge!(OPEN_CONNECTIONS, "listener" => listener).set(0);
    }
    for limit in [
        Limit::CallsPerToken,
        Limit::Connections,
        Limit::ConnectionsPerSource,
        Limit::FailedTokens,
    ] {
        counter!(LIMITED, "limit" => limit.label()).absolute(0);
    }
    for result in ["ok", "failed"] {
        counter!(CERTIFICATE_RELOADS, "result" => result).absolute(0);
    }
}

fn seconds() -> f64 {
    SystemClock.now().as_millis() as f64 / 1000.0
}

fn describe() {
    describe_gauge!(BUILD_INFO, "1, with the version of the server");
    describe_gauge!(START_TIME, "When the server started, in seconds since 1970");
    describe_gauge!(UPTIME, "For how many seconds the server has run");
    describe_gauge!(RESIDENT, "Memory in use, in bytes");
    describe_gauge!(THREADS, "Threads of the process");
    describe_gauge!(OPEN_FILES, "Open file descriptors");
    describe_gauge!(MAX_FILES, "How many file descriptors may be open");
    describe_gauge!(DATABASE_BYTES, "Size of the database, without its log");
    describe_gauge!(WORKSPACES, "Workspaces, live and archived");
    describe_gauge!(OPEN_CONNECTIONS, "Connections that are open");
    describe_counter!(CONNECTIONS, "Connections that were accepted");
    describe_counter!(HANDSHAKES, "TLS handshakes, by how they ended");
    describe_counter!(
        CERTIFICATE_RELOADS,
        "Attempts to take a new certificate into use"
    );
    describe_counter!(
        EXCHANGES,
        "Workspace tokens that were exchanged for an access token"
    );
    describe_counter!(
        LIMITED,
        "How often a limit kept somebody out or had them wait"
    );
    describe_counter!(REQUESTS, "Requests that were answered");
    describe_histogram!(
        REQUEST_SECONDS,
        "Seconds until the response began; calls of agents that wait count in full"
    );
    describe_counter!(
        REJECTIONS,
        "Requests to the MCP endpoint that were turned away"
    );
}

impl Handshake {
    fn label(self) -> &'static str {
        match self {
            Self::Done => "ok",
            Self::Failed => "failed",
            Self::GivenUp => "given_up",
            Self::TimedOut => "timed_out",
        }
    }
}

impl Limit {
    fn label(self) -> &'static str {
        match self {
            Self::CallsPerToken => "calls_per_token",
            Self::Connections => "connections",
            Self::ConnectionsPerSource => "connections_per_source",
            Self::FailedTokens => "failed_tokens",
        }
    }
}

impl Face {
    fn label(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Foreign => "foreign",
            Self::Mcp => "mcp",
            Self::Page => "page",
        }
    }
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        100..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    }
}

fn reason(kind: &RejectionKind) -> &'static str {
    match kind {
        RejectionKind::AccessTokenEnded => "access_token_ended",
        RejectionKind::Address(_) => "address",
        RejectionKind::EmptyCredential => "empty_credential",
        RejectionKind::ForeignOrigin => "foreign_origin",
        RejectionKind::InvalidToken(TokenProblem::Expired) => "expired_access_token",
        RejectionKind::InvalidToken(TokenProblem::Superseded) => "superseded_token",
        RejectionKind::InvalidToken(TokenProblem::WrongWorkspace) => "wrong_workspace",
        RejectionKind::InvalidToken(_) => "invalid_token",
        RejectionKind::MalformedCredential(_) => "malformed_credential",
        RejectionKind::Misconfigured => "misconfigured",
        RejectionKind::MissingCredential => "missing_credential",
        RejectionKind::MissingSession => "missing_session",
        RejectionKind::RepeatedSession => "repeated_session",
        RejectionKind::SessionLimit => "session_limit",
        RejectionKind::StoreUnavailable => "store_unavailable",
        RejectionKind::TokenEnded => "token_ended",
        RejectionKind::UnknownSession => "unknown_session",
        // Its name is the client's to choose.
        RejectionKind::UnsetVariable(_) => "unset_variable",
        _ => "other",
    }
}

/// The names of the listeners.
pub(crate) const PUBLIC: &str = "public";
pub(crate) const ADMIN: &str = "admin";

const BUILD_INFO: &str = "wst_build_info";
const CERTIFICATE_RELOADS: &str = "wst_tls_certificate_reloads_total";
const CONNECTIONS: &str = "wst_connections_total";
const DATABASE_BYTES: &str = "wst_database_bytes";
const EXCHANGES: &str = "wst_exchanges_total";
const HANDSHAKES: &str = "wst_tls_handshakes_total";
const LIMITED: &str = "wst_limited_total";
const OPEN_CONNECTIONS: &str = "wst_open_connections";
const REJECTIONS: &str = "wst_rejections_total";
const REQUESTS: &str = "wst_requests_total";
const REQUEST_SECONDS: &str = "wst_request_seconds";
const UPTIME: &str = "wst_uptime_seconds";
const WORKSPACES: &str = "wst_workspaces";

// The names that Prometheus' own clients use.
const MAX_FILES: &str = "process_max_fds";
const OPEN_FILES: &str = "process_open_fds";
const RESIDENT: &str = "process_resident_memory_bytes";
const START_TIME: &str = "process_start_time_seconds";
const THREADS: &str = "process_threads";

static STARTED: OnceLock<f64> = OnceLock::new();

/// From what a check of a token takes to what an agent waits for a person.
const BUCKETS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// What is not folded takes memory, some bytes for each answer.
const FOLD_EVERY: Duration = Duration::from_secs(1);

/// Answers of which 64 KiB are kept.
const FOLD_AT: u32 = 4096;

static UNFOLDED: AtomicU32 = AtomicU32::new(0);
static ENOUGH: Notify = Notify::const_new();

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn answers_are_folded_when_there_are_many_and_not_before() {
        let (unfolded, enough) = (AtomicU32::new(0), Notify::new());
        for _ in 0..3 {
            (1..FOLD_AT).for_each(|_| measured(&unfolded, &enough));
            assert!(timeout(FOLD_EVERY, enough.notified()).await.is_err());
            measured(&unfolded, &enough);
            assert!(timeout(FOLD_EVERY, enough.notified()).await.is_ok());
        }
    }
}
