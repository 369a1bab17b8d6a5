//! [`Refusal`]: why a tool did not do what it was asked, and what to do about it.

use std::{error::Error as _, fmt};

use crate::tasks::{TaskError, TaskErrorKind};

/// A sentence for the agent.
#[derive(Debug)]
pub(super) struct Refusal(String);

impl Refusal {
    pub(super) fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }

    /// The arguments do not fit the tool's schema.
    pub(super) fn arguments(tool: &str, problem: &serde_json::Error) -> Self {
        Self(format!(
            "The arguments do not fit {tool}: {problem}. Correct them and call it again."
        ))
    }
}

impl From<TaskError> for Refusal {
    fn from(error: TaskError) -> Self {
        Self::new(match error.kind() {
            TaskErrorKind::Archived => {
                "The workspace was archived and takes nothing new. Ask a person for the token of another one."
            }
            TaskErrorKind::Invalid(_) => {
                return Self(format!("Not done: {error}. Correct it and call again."));
            }
            TaskErrorKind::NoAttachment => {
                "There is no attachment with this id in this task. Call getTask with the taskId to see those there are."
            }
            TaskErrorKind::AgentGone
            | TaskErrorKind::AlreadyAnswered
            | TaskErrorKind::NoApproval
            | TaskErrorKind::NoRule => return Self(format!("Not done: {error}.")),
            TaskErrorKind::NoTask => {
                "There is no task with this id in this workspace. Call listTasks to see those there are."
            }
            TaskErrorKind::NoWorkspace => {
                "The workspace is not there any more. Ask a person for the token of another one."
            }
            TaskErrorKind::TokenRegenerated => {
                "The workspace token was regenerated, and nothing was written. Ask a person to configure the current one, then connect again."
            }
            TaskErrorKind::Unavailable => {
                let source = error.source().map(ToString::to_string);
                tracing::error!("tasks cannot be reached: {}", source.unwrap_or_default());
                NOT_NOW
            }
        })
    }
}

/// What a tool says that may well do later what it was asked.
pub(crate) const NOT_NOW: &str = "The tasks cannot be reached right now. Call again in a moment.";

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
