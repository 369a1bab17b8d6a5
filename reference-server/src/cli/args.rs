//! The command line's grammar.

use std::path::PathBuf;

use clap::{
    Args, Parser, Subcommand,
    builder::{NonEmptyStringValueParser, PossibleValuesParser},
};

use secrecy::SecretString;

use super::headers::HeadersOptions;
use crate::{
    actions::{Reason, Ring},
    addresses::PublicUrl,
    clients::CLIENTS,
    config::{GlobalOptions, ServerOptions, secret},
    rollback::JournalChoice,
    scan::rules::Rules,
};

/// Workspaces, their tokens, and the tasks of agents and people.
#[derive(Debug, Parser)]
#[command(name = "wst", version, propagate_version = true)]
pub(super) struct CommandLine {
    #[command(flatten)]
    pub(super) global: GlobalOptions,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the server
    Serve(ServerOptions),
    /// Create, list and archive workspaces, and take them back
    #[command(subcommand)]
    Workspace(WorkspaceCommand),
    /// Create, list, rotate, revoke and inspect tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// Add, answer, change, list and read tasks
    #[command(subcommand)]
    Task(TaskCommand),
    /// Add users of the dashboard, let them in, and lock them out
    #[command(subcommand)]
    User(UserCommand),
    /// Tell an MCP client of a workspace, or check what it was told
    #[command(after_help = CONNECTING)]
    Connect(ConnectOptions),
    /// Exchange a workspace token for one of a quarter of an hour, and print the headers that a client sends
    Headers(HeadersOptions),
    /// Ask the running server whether it works; exit code 0 if it does
    Health,
    /// Show or export who did what
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Show the link again with which the first account is made
    SetupLink,
    /// List, check, rotate, rewrap, retire and export the keys that tokens are signed and sealed with
    #[command(subcommand)]
    Key(KeyCommand),
    /// Write a backup of everything but the keys, also while the server runs
    Backup(BackupCommand),
    /// Restore a backup into a data directory that no server uses
    Restore(RestoreCommand),
    /// Move a data directory, which no server uses, into a PostgreSQL database that several can share
    #[command(after_help = MOVING)]
    Migrate(MigrateCommand),
    /// Find tokens that have leaked into files or a git history; exit code 1 if one is live
    #[command(after_help = SCANNING)]
    Scan(ScanOptions),
    /// Say what is wrong with a server and what to do; exit code 1 if anything has to be mended
    #[command(after_help = DOCTOR)]
    Doctor(DoctorOptions),
    /// Measure this machine
    #[command(subcommand)]
    Bench(BenchCommand),
}

#[derive(Args, Debug)]
pub(super) struct ConnectOptions {
    /// The client
    #[arg(value_name = "CLIENT", value_parser = PossibleValuesParser::new(CLIENTS.iter().map(|client| client.key)))]
    pub(super) client: String,
    /// The workspace's id, or its name if no other has it [default: the only one]
    #[arg(long, value_name = "ID|NAME", conflicts_with = "url", value_parser = NonEmptyStringValueParser::new())]
    pub(super) workspace: Option<String>,
    /// The workspace's address; with it, no data directory is needed
    #[arg(long, value_name = "MCP_URL")]
    pub(super) url: Option<String>,
    /// The token's name
    #[arg(long, default_value = "primary", value_name = "NAME")]
    pub(super) name: String,
    /// The variable that holds the token [default: WORKSPACE_TOKEN_ with the workspace's name; with --url the
    /// one that the file names, or WORKSPACE_TOKEN_ with the workspace's id]
    #[arg(long, value_name = "VARIABLE")]
    pub(super) variable: Option<String>,
    /// Put it into the client's file, and keep everything else that is there
    #[arg(long, conflicts_with = "check")]
    pub(super) write: bool,
    /// Say what is wrong with what is there, with a request to the server; exit code 1 if anything is
    #[arg(long)]
    pub(super) check: bool,
    /// Show how a file .env is loaded into the shell, too
    #[arg(long)]
    pub(super) env_file: bool,
    /// Have Claude Code run `wst headers`, so that the token itself is never sent to the MCP endpoint
    #[arg(long)]
    pub(super) helper: bool,
    /// The project's folder [default: where this runs]
    #[arg(long, value_name = "PROJECT")]
    pub(super) dir: Option<PathBuf>,
}

const CONNECTING: &str = "\
The file holds no token: it names the variable that the client reads it from, so it may be committed.
With --write, .env.example gets the variable's name, and .gitignore the files in which a token may lie.";

