//! The trail of rejected uses: which old tokens are still being tried, and from where.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action, workspace_ref};
use crate::{
    activity::store::{self, RejectedUse},
    app::App,
    caller::Caller,
    error::AppError,
    time,
};

/// Lists the uses of old tokens of a workspace that were refused, the last one first.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RejectedUses {
    pub(crate) workspace: String,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct RejectedLines {
    pub(crate) rejected: Vec<RejectedLine>,
}

/// An old token that is tried from one address by one client.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct RejectedLine {
    /// The name of the token.
    pub(crate) token: String,
    /// The generation that it was.
    pub(crate) generation: u64,
    /// As people know it: `Claude Code`. Who used that generation from there under that agent, if that was
    /// one client and no other; else the agent.
    pub(crate) client: String,
    /// As it names itself: `claude-code`. May be empty.
    pub(crate) client_name: String,
    /// Of the one that is named.
    pub(crate) version: String,
    /// The first product of the `User-Agent` of the refused requests: `python-httpx`. May be empty.
    pub(crate) agent: String,
    pub(crate) agent_version: String,
    /// There is none if it is unknown, or if there were too many to tell apart.
    pub(crate) address: Option<String>,
    pub(crate) times: u64,
    /// In RFC 3339.
    pub(crate) first_at: String,
    /// In RFC 3339.
    pub(crate) last_at: String,
    /// An owner has seen it, and it was not tried since.
    pub(crate) is_hidden: bool,
    /// `old token tried 14 times from 10.0.0.5, Claude Code 2.1.330`.
    pub(crate) words: String,
}

impl Action for RejectedUses {
    type Outcome = RejectedLines;
    const METHOD: Method = Method::GET;
    const ROUTE: &'static str = "/workspaces/{workspace}/tokens/rejected";
    const ACCESS: Access = Access::Owner;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    async fn run(self, app: &App, _caller: &Caller) -> Result<RejectedLines, AppError> {
        let id = workspace_ref::find(app, &self.workspace).await?.id;
        app.activity().flush(app.database()).await;
        let rejected = app
            .database()
            .read(move |snapshot| store::rejected_uses(snapshot, &id))
            .await?;
        Ok(RejectedLines {
            rejected: rejected.iter().map(RejectedLine::of).collect(),
        })
    }
}

impl RejectedLine {
    fn of(rejected: &RejectedUse) -> Self {
        Self {
            token: rejected.slot.clone(),
            generation: rejected.generation,
            client: rejected.client.title().to_owned(),
            client_name: rejected.client.name.clone(),
            version: rejected.client.version.clone(),
            agent: rejected.agent.name.clone(),
            agent_version: rejected.agent.version.clone(),
            address: rejected.address.map(|address| address.to_string()),
            times: rejected.times,
            first_at: time::rfc3339(rejected.first_at),
            last_at: time::rfc3339(rejected.last_at),
            is_hidden: rejected.is_hidden,
            words: words(rejected),
        }
    }
}

fn words(rejected: &RejectedUse) -> String {
    let times = match rejected.times {
        1 => "once".to_owned(),
        times => format!("{times} times"),
    };
    let place = match rejected.address {
        Some(address) => format!(" from {address}"),
        None => String::new(),
    };
    format!(
        "old token tried {times}{place}, {}",
        rejected.client.words()
    )
}
