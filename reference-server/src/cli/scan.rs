//! `wst scan`: tokens that have leaked into files and histories.
//!
//! Whether one is live only the server knows, so it is asked where its data directory is at hand. Over the
//! network nothing is asked: to ask is to present the token, to whoever answers at an address that stands on
//! a command line.

use std::{fmt::Write as _, fs, os::unix::fs::MetadataExt as _, path::Path};

use rustix::process::geteuid;
use serde::Serialize;
use tower_workspace_token::jwt::UncheckedClaims;

use super::{args::ScanOptions, output::Output, printable, runner::Runner};
use crate::{
    actions::{InspectedToken, Reason, Secret, Standing, TokenInspect, TokenRevoke},
    clients::McpUrl,
    config::{GlobalOptions, Origin, ServerOptions, Settings},
    data_dir::DataDir,
    error::{AppError, ErrorCode},
    logging,
    scan::{self, Found, History, HistoryRead, Inventory, Place, PlaceKind, Unreadable},
    text::counted,
    time,
};

/// What a scan came to.
#[derive(Debug, Serialize)]
struct Report {
    tokens: Vec<ReportedToken>,
    /// How many of them are live.
    live: usize,
    /// How many files, and objects of a history, were read.
    read: u64,
    bytes: u64,
    unreadable: Vec<Unreadable>,
    unreadable_count: u64,
    /// Tokens that there was no room to list.
    left_out: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<HistoryRead>,
    /// Whether what was named could itself not be read.
    #[serde(skip)]
    is_unread: bool,
    /// Whether a server was to be asked.
    #[serde(skip)]
    was_to_be_asked: bool,
}

/// Whom to ask about what is found.
enum Server<'a> {
    At(&'a Settings),
    None,
    /// A directory that nobody named, and that may be anybody's.
    Stranger,
}

/// What was looked at.
struct Looked {
    inventory: Inventory,
    history: Option<HistoryRead>,
    /// Whether what was named could itself be read.
    is_read: bool,
}

#[derive(Debug, Serialize)]
struct ReportedToken {
    typ: &'static str,
    state: State,
    /// Why it is not known whether it is live.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// What it says of itself, which anybody can write.
    says: Option<Says>,
    /// Whether it says that it is of the workspace at `--url`.
    #[serde(skip_serializing_if = "Option::is_none")]
    is_of_url: Option<bool>,
    revoked: bool,
    places: Vec<Place>,
    more_places: u64,
    #[serde(skip)]
    is_long_lived: bool,
}

/// What is known of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// It was regenerated or revoked.
    Ended,
    /// It is short-lived, and expired.
    Expired,
    /// Its end is missing, and without that it opens nothing.
    Incomplete,
    /// It opens its workspace.
    Live,
    /// Its workspace is locked, and may be unlocked.
    Locked,
    /// It is none of this server's.
    NotOurs,
    /// It is short-lived.
    ShortLived,
    /// Nobody was asked.
    Unknown,
}

#[derive(Debug, Serialize)]
struct Says {
    workspace: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    id: String,
    generation: u64,
    issued_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

/// Scans, asks, revokes, and says what came of it.
pub(super) fn scan(
    global: &GlobalOptions,
    output: Output,
    options: ScanOptions,
) -> Result<(), AppError> {
    if let Some(rules) = options.rules {
        return output.plain(&rules.text());
    }
    // Not left to clap, who would quote what may hold a token.
    let url = options.url.as_deref().map(str::parse::<McpUrl>);
    let url = url
        .transpose()
        .map_err(|problem| AppError::usage(format!("--url: {problem}")))?;
    let settings = Settings::settle(global, ServerOptions::from_variables()?)?;
    if global.log.is_some() {
        logging::start(&settings.log)?;
    }
    // Before a scan that takes a while, rather than after it.
    let server = whom_to_ask(&settings, &options)?;
    let looked = look(&options)?;
    let inventory = &looked.inventory;
    let mut report = Report::of(&looked, url.as_ref());
    report.was_to_be_asked = matches!(server, Server::At(_));
    if matches!(server, Server::Stranger) {
        report.doubt("the data directory that lies here was not asked: name it with --data-dir if it is yours");
    }
    if let Server::At(settings) = server {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(anyhow::Error::from)?;
        runtime.block_on(report.ask(inventory, settings, &options))?;
    }
    output.outcome(&report, |output, report| {
        output.plain(&report.lines())?;
        output.advice(&report.summary());
        Ok(())
    })?;
    report.verdict(&options)
}

/// Returns the settings by which the server is found, if there is one to ask.
fn whom_to_ask<'a>(settings: &'a Settings, options: &ScanOptions) -> Result<Server<'a>, AppError> {
    if options.staged {
        // A commit waits, and a token does not belong in it whatever it is good for.
        return Ok(Server::None);
    }
    let is_named = settings.data_dir_origin() != Origin::Default;
    match DataDir::open(&settings.data_dir) {
        Ok(_) if is_named || is_ours(&settings.data_dir, &options.path) => Ok(Server::At(settings)),
        Ok(_) if options.revoke => Err(AppError::usage(
            "the data directory that lies here may be anybody's: name it with --data-dir if it is yours",
        )),
        Ok(_) => Ok(Server::Stranger),
        // Whoever names one, or wants something revoked in it, means that one.
        Err(error) if error.code() == ErrorCode::NoDataDir && !is_named && !options.revoke => {
            Ok(Server::None)
        }
        Err(error) => Err(error),
    }
}

