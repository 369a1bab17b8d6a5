//! `getTask`: takes the next task, or shows one; with `waitSeconds` it stays open until there is
//! something new, which is how clients without a push stream hear of it.

use std::{fmt::Write as _, time::Duration};

use rmcp::schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::sleep;

use super::{AgentTool, Call, Refusal, attachment};
use crate::tasks::{
    Actor, Event, MAX_PAGE, Message, MessageId, PageRequest, Subscription, Task, TaskId,
};

#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct GetTask {
    /// The task to show. Without it, the next task that is assigned to agents is taken and marked ongoing.
    #[serde(default)]
    #[schemars(with = "String")]
    task_id: Option<String>,
    /// Whether to show the task's conversation, oldest message first.
    #[serde(default)]
    include_conversation: bool,
    /// Show only messages after this one: the `Next cursor` of an earlier result.
    #[serde(default)]
    #[schemars(with = "String")]
    cursor: Option<String>,
    /// The most messages to show: 1 to 100, 5 by default.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 100))]
    limit: u32,
    /// How long to wait, 0 to 55 seconds, 0 by default: without taskId for a task, with taskId for a
    /// person's message (after `cursor`, if that is given).
    #[serde(default)]
    #[schemars(range(min = 0, max = 55))]
    wait_seconds: u64,
}

impl AgentTool for GetTask {
    const NAME: &'static str = "getTask";
    const DESCRIPTION: &'static str = "Takes the next task that is assigned to agents and marks it ongoing, or, with taskId, shows a task and its conversation. With waitSeconds it waits for a task, or for a person's message.";
    const READ_ONLY: bool = false;

    async fn run(self, call: &Call<'_>) -> Result<String, Refusal> {
        let wait = wait(self.wait_seconds)?;
        match &self.task_id {
            None => take_next(call, wait).await,
            Some(task) => {
                let task: TaskId = task.parse()?;
                self.show(call, &task, wait).await
            }
        }
    }
}

impl GetTask {
    async fn show(
        &self,
        call: &Call<'_>,
        task: &TaskId,
        wait: Duration,
    ) -> Result<String, Refusal> {
        let page = PageRequest {
            cursor: self.cursor.as_deref().map(str::parse).transpose()?,
            limit: self.limit,
        };
        // Refuses what is wrong with the arguments before there is anything to wait for.
        let mut messages = self.messages(call, task, &page).await?;
        if !wait.is_zero()
            && let Some(arrived) = await_message(call, task, page.cursor.as_ref(), wait).await?
        {
            messages = self.messages(call, task, &page).await?;
            if !messages.iter().any(|message| message.id == arrived.id) {
                messages.push(arrived);
            }
        }
        let task = call.tasks.get(call.workspace(), task).await?;
        let mut text = describe("Task details:", &task);
        list_attachments(call, &task.id, &mut text).await?;
        if self.include_conversation || !messages.is_empty() {
            tell(&mut text, &messages);
        }
        Ok(text)
    }

    async fn messages(
        &self,
        call: &Call<'_>,
        task: &TaskId,
        page: &PageRequest<MessageId>,
    ) -> Result<Vec<Message>, Refusal> {
        let tasks = call.tasks;
        let found = tasks.conversation(call.workspace(), task, page.clone());
        let messages = found.await?.messages;
        let asked_for = self.include_conversation || self.cursor.is_some();
        Ok(if asked_for { messages } else { Vec::new() })
    }
}

/// Checks how long a call may wait.
pub(super) fn wait(seconds: u64) -> Result<Duration, Refusal> {
    match seconds {
        0..=MAX_WAIT => Ok(Duration::from_secs(seconds)),
        _ => Err(Refusal::new(
            "Not done: waitSeconds is 0 to 55. Call again with less, and again after that.",
        )),
    }
}

