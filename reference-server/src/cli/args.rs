//! The command line's grammar.

use clap::{Args, Parser, Subcommand};

use crate::config::{GlobalOptions, ServerOptions};

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
    /// Create, list and archive workspaces
    #[command(subcommand)]
    Workspace(WorkspaceCommand),
    /// Create, list, rotate, revoke and inspect tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// Add, answer, list and read tasks
    #[command(subcommand)]
    Task(TaskCommand),
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
    Archive(ArchivedWorkspace),
}

#[derive(Args, Debug)]
pub(super) struct ArchivedWorkspace {
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
    Rotate(TokenSlot),
    /// End a token without a successor
    Revoke(TokenSlot),
    /// Show what a token says of itself and whether it is current
    Inspect {
        /// Only `-`, standard input: arguments are seen by every process of the machine
        #[arg(value_name = "-")]
        source: String,
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

impl ArchivedWorkspace {
    pub(super) fn into_reference(self) -> String {
        // One of the two is there, or the command line is refused.
        self.id_or_name.or(self.workspace).unwrap_or_default()
    }
}
