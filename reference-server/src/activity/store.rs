//! The tables: last uses, known clients, refused uses and hours. Each is bounded in rows.

use std::{collections::HashMap, net::IpAddr};

use tower_workspace_token::id::{SlotKey, WorkspaceId};

use super::{
    Client,
    hours::Counted,
    trail::{Attempt, Times},
};
use crate::db::{DatabaseError, OptionalExtension as _, Row, Transaction, named_params, params};

/// Something to be written.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    Attempt(Attempt, Times),
    Hour(Counted),
    Use(Use),
}

/// A use of a token.
#[derive(Clone, Debug)]
pub(super) struct Use {
    pub(super) key: SlotKey,
    pub(super) generation: u64,
    pub(super) client: Client,
    pub(super) agent: Client,
    pub(super) address: Option<IpAddr>,
    /// Milliseconds since 1970.
    pub(super) at: i64,
}

/// The last use of a generation of a slot.
#[derive(Clone, Debug)]
pub(crate) struct LastUse {
    pub(crate) generation: u64,
    /// Milliseconds since 1970.
    pub(crate) at: i64,
    /// Nothing if all that is known is that somebody was let in.
    pub(crate) client: Option<Client>,
    pub(crate) address: Option<IpAddr>,
}

/// A client that has used a slot from one address.
#[derive(Clone, Debug)]
pub(crate) struct KnownClient {
    pub(crate) slot: String,
    pub(crate) client: Client,
    pub(crate) address: Option<IpAddr>,
    /// The generation that it used last.
    pub(crate) generation: u64,
    /// Milliseconds since 1970.
    pub(crate) first_at: i64,
    pub(crate) last_at: i64,
    /// How a rotation has cut it off last, if one has.
    pub(crate) cut: Option<Cut>,
}

/// How a client was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// The generation that ended.
    pub(crate) generation: u64,
    /// All that it had were idle sessions.
    pub(crate) is_idle: bool,
}

/// Uses of an old token, from one address and by one client.
#[derive(Clone, Debug)]
pub(crate) struct RejectedUse {
    pub(crate) slot: String,
    /// The generation that the token is of.
    pub(crate) generation: u64,
    /// Who held that generation there and under that agent, if that was one client and no other;
    /// else the agent.
    pub(crate) client: Client,
    /// What it calls itself in HTTP: all that a refused request says.
    pub(crate) agent: Client,
    pub(crate) address: Option<IpAddr>,
    pub(crate) times: u64,
    /// Milliseconds since 1970.
    pub(crate) first_at: i64,
    pub(crate) last_at: i64,
    /// An owner has seen it, and it was not tried since.
    pub(crate) is_hidden: bool,
}

/// What tells refused uses apart in a workspace.
#[derive(Clone, Debug)]
pub(crate) struct Tried {
    pub(crate) slot: String,
    pub(crate) generation: u64,
    pub(crate) address: Option<IpAddr>,
    pub(crate) agent: String,
    pub(crate) agent_version: String,
}

/// What came of hiding refused uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hidden {
    NotThere,
    /// There are more than those that were seen.
    TriedAgain,
    /// Until there are more.
    Until,
}

/// One hour of a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hour {
    /// Hours since 1970.
    pub(crate) hour: i64,
    pub(crate) calls: u64,
    pub(crate) rejections: u64,
}

impl Entry {
    pub(super) fn workspace(&self) -> &WorkspaceId {
        match self {
            Self::Attempt(attempt, _) => &attempt.key.workspace,
            Self::Hour(counted) => &counted.workspace,
            Self::Use(used) => &used.key.workspace,
        }
    }

    /// Writes it, and returns whether the pages about tokens show something new. `now` is in milliseconds since
    /// 1970.
    pub(super) fn save(
        &self,
        transaction: &Transaction<'_>,
        now: i64,
    ) -> Result<bool, DatabaseError> {
        match self {
            Self::Attempt(attempt, times) => {
                save_attempt(transaction, attempt, *times).map(|()| true)
            }
            Self::Hour(counted) => {
                add_to_hour(transaction, counted, now / MILLIS_PER_HOUR).map(|()| false)
            }
            Self::Use(used) => used.save(transaction),
        }
    }
}

