//! The audit list: who did what, when and from where. Entries are added and never changed.

pub(crate) mod export;

use std::net::IpAddr;

use tower_workspace_token::id::WorkspaceId;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    app::App,
    caller::Caller,
    db::{DatabaseError, Transaction, named_params},
    error::AppError,
    live::Topic,
    people::UserId,
    time,
};

/// What is kept of something that was done. Never holds a secret.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    /// `area.verb`, as in `token.rotate`.
    pub(crate) action: &'static str,
    /// What it was done to: a name or an id.
    pub(crate) subject: String,
    /// More in a few words, as a reason that was given.
    pub(crate) detail: String,
}

impl Note {
    pub(crate) fn new(action: &'static str) -> Self {
        Self {
            action,
            subject: String::new(),
            detail: String::new(),
        }
    }

    pub(crate) fn about(mut self, subject: impl Into<String>) -> Self {
        self.subject = subject.into();
        self
    }

    pub(crate) fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }
}

/// Keeps what `caller` did. A failure is logged: what was done is done.
pub(crate) async fn record(app: &App, caller: &Caller, workspace: Option<WorkspaceId>, note: Note) {
    let (caller, action) = (caller.clone(), note.action);
    let inserted = app
        .database()
        .write(move |transaction| insert(transaction, &caller, workspace.as_ref(), &note))
        .await;
    match inserted {
        Ok(()) => app.live().announce(workspace.as_ref(), Topic::Audit),
        Err(error) => tracing::error!(action, "the audit list misses an entry: {error}"),
    }
}

/// Keeps it inside of the transaction that does it.
pub(crate) fn insert(
    connection: &Transaction<'_>,
    caller: &Caller,
    workspace: Option<&WorkspaceId>,
    note: &Note,
) -> Result<(), DatabaseError> {
    let (user, address) = (caller.user(), caller.address());
    insert_as(connection, caller.name(), user, address, workspace, note)
}

/// Keeps that somebody tried in vain to enter the account of `user`, if there is such a one.
pub(crate) fn insert_refusal(
    connection: &Transaction<'_>,
    user: Option<&UserId>,
    address: Option<IpAddr>,
    note: &Note,
) -> Result<(), DatabaseError> {
    insert_as(connection, STRANGER, user, address, None, note)
}

fn insert_as(
    connection: &Transaction<'_>,
    actor: &str,
    user: Option<&UserId>,
    address: Option<IpAddr>,
    workspace: Option<&WorkspaceId>,
    note: &Note,
) -> Result<(), DatabaseError> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO audit (at, workspace, user, actor, action, subject, detail, address)
         VALUES (:at, :workspace, :user, :actor, :action, :subject, :detail, :address)",
    )?;
    statement.execute(named_params! {
        ":at": time::now(),
        ":workspace": workspace.map(WorkspaceId::as_str),
        ":user": user.map(UserId::as_str),
        ":actor": actor,
        ":action": note.action,
        ":subject": note.subject,
        ":detail": note.detail,
        ":address": address.map(|address| address.to_string()),
    })?;
    Ok(())
}

/// Which entries are asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct AuditFilter {
    /// Only actions that begin with this, as `token` or `token.rotate`.
    pub(crate) action: Option<String>,
    /// Only what somebody of this name did.
    pub(crate) actor: Option<String>,
    /// Only entries before this one.
    pub(crate) before: Option<i64>,
    /// 1 to 1,000; 100 if nothing is said.
    pub(crate) limit: Option<u32>,
}

/// Some entries, the latest first.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct AuditPage {
    pub(crate) entries: Vec<AuditEntry>,
    /// Where the page of older entries begins, if there are any.
    pub(crate) next_before: Option<i64>,
}

/// Something that was done.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct AuditEntry {
    pub(crate) number: i64,
    /// In RFC 3339.
    pub(crate) at: String,
    pub(crate) workspace: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) actor: String,
    pub(crate) action: String,
    pub(crate) subject: String,
    pub(crate) detail: String,
    pub(crate) address: Option<String>,
}

/// Returns entries of a workspace, or of all.
pub(crate) async fn list(
    app: &App,
    workspace: Option<WorkspaceId>,
    filter: AuditFilter,
) -> Result<AuditPage, AppError> {
    let limit = filter.limit.unwrap_or(100);
    if !(1..=1000).contains(&limit) {
        return Err(AppError::invalid("a limit is 1 to 1000"));
    }
    filter.action.as_deref().map(check_action).transpose()?;
    let mut entries = app
        .database()
        .read(move |snapshot| select(snapshot, workspace.as_ref(), &filter, limit + 1))
        .await?;
    let has_more = entries.len() > limit as usize;
    entries.truncate(limit as usize);
    let last = entries.last().map(|entry| entry.number);
    Ok(AuditPage {
        next_before: last.filter(|_| has_more),
        entries,
    })
}

/// Refuses an action or area of which there is never an entry: an empty list would pass for an answer.
fn check_action(asked: &str) -> Result<(), AppError> {
    let is_asked = |action: &&str| {
        let below = action.strip_prefix(asked);
        below.is_some_and(|below| below.is_empty() || below.starts_with('.'))
    };
    if ACTIONS.iter().any(is_asked) {
        return Ok(());
    }
    let area = asked.split_once('.').map_or(asked, |(area, _)| area);
    let of_area = ACTIONS.iter().filter(|action| area_of(action) == area);
    let mut known: Vec<&str> = of_area.copied().collect();
    if known.is_empty() {
        known = ACTIONS.iter().map(|action| area_of(action)).collect();
        known.dedup();
    }
    Err(AppError::invalid(format!(
        "no entry is of this action or area; there are {}",
        known.join(", ")
    )))
}

