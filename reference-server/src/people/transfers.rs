//! The table of workspaces that are to change hands: one offer per workspace, which holds a week.

use tower_workspace_token::id::WorkspaceId;

use super::UserId;
use crate::db::{DatabaseError, OptionalExtension as _, Transaction, params};

/// An offer that nobody has accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transfer {
    pub(crate) by: UserId,
    pub(crate) by_name: String,
    pub(crate) to: UserId,
    pub(crate) to_name: String,
    /// Milliseconds since 1970.
    pub(crate) at: i64,
}

/// The right to regenerate or end the tokens of a workspace that changes hands, and to say that it is done:
/// one at a time has it, of all servers. It is known by when it was got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim(i64);

impl Claim {
    /// Returns how long ago it was got, in milliseconds.
    pub(crate) fn age(self, now: i64) -> i64 {
        now.saturating_sub(self.0)
    }
}

/// Returns the offer, unless it is too old.
pub(crate) fn find(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
    now: i64,
) -> Result<Option<Transfer>, DatabaseError> {
    let mut statement = connection.prepare_cached(
        "SELECT offered_by, giver.name, offered_to, taker.name, offered_at FROM transfers
         JOIN users AS giver ON giver.id = offered_by JOIN users AS taker ON taker.id = offered_to
         WHERE workspace = ?1 AND accepted_at IS NULL AND offered_at > ?2",
    )?;
    let found = statement.query_row(params![workspace.as_str(), now - LIFETIME], |row| {
        Ok(Transfer {
            by: UserId::new(row.get::<_, String>(0)?),
            by_name: row.get(1)?,
            to: UserId::new(row.get::<_, String>(2)?),
            to_name: row.get(3)?,
            at: row.get(4)?,
        })
    });
    found.optional()
}

/// Returns the workspaces that are offered to a person, each with who offers it.
pub(crate) fn offered_to(
    connection: &Transaction<'_>,
    user: &UserId,
    now: i64,
) -> Result<Vec<(String, String)>, DatabaseError> {
    let mut statement = connection.prepare_cached(
        "SELECT workspace, giver.name FROM transfers JOIN users AS giver ON giver.id = offered_by
         WHERE offered_to = ?1 AND accepted_at IS NULL AND offered_at > ?2",
    )?;
    let rows = statement.query_map(params![user.as_str(), now - LIFETIME], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    rows.collect::<Result<_, _>>()
}

/// Offers a workspace, in place of any offer before; returns whether it could be: not while it changes hands.
pub(crate) fn offer(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
    by: &UserId,
    to: &UserId,
    now: i64,
) -> Result<bool, DatabaseError> {
    let offered = connection.execute(
        "INSERT INTO transfers (workspace, offered_by, offered_to, offered_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (workspace) DO UPDATE SET offered_by = ?2, offered_to = ?3, offered_at = ?4
         WHERE transfers.accepted_at IS NULL",
        params![workspace.as_str(), by.as_str(), to.as_str(), now],
    )?;
    Ok(offered > 0)
}

/// Marks the offer as accepted: its tokens are to be regenerated, by whoever holds the claim.
pub(crate) fn accept(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
    now: i64,
) -> Result<Claim, DatabaseError> {
    connection.execute(
        "UPDATE transfers SET accepted_at = ?2 WHERE workspace = ?1",
        params![workspace.as_str(), now],
    )?;
    Ok(Claim(now))
}

/// Takes over from whoever has the claim `seen`, unless they are done or somebody else has taken over.
pub(crate) fn take_over(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
    seen: Claim,
    now: i64,
) -> Result<Option<Claim>, DatabaseError> {
    // Later than the other, whatever the clocks say: no two claims are the same.
    let claim = Claim(now.max(seen.0.saturating_add(1)));
    let taken = connection.execute(
        "UPDATE transfers SET accepted_at = ?3 WHERE workspace = ?1 AND accepted_at = ?2",
        params![workspace.as_str(), seen.0, claim.0],
    )?;
    Ok((taken > 0).then_some(claim))
}

/// Forgets a transfer all of whose tokens were regenerated or ended; returns whether the claim still held.
pub(crate) fn finish(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
    claim: Claim,
) -> Result<bool, DatabaseError> {
    let finished = connection.execute(
        "DELETE FROM transfers WHERE workspace = ?1 AND accepted_at = ?2",
        params![workspace.as_str(), claim.0],
    )?;
    Ok(finished > 0)
}

/// Returns whether the claim holds.
pub(crate) fn is_held(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
    claim: Claim,
) -> Result<bool, DatabaseError> {
    let mut statement = connection
        .prepare_cached("SELECT 1 FROM transfers WHERE workspace = ?1 AND accepted_at = ?2")?;
    statement.exists(params![workspace.as_str(), claim.0])
}

/// Returns whether tokens of the workspace are yet to be regenerated or ended.
pub(crate) fn changes_hands(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
) -> Result<bool, DatabaseError> {
    let mut statement = connection.prepare_cached(
        "SELECT 1 FROM transfers WHERE workspace = ?1 AND accepted_at IS NOT NULL",
    )?;
    statement.exists([workspace.as_str()])
}

/// Forgets the offer: it was taken back.
pub(crate) fn remove(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
) -> Result<(), DatabaseError> {
    connection.execute(
        "DELETE FROM transfers WHERE workspace = ?1",
        [workspace.as_str()],
    )?;
    Ok(())
}

/// Forgets an offer to somebody, or by them: they are no member any longer.
pub(crate) fn forget(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
    user: &UserId,
) -> Result<(), DatabaseError> {
    connection.execute(
        "DELETE FROM transfers
         WHERE workspace = ?1 AND ?2 IN (offered_by, offered_to) AND accepted_at IS NULL",
        params![workspace.as_str(), user.as_str()],
    )?;
    Ok(())
}

/// Returns the workspaces that have changed hands without all of their tokens being regenerated.
pub(crate) fn unfinished(
    connection: &Transaction<'_>,
) -> Result<Vec<(WorkspaceId, Claim)>, DatabaseError> {
    let mut statement = connection.prepare_cached(
        "SELECT workspace, accepted_at FROM transfers WHERE accepted_at IS NOT NULL",
    )?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, Claim(row.get(1)?))))?;
    let rows: Vec<(String, Claim)> = rows.collect::<Result<_, _>>()?;
    // They refer to the table of workspaces, where ids are ids.
    let known = |(id, claim): &(String, Claim)| Some((id.parse().ok()?, *claim));
    Ok(rows.iter().filter_map(known).collect())
}

