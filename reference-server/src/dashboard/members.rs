//! `/w/ID/members`: who may work in a workspace.

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse, Redirect},
};
use serde::Deserialize;

use super::{
    extract::{Form, Path, Query},
    filters,
    guard::LoggedIn,
    layout::Layout,
    notice::Done,
    page::{PageResult, perform_and_go, render},
};
use crate::{
    actions::{MemberLine, MemberList, MemberRemove, MemberSet},
    app::App,
    people::Role,
};

#[derive(Template)]
#[template(path = "members.html")]
struct MembersPage {
    layout: Layout,
    workspace: String,
    is_owner: bool,
    members: Vec<MemberLine>,
}

impl MembersPage {
    /// Returns whether the workspace is nobody's: it was made on the command line, and not handed out.
    fn is_ownerless(&self) -> bool {
        !self.members.iter().any(|member| member.role == Role::Owner)
    }
}

#[derive(Template)]
#[template(path = "member_removed.html")]
struct RemovedPage {
    layout: Layout,
    workspace: String,
    name: String,
    tokens: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct MemberForm {
    user: String,
    role: Role,
}

#[derive(Deserialize)]
pub(super) struct RemoveForm {
    user: String,
    name: String,
}

pub(super) async fn show(
    State(app): State<App>,
    person: LoggedIn,
    Path(workspace): Path<String>,
    Query(done): Query<Done>,
) -> PageResult {
    let (layout, _) =
        Layout::of_workspace(&app, &person.0, &workspace, "members", "Members").await?;
    let action = MemberList {
        workspace: workspace.clone(),
    };
    let members = app.perform(action, &person.caller()).await?.members;
    render(&MembersPage {
        is_owner: layout.is_owner(),
        layout: layout.with_notice(done.notice()),
        workspace,
        members,
    })
}

pub(super) async fn set(
    State(app): State<App>,
    person: LoggedIn,
    Path(workspace): Path<String>,
    Form(form): Form<MemberForm>,
) -> PageResult {
    let to = format!("/w/{workspace}/members?done=member");
    let action = MemberSet {
        workspace,
        user: form.user.trim().to_owned(),
        role: form.role,
    };
    perform_and_go(&app, &person, action, &to).await
}

/// Whoever leaves takes along what they have seen: the page says which tokens to regenerate.
pub(super) async fn remove(
    State(app): State<App>,
    person: LoggedIn,
    Path(workspace): Path<String>,
    Form(form): Form<RemoveForm>,
) -> PageResult {
    let action = MemberRemove {
        workspace: workspace.clone(),
        user: form.user,
    };
    let removed = app.perform(action, &person.caller()).await?;
    if removed.tokens_seen.is_empty() {
        let to = format!("/w/{workspace}/members?done=removed");
        return Ok(Redirect::to(&to).into_response());
    }
    let (layout, _) =
        Layout::of_workspace(&app, &person.0, &workspace, "members", "Members").await?;
    render(&RemovedPage {
        layout,
        workspace,
        name: form.name,
        tokens: removed.tokens_seen,
    })
}
