//! [`AppError`]: the one error at the edge, for the API's responses and the command line's exit code.

use std::{error, fmt};

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tower_workspace_token::error::{Error as TokenError, ErrorKind};

use crate::{
    caller::Caller,
    db::DatabaseError,
    tasks::{TaskError, TaskErrorKind},
};

/// A failure that somebody reads: a code for programs, a sentence for people.
#[derive(Debug)]
pub(crate) struct AppError {
    code: ErrorCode,
    message: String,
    /// Which commands help: no page and nobody else's program is told to run one.
    hint: Option<String>,
    source: Option<anyhow::Error>,
}

/// Sorts an [`AppError`]; part of the command line's and the API's contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ErrorCode {
    /// What is to be made is there already.
    AlreadyExists,
    /// The workspace was archived.
    Archived,
    /// Somebody else changed the same thing at the same time.
    Conflict,
    /// The operation failed; the message says why.
    Failed,
    /// The caller may not do this.
    Forbidden,
    /// An argument is not allowed.
    InvalidArgument,
    /// There is no data directory.
    NoDataDir,
    /// There is no such thing.
    NotFound,
    /// More was sent than is taken.
    TooLarge,
    /// It was tried too often.
    TooManyAttempts,
    /// The caller has to log in first.
    Unauthenticated,
    /// The database or the server cannot be reached.
    Unavailable,
    /// It is not known whether the operation happened.
    Unknown,
    /// The command line or the configuration is wrong.
    Usage,
}

/// How errors look in JSON, on the API and on standard error.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ErrorBody {
    pub(crate) error: ErrorDetail,
}

/// See [`ErrorBody`].
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ErrorDetail {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
    /// Which commands help; told to the command line alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
}

impl AppError {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: None,
            source: None,
        }
    }

    /// Adds which commands help, for whoever can run them.
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Makes the error of an argument that is not allowed.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidArgument, message)
    }

    /// Makes the error of a command line or configuration that is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Usage, message)
    }

    fn with_source(mut self, source: impl Into<anyhow::Error>) -> Self {
        self.source = Some(source.into());
        self
    }

    pub(crate) fn code(&self) -> ErrorCode {
        self.code
    }

    /// Returns what `caller` is told: causes are the operator's to read, on the command line and in the log,
    /// and so are the commands that help.
    pub(crate) fn told_to(self, caller: &Caller) -> Self {
        match caller {
            Caller::CommandLine => self,
            Caller::Person(_) => self.without_causes(),
        }
    }

    /// Logs a failure with its causes, and takes them away with all else that is not for people's eyes.
    pub(crate) fn without_causes(mut self) -> Self {
        if self.status().is_server_error() {
            tracing::error!(code = ?self.code, "{self}");
            if self.code == ErrorCode::Failed {
                "it failed: whoever runs the server finds the reason in its log"
                    .clone_into(&mut self.message);
            }
        }
        self.source = None;
        self.hint = None;
        self
    }

    /// Returns the text as the command line prints it.
    pub(crate) fn for_operator(&self) -> String {
        match &self.hint {
            None => self.to_string(),
            Some(hint) => format!("{self} ({hint})"),
        }
    }

    /// Returns the exit code of the command line: 2 for what was asked wrongly, 1 for what failed.
    pub(crate) fn exit_code(&self) -> u8 {
        match self.code {
            ErrorCode::InvalidArgument | ErrorCode::Usage => 2,
            _ => 1,
        }
    }

    pub(crate) fn to_body(&self) -> ErrorBody {
        ErrorBody {
            error: ErrorDetail {
                code: self.code,
                message: self.to_string(),
                hint: self.hint.clone(),
            },
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self.code {
            ErrorCode::AlreadyExists | ErrorCode::Archived | ErrorCode::Conflict => {
                StatusCode::CONFLICT
            }
            ErrorCode::Forbidden => StatusCode::FORBIDDEN,
            ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorCode::TooManyAttempts => StatusCode::TOO_MANY_REQUESTS,
            ErrorCode::Unauthenticated => StatusCode::UNAUTHORIZED,
            ErrorCode::InvalidArgument | ErrorCode::Usage => StatusCode::BAD_REQUEST,
            ErrorCode::NoDataDir | ErrorCode::NotFound => StatusCode::NOT_FOUND,
            ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::Failed | ErrorCode::Unknown => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl fmt::Display for AppError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        // Whoever reads this owns the server, so the causes are told.
        match &self.source {
            None => Ok(()),
            Some(source) => write!(f, ": {source:#}"),
        }
    }
}

impl error::Error for AppError {}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        if self.status().is_server_error() {
            tracing::error!(code = ?self.code, "{self}");
        }
        (self.status(), Json(self.to_body())).into_response()
    }
}

impl From<ErrorDetail> for AppError {
    fn from(detail: ErrorDetail) -> Self {
        Self {
            hint: detail.hint,
            ..Self::new(detail.code, detail.message)
        }
    }
}

impl From<anyhow::Error> for AppError {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(error) => error,
            Err(error) => Self::new(ErrorCode::Failed, format!("{error:#}")),
        }
    }
}

impl From<DatabaseError> for AppError {
    fn from(error: DatabaseError) -> Self {
        let code = match error.is_of_request() {
            true => ErrorCode::InvalidArgument,
            false => ErrorCode::Unavailable,
        };
        Self::new(code, error.to_string()).with_source_of(&error)
    }
}

impl AppError {
    fn with_source_of(self, error: &dyn error::Error) -> Self {
        match error.source() {
            None => self,
            Some(source) => self.with_source(anyhow::anyhow!("{source}")),
        }
    }
}

impl From<TaskError> for AppError {
    fn from(error: TaskError) -> Self {
        let code = match error.kind() {
            TaskErrorKind::Archived => ErrorCode::Archived,
            TaskErrorKind::Invalid(_) => ErrorCode::InvalidArgument,
            TaskErrorKind::NoApproval
            | TaskErrorKind::NoAttachment
            | TaskErrorKind::NoRule
            | TaskErrorKind::NoTask
            | TaskErrorKind::NoWorkspace => ErrorCode::NotFound,
            TaskErrorKind::AgentGone
            | TaskErrorKind::AlreadyAnswered
            | TaskErrorKind::TokenRegenerated => ErrorCode::Conflict,
            TaskErrorKind::Unavailable => ErrorCode::Unavailable,
        };
        let told = Self::new(code, error.to_string()).with_source_of(&error);
        match error.kind() {
            TaskErrorKind::Archived => told.with_hint("`wst workspace unarchive`"),
            _ => told,
        }
    }
}

impl From<TokenError> for AppError {
    fn from(error: TokenError) -> Self {
        let code = match error.kind() {
            ErrorKind::AlreadyIssued => ErrorCode::AlreadyExists,
            ErrorKind::Ambiguous => ErrorCode::Unknown,
            ErrorKind::Conflict | ErrorKind::Locked => ErrorCode::Conflict,
            ErrorKind::NotFound => ErrorCode::NotFound,
            ErrorKind::Store => ErrorCode::Unavailable,
            _ => ErrorCode::Failed,
        };
        let told = Self::new(code, error.to_string());
        match error.kind() {
            // Its cause says the same.
            ErrorKind::Locked => told.with_hint("`wst workspace unlock`"),
            _ => told.with_source_of(&error),
        }
    }
}
