//! Listing the keys: ids, never keys.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tower_workspace_token::id::{KeyId, SlotKey};

use super::{Access, Action};
use crate::{
    app::App,
    caller::Caller,
    error::AppError,
    key_room::{KeyUse, name_slots},
};

/// Lists the keys of both rings, and how many live tokens need each.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyList {}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct KeyLines {
    /// Where the keys are.
    pub(crate) file: String,
    /// Each ring's primary first.
    pub(crate) keys: Vec<KeyLine>,
    /// Live tokens that none of the keys opens, by name.
    pub(crate) unreadable: Option<String>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct KeyLine {
    pub(crate) id: String,
    /// `signing` or `sealing`.
    pub(crate) ring: String,
    /// `primary`, or `former`: it verifies or opens what is there, and makes nothing new.
    pub(crate) role: String,
    /// How many live tokens are signed, or sealed, with it.
    pub(crate) tokens: usize,
}

impl Action for KeyList {
    type Outcome = KeyLines;
    const METHOD: Method = Method::GET;
    const ROUTE: &'static str = "/keys";
    const ACCESS: Access = Access::Administrator;

    async fn run(self, app: &App, _caller: &Caller) -> Result<KeyLines, AppError> {
        let used = app.keys().in_use(app.authority()).await?;
        Ok(KeyLines::of(app, &used))
    }
}

impl KeyLines {
    pub(crate) fn of(app: &App, used: &KeyUse) -> Self {
        let ids = app.keys().ids();
        let mut keys = Vec::new();
        let signing = ("signing", ids.signing, &used.signing);
        let sealing = ("sealing", ids.sealing, &used.sealing);
        for (ring, ids, used) in [signing, sealing] {
            for (index, id) in ids.iter().enumerate() {
                let slots: Option<&Vec<SlotKey>> = used.get::<KeyId>(id);
                keys.push(KeyLine {
                    id: id.to_string(),
                    ring: ring.to_owned(),
                    role: if index == 0 { "primary" } else { "former" }.to_owned(),
                    tokens: slots.map_or(0, Vec::len),
                });
            }
        }
        Self {
            file: app.keys().file().path().display().to_string(),
            keys,
            unreadable: (!used.unreadable.is_empty()).then(|| name_slots(&used.unreadable)),
        }
    }
}
