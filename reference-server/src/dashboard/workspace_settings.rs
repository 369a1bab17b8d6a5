//! `/w/ID/settings`: what a workspace is called and for, and its ends: archiving, deletion, other hands.

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{
    extract::{Form, Path, Query},
    filters,
    guard::LoggedIn,
    layout::Layout,
    notice::Done,
    page::{PageResult, perform_and_go, render},
};
use crate::{
    actions::{
        MemberLine, MemberList, NewSecret, ShownWorkspace, TransferAccept, TransferCancel,
        TransferLine, TransferOffer, TransferShow, WorkspaceArchive, WorkspaceDelete,
        WorkspaceShow, WorkspaceUnarchive, WorkspaceUpdate,
    },
    app::App,
    error::{AppError, ErrorCode},
    once::OnceForm,
    tasks::Protocol,
    variables::slot_variable,
};

#[derive(Template)]
#[template(path = "workspace_settings.html")]
struct SettingsPage {
    layout: Layout,
    workspace: ShownWorkspace,
    is_owner: bool,
    transfer: Option<TransferLine>,
    is_for_me: bool,
    /// Whom it can be offered to.
    others: Vec<MemberLine>,
    once: String,
}

#[derive(Template)]
#[template(path = "transfer_accepted.html")]
struct AcceptedPage<'a> {
    layout: Layout,
    workspace: &'a str,
    tokens: &'a [NewSecret],
    revoked: &'a [String],
    sessions: usize,
    streams: usize,
}

#[derive(Deserialize)]
pub(super) struct SettingsForm {
    name: String,
    description: String,
    protocol: Protocol,
}

/// The name of the workspace, typed by whoever means it.
#[derive(Deserialize)]
pub(super) struct ConfirmForm {
    #[serde(default)]
    confirm: String,
}

#[derive(Deserialize)]
pub(super) struct OfferForm {
    user: String,
}

#[derive(Deserialize)]
pub(super) struct AcceptForm {
    #[serde(default)]
    once: String,
}

impl AcceptedPage<'_> {
    fn variable(&self, token: &str) -> String {
        let workspace = self.layout.workspace.as_ref();
        slot_variable(workspace.map_or("", |workspace| &workspace.name), token)
    }
}

/// For owners, and for whom the workspace is offered to, who sees the offer alone.
pub(super) async fn show(
    State(app): State<App>,
    person: LoggedIn,
    Path(workspace): Path<String>,
    Query(done): Query<Done>,
) -> PageResult {
    let (layout, _) =
        Layout::of_workspace(&app, &person.0, &workspace, "settings", "Settings").await?;
    let caller = person.caller();
    let ask = TransferShow {
        workspace: workspace.clone(),
    };
    let transfer = app.perform(ask, &caller).await?.transfer;
    let me = person.0.user.id.as_str();
    let is_for_me = transfer.as_ref().is_some_and(|transfer| transfer.to == me);
    let is_owner = layout.is_owner();
    if !is_owner && !is_for_me {
        let refusal = "only owners of the workspace may do this";
        return Err(AppError::new(ErrorCode::Forbidden, refusal).into());
    }
    let show = WorkspaceShow {
        workspace: workspace.clone(),
    };
    let shown = app.perform(show, &caller).await?.workspace;
    let mut others = app
        .perform(MemberList { workspace }, &caller)
        .await?
        .members;
    others.retain(|member| member.user != me);
    render(&SettingsPage {
        layout: layout.with_notice(done.notice()),
        workspace: shown,
        is_owner,
        transfer,
        is_for_me,
        others,
        once: app.once().number(person.user(), OnceForm::TransferAccept)?,
    })
}

pub(super) async fn update(
    State(app): State<App>,
    person: LoggedIn,
    Path(workspace): Path<String>,
    Form(form): Form<SettingsForm>,
) -> PageResult {
    let to = settings_path(&workspace, "saved");
    let action = WorkspaceUpdate {
        workspace,
        name: Some(form.name.trim().to_owned()),
        // Browsers end lines as the network does.
        description: Some(form.description.replace("\r\n", "\n").trim().to_owned()),
        protocol: Some(form.protocol),
    };
    perform_and_go(&app, &person, action, &to).await
}

pub(super) async fn archive(
    State(app): State<App>,
    person: LoggedIn,
    Path(workspace): Path<String>,
    Form(form): Form<ConfirmForm>,
) -> PageResult {
    let to = settings_path(&workspace, "archived");
    let action = WorkspaceArchive {
        workspace,
        confirm: Some(form.confirm.trim().to_owned()),
    };
    perform_and_go(&app, &person, action, &to).await
}

pub(super) async fn unarchive(
    State(app): State<App>,
    person: LoggedIn,
    Path(workspace): Path<String>,
) -> PageResult {
    let to = settings_path(&workspace, "unarchived");
    perform_and_go(&app, &person, WorkspaceUnarchive { workspace }, &to).await
}

pub(super) async fn delete(
    State(app): State<App>,
    person: LoggedIn,
    Path(workspace): Path<String>,
    Form(form): Form<ConfirmForm>,
) -> PageResult {
    let action = WorkspaceDelete {
        workspace,
        confirm: form.confirm.trim().to_owned(),
    };
    perform_and_go(&app, &person, action, "/?done=workspace").await
}

pub(super) async fn offer(
    State(app): State<App>,
    person: LoggedIn,
    Path(workspace): Path<String>,
    Form(form): Form<OfferForm>,
) -> PageResult {
    let to = settings_path(&workspace, "offered");
    let action = TransferOffer {
        workspace,
        user: form.user,
    };
    perform_and_go(&app, &person, action, &to).await
}

pub(super) async fn cancel(
    State(app): State<App>,
    person: LoggedIn,
    Path(workspace): Path<String>,
) -> PageResult {
    // Whoever declines may not see the settings afterwards.
    let to = format!("/w/{workspace}/members?done=kept");
    perform_and_go(&app, &person, TransferCancel { workspace }, &to).await
}

pub(super) async fn accept(
    State(app): State<App>,
    person: LoggedIn,
    Path(workspace): Path<String>,
    Form(form): Form<AcceptForm>,
) -> PageResult {
    let action = TransferAccept {
        workspace: workspace.clone(),
    };
    let caller = person.caller();
    let accepting = app.perform(action, &caller);
    let accepted = app
        .once()
        .run(
            person.user(),
            OnceForm::TransferAccept,
            &form.once,
            accepting,
        )
        .await?;
    let (layout, _) =
        Layout::of_workspace(&app, &person.0, &workspace, "tokens", "Your tokens").await?;
    let page = AcceptedPage {
        layout,
        workspace: &workspace,
        tokens: &accepted.tokens,
        revoked: &accepted.revoked,
        sessions: accepted.sessions_ended,
        streams: accepted.streams_severed,
    };
    // Room for all of it, so that no secret moves while the page grows.
    let room = 16 * 1024 + accepted.tokens.len() * 4 * 1024;
    let mut html = Zeroizing::new(String::with_capacity(room));
    page.render_into(&mut *html).map_err(anyhow::Error::from)?;
    let media_type = [(CONTENT_TYPE, "text/html; charset=utf-8")];
    let response: Response = (media_type, html.to_string()).into_response();
    Ok(response)
}

fn settings_path(workspace: &str, done: &str) -> String {
    format!("/w/{workspace}/settings?done={done}")
}
