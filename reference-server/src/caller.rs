//! [`Caller`]: who asks for an action. Made where a request is authenticated, and nowhere else.

use std::net::IpAddr;

use tower_workspace_token::id::WorkspaceId;

use crate::{
    error::AppError,
    people::{User, UserId},
    tasks::{Author, Who},
};

/// Who asks for an action.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    /// Whoever may use the data directory, or the control socket in it: the operator.
    CommandLine,
    /// A person with a login of the dashboard.
    Person(Person),
}

/// A person who has logged in.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) user: User,
    /// Which of their logins it is.
    pub(crate) login: Option<String>,
    /// Where the request came from, as far as is known.
    pub(crate) address: Option<IpAddr>,
}

impl Caller {
    /// Returns who it is in the words of the token history and the audit list.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::CommandLine => "command line",
            Self::Person(person) => &person.user.name,
        }
    }

    pub(crate) fn user(&self) -> Option<&UserId> {
        match self {
            Self::CommandLine => None,
            Self::Person(person) => Some(&person.user.id),
        }
    }

    /// Returns the user.
    ///
    /// # Errors
    /// It is the command line, which is nobody in particular.
    pub(crate) fn person(&self) -> Result<&Person, AppError> {
        match self {
            Self::Person(person) => Ok(person),
            Self::CommandLine => Err(AppError::invalid("the command line has no account")),
        }
    }

    /// Returns the caller as the author of what is written in a workspace.
    pub(crate) fn author(&self, workspace: WorkspaceId) -> Author {
        let who = Who {
            user: self.user().cloned(),
            name: self.name().to_owned(),
        };
        Author::Human(workspace, who)
    }

    pub(crate) fn address(&self) -> Option<IpAddr> {
        match self {
            Self::CommandLine => None,
            Self::Person(person) => person.address,
        }
    }
}
