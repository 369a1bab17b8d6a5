//! `wst headers`: exchanges a workspace token for an access token and prints the headers that a client sends.
//!
//! It is what a client's `headersHelper` runs, on a laptop without a data directory. The workspace token comes from where
//! people keep it, travels to the one address that was given, and is neither printed nor kept.

use std::{env, fmt, fs::File, path::PathBuf, process::Stdio, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use clap::Args;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use tokio::{process::Command, time::timeout};
use tower_workspace_token::jwt::MAX_TOKEN_LENGTH;
use zeroize::Zeroizing;

use super::output::Output;
use crate::{
    client::{self, Answer, ClientError, ClientErrorKind, HttpClient, ServerAddress, Trust},
    clients::McpUrl,
    data_dir::keys::read_private,
    error::{AppError, ErrorCode},
};

/// How long a command may take to print a token: somebody may have to unlock their vault.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Args, Debug)]
pub(super) struct HeadersOptions {
    /// The MCP URL of the workspace, as it shows it
    #[arg(long, env = "WST_MCP_URL", value_name = "MCP_URL")]
    url: String,
    #[command(flatten)]
    token: TokenSource,
    /// Trust the authorities in this file, in PEM, in place of the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Let everybody on the way read the token: take an http:// URL of another machine
    #[arg(long)]
    insecure_http: bool,
}

/// Where the workspace token comes from: exactly one of them. Never an argument, which every process of the machine sees.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct TokenSource {
    /// The variable that holds the workspace token
    #[arg(long, value_name = "VAR")]
    token_env: Option<String>,
    /// The file that holds the workspace token; nobody else may read it
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A command, run by `sh -c`, that prints the workspace token, such as `op read op://vault/agent/token`
    #[arg(long, value_name = "COMMAND")]
    token_command: Option<String>,
}

/// RFC 8693 §2.2.1, as far as it counts here.
#[derive(Deserialize)]
struct Exchanged<'a> {
    #[serde(borrow)]
    access_token: &'a str,
    token_type: &'a str,
}

pub(super) fn headers(output: Output, options: HeadersOptions) -> Result<(), AppError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)?;
    runtime.block_on(options.run(output))
}

impl HeadersOptions {
    async fn run(self, output: Output) -> Result<(), AppError> {
        // Everything about the address before the token is touched.
        // With a slash too many, `/token` stands behind it all the same.
        let url: McpUrl = (self.url.trim_end_matches('/').parse())
            .map_err(|problem| AppError::usage(format!("--url: {problem}")))?;
        if url.is_in_the_clear() && !self.insecure_http {
            return Err(AppError::usage(
                "--url: over http:// everybody on the way reads the token: use https:// (http:// is for this machine alone)",
            ));
        }
        let trust = self.ca_file.map_or(Trust::System, Trust::File);
        let client = HttpClient::new(&trust)?;
        let token = self.token.read().await?;
        let mut headers = HeaderMap::new();
        headers.insert(
            header::AUTHORIZATION,
            client::bearer(&token).ok_or_else(|| failed(PUT))?,
        );
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let target = format!("{}/token", url.path().trim_end_matches('/'));
        let answer = client
            .post(url.server(), &target, headers, Bytes::new())
            .await;
        let answer = answer.map_err(|error| unanswered(url.server(), error))?;
        if answer.status != StatusCode::OK {
            return Err(refused(&answer, &self.token));
        }
        let access = access_token(&answer.body).ok_or_else(not_an_exchange)?;
        let pieces = ["{\"Authorization\":\"Bearer ", access, "\"}\n"];
        let mut line = Zeroizing::new(Vec::with_capacity(MAX_TOKEN_LENGTH + 64));
        for piece in pieces {
            line.extend_from_slice(piece.as_bytes());
        }
        output.bytes(&line)
    }
}

impl TokenSource {
    /// Reads the token; no error holds any part of it.
    async fn read(&self) -> Result<Zeroizing<String>, AppError> {
        let text = match self {
            Self {
                token_env: Some(name),
                ..
            } => of_variable(name)?,
            Self {
                token_file: Some(path),
                ..
            } => {
                let shown = path.display();
                let file = File::open(path).with_context(|| format!("cannot open {shown}"))?;
                read_private(file, false).with_context(|| format!("cannot use {shown}"))?
            }
            Self {
                token_command: Some(command),
                ..
            } => of_command(command).await?,
            // The command line is refused without one.
            _ => return Err(AppError::usage("say where the token is: --token-env VAR")),
        };
        let token = text.trim();
        if token.is_empty() {
            return Err(failed(format!("{self} is empty: {PUT}")));
        }
        if !may_be_token(token) {
            let problem = format!("{self} holds something else than a workspace token: {PUT}");
            return Err(failed(problem));
        }
        Ok(Zeroizing::new(token.to_owned()))
    }
}

/// What the command line says is right, and what it leads to is not.
fn failed(problem: impl Into<String>) -> AppError {
    AppError::new(ErrorCode::Failed, problem)
}