const LIFETIME: i64 = 7 * 24 * 60 * 60 * 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{db::scratch::Scratch, people::users, workspaces};

    #[tokio::test]
    async fn of_all_servers_one_has_the_claim_and_nobody_finishes_with_another() {
        let mut each = vec![Scratch::sqlite()];
        each.extend(Scratch::postgres().await);
        for scratch in each {
            let database = scratch.connect().await;
            let work = |transaction: &Transaction<'_>| {
                let acme = "acme".parse().unwrap();
                let [ada, bob] = ["ada", "bob"].map(UserId::new);
                users::insert(transaction, &ada, "ada", false, 1)?;
                users::insert(transaction, &bob, "bob", false, 1)?;
                workspaces::insert(transaction, &acme, "acme", 1)?;
                offer(transaction, &acme, &ada, &bob, 1)?;
                assert!(!changes_hands(transaction, &acme)?);
                let first = accept(transaction, &acme, 100)?;
                assert!(changes_hands(transaction, &acme)?);
                assert_eq!(unfinished(transaction)?, [(acme, first)]);
                // By one whose clock says the same, and by one whose clock is behind.
                let second = take_over(transaction, &acme, first, 100)?.unwrap();
                assert_ne!(first, second);
                assert_eq!(take_over(transaction, &acme, first, 200)?, None);
                let third = take_over(transaction, &acme, second, 7)?.unwrap();
                for former in [first, second] {
                    assert!(!is_held(transaction, &acme, former)?);
                    assert!(!finish(transaction, &acme, former)?);
                }
                assert!(is_held(transaction, &acme, third)?);
                assert!(finish(transaction, &acme, third)?);
                assert!(!changes_hands(transaction, &acme)?);
                assert_eq!(take_over(transaction, &acme, third, 300)?, None);
                Ok::<_, DatabaseError>(())
            };
            database.write(work).await.unwrap();
        }
    }
}
