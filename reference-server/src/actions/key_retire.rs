//! Taking a key out of the key file for good.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tower_workspace_token::{
    authority::Keys,
    cipher::{KeyRing, RingKey},
    id::{KeyId, SlotKey},
};

use super::{Access, Action, KeyLines, key_rotate::refuse_if_others_serve};
use crate::{
    app::App,
    audit::Note,
    caller::Caller,
    db::DatabaseError,
    error::{AppError, ErrorCode},
    key_check,
    key_room::{KeyUse, name_slots},
    text::counted,
};

/// Takes a former key that no live token needs out of its ring and out of the key file.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyRetire {
    pub(crate) id: String,
}

impl Action for KeyRetire {
    type Outcome = KeyLines;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/keys/{id}/retire";
    const ACCESS: Access = Access::Administrator;

    fn note(&self) -> Option<Note> {
        Some(Note::new("key.retire").about(&self.id))
    }

    async fn run(self, app: &App, _caller: &Caller) -> Result<KeyLines, AppError> {
        let id: KeyId = self.id.parse().map_err(|_| {
            AppError::invalid("a key's id has 8 characters").with_hint("`wst key list` shows them")
        })?;
        let _turn = app.keys().turn().await;
        refuse_if_others_serve(app).await?;
        // No token is being minted meanwhile, so what is counted is what there is.
        let _alone = app.lifecycle().write().await;
        let ring = find_former(app, &id)?;
        let used = app.keys().in_use(app.authority()).await?;
        refuse_if_unknown(&used)?;
        let needed_by = match ring {
            "signing" => used.signing.get(&id),
            _ => used.sealing.get(&id),
        };
        refuse_if_needed(&id, ring, needed_by)?;
        let before = app.keys().read()?;
        let keys = Keys {
            signing: without(&before.signing, &id).map_err(anyhow::Error::from)?,
            sealing: without(&before.sealing, &id).map_err(anyhow::Error::from)?,
        };
        // Before the file: a key too many does no harm, and one too few keeps the server from starting.
        let forgotten = id.to_string();
        app.database()
            .write(move |transaction| {
                key_check::forget(transaction, ring, &forgotten)?;
                Ok::<_, DatabaseError>(())
            })
            .await?;
        app.keys().replace(app.authority(), keys)?;
        tracing::info!(ring, %id, "key retired");
        Ok(KeyLines::of(app, &used))
    }
}

/// Returns the ring that holds the key, unless it is the ring's primary.
fn find_former(app: &App, id: &KeyId) -> Result<&'static str, AppError> {
    let ids = app.keys().ids();
    let rings = [("signing", &ids.signing), ("sealing", &ids.sealing)];
    for (ring, ids) in rings {
        match ids.iter().position(|known| known == id) {
            None => {}
            Some(0) => {
                return Err(AppError::new(
                    ErrorCode::Conflict,
                    format!("the key {id} is the primary {ring} key: add new primary keys first"),
                )
                .with_hint("`wst key rotate`"));
            }
            Some(_) => return Ok(ring),
        }
    }
    Err(
        AppError::new(ErrorCode::NotFound, format!("there is no key {id}"))
            .with_hint("`wst key list` shows all"),
    )
}

/// Refuses while it is not known which keys a token needs.
fn refuse_if_unknown(used: &KeyUse) -> Result<(), AppError> {
    if used.locked.is_empty() {
        return Ok(());
    }
    Err(AppError::new(
        ErrorCode::Conflict,
        format!(
            "an old copy of the database was put back, and what {} ({}) need cannot be told while their workspaces are locked: put the right one back, or unlock them; nothing was changed",
            counted(used.locked.len(), "live token"),
            name_slots(&used.locked)
        ),
    )
    .with_hint("`wst workspace unlock`"))
}

fn refuse_if_needed(
    id: &KeyId,
    ring: &str,
    needed_by: Option<&Vec<SlotKey>>,
) -> Result<(), AppError> {
    let Some(slots) = needed_by else {
        return Ok(());
    };
    let (way_out, hint) = match ring {
        "signing" => (
            "a token keeps the key that signed it until it is regenerated",
            "`wst token rotate`",
        ),
        _ => (
            "seal all tokens with the primary key first",
            "`wst key rewrap`",
        ),
    };
    Err(AppError::new(
        ErrorCode::Conflict,
        format!(
            "the {ring} key {id} is needed by {} ({}): {way_out}; nothing was changed",
            counted(slots.len(), "live token"),
            name_slots(slots)
        ),
    )
    .with_hint(hint))
}

/// Returns the ring without the former key `id`.
fn without<K: RingKey + Clone>(
    ring: &KeyRing<K>,
    id: &KeyId,
) -> Result<KeyRing<K>, tower_workspace_token::cipher::InvalidKeyRing> {
    ring.iter()
        .skip(1)
        .filter(|key| key.id() != *id)
        .try_fold(KeyRing::new(ring.primary().clone()), |ring, key| {
            ring.with_retired(key.clone())
        })
}
