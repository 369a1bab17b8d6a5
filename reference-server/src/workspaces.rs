//! The table of workspaces, and which protocol each speaks.

use std::{
    collections::HashSet,
    sync::{Arc, PoisonError, RwLock},
};

use tower_workspace_token::id::WorkspaceId;

use crate::{
    db::{DatabaseError, OptionalExtension as _, Parameters, Row, Transaction, params},
    people::UserId,
    tasks::{Protocol, WorkspaceInfo},
    time,
};

const COLUMNS: &str = "id, name, description, archived_at IS NOT NULL, protocol, created_at";

pub(crate) fn find(
    connection: &Transaction<'_>,
    id: &WorkspaceId,
) -> Result<Option<WorkspaceInfo>, DatabaseError> {
    let sql = format!("SELECT {COLUMNS} FROM workspaces WHERE id = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_row([id.as_str()], from_row).optional()
}

/// Returns the workspaces called `name`, archived ones included.
pub(crate) fn find_by_name(
    connection: &Transaction<'_>,
    name: &str,
) -> Result<Vec<WorkspaceInfo>, DatabaseError> {
    let sql = format!("SELECT {COLUMNS} FROM workspaces WHERE name = ?1 ORDER BY created_at, id");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([name], from_row)?;
    rows.collect::<Result<_, _>>()
}

/// Returns all workspaces, oldest first.
pub(crate) fn list(connection: &Transaction<'_>) -> Result<Vec<WorkspaceInfo>, DatabaseError> {
    let sql = format!("SELECT {COLUMNS} FROM workspaces ORDER BY created_at, id");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([], from_row)?;
    rows.collect::<Result<_, _>>()
}

/// Returns the workspaces that were archived `since` then.
pub(crate) fn archived(
    connection: &Transaction<'_>,
    since: i64,
) -> Result<Vec<WorkspaceId>, DatabaseError> {
    let sql = "SELECT id FROM workspaces WHERE archived_at >= ?1";
    ids(connection, sql, [since])
}

/// Returns those that speak the protocol with sessions alone.
pub(crate) fn legacy(connection: &Transaction<'_>) -> Result<Vec<WorkspaceId>, DatabaseError> {
    ids(
        connection,
        "SELECT id FROM workspaces WHERE protocol = 'legacy'",
        [],
    )
}

/// Returns how many there are, archived ones included, and how many of them were archived.
pub(crate) fn count(connection: &Transaction<'_>) -> Result<(u64, u64), DatabaseError> {
    let sql = "SELECT count(*), count(archived_at) FROM workspaces";
    let row = connection.query_row(sql, [], |row| {
        Ok((row.get::<_, u32>(0)?, row.get::<_, u32>(1)?))
    });
    let (all, archived) = row?;
    Ok((all.into(), archived.into()))
}

/// Returns whether there is any workspace but this one.
pub(crate) fn any_but(
    connection: &Transaction<'_>,
    id: Option<&WorkspaceId>,
) -> Result<bool, DatabaseError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM workspaces WHERE id IS DISTINCT FROM ?1)";
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_row([id.map(WorkspaceId::as_str)], |row| row.get(0))
}

pub(crate) fn insert(
    connection: &Transaction<'_>,
    id: &WorkspaceId,
    name: &str,
    now: i64,
) -> Result<(), DatabaseError> {
    connection.execute(
        "INSERT INTO workspaces (id, name, created_at) VALUES (?1, ?2, ?3)",
        params![id.as_str(), name, now],
    )?;
    Ok(())
}

/// Deletes a workspace and all that is in it. What is known of its tokens stays, so that none of them
/// ever works again, and so does the audit list.
pub(crate) fn delete(connection: &Transaction<'_>, id: &WorkspaceId) -> Result<(), DatabaseError> {
    for table in CONTENTS {
        let sql = format!("DELETE FROM {table} WHERE workspace = ?1");
        connection.execute(&sql, [id.as_str()])?;
    }
    connection.execute("DELETE FROM workspaces WHERE id = ?1", [id.as_str()])?;
    Ok(())
}

/// The tables of what is in workspaces, those that refer to others first.
const CONTENTS: &[&str] = &[
    "attachments",
    "answer_days",
    "approvals",
    "approval_rules",
    "events",
    "messages",
    "tasks",
    "members",
    "sightings",
    "transfers",
    "replacements",
    "token_uses",
    "token_clients",
    "token_holders",
    "token_rejections",
    "activity_hours",
];

/// What becomes of a workspace's settings; what is absent stays.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) protocol: Option<Protocol>,
}

pub(crate) fn update(
    connection: &Transaction<'_>,
    id: &WorkspaceId,
    settings: &Settings,
) -> Result<(), DatabaseError> {
    connection.execute(
        "UPDATE workspaces SET name = coalesce(?2, name), description = coalesce(?3, description),
             protocol = coalesce(?4, protocol) WHERE id = ?1",
        params![
            id.as_str(),
            settings.name,
            settings.description,
            settings.protocol.map(Protocol::as_str)
        ],
    )?;
    Ok(())
}

/// Returns whether a person owns a workspace of this name that was not archived.
pub(crate) fn owns_one_called(
    connection: &Transaction<'_>,
    user: &UserId,
    name: &str,
) -> Result<bool, DatabaseError> {
    let mut statement = connection.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM workspaces JOIN members ON members.workspace = workspaces.id
          WHERE workspaces.name = ?2 AND archived_at IS NULL AND user = ?1 AND role = 'owner')",
    )?;
    statement.query_row([user.as_str(), name], |row| row.get(0))
}