#[derive(Args, Debug)]
pub(super) struct ScanOptions {
    /// A file, a directory with all below it, or `-` for standard input
    #[arg(default_value = ".")]
    pub(super) path: PathBuf,
    /// Read all that a ref, stash or reflog of the git repository leads to as well
    #[arg(long)]
    pub(super) history: bool,
    /// Read what is about to be committed, and nothing else; exit code 1 if there is a token in it
    #[arg(long, conflicts_with_all = ["history", "revoke"])]
    pub(super) staged: bool,
    /// The URL of a workspace: says which tokens are its own. Nothing is sent there
    #[arg(long, value_name = "MCP_URL")]
    pub(super) url: Option<String>,
    /// Revoke what is live
    #[arg(long)]
    pub(super) revoke: bool,
    /// End with exit code 1 for any token, live or not
    #[arg(long)]
    pub(super) any: bool,
    /// Scan nothing: print what tokens look like, for another program
    #[arg(long, value_name = "PROGRAM", conflicts_with_all = ["history", "staged", "url", "revoke", "any"])]
    pub(super) rules: Option<Rules>,
}

#[derive(Args, Debug)]
pub(super) struct DoctorOptions {
    /// The URL by which clients reach the server [default: the one that it runs with]
    #[arg(long, value_name = "URL")]
    pub(super) public_url: Option<PublicUrl>,
    /// The URL of a workspace: looks at it from here, on any machine
    #[arg(long, value_name = "MCP_URL")]
    pub(super) url: Option<String>,
    /// A file with the authorities whose certificates are trusted, in PEM [default: those of the system]
    #[arg(long, value_name = "FILE")]
    pub(super) ca_file: Option<PathBuf>,
}

const DOCTOR: &str = "\
With a data directory: its permissions and keys, the database, the disk, the process, and, if the server runs,
whether its public URL leads to it, with DNS, certificate, clock, and what proxies in front make of requests.
With --url alone: the same from outside. No token is sent. Without a server, the database is opened as by any
command, which brings one of an older version up to date.";

const SCANNING: &str = "\
Whether a token is live only its server knows. It is asked where its data directory is at hand (--data-dir);
elsewhere the answer is \"liveness unknown\". No token is printed, and none is sent over a network.
Files that .gitignore names are read; the inner files of git are not, but for --history; links are not followed.
Not found is what is compressed, encrypted, or in base64 once more.";

#[derive(Debug, Subcommand)]
pub(super) enum BenchCommand {
    /// Measure what it costs to validate a token, on this machine and this disk
    #[command(after_help = PATHS)]
    Validate(ValidateOptions),
}

#[derive(Args, Debug)]
pub(super) struct ValidateOptions {
    /// How long to measure, up to 600
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(super) seconds: u64,
    /// How many threads validate at the same time, up to 1024 [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_THREADS)))]
    pub(super) threads: Option<u32>,
    /// How many tokens are presented by turns, up to 1000000; each is of a workspace of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) tokens: u32,
}

pub(super) const MOST_THREADS: u32 = 1024;

const PATHS: &str = "\
What is measured, without HTTP around it:
  warm                  a token that this process has validated before
  cold                  a token that this process sees for the first time: its signature is checked, its row
                        read from SQLite, opened and compared; the system has the file in memory
  wrong signature       a token of ours with one character of its signature changed
  garbage               a JWT of somebody else, as long as one of ours
  jsonwebtoken::decode  the same tokens as warm, through that crate: signature, header and claims, no store

p50 and p99 are of single operations, each timed by itself, less what it takes to read the clock. Operations per
second are counted apart from that, 64 between two looks at the clock. The paths take turns, 20 ms each.
The database is a new one in the data directory, or among temporary files where there is none, and is removed
afterwards. Nothing of yours is read or written, and a server may run meanwhile.";

#[derive(Args, Debug)]
pub(super) struct BackupCommand {
    /// The file to write, outside of the data directory
    pub(super) file: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Args, Debug)]
pub(super) struct RestoreCommand {
    /// The backup
    pub(super) file: PathBuf,
    /// Set the database aside that is there; whatever was rotated or revoked since the backup stays so
    #[arg(long)]
    pub(super) force: bool,
    /// Keep tokens valid of which nobody here knows whether they were rotated after the backup was made;
    /// without this they end: for a move to another machine, after a last backup
    #[arg(long)]
    pub(super) keep_tokens: bool,
    /// The file with the keys [default: in the data directory]
    #[arg(long, env = "WST_KEY_FILE", value_name = "FILE")]
    pub(super) key_file: Option<PathBuf>,
    /// The rollback journal: tokens that it knows to be current go on, and all others end [default: the one of
    /// the database that is there]
    #[arg(long, env = "WST_ROLLBACK_JOURNAL", value_name = "FILE")]
    pub(super) rollback_journal: Option<JournalChoice>,
}

