//! Taking new keys: from here on they sign or seal, and the former ones open what is there.

use clap::ValueEnum;
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tower_workspace_token::{
    authority::Keys,
    cipher::{InvalidKeyRing, KeyRing, RingKey},
};

use super::{Access, Action, KeyLines};
use crate::{
    app::App,
    audit::Note,
    caller::Caller,
    error::{AppError, ErrorCode},
    key_check,
    key_room::unavailable,
    text::counted,
};

/// Adds a new key to a ring as its primary; to both if none is named.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyRotate {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ring: Option<Ring>,
}

/// Which of the two rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Ring {
    /// The keys that tokens are encrypted with at rest
    Sealing,
    /// The keys that make tokens unforgeable
    Signing,
}

impl Action for KeyRotate {
    type Outcome = KeyLines;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/keys/rotate";
    const ACCESS: Access = Access::Administrator;

    fn note(&self) -> Option<Note> {
        Some(Note::new("key.rotate"))
    }

    async fn run(self, app: &App, _caller: &Caller) -> Result<KeyLines, AppError> {
        let _turn = app.keys().turn().await;
        refuse_if_others_serve(app).await?;
        // No token is being minted meanwhile, so none appears under the former keys later on.
        let _alone = app.lifecycle().write().await;
        let before = app.keys().read()?;
        let new = Keys::generate().map_err(anyhow::Error::from)?;
        let rotates = |ring| self.ring.is_none_or(|chosen| chosen == ring);
        let mut keys = before.clone();
        if rotates(Ring::Signing) {
            keys.signing = put_first(new.signing, &before.signing).map_err(anyhow::Error::from)?;
        }
        if rotates(Ring::Sealing) {
            keys.sealing = put_first(new.sealing, &before.sealing).map_err(anyhow::Error::from)?;
        }
        let used = key_check::used(&keys);
        app.keys().replace(app.authority(), keys)?;
        // After the file: a database that needs a key which is in no file would not open. If this does
        // not come about, the next start does it.
        let nodes = app.nodes().clone();
        app.database()
            .write(move |transaction| {
                key_check::note(transaction, &used)?;
                nodes.tell_of_keys(transaction)
            })
            .await?;
        let ids = app.keys().ids();
        tracing::info!(signing = %ids.signing[0], sealing = %ids.sealing[0], "new keys");
        let used = app.keys().in_use(app.authority()).await?;
        Ok(KeyLines::of(app, &used))
    }
}

/// Stops a change of the key file while other nodes have the one from before: they would refuse what is made with
/// the new one, or need what is gone from it.
pub(super) async fn refuse_if_others_serve(app: &App) -> Result<(), AppError> {
    let Some(store) = app.keys().store().postgres() else {
        return Ok(());
    };
    let nodes = store.nodes().await.map_err(unavailable)?;
    match nodes.iter().filter(|node| !node.is_this).count() {
        0 => Ok(()),
        others => Err(AppError::new(
            ErrorCode::Conflict,
            format!(
                "{} with the same database would not know of the new keys: stop the others (one that crashed is forgotten after some ten seconds), run this again, give them a copy of the key file, and start them; this one goes on serving; nothing was changed",
                counted(others, "other node")
            ),
        )),
    }
}

/// Returns a ring with the primary of `new` and after it all of `former`.
fn put_first<K: RingKey + Clone>(
    new: KeyRing<K>,
    former: &KeyRing<K>,
) -> Result<KeyRing<K>, InvalidKeyRing> {
    former
        .iter()
        .try_fold(new, |ring, key| ring.with_retired(key.clone()))
}