/// Returns whether a data directory that nobody named is taken for one's own: what is scanned could have
/// brought it along, and to ask is to present the token.
fn is_ours(data_dir: &Path, scanned: &Path) -> bool {
    let Ok(data_dir) = data_dir.canonicalize() else {
        return false;
    };
    let is_inside = || {
        let scanned = scanned.canonicalize();
        scanned.is_ok_and(|scanned| data_dir.starts_with(scanned))
    };
    let is_stdin = scanned.as_os_str() == "-";
    let is_private = fs::metadata(&data_dir)
        .is_ok_and(|found| found.uid() == geteuid().as_raw() && found.mode() & 0o077 == 0);
    is_private && (is_stdin || !is_inside())
}

fn look(options: &ScanOptions) -> Result<Looked, AppError> {
    let (mut inventory, path) = (Inventory::default(), options.path.as_path());
    let is_stdin = path.as_os_str() == "-";
    if !is_stdin && !path.exists() {
        return Err(AppError::invalid(
            "there is no such file or directory to scan",
        ));
    }
    if options.staged {
        scan::staged(path, &mut inventory)?;
        return Ok(Looked {
            inventory,
            history: None,
            is_read: true,
        });
    }
    if is_stdin && options.history {
        return Err(AppError::usage("standard input has no history"));
    }
    // That there is none is said before a scan that takes a while.
    let history = options.history.then(|| History::find(path)).transpose()?;
    let is_read = scan::walk(path, &mut inventory);
    let history = history.map(|history| history.read(&mut inventory));
    Ok(Looked {
        inventory,
        history,
        is_read,
    })
}

/// The kind of token that stands for a workspace token by itself.
const ACCESS: &str = "workspace-access+jwt";

impl Report {
    fn of(looked: &Looked, url: Option<&McpUrl>) -> Self {
        let inventory = &looked.inventory;
        let tokens = inventory.found.iter();
        Self {
            tokens: tokens.map(|found| ReportedToken::of(found, url)).collect(),
            live: 0,
            read: inventory.read,
            bytes: inventory.bytes,
            unreadable: inventory.unreadable.clone(),
            unreadable_count: inventory.unreadable_count,
            left_out: inventory.left_out,
            history: looked.history.clone(),
            is_unread: !looked.is_read,
            was_to_be_asked: false,
        }
    }

