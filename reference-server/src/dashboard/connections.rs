//! `/w/ID/connections`: who is connected.

use askama::Template;
use axum::extract::State;

use super::{
    chart::Chart,
    extract::{Path, Query},
    filters,
    guard::LoggedIn,
    layout::Layout,
    notice::Done,
    page::{PageResult, perform_and_go, render},
};
use crate::{
    actions::{ActivityHours, ConnectionEnd, ConnectionLine, ConnectionList},
    app::App,
};

#[derive(Template)]
#[template(path = "connections.html")]
struct ConnectionsPage {
    layout: Layout,
    workspace: String,
    connections: Vec<ConnectionLine>,
    chart: Chart,
}

pub(super) async fn show(
    State(app): State<App>,
    person: LoggedIn,
    Path(workspace): Path<String>,
    Query(done): Query<Done>,
) -> PageResult {
    let (layout, _) =
        Layout::of_workspace(&app, &person.0, &workspace, "connections", "Connections").await?;
    let action = ConnectionList {
        workspace: workspace.clone(),
    };
    let connections = app.perform(action, &person.caller()).await?.connections;
    let action = ActivityHours {
        workspace: workspace.clone(),
    };
    let hours = app.perform(action, &person.caller()).await?.hours;
    render(&ConnectionsPage {
        layout: layout.with_notice(done.notice()),
        workspace,
        connections,
        chart: Chart::of_hours(&hours),
    })
}

pub(super) async fn end(
    State(app): State<App>,
    person: LoggedIn,
    Path((workspace, connection)): Path<(String, String)>,
) -> PageResult {
    let to = format!("/w/{workspace}/connections?done=disconnected");
    let action = ConnectionEnd {
        workspace,
        connection,
    };
    perform_and_go(&app, &person, action, &to).await
}
