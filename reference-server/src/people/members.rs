//! The table of members: who may do what in which workspace.

use tower_workspace_token::id::WorkspaceId;

use super::{Role, User, UserId, users};
use crate::db::{DatabaseError, OptionalExtension as _, Transaction, params};

/// A member of a workspace.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) user: User,
    pub(crate) role: Role,
    /// Milliseconds since 1970.
    pub(crate) since: i64,
}

pub(crate) fn role(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
    user: &UserId,
) -> Result<Option<Role>, DatabaseError> {
    let mut statement =
        connection.prepare_cached("SELECT role FROM members WHERE workspace = ?1 AND user = ?2")?;
    let role = statement
        .query_row(params![workspace.as_str(), user.as_str()], |row| {
            row.get::<_, String>(0)
        })
        .optional()?;
    Ok(role.as_deref().map(Role::of_column))
}

/// Returns the members of a workspace, oldest first.
pub(crate) fn list(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
) -> Result<Vec<Member>, DatabaseError> {
    let sql = format!(
        "SELECT {}, members.role, members.since FROM members JOIN users ON users.id = members.user
         WHERE members.workspace = ?1 ORDER BY members.since, users.name",
        users::COLUMNS
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([workspace.as_str()], |row| {
        Ok(Member {
            user: users::from_row(row)?,
            role: Role::of_column(&row.get::<_, String>("role")?),
            since: row.get("since")?,
        })
    })?;
    rows.collect::<Result<_, _>>()
}

/// Makes somebody a member, or changes the role of one.
pub(crate) fn set(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
    user: &UserId,
    role: Role,
    now: i64,
) -> Result<(), DatabaseError> {
    connection.execute(
        "INSERT INTO members (workspace, user, role, since) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (workspace, user) DO UPDATE SET role = ?3",
        params![workspace.as_str(), user.as_str(), role.as_str(), now],
    )?;
    Ok(())
}

/// Returns whether there was such a member.
pub(crate) fn remove(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
    user: &UserId,
) -> Result<bool, DatabaseError> {
    let removed = connection.execute(
        "DELETE FROM members WHERE workspace = ?1 AND user = ?2",
        params![workspace.as_str(), user.as_str()],
    )?;
    Ok(removed > 0)
}

/// Returns how many owners a workspace has.
pub(crate) fn owners(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
) -> Result<i64, DatabaseError> {
    let mut statement = connection.prepare_cached(
        "SELECT COUNT(*) FROM members JOIN users ON users.id = members.user
         WHERE members.workspace = ?1 AND members.role = 'owner' AND users.disabled_at IS NULL",
    )?;
    statement.query_row([workspace.as_str()], |row| row.get(0))
}
