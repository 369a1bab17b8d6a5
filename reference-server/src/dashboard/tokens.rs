//! `/w/ID/tokens`: the tokens of a workspace; making, regenerating, replacing and revoking one.

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
    present::{self, Present},
    secret_card::{self, Aftermath, CutClient, Rotation, SecretCard},
};
use crate::{
    actions::{
        ClientLine, HistoryLine, Reason, RejectedLine, RejectedUseHide, RejectedUses, Reminder,
        ReminderKind, TokenClients, TokenConfirmClient, TokenCreate, TokenCreated, TokenHistory,
        TokenLine, TokenList, TokenReminders, TokenReplace, TokenRevoke, TokenRotate,
        successor_name,
    },
    app::App,
    error::{AppError, ErrorCode},
    once::OnceForm,
    replacements::{self, Replacement},
    variables::slot_variable,
};

#[derive(Template)]
#[template(path = "tokens.html")]
struct TokensPage {
    layout: Layout,
    workspace: String,
    live: Vec<TokenLine>,
    revoked: Vec<TokenLine>,
    reminders: Vec<Reminder>,
    replacements: Vec<Replacing>,
    rejected: Vec<RejectedLine>,
    once: String,
}

/// A token that is being replaced, and whether the new one is in use.
struct Replacing {
    old: String,
    new: String,
    is_used: bool,
}

#[derive(Template)]
#[template(path = "token.html")]
struct TokenPage {
    layout: Layout,
    workspace: String,
    token: TokenLine,
    clients: Vec<ClientLine>,
    present: Vec<Present>,
    events: Vec<HistoryLine>,
    rejected: Vec<RejectedLine>,
}

#[derive(Template)]
#[template(path = "token_regenerate.html")]
struct RegeneratePage {
    layout: Layout,
    workspace: String,
    token: TokenLine,
    present: Vec<Present>,
    reason: Option<Reason>,
    /// Where clients find the token.
    variable: String,
    second: Second,
    once: String,
    once_for_replacing: String,
}

/// The token that would replace one without a gap.
struct Second {
    name: String,
    variable: String,
}

#[derive(Template)]
#[template(path = "token_revoke.html")]
struct RevokePage {
    layout: Layout,
    workspace: String,
    token: TokenLine,
    present: Vec<Present>,
    problem: Option<&'static str>,
}

#[derive(Template)]
#[template(path = "token_back.html")]
struct BackPart {
    after: Aftermath,
}

#[derive(Deserialize)]
pub(super) struct CreateForm {
    name: String,
    once: String,
}

#[derive(Deserialize)]
pub(super) struct RegenerateForm {
    once: String,
    generation: u64,
    reason: Reason,
}

#[derive(Deserialize)]
pub(super) struct OnlyOnce {
    once: String,
}

#[derive(Deserialize)]
pub(super) struct RevokeForm {
    confirm: String,
    reason: Option<Reason>,
}

#[derive(Deserialize)]
pub(super) struct ClientForm {
    client_name: String,
    #[serde(default)]
    address: String,
}

