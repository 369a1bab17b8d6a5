//! Checking that the keys at hand open and verify every live token.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action, KeyLines};
use crate::{app::App, caller::Caller, error::AppError, key_room::name_slots};

/// Opens every live token for a moment, and says which of them lack a key.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyCheck {}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct KeysChecked {
    /// The keys, and how many live tokens need each.
    #[serde(flatten)]
    pub(crate) keys: KeyLines,
    /// Live tokens that were opened, and whose signing key is there.
    pub(crate) sound: usize,
    /// Live tokens whose signing key is gone, by name: they are refused.
    pub(crate) unsigned: Option<String>,
    /// Live tokens of locked workspaces, by name, which were not looked at.
    pub(crate) locked: Option<String>,
    /// Whether all live tokens were looked at, and none lacks a key.
    pub(crate) is_sound: bool,
}

impl Action for KeyCheck {
    type Outcome = KeysChecked;
    const METHOD: Method = Method::GET;
    const ROUTE: &'static str = "/keys/check";
    const ACCESS: Access = Access::Administrator;

    async fn run(self, app: &App, _caller: &Caller) -> Result<KeysChecked, AppError> {
        let _turn = app.keys().turn().await;
        let used = app.keys().in_use(app.authority()).await?;
        let named = |slots: &[_]| (!slots.is_empty()).then(|| name_slots(slots));
        Ok(KeysChecked {
            keys: KeyLines::of(app, &used),
            sound: used.signing.values().map(Vec::len).sum(),
            unsigned: named(&used.unsigned),
            locked: named(&used.locked),
            is_sound: used.unsigned.is_empty()
                && used.unreadable.is_empty()
                && used.locked.is_empty(),
        })
    }
}