const PUT: &str = "put the token there as the workspace has shown it";

fn of_variable(name: &str) -> Result<Zeroizing<String>, AppError> {
    let value = env::var_os(name).ok_or_else(|| {
        failed(format!(
            "the variable {name} is not set: export it with the workspace token where the client starts"
        ))
    })?;
    let value = value.into_string().map(Zeroizing::new);
    // What it holds is not shown.
    value.map_err(|_| failed(format!("the variable {name} holds no text: {PUT}")))
}

async fn of_command(command: &str) -> Result<Zeroizing<String>, AppError> {
    let running = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .context("cannot run `sh`")?;
    let done = timeout(PATIENCE, running.wait_with_output());
    let done = done.await.map_err(|_| {
        let seconds = PATIENCE.as_secs();
        failed(format!(
            "--token-command took longer than {seconds} seconds"
        ))
    })?;
    let done = done.context("cannot read what --token-command prints")?;
    let text = Zeroizing::new(done.stdout);
    if !done.status.success() {
        let status = done.status;
        let problem = format!("--token-command failed ({status}): run it by itself to see why");
        return Err(failed(problem));
    }
    let text = std::str::from_utf8(&text).map(|text| Zeroizing::new(text.to_owned()));
    text.map_err(|_| failed("what --token-command printed is no text"))
}

/// Reads the answer to an exchange. Nothing is printed of one that is none.
fn access_token(body: &[u8]) -> Option<&str> {
    let exchanged: Exchanged<'_> = serde_json::from_slice(body).ok()?;
    let access = exchanged.access_token;
    let is_token = may_be_token(access) && exchanged.token_type.eq_ignore_ascii_case("Bearer");
    is_token.then_some(access)
}

/// Returns whether a token may be written like this: nothing that ends a header, a line or a text of JSON is in it.
fn may_be_token(text: &str) -> bool {
    let is_of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=MAX_TOKEN_LENGTH).contains(&text.len()) && text.bytes().all(is_of_token)
}

fn unanswered(address: &ServerAddress, error: ClientError) -> AppError {
    let advice = match error.kind() {
        ClientErrorKind::NotHttp => "is this the address of a workspace server?",
        ClientErrorKind::Tls => {
            "name the authority of its certificate with --ca-file if it is your own"
        }
        ClientErrorKind::TimedOut | ClientErrorKind::Unreachable => {
            "is the server running, and the URL right?"
        }
        ClientErrorKind::TooLarge => "is this the address of a workspace server?",
    };
    let cause = anyhow::Error::from(error);
    let problem = format!("cannot ask {address}: {cause:#}; {advice}");
    AppError::new(ErrorCode::Unavailable, problem)
}

/// What the server says in its own words is not passed on: it is somebody else's text, and knows the token.
fn refused(answer: &Answer, source: &TokenSource) -> AppError {
    let status = answer.status;
    let (code, problem) = match status {
        StatusCode::UNAUTHORIZED => (
            ErrorCode::Unauthenticated,
            format!(
                "the workspace token is not valid there: it may have been regenerated; put the new one into {source}"
            ),
        ),
        StatusCode::BAD_REQUEST => (
            ErrorCode::Failed,
            "the server does not take this: give the MCP URL as the workspace shows it, and the workspace token itself, not an access token"
                .to_owned(),
        ),
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => return not_an_exchange(),
        StatusCode::TOO_MANY_REQUESTS => (
            ErrorCode::TooManyAttempts,
            format!(
                "too many tokens from this address were not valid there: put the right one into {source}, then try again in {} seconds",
                seconds_to_wait(&answer.headers)
            ),
        ),
        StatusCode::SERVICE_UNAVAILABLE => (
            ErrorCode::Unavailable,
            "the server cannot check workspace tokens right now: try again in a moment".to_owned(),
        ),
        _ if status.is_redirection() => (
            ErrorCode::Failed,
            "the server sends elsewhere, where the token does not go: give the URL that it sends to if you trust it"
                .to_owned(),
        ),
        _ => (
            ErrorCode::Failed,
            format!("the server answered {}", status.as_u16()),
        ),
    };
    AppError::new(code, problem)
}

/// Returns what `Retry-After` says, or a minute.
fn seconds_to_wait(headers: &HeaderMap) -> u32 {
    let value = headers.get(header::RETRY_AFTER);
    let seconds = value.and_then(|value| value.to_str().ok()?.parse().ok());
    seconds.unwrap_or(60)
}

fn not_an_exchange() -> AppError {
    AppError::new(
        ErrorCode::NotFound,
        "no access tokens are given out there: is --url the MCP URL as the workspace shows it, and the server new enough?",
    )
}

impl fmt::Display for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.token_env, &self.token_file) {
            (Some(name), _) => write!(f, "the variable {name}"),
            (_, Some(path)) => write!(f, "the file {}", path.display()),
            // The command itself may hold what nobody else is to read.
            _ => f.write_str("what --token-command prints"),
        }
    }
}