/// Returns the workspaces of a person, oldest first.
pub(crate) fn list_of(
    connection: &Transaction<'_>,
    user: &UserId,
) -> Result<Vec<WorkspaceInfo>, DatabaseError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM workspaces
         WHERE id IN (SELECT workspace FROM members WHERE user = ?1) ORDER BY created_at, id"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([user.as_str()], from_row)?;
    rows.collect::<Result<_, _>>()
}

pub(crate) fn archive(
    connection: &Transaction<'_>,
    id: &WorkspaceId,
    now: i64,
) -> Result<(), DatabaseError> {
    connection.execute(
        "UPDATE workspaces SET archived_at = ?2 WHERE id = ?1 AND archived_at IS NULL",
        params![id.as_str(), now],
    )?;
    // All of its tokens end, and with a token what was allowed to its agents for good.
    connection.execute(
        "DELETE FROM approval_rules WHERE workspace = ?1",
        [id.as_str()],
    )?;
    Ok(())
}

/// Takes an archived workspace back among the others. It has no tokens. Returns whether it was there.
pub(crate) fn unarchive(
    connection: &Transaction<'_>,
    id: &WorkspaceId,
) -> Result<bool, DatabaseError> {
    let taken_back = connection.execute(
        "UPDATE workspaces SET archived_at = NULL WHERE id = ?1",
        [id.as_str()],
    )?;
    Ok(taken_back > 0)
}

/// Which workspaces speak which protocol, for every request to look up. Clones share it.
///
/// Settings are changed by this process, or by another node, which tells of it: see `nodes`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Protocols {
    legacy: Arc<RwLock<HashSet<WorkspaceId>>>,
}

impl Protocols {
    pub(crate) fn of(&self, workspace: &WorkspaceId) -> Protocol {
        let legacy = self.legacy.read().unwrap_or_else(PoisonError::into_inner);
        match legacy.contains(workspace) {
            true => Protocol::Legacy,
            false => Protocol::Dual,
        }
    }

    /// Takes `legacy` for all that speak the older protocol.
    pub(crate) fn replace(&self, legacy: Vec<WorkspaceId>) {
        let mut known = self.legacy.write().unwrap_or_else(PoisonError::into_inner);
        *known = legacy.into_iter().collect();
    }

    pub(crate) fn set(&self, workspace: &WorkspaceId, protocol: Protocol) {
        let mut legacy = self.legacy.write().unwrap_or_else(PoisonError::into_inner);
        match protocol {
            Protocol::Dual => legacy.remove(workspace),
            Protocol::Legacy => legacy.insert(*workspace),
        };
    }
}

fn ids(
    connection: &Transaction<'_>,
    sql: &str,
    parameters: impl Parameters,
) -> Result<Vec<WorkspaceId>, DatabaseError> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(parameters, id_of_column)?;
    rows.collect::<Result<_, _>>()
}

fn id_of_column(row: &Row<'_>) -> Result<WorkspaceId, DatabaseError> {
    let id: String = row.get(0)?;
    id.parse().map_err(DatabaseError::unreadable)
}

fn from_row(row: &Row<'_>) -> Result<WorkspaceInfo, DatabaseError> {
    Ok(WorkspaceInfo {
        id: id_of_column(row)?,
        name: row.get(1)?,
        description: row.get(2)?,
        archived: row.get(3)?,
        protocol: protocol_of_column(&row.get::<_, String>(4)?),
        created_at: time::rfc3339(row.get(5)?),
    })
}

fn protocol_of_column(text: &str) -> Protocol {
    // The column holds these two alone.
    match text {
        "legacy" => Protocol::Legacy,
        _ => Protocol::Dual,
    }
}

#[cfg(test)]
mod tests {
    use tower_workspace_token_sqlite::SqliteStore;

    use super::*;
    use crate::db::{Database, testing};

    /// A table that is forgotten would keep what its owner deleted, or make deleting fail.
    #[tokio::test]
    async fn deleting_reaches_every_table_of_a_workspace() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path().join("test.db")).unwrap();
        let database = Database::open(&store).unwrap();
        let tables: Vec<String> = database
            .read(|snapshot| {
                let mut statement = snapshot.prepare_cached(
                    "SELECT tables.name FROM sqlite_schema AS tables, pragma_table_info(tables.name) AS columns
                     WHERE tables.type = 'table' AND columns.name = 'workspace'
                       AND tables.name NOT LIKE 'wst!_%' ESCAPE '!' AND tables.name <> 'audit'",
                )?;
                let rows = statement.query_map([], |row| row.get(0))?;
                rows.collect::<Result<_, _>>()
            })
            .await
            .unwrap();
        assert!(tables.len() >= 6, "{tables:?}");
        for table in tables {
            assert!(CONTENTS.contains(&&*table), "{table} is not emptied");
        }
    }

    #[tokio::test]
    async fn archived_ones_and_those_of_the_older_protocol_are_found_among_all() {
        let directory = tempfile::tempdir().unwrap();
        let (_, database) = testing::open(directory.path()).await;
        let [live, old, gone]: [WorkspaceId; 3] =
            ["live", "old", "gone"].map(|id| id.parse().unwrap());
        let found = database.write(move |transaction| {
            for id in [&live, &old, &gone] {
                insert(transaction, id, id.as_str(), 1)?;
            }
            let settings = Settings {
                protocol: Some(Protocol::Legacy),
                ..Settings::default()
            };
            update(transaction, &old, &settings)?;
            archive(transaction, &gone, 2)?;
            assert_eq!(archived(transaction, i64::MIN)?, [gone]);
            assert_eq!(archived(transaction, 2)?, [gone]);
            assert_eq!(archived(transaction, 3)?, []);
            assert_eq!(legacy(transaction)?, [old]);
            count(transaction)
        });
        assert_eq!(found.await.unwrap(), (3, 1));
    }
}
