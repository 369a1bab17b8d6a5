//! Taking the next task: one agent gets it, and no other does.

use rusqlite::{OptionalExtension as _, named_params};
use tower_workspace_token::authority::Lease;

use super::{
    Task, TaskError, Tasks,
    read::{TASK_COLUMNS, task_from_row},
};
use crate::{db::lease, time};

impl Tasks {
    /// Takes the oldest task that is assigned to agents and that nobody has begun; marks it ongoing.
    ///
    /// One statement finds and marks it, so that two agents never get the same one.
    ///
    /// # Errors
    /// The agent's token was regenerated, or the database failed.
    pub async fn take_next(&self, agent: &Lease) -> Result<Option<Task>, TaskError> {
        let (agent, now) = (agent.clone(), time::now());
        let sql = format!(
            "UPDATE tasks SET status = 'ongoing', taken_with = :token, updated_at = :now
             WHERE number = (
                 SELECT number FROM tasks
                 WHERE workspace = :workspace AND status = 'notstarted' AND assignee = 'agent'
                 ORDER BY number LIMIT 1)
             RETURNING {TASK_COLUMNS}"
        );
        self.database
            .write(move |transaction| {
                lease::check(transaction, &agent)?;
                let taken = transaction
                    .prepare_cached(&sql)?
                    .query_row(
                        named_params! {
                            ":workspace": agent.workspace().as_str(),
                            ":token": agent.token_id().as_str(),
                            ":now": now,
                        },
                        task_from_row,
                    )
                    .optional()?;
                Ok(taken)
            })
            .await
    }
}