#[derive(Args, Debug)]
pub(super) struct MigrateCommand {
    /// The database to move to, empty: postgres://USER@HOST/NAME. With a password in it, the variable or --to-file
    /// is better, since others on this machine see what a command was given
    #[arg(long, env = "WST_MIGRATE_TO", hide_env_values = true, value_name = "URL", value_parser = secret)]
    pub(super) to: Option<SecretString>,
    /// A private file that says which database, where the URL holds a password
    #[arg(
        long,
        env = "WST_MIGRATE_TO_FILE",
        value_name = "FILE",
        conflicts_with = "to"
    )]
    pub(super) to_file: Option<PathBuf>,
    /// Write nothing: compare what was moved with the data directory, before a server uses it
    #[arg(long)]
    pub(super) verify_only: bool,
}

const MOVING: &str = "\
Everything is moved, and every row compared afterwards: workspaces, tasks, messages, files, people, their logins,
the audit list, and all tokens, which go on as they are. One-time links are not: make new ones. The key file is
not either: servers on the new database need the same one. The data directory stays as it is, but for a note that
it goes with the new database, so that a server which is not told otherwise does not use its file again.
It may be broken off at any time. Run again, it goes on where it was; until it is done, no server uses the new
database.";

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Show the last entries, the latest at the end
    Tail {
        #[command(flatten)]
        filter: AuditOptions,
        /// How many, up to 1000
        #[arg(long, short = 'n', default_value_t = 20)]
        lines: u32,
    },
    /// Print all entries, the latest first
    Export {
        #[command(flatten)]
        filter: AuditOptions,
        /// JSON Lines, or CSV in which no cell is a formula
        #[arg(long, value_parser = ["jsonl", "csv"], default_value = "jsonl")]
        format: String,
    },
}

