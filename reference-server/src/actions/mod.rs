//! What people do, one file each: the command line, the control socket and the API are thin faces of it.
//!
//! An action is its own request: a struct with the arguments, the route it has in the API, and
//! [`run`](Action::run).

mod secret;
mod task_add;
mod task_list;
mod task_reply;
mod task_show;
mod token_create;
mod token_inspect;
mod token_list;
mod token_revoke;
mod token_rotate;
mod token_slot;
mod workspace_archive;
mod workspace_create;
mod workspace_list;
mod workspace_ref;

use std::future::Future;

use http::Method;
use serde::{Serialize, de::DeserializeOwned};

use crate::{app::App, error::AppError};

pub(crate) use secret::Secret;
pub(crate) use task_add::TaskAdd;
pub(crate) use task_list::{TaskLine, TaskList};
pub(crate) use task_reply::TaskReply;
pub(crate) use task_show::{ShownMessage, TaskShow, TaskShown};
pub(crate) use token_create::TokenCreate;
pub(crate) use token_inspect::{Inspection, TokenInspect};
pub(crate) use token_list::{TokenLine, TokenList};
pub(crate) use token_revoke::TokenRevoke;
pub(crate) use token_rotate::TokenRotate;
pub(crate) use workspace_archive::WorkspaceArchive;
pub(crate) use workspace_create::WorkspaceCreate;
pub(crate) use workspace_list::{WorkspaceLine, WorkspaceList};

/// Something that a person does.
pub(crate) trait Action: Serialize + DeserializeOwned + Send + 'static {
    /// What it comes to.
    type Outcome: Serialize + DeserializeOwned + Send + 'static;

    /// The method of its route: GET takes the arguments in the query, POST in a JSON body.
    const METHOD: Method;

    /// Its path under `/api/v1`; `{name}` stands for the argument of that name.
    const ROUTE: &'static str;

    /// Does it.
    fn run(self, app: &App) -> impl Future<Output = Result<Self::Outcome, AppError>> + Send;
}
