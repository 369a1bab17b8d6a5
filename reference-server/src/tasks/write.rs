//! Adding tasks and messages, with what comes with them.

use std::sync::Arc;

use tower_workspace_token::id::WorkspaceId;

use super::{
    Author, Event, Message, MessageId, NewAttachment, NewTask, Status, Task, TaskError,
    TaskErrorKind, TaskId, Tasks, What, attachments, board,
    hub::Announcement,
    model,
    needs::{self, Standing, Step},
    read, timeline,
};
use crate::{
    db::{Transaction, lease, named_params},
    time, workspaces,
};

impl Tasks {
    /// Adds a task and announces it.
    ///
    /// # Errors
    /// The task or a file is not well-formed, the workspace does not exist or was archived, the agent's
    /// token was regenerated, or the database failed.
    pub(crate) async fn create(
        &self,
        author: Author,
        task: NewTask,
        files: Vec<NewAttachment>,
    ) -> Result<Task, TaskError> {
        task.check()?;
        let files = attachments::check(files)?;
        let workspace = *author.workspace();
        let id = TaskId::random()?;
        let now = time::now();
        let work = move |transaction: &Transaction<'_>| {
            admit(transaction, &author)?;
            insert_task(transaction, &author, &id, &task, now)?;
            timeline::insert(transaction, &author, &id, What::Created, ("", ""), now)?;
            attachments::insert_all(transaction, &author, &id, None, &files, now)?;
            read::find(transaction, author.workspace(), &id)
        };
        let added = |task: &Task| {
            [Announcement::Event(Event::TaskAdded(Arc::new(
                task.clone(),
            )))]
        };
        self.write_and_announce(workspace, work, added).await
    }

    /// Adds a message to a task's conversation and announces it.
    ///
    /// # Errors
    /// The text is empty or too long, a file is not allowed, there is no such task in the author's
    /// workspace, the workspace was archived, the agent's token was regenerated, or the database failed.
    pub(crate) async fn reply(
        &self,
        author: Author,
        task: &TaskId,
        text: String,
        files: Vec<NewAttachment>,
    ) -> Result<Message, TaskError> {
        model::check_text(&text)?;
        let files = attachments::check(files)?;
        let workspace = *author.workspace();
        let now = time::now();
        let message = Message {
            id: MessageId::random()?,
            task: task.clone(),
            author: author.actor(),
            author_name: author.name(),
            author_user: author.user(),
            text,
            created_at: time::rfc3339(now),
        };
        let work = move |transaction: &Transaction<'_>| {
            admit(transaction, &author)?;
            let standing = read::standing(transaction, &workspace, &message.task)?;
            insert_message(transaction, &author, &message, now)?;
            let step = Step::Message(author.actor(), &message.text);
            let asks_since = standing.settle(transaction, &author, step, now)?;
            needs::set(transaction, &workspace, &message.task, asks_since)?;
            let of_message = Some(&message.id);
            attachments::insert_all(transaction, &author, &message.task, of_message, &files, now)?;
            Ok(message)
        };
        let added = |message: &Message| {
            [Announcement::Event(Event::MessageAdded(Arc::new(
                message.clone(),
            )))]
        };
        self.write_and_announce(workspace, work, added).await
    }

    /// Writes, and tells whoever waits or looks on.
    ///
    /// Told by the writer itself: a caller who is dropped after the commit, as a rotation drops one, must
    /// not leave those who wait without the word.
    pub(super) async fn write_and_announce<
        T: Send + 'static,
        A: IntoIterator<Item = Announcement>,
    >(
        &self,
        workspace: WorkspaceId,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, TaskError> + Send + 'static,
        announcements: impl FnOnce(&T) -> A + Send + 'static,
    ) -> Result<T, TaskError> {
        let (hub, nodes) = (self.hub.clone(), self.nodes.clone());
        let work = move |transaction: &Transaction<'_>| {
            let written = work(transaction)?;
            let announcements: Vec<_> = announcements(&written).into_iter().collect();
            nodes.tell(transaction, &workspace, &announcements)?;
            Ok((written, announcements))
        };
        let announce = move |(_, announcements): &(T, Vec<Announcement>)| {
            for announcement in announcements {
                hub.publish(Some(&workspace), announcement.clone());
            }
        };
        let written = self
            .database
            .write_in_workspace(workspace, work, announce)
            .await
            // It may be written all the same, and then nobody here was told.
            .inspect_err(|error: &TaskError| {
                if error.is_undecided() {
                    self.hub.doubt_everything();
                }
            });
        written.map(|(written, _)| written)
    }
}

/// Stops whoever may not write to the workspace.
pub(super) fn admit(transaction: &Transaction<'_>, author: &Author) -> Result<(), TaskError> {
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
    connection: &Transaction<'_>,
    author: &Author,
    id: &TaskId,
    task: &NewTask,
    now: i64,
) -> Result<(), TaskError> {
    connection
        .prepare_cached(
            "INSERT INTO tasks (id, workspace, title, body, assignee, status, author, author_user, author_name,
                                made_with, position, asks_since, created_at, updated_at)
             VALUES (:id, :workspace, :title, :body, :assignee, 'notstarted', :author, :author_user, :author_name,
                     :made_with, :position, :asks_since, :now, :now)",
        )?
        .execute(named_params! {
            ":id": id.as_str(),
            ":workspace": author.workspace().as_str(),
            ":title": task.title,
            ":body": task.body,
            ":assignee": task.assignee.as_str(),
            ":author": author.actor().as_str(),
            ":author_user": author.user(),
            ":author_name": author.name(),
            ":made_with": author.token_id(),
            ":position": board::entrance(connection, author.workspace(), Status::NotStarted)?,
            ":asks_since": Standing::of_new(task.assignee, now).asks_since,
            ":now": now,
        })?;
    Ok(())
}

fn insert_message(
    connection: &Transaction<'_>,
    author: &Author,
    message: &Message,
    now: i64,
) -> Result<(), TaskError> {
    connection
        .prepare_cached(
            "INSERT INTO messages (id, workspace, task, author, author_user, author_name, made_with, text, created_at)
             VALUES (:id, :workspace, :task, :author, :author_user, :author_name, :made_with, :text, :now)",
        )?
        .execute(named_params! {
            ":id": message.id.as_str(),
            ":workspace": author.workspace().as_str(),
            ":task": message.task.as_str(),
            ":author": message.author.as_str(),
            ":author_user": message.author_user,
            ":author_name": message.author_name,
            ":made_with": author.token_id(),
            ":text": message.text,
            ":now": now,
        })?;
    Ok(())
}