impl Use {
    /// Writes it, and returns whether it is the first of this client from there.
    fn save(&self, transaction: &Transaction<'_>) -> Result<bool, DatabaseError> {
        let (workspace, slot) = (self.key.workspace.as_str(), self.key.name.as_str());
        let (generation, address) = (signed(self.generation), text(self.address));
        self.save_holder(transaction)?;
        transaction
            .prepare_cached(
                "INSERT INTO token_uses (workspace, slot, generation, at, client, version, address)
                 SELECT :workspace, :slot, :generation, :at, :client, :version, :address
                 WHERE EXISTS (SELECT 1 FROM workspaces WHERE id = :workspace)
                 ON CONFLICT (workspace, slot, generation) DO UPDATE SET at = :at,
                     client = :client, version = :version, address = :address
                 WHERE coalesce(token_uses.at, 0) <= :at",
            )?
            .execute(named_params! {
                ":workspace": workspace, ":slot": slot, ":generation": generation,
                ":at": self.at, ":client": self.client.name, ":version": self.client.version,
                ":address": address,
            })?;
        forget_uses(transaction, &self.key)?;
        let known = transaction
            .prepare_cached(
                "UPDATE token_clients SET agent = :agent, version = :version,
                     generation = CASE WHEN generation > :generation THEN generation ELSE :generation END,
                     last_at = CASE WHEN last_at > :at THEN last_at ELSE :at END
                 WHERE workspace = :workspace AND slot = :slot AND client = :client AND address = :address",
            )?
            .execute(named_params! {
                ":workspace": workspace, ":slot": slot, ":generation": generation, ":at": self.at,
                ":client": self.client.name, ":version": self.client.version,
                ":agent": self.agent.name, ":address": address,
            })?;
        if known > 0 {
            return Ok(false);
        }
        let added = transaction
            .prepare_cached(
                "INSERT INTO token_clients
                     (workspace, slot, client, address, agent, version, generation, first_at, last_at)
                 SELECT :workspace, :slot, :client, :address, :agent, :version, :generation, :at, :at
                 WHERE EXISTS (SELECT 1 FROM workspaces WHERE id = :workspace)",
            )?
            .execute(named_params! {
                ":workspace": workspace, ":slot": slot, ":client": self.client.name,
                ":address": address, ":agent": self.agent.name, ":version": self.client.version,
                ":generation": generation, ":at": self.at,
            })?;
        forget_clients(transaction, workspace)?;
        Ok(added > 0)
    }

    /// Notes who holds the generation, as far as a refused request could tell.
    fn save_holder(&self, transaction: &Transaction<'_>) -> Result<(), DatabaseError> {
        let workspace = self.key.workspace.as_str();
        let (slot, generation) = (self.key.name.as_str(), signed(self.generation));
        let known = transaction
            .prepare_cached(
                "UPDATE token_holders SET version = :version,
                     last_at = CASE WHEN last_at > :at THEN last_at ELSE :at END
                 WHERE workspace = :workspace AND slot = :slot AND generation = :generation
                     AND address = :address AND agent = :agent AND agent_version = :agent_version
                     AND client = :client",
            )?
            .execute(named_params! {
                ":workspace": workspace, ":slot": slot, ":generation": generation,
                ":address": text(self.address), ":agent": self.agent.name,
                ":agent_version": self.agent.version, ":client": self.client.name,
                ":version": self.client.version, ":at": self.at,
            })?;
        if known > 0 {
            return Ok(());
        }
        transaction
            .prepare_cached(
                "INSERT INTO token_holders (workspace, slot, generation, address, agent,
                     agent_version, client, version, last_at)
                 SELECT :workspace, :slot, :generation, :address, :agent, :agent_version, :client,
                     :version, :at
                 WHERE EXISTS (SELECT 1 FROM workspaces WHERE id = :workspace)",
            )?
            .execute(named_params! {
                ":workspace": workspace, ":slot": slot, ":generation": generation,
                ":address": text(self.address), ":agent": self.agent.name,
                ":agent_version": self.agent.version, ":client": self.client.name,
                ":version": self.client.version, ":at": self.at,
            })?;
        forget_holders(transaction, workspace)
    }
}