    /// Asks the server about each token that may be live.
    async fn ask(
        &mut self,
        inventory: &Inventory,
        settings: &Settings,
        options: &ScanOptions,
    ) -> Result<(), AppError> {
        if !self
            .tokens
            .iter()
            .any(|token| token.state == State::Unknown)
        {
            return Ok(());
        }
        let runner = match Runner::find(settings).await {
            Ok(runner) => runner,
            // A directory that merely lies here may be somebody else's.
            Err(error) if settings.data_dir_origin() == Origin::Default && !options.revoke => {
                self.doubt(&error.to_string());
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        for (token, found) in self.tokens.iter_mut().zip(&inventory.found) {
            if token.state != State::Unknown {
                continue;
            }
            let action = TokenInspect {
                token: Secret::new(found.token.expose_secret().to_owned()),
            };
            match runner.call(action).await {
                Ok(inspection) => {
                    token.state = State::of(inspection.standing);
                    if let (State::Live, Some(inspected), true) =
                        (token.state, inspection.token, options.revoke)
                    {
                        token.revoke(&runner, inspected).await;
                    }
                }
                Err(error) => token.problem = Some(error.to_string()),
            }
        }
        let is_live = |token: &&ReportedToken| token.state == State::Live && !token.revoked;
        self.live = self.tokens.iter().filter(is_live).count();
        Ok(())
    }

    fn doubt(&mut self, problem: &str) {
        let unknown = self
            .tokens
            .iter_mut()
            .filter(|token| token.state == State::Unknown);
        unknown.for_each(|token| token.problem = Some(problem.to_owned()));
    }

    fn lines(&self) -> String {
        let mut lines = String::new();
        for token in &self.tokens {
            for place in &token.places {
                // Writing to a text does not fail.
                let _ = writeln!(lines, "{}: {}", place_words(place), token.words());
            }
            if token.more_places > 0 {
                let places = counted_u64(token.more_places, "more place");
                let _ = writeln!(lines, "  and {places}: {}", token.words());
            }
        }
        for unreadable in &self.unreadable {
            let path = printable::line(&unreadable.path);
            let _ = writeln!(lines, "{path}: not read: {}", unreadable.problem);
        }
        lines
    }

    fn summary(&self) -> String {
        let mut text = format!(
            "{} read, {} bytes; {}",
            counted_u64(self.read, "file"),
            self.bytes,
            counted(self.tokens.len(), "token")
        );
        let count = |state| {
            self.tokens
                .iter()
                .filter(|token| token.state == state)
                .count()
        };
        let revoked = self.tokens.iter().filter(|token| token.revoked).count();
        for (number, words) in [
            (self.live, "live"),
            (revoked, "live until now, and revoked"),
            (
                count(State::Unknown),
                "of which nobody here knows whether they are live",
            ),
        ] {
            if number > 0 {
                let _ = write!(text, ", {number} {words}");
            }
        }
        if self.unreadable_count > 0 {
            let files = counted_u64(self.unreadable_count, "file");
            let _ = write!(
                text,
                "\n{files} could not be read: what is in them is not known"
            );
        }
        if self.left_out > 0 {
            let _ = write!(
                text,
                "\n{} more were found and not looked into: scan a part of this at a time",
                self.left_out
            );
        }
        if let Some(history) = &self.history {
            if let Some(problem) = &history.problem {
                let _ = write!(text, "\nnot all of the history was read: {problem}");
            }
            if history.missing > 0 {
                let objects = counted_u64(history.missing, "object");
                let _ = write!(
                    text,
                    "\n{objects} of the history are not in this clone, and were not read"
                );
            }
            if history.is_shallow {
                text.push_str(
                    "\nthis clone is shallow: what came before is not in it, and was not read",
                );
            }
        }
        if self.live > 0 {
            text.push_str("\n`wst scan --revoke` ends what is live, and `wst token rotate` puts a new token in its place; to take a token out of files is not enough");
        } else if count(State::Unknown) > 0 && !self.was_to_be_asked {
            text.push_str("\nwhere the server runs, `wst scan --data-dir DIR` says what is live; until then take them for live, and regenerate them");
        }
        text
    }

    /// Fails if something is live, if anything was found where nothing may be, or if it is not known.
    fn verdict(&self, options: &ScanOptions) -> Result<(), AppError> {
        let failed = |problem: String| Err(AppError::new(ErrorCode::Failed, problem));
        if self.live > 0 {
            let number = counted(self.live, "token");
            return failed(format!(
                "{number} in what was scanned can be used by whoever reads it"
            ));
        }
        if self.left_out > 0 {
            return failed("there are more tokens than were looked into".to_owned());
        }
        let is_usable = |token: &&ReportedToken| token.state != State::Incomplete;
        let found = self.tokens.iter().filter(is_usable).count();
        if options.staged && found > 0 {
            return failed(format!(
                "{} about to be committed: take them out of the files, and regenerate what was elsewhere; `git commit --no-verify` goes past this",
                counted(found, "token")
            ));
        }
        if options.any && found > 0 {
            return failed(format!("{} found", counted(found, "token")));
        }
        let is_unknown = |token: &&ReportedToken| token.state == State::Unknown;
        let unknown = self.tokens.iter().filter(is_unknown).count();
        if self.was_to_be_asked && unknown > 0 {
            return failed(format!(
                "the server could not say whether {} can be used: take what is found for live until it can",
                counted(unknown, "token")
            ));
        }
        let history = self.history.as_ref();
        if history.is_some_and(|history| history.problem.is_some()) {
            return failed("not all of the history could be read".to_owned());
        }
        if self.is_unread {
            return failed("what is to be scanned could not be read".to_owned());
        }
        if options.any && self.unreadable_count > 0 {
            return failed(
                "not all could be read, and what is in the rest is not known".to_owned(),
            );
        }
        if options.staged && self.unreadable_count > 0 {
            return failed("not all that is about to be committed could be read".to_owned());
        }
        Ok(())
    }
}

impl ReportedToken {
    fn of(found: &Found, url: Option<&McpUrl>) -> Self {
        let url = url.map(McpUrl::workspace);
        let said = found.says.as_ref().map(|says| says.workspace);
        Self {
            typ: found.typ,
            state: State::at_first(found),
            problem: None,
            says: found.says.as_ref().map(Says::of),
            is_of_url: url.map(|workspace| said == Some(*workspace)),
            revoked: false,
            places: found.places.clone(),
            more_places: found.more_places,
            is_long_lived: found.is_long_lived,
        }
    }

    /// Ends it, and nothing that has come in its place meanwhile.
    async fn revoke(&mut self, runner: &Runner, token: InspectedToken) {
        let action = TokenRevoke {
            workspace: token.workspace,
            name: token.name,
            reason: Some(Reason::FoundByScan),
            generation: Some(token.generation),
        };
        match runner.call(action).await {
            Ok(_) => self.revoked = true,
            Err(error) => self.problem = Some(format!("it was not revoked: {error}")),
        }
    }

    fn words(&self) -> String {
        let mut words = match self.is_long_lived {
            true => "workspace token, ".to_owned(),
            false => format!("token of the kind {}, ", self.typ),
        };
        words.push_str(match self.state {
            State::Live if self.revoked => "was live, now revoked",
            State::Live => "LIVE",
            State::Ended => "regenerated or revoked",
            State::Expired => "short-lived, and expired by what it says",
            State::Incomplete => "cut short: it opens nothing as it is",
            State::Locked => "of a workspace that is locked: it opens nothing now",
            State::NotOurs => "not of this server",
            State::ShortLived if self.typ == ACCESS => {
                "short-lived: it opens the workspace by itself for up to an hour, or until its NAME is rotated"
            }
            State::ShortLived => "short-lived",
            State::Unknown => "liveness unknown",
        });
        if let Some(problem) = &self.problem {
            let _ = write!(words, " ({})", printable::line(problem));
        }
        if let Some(says) = &self.says {
            let _ = write!(words, "; it says it is {}", says.words());
        }
        if self.is_of_url == Some(true) {
            words.push_str(", the workspace at that URL");
        }
        words
    }
}

impl State {
    /// Says what can be said without asking anybody.
    fn at_first(found: &Found) -> Self {
        let expires_at = found.says.as_ref().and_then(|says| says.expires_at);
        match (found.is_whole, found.is_long_lived, expires_at) {
            (false, ..) => Self::Incomplete,
            (true, true, _) => Self::Unknown,
            (true, false, Some(end)) if time::column(end) <= time::now() => Self::Expired,
            (true, false, _) => Self::ShortLived,
        }
    }

    fn of(standing: Standing) -> Self {
        match standing {
            Standing::Current => Self::Live,
            // A database that does not know it does not let it in.
            Standing::Ended | Standing::NotInDatabase => Self::Ended,
            Standing::Locked => Self::Locked,
            Standing::NotOurs => Self::NotOurs,
        }
    }
}

impl Says {
    fn of(claims: &UncheckedClaims) -> Self {
        Self {
            workspace: claims.workspace.to_string(),
            name: claims.name.map(|name| name.to_string()),
            id: claims.token_id.to_string(),
            generation: claims.generation.number(),
            issued_at: time::show(claims.issued_at),
            expires_at: claims.expires_at.map(time::show),
        }
    }

    fn words(&self) -> String {
        let slot = match &self.name {
            Some(name) => format!("{}/{name}", self.workspace),
            None => format!("of {}", self.workspace),
        };
        let Self {
            id,
            generation,
            issued_at,
            ..
        } = self;
        let until = self.expires_at.as_ref().map(|end| format!(", until {end}"));
        format!(
            "{slot}, generation {generation}, id {id}, of {issued_at}{}",
            until.unwrap_or_default()
        )
    }
}

fn place_words(place: &Place) -> String {
    let mut words = printable::line(&place.path);
    match place.line {
        Some(line) => {
            let _ = write!(words, ":{line}");
        }
        None => words.push_str(" (in its name)"),
    }
    match (place.kind, &place.commit) {
        (PlaceKind::History, Some(commit)) => {
            let _ = write!(words, " in commit {commit}");
        }
        (PlaceKind::History, None) => words.push_str(" in git, and in no commit"),
        (PlaceKind::File | PlaceKind::Staged, _) => {}
    }
    words
}

fn counted_u64(number: u64, noun: &str) -> String {
    counted(usize::try_from(number).unwrap_or(usize::MAX), noun)
}
