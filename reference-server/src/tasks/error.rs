//! What can go wrong with tasks, sorted by what the caller can do.

use std::{error, fmt};

use crate::db::DatabaseError;

/// A failure; its text is fit for whoever asked.
#[derive(Debug)]
pub struct TaskError {
    kind: TaskErrorKind,
    /// What of several things it is about.
    about: Option<Box<str>>,
    source: Option<Box<dyn error::Error + Send + Sync>>,
}

/// Sorts a [`TaskError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskErrorKind {
    /// The agent that asked for a permission went away: there is nobody to answer to.
    AgentGone,
    /// The permission was given or refused before.
    AlreadyAnswered,
    /// The workspace was archived: nothing is added to it.
    Archived,
    /// What was asked for is not allowed, and why.
    Invalid(&'static str),
    /// There is no such request for a permission in the workspace.
    NoApproval,
    /// There is no such attachment of the task.
    NoAttachment,
    /// There is no such rule in the workspace.
    NoRule,
    /// There is no such task in the workspace.
    NoTask,
    /// There is no such workspace.
    NoWorkspace,
    /// The agent's token was regenerated or revoked: nothing was written.
    TokenRegenerated,
    /// The database failed.
    Unavailable,
}

impl TaskError {
    pub(crate) fn new(kind: TaskErrorKind) -> Self {
        Self {
            kind,
            about: None,
            source: None,
        }
    }

    /// Says which of several things is meant.
    pub(super) fn about(self, name: &str) -> Self {
        Self {
            about: Some(name.into()),
            ..self
        }
    }

    pub(crate) fn unavailable(source: impl Into<Box<dyn error::Error + Send + Sync>>) -> Self {
        Self {
            kind: TaskErrorKind::Unavailable,
            about: None,
            source: Some(source.into()),
        }
    }

    /// Returns whether it may have been done all the same.
    pub(super) fn is_undecided(&self) -> bool {
        let source = self.source.as_ref();
        let error = source.and_then(|source| source.downcast_ref::<DatabaseError>());
        error.is_some_and(DatabaseError::is_undecided)
    }

    /// Returns what sort of error this is.
    pub fn kind(&self) -> TaskErrorKind {
        self.kind
    }
}

impl From<DatabaseError> for TaskError {
    fn from(error: DatabaseError) -> Self {
        match error.is_of_request() {
            true => Self::new(TaskErrorKind::Invalid(NUL_IN_TEXT)),
            false => Self::unavailable(error),
        }
    }
}

const NUL_IN_TEXT: &str = "a text holds the character U+0000, which cannot be kept: leave it out";

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.kind {
            TaskErrorKind::AgentGone => {
                "the agent went away: its session ended or its token was regenerated, and there is nobody to answer to"
            }
            TaskErrorKind::AlreadyAnswered => "this was answered already",
            TaskErrorKind::NoApproval => "there is no such permission request in this workspace",
            TaskErrorKind::NoAttachment => "there is no such attachment of this task",
            TaskErrorKind::NoRule => "there is no such rule in this workspace",
            TaskErrorKind::Archived => {
                "the workspace is archived: an owner takes it back in its settings"
            }
            TaskErrorKind::Invalid(problem) => problem,
            TaskErrorKind::NoTask => "there is no such task in this workspace",
            TaskErrorKind::NoWorkspace => "there is no such workspace",
            TaskErrorKind::TokenRegenerated => "the workspace token was regenerated",
            TaskErrorKind::Unavailable => "the tasks cannot be reached right now",
        };
        match &self.about {
            Some(name) => write!(f, "{text}: {name}"),
            None => f.write_str(text),
        }
    }
}

impl error::Error for TaskError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}
