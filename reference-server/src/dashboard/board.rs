//! `/w/ID/board`: the tasks of a workspace by their state; making and moving one.

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse, Redirect},
};
use serde::Deserialize;

use super::{
    extract::{Form, Path, Query},
    guard::LoggedIn,
    layout::Layout,
    notice::Done,
    page::{PageResult, perform_and_go, render},
    upload::Upload,
};
use crate::{
    actions::{Board, TaskAdd, TaskMove},
    app::App,
    tasks::{Actor, BoardColumn, Status, TaskCard},
};

#[derive(Template)]
#[template(path = "board.html")]
struct BoardPage {
    layout: Layout,
    workspace: String,
    columns: Vec<BoardColumn>,
    /// The page shows this column alone.
    only: Option<Status>,
    is_archived: bool,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct BoardQuery {
    status: Option<Status>,
    cursor: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct MoveForm {
    before: Option<String>,
    after: Option<String>,
}

pub(super) async fn show(
    State(app): State<App>,
    person: LoggedIn,
    Path(workspace): Path<String>,
    Query(query): Query<BoardQuery>,
    Query(done): Query<Done>,
) -> PageResult {
    let (layout, info) =
        Layout::of_workspace(&app, &person.0, &workspace, "board", "Board").await?;
    let action = Board {
        workspace: workspace.clone(),
        status: query.status,
        cursor: query.cursor,
    };
    let columns = app.perform(action, &person.caller()).await?.columns;
    render(&BoardPage {
        layout: layout.with_notice(done.notice()),
        workspace,
        columns,
        only: query.status,
        is_archived: info.archived,
    })
}

pub(super) async fn create(
    State(app): State<App>,
    person: LoggedIn,
    Path(workspace): Path<String>,
    mut upload: Upload,
) -> PageResult {
    let assignee: Actor = upload.text("assignee").parse()?;
    let action = TaskAdd {
        workspace: workspace.clone(),
        title: upload.text("title").trim().to_owned(),
        body: upload.text("body"),
        assignee,
        attachments: upload.files,
    };
    let added = app.perform(action, &person.caller()).await?;
    let to = format!("/w/{workspace}/tasks/{}?done=task", added.task.id);
    Ok(Redirect::to(&to).into_response())
}

pub(super) async fn move_task(
    State(app): State<App>,
    person: LoggedIn,
    Path((workspace, task)): Path<(String, String)>,
    Form(form): Form<MoveForm>,
) -> PageResult {
    let to = format!("/w/{workspace}/board#task-{task}");
    let action = TaskMove {
        workspace,
        task,
        before: form.before,
        after: form.after,
    };
    perform_and_go(&app, &person, action, &to).await
}

impl Status {
    /// Returns the state as people read it.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::NotStarted => "Not started",
            Self::Ongoing => "Ongoing",
            Self::Completed => "Completed",
            Self::Blocked => "Blocked",
            Self::Rejected => "Rejected",
        }
    }

    pub(super) fn class(self) -> &'static str {
        match self {
            Self::NotStarted => "",
            Self::Ongoing => "busy",
            Self::Completed => "good",
            Self::Blocked => "bad",
            Self::Rejected => "warn",
        }
    }
}

/// Returns the tasks that stand before and after the one at `index`.
fn neighbours(column: &BoardColumn, index: usize) -> (Option<&TaskCard>, Option<&TaskCard>) {
    let before = index
        .checked_sub(1)
        .and_then(|index| column.tasks.get(index));
    (before, column.tasks.get(index + 1))
}