#[derive(Deserialize)]
pub(super) struct RejectedForm {
    generation: u64,
    #[serde(default)]
    address: String,
    agent: String,
    agent_version: String,
    times: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct WhyQuery {
    reason: Option<Reason>,
}

#[derive(Debug, Deserialize)]
pub(super) struct BackQuery {
    /// The generation that a rotation has made.
    generation: u64,
}

pub(super) async fn show(
    State(app): State<App>,
    person: LoggedIn,
    Path(workspace): Path<String>,
    Query(done): Query<Done>,
) -> PageResult {
    let (layout, info) =
        Layout::of_workspace(&app, &person.0, &workspace, "tokens", "Tokens").await?;
    let caller = person.caller();
    let tokens = list(&app, &person, &workspace).await?;
    let reminders = TokenReminders {
        workspace: workspace.clone(),
    };
    let reminders = app.perform(reminders, &caller).await?.reminders;
    let rejected = RejectedUses {
        workspace: workspace.clone(),
    };
    let mut rejected = app.perform(rejected, &caller).await?.rejected;
    rejected.retain(|rejected| !rejected.is_hidden);
    let replacements = app
        .database()
        .read(move |snapshot| replacements::list(snapshot, &info.id))
        .await?;
    let replacements = replacements
        .iter()
        .filter_map(|pair| Replacing::of(pair, &tokens));
    let replacements = replacements.collect();
    let (live, revoked) = tokens
        .into_iter()
        .partition(|token| token.state == "active");
    render(&TokensPage {
        layout: layout.with_notice(done.notice()),
        workspace,
        live,
        revoked,
        reminders,
        replacements,
        rejected,
        once: app.once().number(person.user(), OnceForm::TokenCreate)?,
    })
}

pub(super) async fn create(
    State(app): State<App>,
    person: LoggedIn,
    Path(workspace): Path<String>,
    Form(form): Form<CreateForm>,
) -> PageResult {
    let action = TokenCreate {
        workspace: workspace.clone(),
        name: slot_name(&form.name),
    };
    let caller = person.caller();
    let working = app.perform(action, &caller);
    let created = app
        .once()
        .run(person.user(), OnceForm::TokenCreate, &form.once, working)
        .await?;
    show_created(&app, &person, workspace, created, None).await
}

pub(super) async fn show_one(
    State(app): State<App>,
    person: LoggedIn,
    Path((workspace, name)): Path<(String, String)>,
) -> PageResult {
    let (layout, _) = Layout::of_workspace(&app, &person.0, &workspace, "tokens", &name).await?;
    let caller = person.caller();
    let token = find(&app, &person, &workspace, &name).await?;
    let clients = TokenClients {
        workspace: workspace.clone(),
        name: name.clone(),
        since: None,
    };
    let clients = app.perform(clients, &caller).await?;
    let history = TokenHistory {
        workspace: workspace.clone(),
        name: name.clone(),
    };
    let events = app.perform(history, &caller).await?.events;
    let rejected = RejectedUses {
        workspace: workspace.clone(),
    };
    let mut rejected = app.perform(rejected, &caller).await?.rejected;
    rejected.retain(|rejected| rejected.token == name);
    render(&TokenPage {
        layout,
        workspace,
        token,
        clients: clients.clients,
        present: Present::group(&clients.connections),
        events,
        rejected,
    })
}

pub(super) async fn ask_regenerate(
    State(app): State<App>,
    person: LoggedIn,
    Path((workspace, name)): Path<(String, String)>,
    Query(why): Query<WhyQuery>,
) -> PageResult {
    let (layout, info) =
        Layout::of_workspace(&app, &person.0, &workspace, "tokens", "Regenerate").await?;
    let tokens = list(&app, &person, &workspace).await?;
    let second = Second::of(&info.name, &name, &tokens);
    let token = tokens.into_iter().find(|token| token.name == name);
    let token = token.ok_or_else(no_such_token)?;
    render(&RegeneratePage {
        layout,
        variable: slot_variable(&info.name, &name),
        second,
        present: present(&app, &person, &workspace, &name).await?,
        workspace,
        token,
        reason: why.reason,
        once: app
            .once()
            .number(person.user(), OnceForm::TokenRegenerate)?,
        once_for_replacing: app.once().number(person.user(), OnceForm::TokenReplace)?,
    })
}

pub(super) async fn regenerate(
    State(app): State<App>,
    person: LoggedIn,
    Path((workspace, name)): Path<(String, String)>,
    Form(form): Form<RegenerateForm>,
) -> PageResult {
    let action = TokenRotate {
        workspace: workspace.clone(),
        name: name.clone(),
        reason: Some(form.reason),
        generation: Some(form.generation),
    };
    let caller = person.caller();
    let working = app.perform(action, &caller);
    let rotated = app
        .once()
        .run(
            person.user(),
            OnceForm::TokenRegenerate,
            &form.once,
            working,
        )
        .await?;
    let (layout, info) =
        Layout::of_workspace(&app, &person.0, &workspace, "tokens", "Regenerated").await?;
    let rotation = Rotation {
        sessions: rotated.sessions_ended,
        streams: rotated.streams_severed,
        milliseconds: milliseconds(rotated.microseconds),
        generation: rotated.generation,
        after: aftermath(&app, &person, &workspace, &name, rotated.generation).await?,
    };
    let card = SecretCard {
        workspace,
        token: name,
        secret: rotated.secret,
        mcp_url: app.addresses().mcp_url(&info.id),
        replaces: None,
        rotation: Some(rotation),
    };
    secret_card::show(layout, card)
}

/// What came of a rotation, as a part of its card that keeps itself up to date.
pub(super) async fn back(
    State(app): State<App>,
    person: LoggedIn,
    Path((workspace, name)): Path<(String, String)>,
    Query(query): Query<BackQuery>,
) -> PageResult {
    render(&BackPart {
        after: aftermath(&app, &person, &workspace, &name, query.generation).await?,
    })
}

/// Returns whom the rotation that made `generation` has cut off, and who tries the one before.
async fn aftermath(
    app: &App,
    person: &LoggedIn,
    workspace: &str,
    name: &str,
    generation: u64,
) -> Result<Aftermath, AppError> {
    let (caller, before) = (person.caller(), generation.saturating_sub(1));
    let action = TokenClients {
        workspace: workspace.to_owned(),
        name: name.to_owned(),
        since: None,
    };
    let clients = app.perform(action, &caller).await?.clients;
    let action = RejectedUses {
        workspace: workspace.to_owned(),
    };
    let mut tried = app.perform(action, &caller).await?.rejected;
    tried.retain(|tried| tried.token == name && tried.generation == before);
    Ok(Aftermath {
        cut: CutClient::list(clients, before),
        tried,
    })
}

/// "That was us": a reminder less.
pub(super) async fn confirm_client(
    State(app): State<App>,
    person: LoggedIn,
    Path((workspace, name)): Path<(String, String)>,
    Form(form): Form<ClientForm>,
) -> PageResult {
    let to = format!("/w/{workspace}/tokens?done=confirmed");
    let action = TokenConfirmClient {
        workspace,
        name,
        client_name: form.client_name,
        address: Some(form.address),
    };
    perform_and_go(&app, &person, action, &to).await
}

/// "Seen": out of sight until it is tried again, or not at all if it was tried meanwhile.
pub(super) async fn hide_rejected(
    State(app): State<App>,
    person: LoggedIn,
    Path((workspace, name)): Path<(String, String)>,
    Form(form): Form<RejectedForm>,
) -> PageResult {
    let tokens = format!("/w/{workspace}/tokens");
    let action = RejectedUseHide {
        workspace,
        name,
        generation: form.generation,
        address: Some(form.address),
        agent: form.agent,
        agent_version: form.agent_version,
        times: form.times,
    };
    let hidden = app.perform(action, &person.caller()).await?;
    let to = match hidden.is_hidden {
        true => format!("{tokens}?done=hidden"),
        false => tokens,
    };
    Ok(Redirect::to(&to).into_response())
}

pub(super) async fn replace(
    State(app): State<App>,
    person: LoggedIn,
    Path((workspace, name)): Path<(String, String)>,
    Form(form): Form<OnlyOnce>,
) -> PageResult {
    let action = TokenReplace {
        workspace: workspace.clone(),
        name: name.clone(),
    };
    let caller = person.caller();
    let working = app.perform(action, &caller);
    let created = app
        .once()
        .run(person.user(), OnceForm::TokenReplace, &form.once, working)
        .await?;
    show_created(&app, &person, workspace, created, Some(name)).await
}

pub(super) async fn ask_revoke(
    State(app): State<App>,
    person: LoggedIn,
    Path((workspace, name)): Path<(String, String)>,
) -> PageResult {
    revoke_page(&app, &person, workspace, name, None).await
}

pub(super) async fn revoke(
    State(app): State<App>,
    person: LoggedIn,
    Path((workspace, name)): Path<(String, String)>,
    Form(form): Form<RevokeForm>,
) -> PageResult {
    if form.confirm.trim() != name {
        let problem = Some("Type the name of the token as it stands above. Nothing was done.");
        return revoke_page(&app, &person, workspace, name, problem).await;
    }
    let to = format!("/w/{workspace}/tokens?done=revoked");
    let action = TokenRevoke {
        workspace,
        name,
        reason: form.reason,
        generation: None,
    };
    perform_and_go(&app, &person, action, &to).await
}

async fn show_created(
    app: &App,
    person: &LoggedIn,
    workspace: String,
    created: TokenCreated,
    replaces: Option<String>,
) -> PageResult {
    let (layout, _) =
        Layout::of_workspace(app, &person.0, &workspace, "tokens", "New token").await?;
    let card = SecretCard {
        workspace,
        token: created.token.name,
        secret: created.secret,
        mcp_url: created.mcp_url,
        replaces,
        rotation: None,
    };
    secret_card::show(layout, card)
}

async fn revoke_page(
    app: &App,
    person: &LoggedIn,
    workspace: String,
    name: String,
    problem: Option<&'static str>,
) -> PageResult {
    let (layout, _) = Layout::of_workspace(app, &person.0, &workspace, "tokens", "Revoke").await?;
    let token = find(app, person, &workspace, &name).await?;
    render(&RevokePage {
        layout,
        present: present(app, person, &workspace, &name).await?,
        workspace,
        token,
        problem,
    })
}

async fn list(app: &App, person: &LoggedIn, workspace: &str) -> Result<Vec<TokenLine>, AppError> {
    let action = TokenList {
        workspace: workspace.to_owned(),
    };
    Ok(app.perform(action, &person.caller()).await?.tokens)
}

async fn find(
    app: &App,
    person: &LoggedIn,
    workspace: &str,
    name: &str,
) -> Result<TokenLine, AppError> {
    let tokens = list(app, person, workspace).await?;
    let token = tokens.into_iter().find(|token| token.name == name);
    token.ok_or_else(no_such_token)
}

fn no_such_token() -> AppError {
    AppError::new(ErrorCode::NotFound, "there is no token of that name")
}

/// Returns who would be cut off.
async fn present(
    app: &App,
    person: &LoggedIn,
    workspace: &str,
    name: &str,
) -> Result<Vec<Present>, AppError> {
    let action = TokenClients {
        workspace: workspace.to_owned(),
        name: name.to_owned(),
        since: None,
    };
    let connections = app.perform(action, &person.caller()).await?.connections;
    Ok(Present::group(&connections))
}

/// Returns what people type as a name that a token can have.
fn slot_name(typed: &str) -> String {
    let words = typed.trim().to_lowercase();
    let words: Vec<&str> = words.split_whitespace().collect();
    words.join("-")
}

fn milliseconds(microseconds: u64) -> String {
    format!("{}.{}", microseconds / 1000, microseconds % 1000 / 100)
}

impl Second {
    fn of(workspace: &str, old: &str, tokens: &[TokenLine]) -> Self {
        let is_live = |name: &str| {
            let mut live = tokens.iter().filter(|token| token.state == "active");
            live.any(|token| token.name == name)
        };
        let name = successor_name(old, is_live);
        Self {
            variable: slot_variable(workspace, &name),
            name,
        }
    }
}

impl Replacing {
    /// Nothing if one of the two is not there any longer.
    fn of(pair: &Replacement, tokens: &[TokenLine]) -> Option<Self> {
        let live = |name: &str| {
            let mut live = tokens.iter().filter(|token| token.state == "active");
            live.find(|token| token.name == name)
        };
        let (old, new) = (live(&pair.old)?, live(&pair.new)?);
        Some(Self {
            old: old.name.clone(),
            new: new.name.clone(),
            is_used: new.last_used.is_some(),
        })
    }
}

impl TokenLine {
    /// Returns the end of the public id: what tells tokens apart, and opens nothing.
    fn mask(&self) -> String {
        let tail = self.id.len().saturating_sub(4);
        format!("…{}", self.id.get(tail..).unwrap_or_default())
    }

