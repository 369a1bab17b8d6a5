//! `/w/ID/connect`: how a client is connected, and whether one has.

use askama::Template;
use axum::extract::State;
use serde::Deserialize;

use super::{
    clients::{self, ClientGuide},
    extract::{Form, Path, Query},
    filters,
    guard::LoggedIn,
    layout::Layout,
    page::{PageResult, render},
};
use crate::{
    actions::{ConnectionLine, ConnectionList, Secret, TokenList, TokenTest, TokenTested},
    app::App,
    error::AppError,
    variables::slot_variable,
};

#[derive(Template)]
#[template(path = "connect.html")]
struct ConnectPage {
    layout: Layout,
    workspace: String,
    mcp_url: String,
    token: String,
    /// The names of the live tokens.
    tokens: Vec<String>,
    variable: String,
    clients: Vec<ClientGuide>,
    /// Who is connected with the token.
    connections: Vec<ConnectionLine>,
    test: Option<TokenTested>,
}

/// Not called `token`: a parameter of that name is taken for a credential, and never gets here.
#[derive(Debug, Default, Deserialize)]
pub(super) struct SlotQuery {
    slot: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct TestForm {
    secret: Secret,
}

pub(super) async fn show(
    State(app): State<App>,
    person: LoggedIn,
    Path(workspace): Path<String>,
    Query(query): Query<SlotQuery>,
) -> PageResult {
    page(&app, &person, workspace, query.slot, None).await
}

/// Tells whether what somebody has is the token that clients need. It is never echoed.
pub(super) async fn test(
    State(app): State<App>,
    person: LoggedIn,
    Path(workspace): Path<String>,
    Query(query): Query<SlotQuery>,
    Form(form): Form<TestForm>,
) -> PageResult {
    let action = TokenTest {
        workspace: workspace.clone(),
        token: form.secret,
    };
    let tested = app.perform(action, &person.caller()).await?;
    page(&app, &person, workspace, query.slot, Some(tested)).await
}

async fn page(
    app: &App,
    person: &LoggedIn,
    workspace: String,
    token: Option<String>,
    test: Option<TokenTested>,
) -> PageResult {
    let (layout, info) =
        Layout::of_workspace(app, &person.0, &workspace, "connect", "Connect").await?;
    let tokens = live_tokens(app, person, &workspace).await?;
    let token = token.filter(|token| tokens.contains(token));
    let token = token
        .or_else(|| tokens.first().cloned())
        .unwrap_or_default();
    let list = ConnectionList {
        workspace: workspace.clone(),
    };
    let mut connections = app.perform(list, &person.caller()).await?.connections;
    connections.retain(|connection| connection.token == token);
    let mcp_url = app.addresses().mcp_url(&info.id);
    let variable = slot_variable(&info.name, &token);
    render(&ConnectPage {
        layout,
        clients: clients::guides(&workspace, &variable, &mcp_url),
        workspace,
        mcp_url,
        token,
        tokens,
        variable,
        connections,
        test,
    })
}

async fn live_tokens(
    app: &App,
    person: &LoggedIn,
    workspace: &str,
) -> Result<Vec<String>, AppError> {
    let action = TokenList {
        workspace: workspace.to_owned(),
    };
    let tokens = app.perform(action, &person.caller()).await?.tokens;
    let live = tokens.into_iter().filter(|token| token.state == "active");
    Ok(live.map(|token| token.name).collect())
}
