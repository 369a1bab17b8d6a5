//! Taking the next task: one agent gets it, and no other does.

use tower_workspace_token::authority::Lease;

use super::{
    Author, Status, Task, TaskError, Tasks, What, board,
    hub::Announcement,
    read::{TASK_COLUMNS, task_from_row},
    timeline,
};
use crate::{
    db::{OptionalExtension as _, Transaction, lease, named_params},
    live::Topic,
    time,
};

impl Tasks {
    /// Takes the first task, in the order of the board, that is assigned to agents and that nobody has
    /// begun; marks it ongoing.
    ///
    /// One statement finds and marks it, so that two agents never get the same one.
    ///
    /// # Errors
    /// The agent's token was regenerated, or the database failed.
    pub async fn take_next(&self, agent: &Lease) -> Result<Option<Task>, TaskError> {
        let (agent, now) = (agent.clone(), time::now());
        let sql = format!(
            "UPDATE tasks SET status = 'ongoing', taken_with = :token, taken_name = :name,
                 position = :position, updated_at = :now
             WHERE number = (
                 SELECT number FROM tasks
                 WHERE workspace = :workspace AND status = 'notstarted' AND assignee = 'agent'
                 ORDER BY position, number LIMIT 1)
             RETURNING {TASK_COLUMNS}"
        );
        let workspace = *agent.workspace();
        let work = move |transaction: &Transaction<'_>| {
            lease::check(transaction, &agent)?;
            let taken = transaction
                .prepare_cached(&sql)?
                .query_row(
                    named_params! {
                        ":workspace": workspace.as_str(),
                        ":token": agent.token_id().as_str(),
                        ":name": agent.name().as_str(),
                        ":position": board::entrance(transaction, &workspace, Status::Ongoing)?,
                        ":now": now,
                    },
                    task_from_row,
                )
                .optional()?;
            if let Some(task) = &taken {
                let author = Author::Agent(agent);
                timeline::insert(transaction, &author, &task.id, What::Taken, ("", ""), now)?;
            }
            Ok(taken)
        };
        let announcement = |taken: &Option<Task>| {
            let task = taken.as_ref()?;
            Some(Announcement::Topic(Topic::Task(task.id.to_string())))
        };
        self.write_and_announce(workspace, work, announcement).await
    }
}