/// Forgets the holders that a workspace has not seen for longest, if there are too many.
fn forget_holders(transaction: &Transaction<'_>, workspace: &str) -> Result<(), DatabaseError> {
    transaction
        .prepare_cached(&format!(
            "DELETE FROM token_holders
             WHERE (workspace, slot, generation, address, agent, agent_version, client) IN (
                 SELECT workspace, slot, generation, address, agent, agent_version, client
                 FROM token_holders WHERE workspace = ?1 ORDER BY last_at DESC LIMIT {EVERY} OFFSET ?2)"
        ))?
        .execute(params![workspace, MAX_HOLDERS])?;
    Ok(())
}

/// Writes that a client from there is known to an owner; returns whether there is such a one.
pub(crate) fn confirm_client(
    transaction: &Transaction<'_>,
    workspace: &WorkspaceId,
    slot: &str,
    client: &str,
    address: Option<IpAddr>,
    now: i64,
) -> Result<bool, DatabaseError> {
    let known = transaction.execute(
        "UPDATE token_clients SET confirmed_at = coalesce(confirmed_at, :now)
         WHERE workspace = :workspace AND slot = :slot AND client = :client AND address = :address",
        named_params! {
            ":workspace": workspace.as_str(), ":slot": slot, ":client": client,
            ":address": text(address), ":now": now,
        },
    )?;
    Ok(known > 0)
}

/// Writes that an owner has seen `times` refused uses.
pub(crate) fn hide_attempt(
    transaction: &Transaction<'_>,
    workspace: &WorkspaceId,
    tried: &Tried,
    times: u64,
) -> Result<Hidden, DatabaseError> {
    let is_hidden: Option<bool> = transaction
        .query_row(
            "UPDATE token_rejections SET seen_times = CASE
                 WHEN seen_times >= :times OR seen_times >= times THEN seen_times
                 WHEN times < :times THEN times ELSE :times END
             WHERE workspace = :workspace AND slot = :slot AND generation = :generation
                 AND address = :address AND agent = :agent AND version = :version
             RETURNING seen_times = times",
            named_params! {
                ":workspace": workspace.as_str(), ":slot": tried.slot,
                ":generation": signed(tried.generation), ":address": text(tried.address),
                ":agent": tried.agent, ":version": tried.agent_version, ":times": signed(times),
            },
            |row| row.get(0),
        )
        .optional()?;
    Ok(match is_hidden {
        None => Hidden::NotThere,
        Some(false) => Hidden::TriedAgain,
        Some(true) => Hidden::Until,
    })
}

/// Writes that a rotation has cut off a client of the slot.
pub(super) fn save_cut(
    transaction: &Transaction<'_>,
    key: &SlotKey,
    client: &Client,
    address: Option<IpAddr>,
    cut: Cut,
) -> Result<(), DatabaseError> {
    transaction
        .prepare_cached(
            "UPDATE token_clients SET cut_generation = :generation, cut_idle = :idle
             WHERE workspace = :workspace AND slot = :slot AND client = :client AND address = :address",
        )?
        .execute(named_params! {
            ":workspace": key.workspace.as_str(), ":slot": key.name.as_str(),
            ":client": client.name, ":address": text(address),
            ":generation": signed(cut.generation), ":idle": cut.is_idle,
        })?;
    Ok(())
}

/// Writes that a generation was used at `at`, by whomever: what the store of tokens has counted of it, and
/// forgets with the generation.
pub(super) fn save_counted(
    transaction: &Transaction<'_>,
    key: &SlotKey,
    generation: u64,
    at: i64,
) -> Result<(), DatabaseError> {
    transaction
        .prepare_cached(
            "INSERT INTO token_uses (workspace, slot, generation, client, version, address, counted_at)
             SELECT :workspace, :slot, :generation, '', '', '', :at
             WHERE EXISTS (SELECT 1 FROM workspaces WHERE id = :workspace)
             ON CONFLICT (workspace, slot, generation) DO UPDATE SET counted_at = :at",
        )?
        .execute(named_params! {
            ":workspace": key.workspace.as_str(), ":slot": key.name.as_str(),
            ":generation": signed(generation), ":at": at,
        })?;
    forget_uses(transaction, key)
}