    fn shown_state(&self) -> &'static str {
        match (self.state.as_str(), &self.last_used) {
            ("revoked", _) => "revoked",
            (_, None) => "never used",
            _ => "active",
        }
    }

    fn state_class(&self) -> &'static str {
        match self.shown_state() {
            "active" => "good",
            "revoked" => "bad",
            _ => "warn",
        }
    }
}

impl ReminderKind {
    /// Returns what the reminder asks for.
    fn way_out(self) -> &'static str {
        match self {
            Self::MemberLeft => "regenerate?reason=member-left",
            Self::NewClient => "regenerate?reason=suspicion",
            Self::Old => "regenerate?reason=routine",
            Self::Unused => "revoke",
        }
    }

    /// Returns what that does to the token, whose name follows.
    fn way_out_words(self) -> &'static str {
        match self {
            Self::MemberLeft | Self::NewClient | Self::Old => "Regenerate",
            Self::Unused => "Revoke",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_of_what_people_type() {
        assert_eq!(slot_name(" CI  Runner 2 "), "ci-runner-2");
        assert_eq!(slot_name("laptop"), "laptop");
    }

    #[test]
    fn times_are_shown_in_milliseconds() {
        assert_eq!(milliseconds(0), "0.0");
        assert_eq!(milliseconds(12_345), "12.3");
    }
}
