//! Who was shown the secret of which token: when they leave, it is to be regenerated.

use tower_workspace_token::{id::WorkspaceId, token::IssuedToken};

use super::UserId;
use crate::{
    app::App,
    caller::Caller,
    db::{DatabaseError, Transaction, params},
    time,
};

/// A token that somebody has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sighting {
    pub(crate) token: String,
    pub(crate) generation: u64,
    pub(crate) user: UserId,
    /// The user's name.
    pub(crate) name: String,
    /// Whether the user is a member still.
    pub(crate) is_member: bool,
}

/// Notes that `caller` is about to be shown a token. A failure is logged: it costs a reminder.
pub(crate) async fn note_shown(
    app: &App,
    caller: &Caller,
    workspace: &WorkspaceId,
    token: &IssuedToken,
) {
    let Some(user) = caller.user().cloned() else {
        return;
    };
    let (workspace, name) = (*workspace, token.name().to_string());
    let generation = token.generation().number();
    let noted = app
        .database()
        .write(move |transaction| {
            note(
                transaction,
                &workspace,
                &name,
                generation,
                &user,
                time::now(),
            )
        })
        .await;
    if let Err(error) = noted {
        tracing::error!("it was not noted who has seen a token: {error}");
    }
}

fn note(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
    token: &str,
    generation: u64,
    user: &UserId,
    now: i64,
) -> Result<(), DatabaseError> {
    let generation = i64::try_from(generation).unwrap_or(i64::MAX);
    connection.execute(
        "INSERT INTO sightings (workspace, slot, generation, user, at)
         VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
        params![workspace.as_str(), token, generation, user.as_str(), now],
    )?;
    // Earlier generations open nothing any longer.
    connection.execute(
        "DELETE FROM sightings WHERE workspace = ?1 AND slot = ?2 AND generation < ?3",
        params![workspace.as_str(), token, generation],
    )?;
    Ok(())
}

/// Returns who has seen which tokens of a workspace; of older generations too, if they were regenerated
/// by the command line.
pub(crate) fn list(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
) -> Result<Vec<Sighting>, DatabaseError> {
    let mut statement = connection.prepare_cached(
        "SELECT sightings.slot, sightings.generation, users.id, users.name,
                (users.is_administrator <> 0 OR members.user IS NOT NULL) AND users.disabled_at IS NULL
         FROM sightings JOIN users ON users.id = sightings.user
         LEFT JOIN members ON members.workspace = sightings.workspace AND members.user = users.id
         WHERE sightings.workspace = ?1
         ORDER BY sightings.slot, sightings.at",
    )?;
    let rows = statement.query_map([workspace.as_str()], |row| {
        Ok(Sighting {
            token: row.get(0)?,
            generation: row.get::<_, i64>(1)?.unsigned_abs(),
            user: UserId::new(row.get::<_, String>(2)?),
            name: row.get(3)?,
            is_member: row.get(4)?,
        })
    })?;
    rows.collect::<Result<_, _>>()
}