/// Keeps of a slot the last uses of the two latest generations that had any.
fn forget_uses(transaction: &Transaction<'_>, key: &SlotKey) -> Result<(), DatabaseError> {
    transaction
        .prepare_cached(
            "DELETE FROM token_uses WHERE workspace = ?1 AND slot = ?2 AND generation NOT IN (
                 SELECT generation FROM token_uses WHERE workspace = ?1 AND slot = ?2
                 ORDER BY generation DESC LIMIT 2)",
        )?
        .execute(params![key.workspace.as_str(), key.name.as_str()])?;
    Ok(())
}

/// Forgets the clients that a workspace has not seen for longest, if there are too many.
fn forget_clients(transaction: &Transaction<'_>, workspace: &str) -> Result<(), DatabaseError> {
    transaction
        .prepare_cached(&format!(
            "DELETE FROM token_clients WHERE (workspace, slot, client, address) IN (
                 SELECT workspace, slot, client, address FROM token_clients WHERE workspace = ?1
                 ORDER BY last_at DESC LIMIT {EVERY} OFFSET ?2)"
        ))?
        .execute(params![workspace, MAX_CLIENTS])?;
    Ok(())
}

fn save_attempt(
    transaction: &Transaction<'_>,
    attempt: &Attempt,
    times: Times,
) -> Result<(), DatabaseError> {
    if !add_to_attempt(transaction, attempt, times)? {
        let rows: i64 = transaction
            .prepare_cached("SELECT count(*) FROM token_rejections WHERE workspace = ?1")?
            .query_row([attempt.key.workspace.as_str()], |row| row.get(0))?;
        if rows < MAX_ATTEMPTS {
            return insert_attempt(transaction, attempt, times);
        }
        let elsewhere = attempt.clone().elsewhere();
        if !add_to_attempt(transaction, &elsewhere, times)? {
            return insert_attempt(transaction, &elsewhere, times);
        }
    }
    Ok(())
}

fn add_to_attempt(
    transaction: &Transaction<'_>,
    attempt: &Attempt,
    times: Times,
) -> Result<bool, DatabaseError> {
    let known = transaction
        .prepare_cached(
            "UPDATE token_rejections SET times = times + :times,
                 last_at = CASE WHEN last_at > :last THEN last_at ELSE :last END
             WHERE workspace = :workspace AND slot = :slot AND generation = :generation
                 AND address = :address AND agent = :agent AND version = :version",
        )?
        .execute(named_params! {
            ":workspace": attempt.key.workspace.as_str(), ":slot": attempt.key.name.as_str(),
            ":generation": signed(attempt.generation), ":address": text(attempt.address),
            ":agent": attempt.agent.name, ":version": attempt.agent.version,
            ":times": signed(times.times), ":last": times.last,
        })?;
    Ok(known > 0)
}

fn insert_attempt(
    transaction: &Transaction<'_>,
    attempt: &Attempt,
    times: Times,
) -> Result<(), DatabaseError> {
    transaction
        .prepare_cached(
            "INSERT INTO token_rejections
                 (workspace, slot, generation, address, agent, version, times, first_at, last_at)
             SELECT :workspace, :slot, :generation, :address, :agent, :version, :times, :first, :last
             WHERE EXISTS (SELECT 1 FROM workspaces WHERE id = :workspace)",
        )?
        .execute(named_params! {
            ":workspace": attempt.key.workspace.as_str(), ":slot": attempt.key.name.as_str(),
            ":generation": signed(attempt.generation), ":address": text(attempt.address),
            ":agent": attempt.agent.name, ":version": attempt.agent.version,
            ":times": signed(times.times), ":first": times.first, ":last": times.last,
        })?;
    Ok(())
}

fn add_to_hour(
    transaction: &Transaction<'_>,
    counted: &Counted,
    hour: i64,
) -> Result<(), DatabaseError> {
    // A stranger may have named a workspace that there never was.
    transaction
        .prepare_cached(
            "INSERT INTO activity_hours (workspace, hour, calls, rejections)
             SELECT :workspace, :hour, :calls, :rejections
             WHERE EXISTS (SELECT 1 FROM workspaces WHERE id = :workspace)
             ON CONFLICT (workspace, hour) DO UPDATE
             SET calls = activity_hours.calls + :calls,
                 rejections = activity_hours.rejections + :rejections",
        )?
        .execute(named_params! {
            ":workspace": counted.workspace.as_str(), ":hour": hour,
            ":calls": signed(counted.calls), ":rejections": signed(counted.rejections),
        })?;
    Ok(())
}

