//! Changing a task: its state, who is to do it, its title and text.

use std::sync::Arc;

use tower_workspace_token::authority::Lease;

use super::{
    Actor, Author, Event, Status, Task, TaskError, TaskId, Tasks, What, board,
    hub::Announcement,
    model,
    needs::{Standing, Step},
    read, timeline,
    write::admit,
};
use crate::{
    db::{Transaction, named_params, params},
    live::Topic,
    time,
};

/// What becomes of a task's words; what is absent stays.
#[derive(Clone, Debug, Default)]
pub(crate) struct Edit {
    pub(crate) title: Option<String>,
    pub(crate) body: Option<String>,
}

/// A task as it is now, and whether agents can take it who could not before.
struct Changed {
    task: Task,
    is_offered: bool,
}

impl Tasks {
    /// Changes the state of a task of the agent's workspace.
    ///
    /// # Errors
    /// There is no such task there, the workspace was archived, the agent's token was regenerated, or the
    /// database failed.
    pub async fn update_status(
        &self,
        agent: &Lease,
        task: &TaskId,
        status: Status,
    ) -> Result<Task, TaskError> {
        self.set_status(Author::Agent(agent.clone()), task, status)
            .await
    }

    /// The same for whoever it is.
    pub(crate) async fn set_status(
        &self,
        author: Author,
        task: &TaskId,
        status: Status,
    ) -> Result<Task, TaskError> {
        let (task, now) = (task.clone(), time::now());
        self.change(author, move |transaction, author| {
            let workspace = author.workspace();
            let before = read::standing(transaction, workspace, &task)?;
            if before.status != status {
                write_status(transaction, author, &task, before, status, now)?;
            }
            Ok(Changed {
                is_offered: is_for_agents(status, before.assignee) && before.status != status,
                task: read::find(transaction, workspace, &task)?,
            })
        })
        .await
    }

    /// Gives a task to agents or to people.
    ///
    /// # Errors
    /// As of [`set_status`](Self::set_status).
    pub(crate) async fn assign(
        &self,
        author: Author,
        task: &TaskId,
        assignee: Actor,
    ) -> Result<Task, TaskError> {
        let (task, now) = (task.clone(), time::now());
        self.change(author, move |transaction, author| {
            let workspace = author.workspace();
            let before = read::standing(transaction, workspace, &task)?;
            let is_new = before.assignee != assignee;
            if is_new {
                write_assignee(transaction, author, &task, before, assignee, now)?;
            }
            Ok(Changed {
                is_offered: is_new && is_for_agents(before.status, assignee),
                task: read::find(transaction, workspace, &task)?,
            })
        })
        .await
    }

    /// Changes a task's title or text.
    ///
    /// # Errors
    /// They are not well-formed; else as of [`set_status`](Self::set_status).
    pub(crate) async fn edit(
        &self,
        author: Author,
        task: &TaskId,
        edit: Edit,
    ) -> Result<Task, TaskError> {
        edit.title.as_deref().map(model::check_title).transpose()?;
        edit.body.as_deref().map(model::check_body).transpose()?;
        let (task, now) = (task.clone(), time::now());
        self.change(author, move |transaction, author| {
            let workspace = author.workspace();
            let before = read::find(transaction, workspace, &task)?;
            let after = Task {
                body: edit.body.unwrap_or_else(|| before.body.clone()),
                card: super::TaskCard {
                    title: edit.title.unwrap_or_else(|| before.title.clone()),
                    ..before.card.clone()
                },
            };
            if after != before {
                write_words(transaction, author, &after, now)?;
                let titles = (&*before.title, &*after.title);
                timeline::insert(transaction, author, &task, What::Edited, titles, now)?;
            }
            Ok(Changed {
                is_offered: false,
                task: read::find(transaction, workspace, &task)?,
            })
        })
        .await
    }

    async fn change(
        &self,
        author: Author,
        work: impl FnOnce(&Transaction<'_>, &Author) -> Result<Changed, TaskError> + Send + 'static,
    ) -> Result<Task, TaskError> {
        let (workspace, actor) = (*author.workspace(), author.actor());
        let work = move |transaction: &Transaction<'_>| {
            admit(transaction, &author)?;
            work(transaction, &author)
        };
        let announcement = move |changed: &Changed| match actor {
            Actor::Human if changed.is_offered => [Announcement::Event(Event::TaskOffered(
                Arc::new(changed.task.clone()),
            ))],
            _ => [Announcement::Topic(Topic::Task(
                changed.task.id.to_string(),
            ))],
        };
        let changed = self.write_and_announce(workspace, work, announcement);
        Ok(changed.await?.task)
    }
}

fn is_for_agents(status: Status, assignee: Actor) -> bool {
    status == Status::NotStarted && assignee == Actor::Agent
}

fn write_status(
    connection: &Transaction<'_>,
    author: &Author,
    task: &TaskId,
    before: Standing,
    status: Status,
    now: i64,
) -> Result<(), TaskError> {
    let workspace = author.workspace();
    // Whoever sets it ongoing is at it; for a person that is nobody whose permissions it could be about.
    let (taken_with, taken_name) = match author {
        Author::Agent(agent) => (Some(agent.token_id().to_string()), Some(author.name())),
        Author::Human(..) => (None, None),
    };
    connection
        .prepare_cached(
            "UPDATE tasks SET status = :status, position = :position, asks_since = :asks_since, updated_at = :now,
                 taken_with = CASE :status WHEN 'ongoing' THEN coalesce(:taken_with, taken_with)
                                           WHEN 'notstarted' THEN NULL ELSE taken_with END,
                 taken_name = CASE :status WHEN 'ongoing' THEN coalesce(:taken_name, taken_name)
                                           WHEN 'notstarted' THEN NULL ELSE taken_name END
             WHERE workspace = :workspace AND id = :task",
        )?
        .execute(named_params! {
            ":status": status.as_str(),
            ":position": board::entrance(connection, workspace, status)?,
            ":asks_since": before.settle(connection, author, Step::Status(author.actor(), status), now)?,
            ":now": now,
            ":taken_with": taken_with,
            ":taken_name": taken_name,
            ":workspace": workspace.as_str(),
            ":task": task.as_str(),
        })?;
    let states = (before.status.as_str(), status.as_str());
    timeline::insert(connection, author, task, What::Status, states, now)
}

fn write_assignee(
    connection: &Transaction<'_>,
    author: &Author,
    task: &TaskId,
    before: Standing,
    assignee: Actor,
    now: i64,
) -> Result<(), TaskError> {
    connection
        .prepare_cached(
            "UPDATE tasks SET assignee = :assignee, asks_since = :asks_since, updated_at = :now
             WHERE workspace = :workspace AND id = :task",
        )?
        .execute(named_params! {
            ":assignee": assignee.as_str(),
            ":asks_since": before.settle(connection, author, Step::Assigned(assignee), now)?,
            ":now": now,
            ":workspace": author.workspace().as_str(),
            ":task": task.as_str(),
        })?;
    let assignees = (before.assignee.as_str(), assignee.as_str());
    timeline::insert(connection, author, task, What::Assigned, assignees, now)
}

fn write_words(
    connection: &Transaction<'_>,
    author: &Author,
    task: &Task,
    now: i64,
) -> Result<(), TaskError> {
    connection
        .prepare_cached(
            "UPDATE tasks SET title = ?3, body = ?4, updated_at = ?5 WHERE workspace = ?1 AND id = ?2",
        )?
        .execute(params![
            author.workspace().as_str(),
            task.id.as_str(),
            task.title,
            task.body,
            now
        ])?;
    Ok(())
}