/// Takes the next task, if need be when there is one.
pub(super) async fn take_next(call: &Call<'_>, wait: Duration) -> Result<String, Refusal> {
    // Before the first look, so that a task which comes in between is heard of.
    let mut events = call.tasks.subscribe(call.workspace());
    let mut over = std::pin::pin!(sleep(wait));
    let mut is_over = wait.is_zero();
    loop {
        // Never raced against anything: what was taken must be told.
        if let Some(task) = call.tasks.take_next(call.lease()).await? {
            return Ok(describe("Next assigned task:", &task));
        }
        if is_over {
            return Ok(NO_TASK.to_owned());
        }
        tokio::select! {
            // First: what comes at the same moment is not taken for somebody who is gone.
            biased;
            () = call.cancelled() => return Ok(NO_TASK.to_owned()),
            () = new_task(&mut events) => {}
            () = &mut over => is_over = true,
        }
    }
}

async fn new_task(events: &mut Subscription) {
    loop {
        match events.next().await {
            Event::TaskAdded(task) if task.assignee == Actor::Agent => return,
            Event::TaskOffered(_) | Event::Missed => return,
            Event::TaskAdded(_) | Event::MessageAdded(_) => {}
        }
    }
}

/// Waits for a person's message to the task: one after `cursor`, or, without a cursor, a new one.
async fn await_message(
    call: &Call<'_>,
    task: &TaskId,
    cursor: Option<&MessageId>,
    wait: Duration,
) -> Result<Option<Message>, Refusal> {
    let mut events = call.tasks.subscribe(call.workspace());
    let mut over = std::pin::pin!(sleep(wait));
    let mut cursor = cursor.cloned();
    if let Some(found) = look_for_message(call, task, &mut cursor).await? {
        return Ok(Some(found));
    }
    // Whoever waits for people asks them, in whatever words it said so.
    call.tasks.agent_waits(call.lease(), task).await?;
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            () = &mut over => return Ok(None),
            () = call.cancelled() => return Ok(None),
        };
        match event {
            Event::MessageAdded(message)
                if message.task == *task && message.author == Actor::Human =>
            {
                return Ok(Some((*message).clone()));
            }
            Event::Missed => {
                if let Some(found) = look_for_message(call, task, &mut cursor).await? {
                    return Ok(Some(found));
                }
            }
            Event::MessageAdded(_) | Event::TaskAdded(_) | Event::TaskOffered(_) => {}
        }
    }
}

/// Looks for a person's message after `cursor`, which moves to the last message it has seen.
async fn look_for_message(
    call: &Call<'_>,
    task: &TaskId,
    cursor: &mut Option<MessageId>,
) -> Result<Option<Message>, Refusal> {
    while cursor.is_some() {
        let page = PageRequest {
            cursor: cursor.clone(),
            limit: MAX_PAGE,
        };
        let page = call
            .tasks
            .conversation(call.workspace(), task, page)
            .await?;
        let Some(last) = page.messages.last().map(|last| last.id.clone()) else {
            break;
        };
        *cursor = Some(last);
        let mut messages = page.messages.into_iter();
        if let Some(found) = messages.find(|message| message.author == Actor::Human) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn describe(heading: &str, task: &Task) -> String {
    format!(
        "{heading}\nID: {}\nTitle: {}\nStatus: {}\nDetails: {}",
        task.id,
        task.title,
        task.status.as_str(),
        task.body,
    )
}

/// Adds the task's files, if there are any.
async fn list_attachments(
    call: &Call<'_>,
    task: &TaskId,
    text: &mut String,
) -> Result<(), Refusal> {
    let attachments = call.tasks.attachments(call.workspace(), task).await?;
    if !attachments.is_empty() {
        text.push_str("\n\nAttachments, for downloadAttachment or getAttachment:");
    }
    for attachment in &attachments {
        text.push('\n');
        text.push_str(&attachment::describe(attachment));
    }
    Ok(())
}

fn tell(text: &mut String, messages: &[Message]) {
    text.push_str("\n\nConversation:");
    for message in messages {
        let (at, author) = (&message.created_at, message.author.as_str());
        // Writing to a `String` cannot fail.
        let _ = write!(text, "\n[{at}] {author}: {}", message.text);
    }
    match messages.last() {
        None => text.push_str("\n(no messages)"),
        Some(last) => {
            let _ = write!(text, "\nNext cursor: {}", last.id);
        }
    }
}

fn default_limit() -> u32 {
    5
}

/// Below the minute after which clients and proxies give up a call.
const MAX_WAIT: u64 = 55;

const NO_TASK: &str = "no pending tasks exist";
