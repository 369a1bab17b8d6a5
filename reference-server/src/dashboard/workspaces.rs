//! `/`: the workspaces of a person.

use askama::Template;
use axum::extract::State;
use serde::Deserialize;

use super::{
    extract::{Form, Query},
    guard::LoggedIn,
    layout::Layout,
    notice::Done,
    page::{PageResult, render},
    secret_card::{self, SecretCard},
};
use crate::{
    actions::{WorkspaceCreate, WorkspaceLine, WorkspaceList},
    app::App,
    once::OnceForm,
};

#[derive(Template)]
#[template(path = "workspaces.html")]
struct WorkspacesPage {
    layout: Layout,
    live: Vec<WorkspaceLine>,
    archived: Vec<WorkspaceLine>,
    once: String,
}

impl WorkspacesPage {
    /// Returns whether another line has the same name, so that only the id tells them apart.
    fn has_namesake(&self, line: &WorkspaceLine) -> bool {
        let mut others = self.live.iter().chain(&self.archived);
        others.any(|other| other.name == line.name && other.id != line.id)
    }
}

#[derive(Deserialize)]
pub(super) struct NewWorkspace {
    name: String,
    /// See `once`.
    #[serde(default)]
    once: String,
}

pub(super) async fn show(
    State(app): State<App>,
    person: LoggedIn,
    Query(done): Query<Done>,
) -> PageResult {
    let layout = Layout::of(&app, &person.0, "Workspaces").with_notice(done.notice());
    let all = app.perform(WorkspaceList {}, &person.caller()).await?;
    let (archived, live) = all.workspaces.into_iter().partition(|line| line.archived);
    render(&WorkspacesPage {
        layout,
        live,
        archived,
        once: app
            .once()
            .number(person.user(), OnceForm::WorkspaceCreate)?,
    })
}

pub(super) async fn create(
    State(app): State<App>,
    person: LoggedIn,
    Form(form): Form<NewWorkspace>,
) -> PageResult {
    let name = form.name.trim().to_owned();
    let caller = person.caller();
    let creating = app.perform(WorkspaceCreate { name, id: None }, &caller);
    let created = app
        .once()
        .run(
            person.user(),
            OnceForm::WorkspaceCreate,
            &form.once,
            creating,
        )
        .await?;
    let workspace = created.workspace.id.clone();
    let (layout, _) =
        Layout::of_workspace(&app, &person.0, &workspace, "tokens", "First token").await?;
    secret_card::show(
        layout,
        SecretCard {
            workspace,
            token: created.token.name,
            secret: created.secret,
            mcp_url: created.mcp_url,
            replaces: None,
            rotation: None,
        },
    )
}