/// Deletes hours and refused uses that are too old to be shown.
pub(super) fn prune(transaction: &Transaction<'_>, now: i64) -> Result<(), DatabaseError> {
    let oldest_hour = now / MILLIS_PER_HOUR - HOURS;
    transaction.execute("DELETE FROM activity_hours WHERE hour < ?1", [oldest_hour])?;
    let oldest = now - TRAIL_KEPT;
    transaction.execute("DELETE FROM token_rejections WHERE last_at < ?1", [oldest])?;
    Ok(())
}

/// Returns the last uses of the generations of each slot of a workspace, by the slot's name, the latest
/// generation first.
pub(crate) fn last_uses(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
) -> Result<HashMap<String, Vec<LastUse>>, DatabaseError> {
    let mut statement = connection.prepare_cached(
        "SELECT slot, generation, at, client, version, address, counted_at FROM token_uses
         WHERE workspace = ?1 ORDER BY slot, generation DESC",
    )?;
    let rows = statement.query_map([workspace.as_str()], |row| {
        let (at, counted_at): (Option<i64>, Option<i64>) = (row.get("at")?, row.get("counted_at")?);
        let client = client(row)?;
        let last_use = LastUse {
            generation: unsigned(row, "generation")?,
            at: at.max(counted_at).unwrap_or_default(),
            client: at.map(|_| client),
            address: address(row)?,
        };
        Ok((row.get("slot")?, last_use))
    })?;
    let mut uses: HashMap<String, Vec<LastUse>> = HashMap::new();
    for row in rows {
        let (slot, last_use) = row?;
        uses.entry(slot).or_default().push(last_use);
    }
    Ok(uses)
}

/// Returns the clients that have used tokens of a workspace, the one that was seen last first.
pub(crate) fn clients(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
) -> Result<Vec<KnownClient>, DatabaseError> {
    let mut statement = connection.prepare_cached(
        "SELECT slot, client, version, address, generation, first_at, last_at, cut_generation, cut_idle
         FROM token_clients WHERE workspace = ?1 ORDER BY last_at DESC, client, address",
    )?;
    let rows = statement.query_map([workspace.as_str()], known_client)?;
    rows.collect::<Result<_, _>>()
}

/// Returns the clients that used a slot for the first time at `since` or later, though others had used
/// it before: what an owner may want to be reminded of, unless one has said that they are known.
pub(crate) fn new_clients(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
    since: i64,
) -> Result<Vec<KnownClient>, DatabaseError> {
    let mut statement = connection.prepare_cached(
        "SELECT slot, client, version, address, generation, first_at, last_at, cut_generation, cut_idle
         FROM token_clients AS new
         WHERE workspace = ?1 AND first_at >= ?2 AND confirmed_at IS NULL AND EXISTS (
             SELECT 1 FROM token_clients AS old
             WHERE old.workspace = new.workspace AND old.slot = new.slot AND old.first_at < new.first_at)
         ORDER BY first_at DESC",
    )?;
    let rows = statement.query_map(params![workspace.as_str(), since], known_client)?;
    rows.collect::<Result<_, _>>()
}

fn known_client(row: &Row<'_>) -> Result<KnownClient, DatabaseError> {
    let cut_generation: Option<i64> = row.get("cut_generation")?;
    let is_idle = row.get("cut_idle")?;
    Ok(KnownClient {
        slot: row.get("slot")?,
        client: client(row)?,
        address: address(row)?,
        generation: unsigned(row, "generation")?,
        first_at: row.get("first_at")?,
        last_at: row.get("last_at")?,
        cut: cut_generation.map(|generation| Cut {
            generation: generation.try_into().unwrap_or_default(),
            is_idle,
        }),
    })
}

