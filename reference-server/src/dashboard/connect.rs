//! `/w/ID/connect`: how a client is connected, and whether one has.

use askama::Template;
use axum::extract::State;
use serde::Deserialize;

use super::{
    extract::{Form, Path, Query},
    filters,
    guard::LoggedIn,
    layout::Layout,
    page::{PageResult, render},
};
use crate::{
    actions::{
        ConnectionLine, ConnectionList, Secret, TokenLine, TokenList, TokenTest, TokenTested,
    },
    app::App,
    clients::{self, ClientGuide},
    error::AppError,
    variables::slot_variable,
};

#[derive(Template)]
#[template(path = "connect.html")]
struct ConnectPage {
    layout: Layout,
    workspace: String,
    mcp_url: String,
    /// The query with which the page was asked for, or means to be.
    query: String,
    /// The token that was asked for, if it is none that lives.
    missing: Option<Missing>,
    token: String,
    /// The names of the live tokens.
    tokens: Vec<String>,
    variable: String,
    /// The line that sets it.
    export: String,
    clients: Vec<ClientGuide>,
    /// The lines that keep the token out of git.
    ignored: String,
    /// Who is connected with the token.
    connections: Vec<ConnectionLine>,
    test: Option<TokenTested>,
}

/// A token that somebody asked for and that opens nothing.
struct Missing {
    name: String,
    was_revoked: bool,
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
    let all = all_tokens(app, person, &workspace).await?;
    let live = all.iter().filter(|token| token.state == "active");
    let tokens: Vec<String> = live.map(|token| token.name.clone()).collect();
    let (token, missing) = match token {
        Some(token) if tokens.contains(&token) => (Some(token), None),
        Some(name) => {
            let was_revoked = all.iter().any(|token| token.name == name);
            (None, Some(Missing { name, was_revoked }))
        }
        None => (None, None),
    };
    let token = token
        .or_else(|| tokens.first().cloned())
        .unwrap_or_default();
    // What is asked for again is what was asked for, so that what it says does not go away by itself.
    let slot = missing.as_ref().map_or(&token, |missing| &missing.name);
    let query = serde_urlencoded::to_string([("slot", slot)]).map_err(anyhow::Error::from)?;
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
        export: clients::export_line(&variable),
        ignored: clients::IGNORED.join("\n"),
        workspace,
        mcp_url,
        query,
        missing,
        token,
        tokens,
        variable,
        connections,
        test,
    })
}

async fn all_tokens(
    app: &App,
    person: &LoggedIn,
    workspace: &str,
) -> Result<Vec<TokenLine>, AppError> {
    let action = TokenList {
        workspace: workspace.to_owned(),
    };
    Ok(app.perform(action, &person.caller()).await?.tokens)
}