/// Which entries.
#[derive(Args, Debug)]
pub(super) struct AuditOptions {
    /// Only those of this workspace, and the logins of its members
    #[arg(long, value_name = "ID|NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(super) workspace: Option<String>,
    /// Only actions of this area, as `token`, or this one, as `token.rotate`
    #[arg(long)]
    pub(super) action: Option<String>,
    /// Only what somebody of this name did
    #[arg(long)]
    pub(super) actor: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Add a user, and print the one-time link with which they choose a password
    Add {
        /// What they log in with and others see
        name: String,
        /// Lets them administer the server
        #[arg(long)]
        administrator: bool,
    },
    /// List all users
    List,
    /// Print a one-time link with which a user chooses a new password
    LoginLink {
        /// Their id or name
        name: String,
    },
    /// Set a user's password, read from standard input; all of their logins end
    Passwd {
        /// Their id or name
        name: String,
    },
    /// Lock a user out, and end their logins
    Disable {
        /// Their id or name
        name: String,
    },
    /// Let a user in again
    Enable {
        /// Their id or name
        name: String,
    },
    /// Make a user an administrator
    Promote {
        /// Their id or name
        name: String,
    },
    /// Make an administrator a plain user
    Demote {
        /// Their id or name
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// List the keys, and how many live tokens need each
    List,
    /// Add a new signing key and a new sealing key, which are used from here on
    Rotate {
        /// Add one to this ring only
        #[arg(long)]
        ring: Option<Ring>,
    },
    /// Open every live token, and end with exit code 1 if one lacks a key
    Check {
        /// See whether this copy of the key file holds all keys that are needed, too
        #[arg(long, value_name = "FILE")]
        copy: Option<PathBuf>,
    },
    /// Write a copy of the key file, for a safe place
    Export {
        /// The file to write, outside of the data directory; `-` is standard output, for a program that encrypts it
        file: PathBuf,
        /// Replace the file if it is there
        #[arg(long)]
        force: bool,
    },
    /// Seal every live token with the newest key; all of them stay valid
    Rewrap,
    /// Take a former key that no live token needs out of the key file, for good
    Retire {
        /// The key's id
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum WorkspaceCommand {
    /// Create a workspace and its first token, and print the token, once
    Create {
        /// What people call it
        name: String,
    },
    /// List all workspaces
    List,
    /// Archive a workspace: all of its tokens end, and it gets no new ones
    Archive(WorkspaceArgument),
    /// Take an archived workspace back; its tokens stay dead
    Unarchive(WorkspaceArgument),
    /// Unlock a workspace whose tokens came back with an old copy of the database; those tokens end
    Unlock(WorkspaceArgument),
}

#[derive(Args, Debug)]
pub(super) struct WorkspaceArgument {
    /// Its id or name
    #[arg(value_name = "WORKSPACE", required_unless_present = "workspace")]
    id_or_name: Option<String>,
    /// The same as an option
    #[arg(long, value_name = "ID|NAME", conflicts_with = "id_or_name")]
    workspace: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Create another token for a workspace and print it, once
    Create(TokenSlot),
    /// List the tokens of a workspace
    List(WorkspaceOption),
    /// Regenerate a token and print the new one, once; the old one is dead when this returns
    Rotate(EndedSlot),
    /// End a token without a successor
    Revoke(EndedSlot),
    /// Show what a token says of itself and whether it is current
    Inspect {
        /// Only `-`, standard input: arguments are seen by every process of the machine
        #[arg(value_name = "-")]
        source: String,
        /// End with exit code 1 if it is not current
        #[arg(long)]
        check: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum TaskCommand {
    /// Add a task
    Add {
        #[command(flatten)]
        workspace: WorkspaceOption,
        /// What it is about, in a line
        #[arg(long, allow_hyphen_values = true)]
        title: String,
        /// What is to be done
        #[arg(long, allow_hyphen_values = true)]
        body: String,
        /// Who is to do it
        #[arg(long, value_parser = ["agent", "human"], default_value = "agent")]
        assignee: String,
    },
    /// Write into a task's conversation
    Reply {
        #[command(flatten)]
        workspace: WorkspaceOption,
        /// The task's id
        #[arg(long)]
        task: String,
        /// What to write
        #[arg(long, allow_hyphen_values = true)]
        text: String,
    },
    /// Change the state of a task
    Status {
        #[command(flatten)]
        workspace: WorkspaceOption,
        /// The task's id
        #[arg(long)]
        task: String,
        /// Its new state
        #[arg(long, value_parser = ["notstarted", "ongoing", "completed", "blocked", "rejected"])]
        status: String,
    },
    /// Give a task to agents or to people
    Assign {
        #[command(flatten)]
        workspace: WorkspaceOption,
        /// The task's id
        #[arg(long)]
        task: String,
        /// Who is to do it
        #[arg(long, value_parser = ["agent", "human"])]
        assignee: String,
    },
    /// List the tasks of a workspace, newest first
    List {
        #[command(flatten)]
        workspace: WorkspaceOption,
        /// Only those of this state
        #[arg(long, value_parser = ["notstarted", "ongoing", "completed", "blocked", "rejected"])]
        status: Option<String>,
        /// Where the page begins, as the page before said
        #[arg(long)]
        cursor: Option<String>,
        /// The most tasks of the page, up to 100 [default: 20]
        #[arg(long)]
        limit: Option<u32>,
    },
    /// Show a task with all of its conversation
    Show {
        #[command(flatten)]
        workspace: WorkspaceOption,
        /// The task's id
        #[arg(long)]
        task: String,
    },
}

/// Which workspace.
#[derive(Args, Debug)]
pub(super) struct WorkspaceOption {
    /// The workspace's id, or its name if no other has it
    #[arg(long, value_name = "ID|NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(super) workspace: String,
}

/// Which token.
#[derive(Args, Debug)]
pub(super) struct TokenSlot {
    #[command(flatten)]
    pub(super) workspace: WorkspaceOption,
    /// The token's name
    #[arg(long, default_value = "primary", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(super) name: String,
}

#[derive(Args, Debug)]
pub(super) struct EndedSlot {
    #[command(flatten)]
    pub(super) slot: TokenSlot,
    /// Why: kept in the token's history [possible values: committed, shared, suspicion, lost-device, member-left, routine, hand-off]
    #[arg(long, value_parser = reason, hide_possible_values = true)]
    pub(super) reason: Option<Reason>,
}

fn reason(word: &str) -> Result<Reason, String> {
    let mut all = Reason::ALL.into_iter();
    all.find(|reason| reason.as_str() == word).ok_or_else(|| {
        let known = Reason::ALL.map(Reason::as_str);
        format!("it can be {}", known.join(", "))
    })
}

impl WorkspaceArgument {
    pub(super) fn into_reference(self) -> String {
        // One of the two is there, or the command line is refused.
        self.id_or_name.or(self.workspace).unwrap_or_default()
    }
}