/// Returns the refused uses of old tokens of a workspace, the last one first.
///
/// All that a refused request says of its client is its agent. If one client, and no other, used that very
/// generation under that agent from there, it is called by the name that it gave then; a client that has
/// used another generation alone is not to be blamed. Both names are the client's own words.
pub(crate) fn rejected_uses(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
) -> Result<Vec<RejectedUse>, DatabaseError> {
    let mut statement = connection.prepare_cached(
        "SELECT refused.slot, refused.generation, refused.address, refused.agent,
             refused.version AS agent_version, times, first_at, refused.last_at,
             seen_times = times AS is_hidden,
             coalesce(holder.client, refused.agent) AS client,
             coalesce(holder.version, refused.version) AS version
         FROM token_rejections AS refused LEFT JOIN (
             SELECT slot, generation, address, agent, agent_version, max(client) AS client,
                 max(version) AS version
             FROM token_holders WHERE workspace = ?1 AND address <> ''
             GROUP BY slot, generation, address, agent, agent_version HAVING count(*) = 1) AS holder
         ON holder.slot = refused.slot AND holder.generation = refused.generation
             AND holder.address = refused.address AND holder.agent = refused.agent
             AND holder.agent_version = refused.version
         WHERE refused.workspace = ?1
         ORDER BY refused.last_at DESC, refused.slot, refused.generation DESC, refused.address,
             refused.agent, refused.version",
    )?;
    let rows = statement.query_map([workspace.as_str()], |row| {
        Ok(RejectedUse {
            slot: row.get("slot")?,
            generation: unsigned(row, "generation")?,
            client: client(row)?,
            agent: Client {
                name: row.get("agent")?,
                version: row.get("agent_version")?,
            },
            address: address(row)?,
            times: unsigned(row, "times")?,
            first_at: row.get("first_at")?,
            last_at: row.get("last_at")?,
            is_hidden: row.get("is_hidden")?,
        })
    })?;
    rows.collect::<Result<_, _>>()
}

/// Returns the last hours of a workspace, oldest first, those included in which nothing happened.
pub(crate) fn hours(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
    now: i64,
) -> Result<Vec<Hour>, DatabaseError> {
    let last = now / MILLIS_PER_HOUR;
    let mut statement = connection.prepare_cached(
        "SELECT hour, calls, rejections FROM activity_hours WHERE workspace = ?1 AND hour > ?2",
    )?;
    let rows = statement.query_map(params![workspace.as_str(), last - HOURS], |row| {
        let hour = Hour {
            hour: row.get("hour")?,
            calls: unsigned(row, "calls")?,
            rejections: unsigned(row, "rejections")?,
        };
        Ok((hour.hour, hour))
    })?;
    let known: HashMap<i64, Hour> = rows.collect::<Result<_, _>>()?;
    let empty = |hour| Hour {
        hour,
        calls: 0,
        rejections: 0,
    };
    let all = (last - HOURS + 1)..=last;
    Ok(all
        .map(|hour| known.get(&hour).copied().unwrap_or(empty(hour)))
        .collect())
}

fn client(row: &Row<'_>) -> Result<Client, DatabaseError> {
    Ok(Client {
        name: row.get("client")?,
        version: row.get("version")?,
    })
}

fn address(row: &Row<'_>) -> Result<Option<IpAddr>, DatabaseError> {
    // What is no address is the empty text of an unknown one.
    Ok(row.get::<_, String>("address")?.parse().ok())
}

fn text(address: Option<IpAddr>) -> String {
    address
        .map(|address| address.to_string())
        .unwrap_or_default()
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(row: &Row<'_>, column: &str) -> Result<u64, DatabaseError> {
    Ok(row.get::<_, i64>(column)?.try_into().unwrap_or_default())
}

pub(crate) const MILLIS_PER_HOUR: i64 = 3_600_000;

/// How many hours are kept and shown.
pub(crate) const HOURS: i64 = 48;

/// How long refused uses are kept after the last one: 90 days.
const TRAIL_KEPT: i64 = 90 * 24 * MILLIS_PER_HOUR;

/// How many clients of a workspace are remembered.
const MAX_CLIENTS: i64 = 500;

/// How many holders of generations are remembered of a workspace.
const MAX_HOLDERS: i64 = 500;

/// How many refused uses of a workspace are told apart.
const MAX_ATTEMPTS: i64 = 200;

/// A limit that is none, for a statement that skips rows: what SQLite asks for, and PostgreSQL takes.
const EVERY: i64 = i64::MAX;
