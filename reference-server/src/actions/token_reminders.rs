//! What an owner had better do about the tokens of a workspace.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tower_workspace_token::{
    authority::{TokenState, TokenSummary},
    id::WorkspaceId,
};

use super::{Access, Action, workspace_ref};
use crate::{
    activity::{
        self,
        store::{self, KnownClient},
    },
    app::App,
    caller::Caller,
    error::AppError,
    people::sightings::{self, Sighting},
    time,
};

/// Lists the reminders for the live tokens of a workspace.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenReminders {
    pub(crate) workspace: String,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Reminders {
    pub(crate) reminders: Vec<Reminder>,
}

/// Something to be done, or to be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Reminder {
    /// The name of the token.
    pub(crate) token: String,
    pub(crate) kind: ReminderKind,
    pub(crate) words: String,
    /// The client it is about, as it names itself, if it is about one: what confirming it takes.
    pub(crate) client_name: Option<String>,
    pub(crate) address: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ReminderKind {
    /// Somebody has seen the token who is no member any longer.
    MemberLeft,
    /// The token was used by a client or from an address that are new, in the last week, and nobody has
    /// said that they are known.
    NewClient,
    /// The token is older than 90 days.
    Old,
    /// The token was made 30 days ago and was never used.
    Unused,
}

impl Action for TokenReminders {
    type Outcome = Reminders;
    const METHOD: Method = Method::GET;
    const ROUTE: &'static str = "/workspaces/{workspace}/tokens/reminders";
    const ACCESS: Access = Access::Owner;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    async fn run(self, app: &App, _caller: &Caller) -> Result<Reminders, AppError> {
        let id = workspace_ref::find(app, &self.workspace).await?.id;
        app.activity().flush(app.database()).await;
        let facts = Facts::collect(app, id).await?;
        let tokens = app.authority().list(&id).await?;
        let live = tokens
            .iter()
            .filter(|token| token.state == TokenState::Active);
        Ok(Reminders {
            reminders: live.flat_map(|token| facts.reminders(token)).collect(),
        })
    }
}

/// What is known of all tokens of a workspace.
struct Facts {
    now: i64,
    sightings: Vec<Sighting>,
    new_clients: Vec<KnownClient>,
}

impl Facts {
    async fn collect(app: &App, workspace: WorkspaceId) -> Result<Self, AppError> {
        let now = time::now();
        app.database()
            .read(move |snapshot| {
                Ok(Self {
                    now,
                    sightings: sightings::list(snapshot, &workspace)?,
                    new_clients: store::new_clients(snapshot, &workspace, now - NEW)?,
                })
            })
            .await
    }

    fn reminders(&self, token: &TokenSummary) -> Vec<Reminder> {
        let (name, generation) = (token.name.as_str(), token.generation.number());
        let age = self.now - time::column(token.changed_at);
        let remind = |kind, words: String| Reminder {
            token: name.to_owned(),
            kind,
            words,
            client_name: None,
            address: None,
        };
        let left = self
            .sightings
            .iter()
            .filter(|seen| !seen.is_member && seen.token == name && seen.generation == generation);
        let mut reminders: Vec<Reminder> = left
            .map(|seen| {
                let words = format!(
                    "{} has seen it, and is no member any longer: regenerate it",
                    seen.name
                );
                remind(ReminderKind::MemberLeft, words)
            })
            .collect();
        let new = self
            .new_clients
            .iter()
            .filter(|client| client.slot == name && client.generation == generation);
        reminders.extend(new.map(|client| {
            let who = activity::who_and_where(&client.client, client.address);
            let words = format!(
                "used for the first time by {who}: regenerate it if that is nobody of yours"
            );
            Reminder {
                client_name: Some(client.client.name.clone()),
                address: client.address.map(|address| address.to_string()),
                ..remind(ReminderKind::NewClient, words)
            }
        }));
        if token.last_used_at.is_none() && age > UNUSED {
            let words = format!(
                "never used in {} days: revoke it if nobody waits for it",
                age / DAY
            );
            reminders.push(remind(ReminderKind::Unused, words));
        } else if age > OLD {
            let words = format!("{} days old: regenerate it when it suits", age / DAY);
            reminders.push(remind(ReminderKind::Old, words));
        }
        reminders
    }
}

const DAY: i64 = 24 * 60 * 60 * 1000;
const OLD: i64 = 90 * DAY;
const UNUSED: i64 = 30 * DAY;
const NEW: i64 = 7 * DAY;
