//! Saying that a client that used a token for the first time is one of ours: nobody is reminded of it again.

use std::net::IpAddr;

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action, token_create::parse_name, workspace_ref};
use crate::{
    activity::store,
    app::App,
    audit::Note,
    caller::Caller,
    error::{AppError, ErrorCode},
    live::Topic,
    time,
};

/// Confirms a client of the token `name`, as the list of clients or a reminder names it.
///
/// It is confirmed for that address alone: from another one, it is new again.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenConfirmClient {
    pub(crate) workspace: String,
    pub(crate) name: String,
    /// As it names itself: `claude-code`. May be empty.
    pub(crate) client_name: String,
    /// There is none if it is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ClientConfirmed {
    /// In RFC 3339.
    pub(crate) confirmed_at: String,
}

impl Action for TokenConfirmClient {
    type Outcome = ClientConfirmed;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/workspaces/{workspace}/tokens/{name}/clients/confirm";
    const ACCESS: Access = Access::Owner;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    fn note(&self) -> Option<Note> {
        let who = match &self.address {
            Some(address) => format!("{} at {address}", self.client_name),
            None => self.client_name.clone(),
        };
        Some(
            Note::new("token.confirm_client")
                .about(&self.name)
                .with_detail(who),
        )
    }

    async fn run(self, app: &App, _caller: &Caller) -> Result<ClientConfirmed, AppError> {
        let name = parse_name(&self.name)?;
        let address = parse_address(self.address.as_deref())?;
        let (id, now) = (
            workspace_ref::find(app, &self.workspace).await?.id,
            time::now(),
        );
        app.activity().flush(app.database()).await;
        let is_known = app
            .database()
            .write(move |transaction| {
                let slot = name.as_str();
                store::confirm_client(transaction, &id, slot, &self.client_name, address, now)
            })
            .await?;
        if !is_known {
            return Err(AppError::new(
                ErrorCode::NotFound,
                "no such client has used this token from there: look at the list again",
            ));
        }
        app.live().announce(Some(&id), Topic::Tokens);
        Ok(ClientConfirmed {
            confirmed_at: time::rfc3339(now),
        })
    }
}

/// Reads an address; an empty one is unknown.
pub(super) fn parse_address(text: Option<&str>) -> Result<Option<IpAddr>, AppError> {
    let text = text.filter(|text| !text.is_empty());
    text.map(str::parse)
        .transpose()
        .map_err(|_| AppError::invalid("`address` is no IP address: copy it from the list"))
}
