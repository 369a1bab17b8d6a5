//! The tools, a file for each: its arguments, its description and what it does.
//!
//! Every result is one block of text. What goes wrong is a result as well, marked as an error, with a
//! sentence that tells the agent what to do: clients show their model a result, but hide a protocol error.

mod attachment;
mod create_task;
mod download_attachment;
mod get_next_task;
mod get_task;
mod get_workspace;
mod list_tasks;
mod refusal;
mod reply;
mod update_task_status;

pub(crate) use refusal::NOT_NOW;

use std::sync::LazyLock;

use rmcp::{
    ErrorData, RoleServer,
    handler::server::tool::schema_for_type,
    model::{CallToolRequestParams, CallToolResult, ContentBlock, Tool, ToolAnnotations},
    schemars::JsonSchema,
    service::RequestContext,
};
use serde::de::DeserializeOwned;
use tower_workspace_token::{VerifiedToken, authority::Lease, id::WorkspaceId};
use tower_workspace_token_mcp::{client_presence, verified_token};

use crate::tasks::{Author, Tasks};
use create_task::CreateTask;
use download_attachment::{DownloadAttachment, GetAttachment};
use get_next_task::GetNextTask;
use get_task::GetTask;
use get_workspace::GetWorkspace;
use list_tasks::ListTasks;
use refusal::Refusal;
use reply::Reply;
use update_task_status::UpdateTaskStatus;

/// A tool; the type itself is its arguments.
trait AgentTool: DeserializeOwned + JsonSchema + Send + 'static {
    const NAME: &'static str;
    const DESCRIPTION: &'static str;
    /// Whether it changes nothing.
    const READ_ONLY: bool;

    /// Does it, and returns the text of the result.
    fn run(self, call: &Call<'_>) -> impl Future<Output = Result<String, Refusal>> + Send;
}

/// The states of a task, for the schemas of arguments.
const STATES: [&str; 5] = ["notstarted", "ongoing", "completed", "blocked", "rejected"];

/// One call: whose it is, and what it works on.
struct Call<'a> {
    tasks: &'a Tasks,
    token: &'a VerifiedToken,
    context: &'a RequestContext<RoleServer>,
}

impl Call<'_> {
    fn workspace(&self) -> &WorkspaceId {
        self.token.workspace()
    }

    fn lease(&self) -> &Lease {
        self.token.lease()
    }

    /// Returns the agent as the author of what the call adds.
    fn author(&self) -> Author {
        Author::Agent(self.lease().clone())
    }

    /// Completes when nobody waits for the answer any longer, or the server is about to end.
    ///
    /// In a session, rmcp lets a call run on whose client went away without a word.
    async fn cancelled(&self) {
        tokio::select! {
            () = self.context.ct.cancelled() => {}
            () = self.client_gone() => {}
            () = self.tasks.closed() => {}
        }
    }

    async fn client_gone(&self) {
        match client_presence(self.context) {
            Some(presence) => presence.gone().await,
            None => std::future::pending().await,
        }
    }
}

/// Returns the list of tools.
pub(super) fn all() -> &'static [Tool] {
    // rmcp asks for one of them with each call.
    static ALL: LazyLock<[Tool; 9]> = LazyLock::new(|| {
        [
            describe::<GetWorkspace>(),
            describe::<GetTask>(),
            describe::<GetNextTask>(),
            describe::<ListTasks>(),
            describe::<CreateTask>(),
            describe::<UpdateTaskStatus>(),
            describe::<Reply>(),
            describe::<DownloadAttachment>(),
            describe::<GetAttachment>(),
        ]
    });
    &*ALL
}

/// Calls a tool by its name.
pub(super) async fn call(
    tasks: &Tasks,
    params: CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResult, ErrorData> {
    let Some(token) = verified_token(context) else {
        return Err(ErrorData::internal_error("there is no token layer", None));
    };
    let call = Call {
        tasks,
        token,
        context,
    };
    match &*params.name {
        GetWorkspace::NAME => run::<GetWorkspace>(params, &call).await,
        GetTask::NAME => run::<GetTask>(params, &call).await,
        GetNextTask::NAME => run::<GetNextTask>(params, &call).await,
        ListTasks::NAME => run::<ListTasks>(params, &call).await,
        CreateTask::NAME => run::<CreateTask>(params, &call).await,
        UpdateTaskStatus::NAME => run::<UpdateTaskStatus>(params, &call).await,
        Reply::NAME => run::<Reply>(params, &call).await,
        DownloadAttachment::NAME => run::<DownloadAttachment>(params, &call).await,
        GetAttachment::NAME => run::<GetAttachment>(params, &call).await,
        _ => Err(ErrorData::invalid_params(
            "There is no such tool. Call tools/list to see those there are.",
            None,
        )),
    }
}

fn describe<T: AgentTool>() -> Tool {
    let hints = ToolAnnotations::new()
        .read_only(T::READ_ONLY)
        .destructive(false)
        .open_world(false);
    Tool::new(T::NAME, T::DESCRIPTION, schema_for_type::<T>()).with_annotations(hints)
}

async fn run<T: AgentTool>(
    params: CallToolRequestParams,
    call: &Call<'_>,
) -> Result<CallToolResult, ErrorData> {
    let arguments = params.arguments.unwrap_or_default();
    let result = match serde_json::from_value::<T>(arguments.into()) {
        Ok(tool) => tool.run(call).await,
        Err(problem) => Err(Refusal::arguments(T::NAME, &problem)),
    };
    Ok(match result {
        Ok(text) => CallToolResult::success(vec![ContentBlock::text(text)]),
        Err(refusal) => CallToolResult::error(vec![ContentBlock::text(refusal.to_string())]),
    })
}
