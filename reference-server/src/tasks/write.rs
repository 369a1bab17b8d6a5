//! Adding tasks and messages, and changing a task's state.

use std::sync::Arc;

use rusqlite::{Connection, Transaction, named_params};
use tower_workspace_token::{authority::Lease, id::WorkspaceId};

use super::{
    Author, Event, Message, MessageId, NewTask, Status, Task, TaskError, TaskErrorKind, TaskId,
    Tasks, model, read,
};
use crate::{db::lease, time, workspaces};

impl Tasks {
    /// Adds a task and announces it.
    ///
    /// # Errors
    /// The task is not well-formed, the workspace does not exist or was archived, the agent's token
    /// was regenerated, or the database failed.
    pub async fn create(&self, author: Author, task: NewTask) -> Result<Task, TaskError> {
        task.check()?;
        let workspace = *author.workspace();
        let id = TaskId::random().map_err(TaskError::unavailable)?;
        let now = time::now();
        let work = move |transaction: &Transaction<'_>| {
            admit(transaction, &author)?;
            insert_task(transaction, &author, &id, &task, now)?;
            read::find(transaction, author.workspace(), &id)
        };
        let event = |task: &Task| Event::TaskAdded(Arc::new(task.clone()));
        self.write_and_announce(workspace, work, event).await
    }

    /// Adds a message to a task's conversation and announces it.
    ///
    /// # Errors
    /// The text is empty or too long, there is no such task in the author's workspace, the workspace
    /// was archived, the agent's token was regenerated, or the database failed.
    pub async fn reply(
        &self,
        author: Author,
        task: &TaskId,
        text: String,
    ) -> Result<Message, TaskError> {
        model::check_text(&text)?;
        let workspace = *author.workspace();
        let now = time::now();
        let message = Message {
            id: MessageId::random().map_err(TaskError::unavailable)?,
            task: task.clone(),
            author: author.actor(),
            text,
            created_at: time::rfc3339(now),
        };
        let work = move |transaction: &Transaction<'_>| {
            admit(transaction, &author)?;
            read::find(transaction, author.workspace(), &message.task)?;
            insert_message(transaction, &author, &message, now)?;
            Ok(message)
        };
        let event = |message: &Message| Event::MessageAdded(Arc::new(message.clone()));
        self.write_and_announce(workspace, work, event).await
    }

    /// Changes the state of a task of the agent's workspace.
    ///
    /// # Errors
    /// There is no such task there, the agent's token was regenerated, or the database failed.
    pub async fn update_status(
        &self,
        agent: &Lease,
        task: &TaskId,
        status: Status,
    ) -> Result<Task, TaskError> {
        let (agent, task, now) = (agent.clone(), task.clone(), time::now());
        self.database
            .write(move |transaction| {
                lease::check(transaction, &agent)?;
                set_status(transaction, agent.workspace(), &task, status, now)?;
                read::find(transaction, agent.workspace(), &task)
            })
            .await
    }

    /// Writes, and tells whoever waits.
    ///
    /// Told by the writer itself: a caller who is dropped after the commit, as a rotation drops one, must
    /// not leave those who wait without the word.
    async fn write_and_announce<T: Send + 'static>(
        &self,
        workspace: WorkspaceId,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, TaskError> + Send + 'static,
        event: impl FnOnce(&T) -> Event + Send + 'static,
    ) -> Result<T, TaskError> {
        let hub = self.hub.clone();
        let announce = move |written: &T| hub.publish(&workspace, event(written));
        self.database.write_then(work, announce).await
    }
}

/// Stops whoever may not write to the workspace.
fn admit(transaction: &Transaction<'_>, author: &Author) -> Result<(), TaskError> {
    if let Author::Agent(agent) = author {
        lease::check(transaction, agent)?;
    }
    match workspaces::find(transaction, author.workspace())? {
        None => Err(TaskError::new(TaskErrorKind::NoWorkspace)),
        Some(workspace) if workspace.archived => Err(TaskError::new(TaskErrorKind::Archived)),
        Some(_) => Ok(()),
    }
}

fn insert_task(
    connection: &Connection,
    author: &Author,
    id: &TaskId,
    task: &NewTask,
    now: i64,
) -> Result<(), TaskError> {
    connection
        .prepare_cached(
            "INSERT INTO tasks (id, workspace, title, body, assignee, status, author, made_with, created_at, updated_at)
             VALUES (:id, :workspace, :title, :body, :assignee, 'notstarted', :author, :made_with, :now, :now)",
        )?
        .execute(named_params! {
            ":id": id.as_str(),
            ":workspace": author.workspace().as_str(),
            ":title": task.title,
            ":body": task.body,
            ":assignee": task.assignee.as_str(),
            ":author": author.actor().as_str(),
            ":made_with": author.token_id(),
            ":now": now,
        })?;
    Ok(())
}

fn insert_message(
    connection: &Connection,
    author: &Author,
    message: &Message,
    now: i64,
) -> Result<(), TaskError> {
    connection
        .prepare_cached(
            "INSERT INTO messages (id, workspace, task, author, made_with, text, created_at)
             VALUES (:id, :workspace, :task, :author, :made_with, :text, :now)",
        )?
        .execute(named_params! {
            ":id": message.id.as_str(),
            ":workspace": author.workspace().as_str(),
            ":task": message.task.as_str(),
            ":author": message.author.as_str(),
            ":made_with": author.token_id(),
            ":text": message.text,
            ":now": now,
        })?;
    Ok(())
}

fn set_status(
    connection: &Connection,
    workspace: &WorkspaceId,
    task: &TaskId,
    status: Status,
    now: i64,
) -> Result<(), TaskError> {
    connection
        .prepare_cached(
            "UPDATE tasks SET status = :status, updated_at = :now
             WHERE workspace = :workspace AND id = :task",
        )?
        .execute(named_params! {
            ":status": status.as_str(),
            ":now": now,
            ":workspace": workspace.as_str(),
            ":task": task.as_str(),
        })?;
    Ok(())
}