fn area_of(action: &str) -> &str {
    action.split_once('.').map_or(action, |(area, _)| area)
}

/// To a workspace belong its own entries, and the logins of its members since they are members.
fn select(
    connection: &Transaction<'_>,
    workspace: Option<&WorkspaceId>,
    filter: &AuditFilter,
    limit: u32,
) -> Result<Vec<AuditEntry>, DatabaseError> {
    // Each part reads its end of the index, and stops.
    let part = |belongs: &str, address: &str| {
        format!(
            "SELECT * FROM (
               SELECT number, at, workspace, user, actor, action, subject, detail, {address} FROM audit
               WHERE {belongs} AND (number < :before OR :before IS NULL)
                 AND (lower(actor) = :actor OR :actor IS NULL)
                 AND (action = :action OR substr(action, 1, length(:action) + 1) = :action || '.'
                      OR :action IS NULL)
               ORDER BY number DESC LIMIT :limit) AS part"
        )
    };
    let sql = match workspace {
        Some(_) => format!(
            "{} UNION ALL {} ORDER BY number DESC LIMIT :limit",
            part("workspace = :workspace", "address"),
            part(
                "workspace IS NULL AND substr(action, 1, 8) = 'account.'
                 AND EXISTS (SELECT 1 FROM members WHERE members.workspace = :workspace
                             AND members.user = audit.user AND members.since <= audit.at)",
                // Where somebody lives is not an owner's to know: nobody is asked before they are added.
                "NULL AS address"
            ),
        ),
        None => part("CAST(:workspace AS TEXT) IS NULL", "address"),
    };
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(
        named_params! {
            ":workspace": workspace.map(WorkspaceId::as_str),
            ":before": filter.before,
            ":actor": filter.actor.as_deref().map(str::to_ascii_lowercase),
            ":action": filter.action,
            ":limit": limit,
        },
        |row| {
            Ok(AuditEntry {
                number: row.get(0)?,
                at: time::rfc3339(row.get(1)?),
                workspace: row.get(2)?,
                user: row.get(3)?,
                actor: row.get(4)?,
                action: row.get(5)?,
                subject: row.get(6)?,
                detail: row.get(7)?,
                address: row.get(8)?,
            })
        },
    )?;
    rows.collect::<Result<_, _>>()
}

/// All actions of which there are entries.
const ACTIONS: [&str; 42] = [
    "account.join",
    "account.login",
    "account.logout",
    "account.password",
    "account.refused",
    "account.rename",
    "account.setup",
    "approval.remove_rule",
    "backup.download",
    "backup.restore",
    "backup.write",
    "connection.end",
    "key.retire",
    "key.rewrap",
    "key.rotate",
    "member.remove",
    "member.set",
    "task.assign",
    "task.create",
    "task.edit",
    "task.move",
    "task.reply",
    "task.status",
    "token.confirm_client",
    "token.create",
    "token.hide_rejected",
    "token.replace",
    "token.revoke",
    "token.rotate",
    "transfer.accept",
    "transfer.cancel",
    "transfer.offer",
    "user.add",
    "user.link",
    "user.password",
    "user.update",
    "workspace.archive",
    "workspace.create",
    "workspace.delete",
    "workspace.unarchive",
    "workspace.unlock",
    "workspace.update",
];

/// Who did what nobody was let in for.
pub(crate) const STRANGER: &str = "stranger";

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// Returns what the sources say after `mark`, up to the next quotation mark.
    fn quoted_after(mark: &str, directory: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                quoted_after(mark, &path, found);
            } else if path != Path::new(env!("CARGO_MANIFEST_DIR")).join("src/audit.rs") {
                let text = fs::read_to_string(&path).unwrap();
                let pieces = text.split(mark).skip(1);
                found.extend(pieces.map(|piece| piece.split('"').next().unwrap().to_owned()));
            }
        }
    }

    #[test]
    fn every_action_that_is_noted_can_be_asked_for() {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut noted = Vec::new();
        quoted_after("Note::new(\"", &sources, &mut noted);
        let mut entering = Vec::new();
        quoted_after(
            "enter(transaction, &user, &origin, \"",
            &sources,
            &mut entering,
        );
        quoted_after(
            "enter(transaction, &user.id, &origin, \"",
            &sources,
            &mut entering,
        );
        quoted_after(
            "enter(transaction, &id, &origin, \"",
            &sources,
            &mut entering,
        );
        assert_eq!(entering.len(), 3);
        noted.append(&mut entering);
        noted.sort();
        noted.dedup();
        assert_eq!(noted, ACTIONS);
    }

    #[test]
    fn an_action_that_nobody_notes_is_refused_and_the_known_ones_are_named() {
        for known in ["token", "token.rotate", "account.login"] {
            check_action(known).unwrap();
        }
        for (unknown, named) in [
            ("nope", "backup, connection, key"),
            ("tok", "token, transfer"),
            ("token.", "token.confirm_client, token.create"),
            ("token.nope", "token.hide_rejected, token.replace"),
            ("", "account, approval"),
        ] {
            let told = check_action(unknown).unwrap_err().to_string();
            assert!(told.contains(named), "{unknown}: {told}");
        }
    }
}
