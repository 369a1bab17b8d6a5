//! How the agent plays a task: it takes its time, reports, waits for people, and goes on.
//!
//! Each scene begins by reading what was said, so that it goes on where an earlier session was cut off.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tokio::{sync::oneshot, time::sleep};

use super::{
    client::{Failure, Session},
    script::{self, FIRST, LATER},
};

/// A task that the agent works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) task: String,
    pub(super) title: String,
}

/// What all scenes of a session share.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) session: Session,
    /// Who waits for the answer to which permission request.
    asked: Mutex<HashMap<String, oneshot::Sender<bool>>>,
}

/// What the server knows of a task, as the text of `getTask`.
struct Record(String);

impl Part {
    /// Reads the task out of what `getTask` or `listTasks` says of it.
    pub(super) fn read(text: &str) -> Option<Self> {
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        Some(Self {
            task: field("ID: ")?.to_owned(),
            title: field("Title: ")?.to_owned(),
        })
    }
}

impl Stage {
    pub(super) fn new(session: Session) -> Self {
        Self {
            session,
            asked: Mutex::default(),
        }
    }

    /// Plays a task to its end, which may be far off.
    pub(super) async fn play(self: Arc<Self>, part: Part) -> Result<(), Failure> {
        let Part { task, title } = part;
        let task = &*task;
        match &*title {
            script::FOG => self.report(task).await,
            script::RHYME => self.decline(task).await,
            script::TIDES => self.block(task).await,
            script::BERTHS => self.ask(task).await,
            script::LIGHTS => self.ask_permission(task).await,
            _ => self.go_through_the_motions(task).await,
        }
    }

    /// Takes up a task that was begun in an earlier session, if it is this agent's: it spoke there, or it
    /// is of the script and no agent has spoken.
    pub(super) async fn resume(self: Arc<Self>, part: Part) -> Result<(), Failure> {
        let record = self.look(&part.task, None).await?;
        let is_ours = match script::TASKS.iter().any(|task| task.title == part.title) {
            true => record.says(FIRST) || !record.has_word_of("agent"),
            false => record.says(FIRST),
        };
        match is_ours {
            true => self.play(part).await,
            false => Ok(()),
        }
    }

    async fn report(&self, task: &str) -> Result<(), Failure> {
        let record = self.begin(task, script::FOG_TAKEN).await?;
        if !record.says(script::FOG_DONE) {
            let (name, kind, text) = script::FOG_FILE;
            let data = BASE64_STANDARD.encode(text);
            let file = json!({ "filename": name, "mimeType": kind, "data": data });
            self.say(task, LATER, script::FOG_DONE, vec![file]).await?;
        }
        self.set_status(task, "completed").await
    }

    async fn decline(&self, task: &str) -> Result<(), Failure> {
        self.begin(task, script::RHYME_DECLINED).await?;
        self.set_status(task, "rejected").await
    }

    async fn block(&self, task: &str) -> Result<(), Failure> {
        let record = self.begin(task, script::TIDES_TAKEN).await?;
        if !record.says(script::TIDES_BLOCKED) {
            let (title, body) = script::PROOF;
            let proof = json!({ "title": title, "body": body, "assignee": "human" });
            self.call("createTask", proof).await?;
        }
        self.say_once(&record, task, script::TIDES_BLOCKED).await?;
        self.set_status(task, "blocked").await?;
        if self.await_person(task, script::TIDES_BLOCKED).await? {
            self.set_status(task, "ongoing").await?;
            step().await;
            self.finish(task, script::TIDES_DONE, "completed").await?;
        }
        Ok(())
    }

    async fn ask(&self, task: &str) -> Result<(), Failure> {
        let record = self.begin(task, script::BERTHS_TAKEN).await?;
        self.say_once(&record, task, script::BERTHS_QUESTION)
            .await?;
        if self.await_person(task, script::BERTHS_QUESTION).await? {
            step().await;
            self.finish(task, script::BERTHS_DONE, "completed").await?;
        }
        Ok(())
    }

    async fn ask_permission(&self, task: &str) -> Result<(), Failure> {
        self.begin(task, script::LIGHTS_TAKEN).await?;
        let (sender, verdict) = oneshot::channel();
        self.asked().insert(task.to_owned(), sender);
        let (tool, description, preview) = script::LIGHTS_TOOL;
        let request = json!({
            "request_id": task,
            "tool_name": tool,
            "description": description,
            "input_preview": preview,
        });
        self.session.notify(PERMISSION_REQUEST, request).await?;
        // There is none any more if the session ends, and with it this scene.
        let Ok(is_allowed) = verdict.await else {
            return Ok(());
        };
        // Somebody may have closed the task without an answer.
        if !self.look(task, None).await?.is_open() {
            return Ok(());
        }
        step().await;
        match is_allowed {
            true => self.finish(task, script::LIGHTS_ALLOWED, "completed").await,
            false => self.finish(task, script::LIGHTS_DENIED, "rejected").await,
        }
    }

    /// Hands a person's answer to the scene that waits for it.
    pub(super) fn hear(&self, message: &Value) {
        if message["method"] != PERMISSION {
            return;
        }
        let request = message["params"]["request_id"].as_str();
        let waiting = request.and_then(|request| self.asked().remove(request));
        if let Some(waiting) = waiting {
            // The scene may have ended meanwhile.
            let _ = waiting.send(message["params"]["behavior"] == "allow");
        }
    }

    /// Plays a task that is in no script. What it says is never repeated: it may be long, and ask.
    async fn go_through_the_motions(&self, task: &str) -> Result<(), Failure> {
        let record = self.begin(task, script::OTHER_TAKEN).await?;
        self.say_once(&record, task, script::OTHER_GOES_ON).await?;
        self.finish(task, script::OTHER_DONE, "completed").await
    }

    /// Says the first line of a scene, unless it was said before; returns what was known of the task.
    async fn begin(&self, task: &str, line: &str) -> Result<Record, Failure> {
        let record = self.look(task, None).await?;
        step().await;
        if !record.says(line) {
            self.say(task, FIRST, line, Vec::new()).await?;
            step().await;
        }
        Ok(record)
    }

    async fn say_once(&self, record: &Record, task: &str, line: &str) -> Result<(), Failure> {
        if !record.says(line) {
            self.say(task, LATER, line, Vec::new()).await?;
            step().await;
        }
        Ok(())
    }

    async fn finish(&self, task: &str, line: &str, status: &str) -> Result<(), Failure> {
        self.say(task, LATER, line, Vec::new()).await?;
        self.set_status(task, status).await
    }

    async fn say(
        &self,
        task: &str,
        who: &str,
        line: &str,
        files: Vec<Value>,
    ) -> Result<(), Failure> {
        let text = format!("{who}{line}");
        let arguments = json!({ "chatId": task, "text": text, "attachments": files });
        self.call("reply", arguments).await?;
        Ok(())
    }

    async fn set_status(&self, task: &str, status: &str) -> Result<(), Failure> {
        let arguments = json!({ "taskId": task, "status": status });
        self.call("updateTaskStatus", arguments).await?;
        Ok(())
    }

    /// Waits until a person says something after `line`; `false` if the task is closed or given back
    /// first.
    async fn await_person(&self, task: &str, line: &str) -> Result<bool, Failure> {
        let mut record = self.look(task, None).await?;
        let mut has_answer = record.has_answer_after(line);
        let mut cursor = record.cursor();
        while record.is_open() && !has_answer {
            step().await;
            record = self.look(task, cursor.as_deref()).await?;
            has_answer = record.has_word_of("human");
            cursor = record.cursor().or(cursor);
        }
        Ok(record.is_open())
    }

    /// Reads a task and its conversation; after a cursor it waits for a person to say something.
    async fn look(&self, task: &str, cursor: Option<&str>) -> Result<Record, Failure> {
        let mut arguments = json!({ "taskId": task, "includeConversation": true, "limit": 100 });
        let mut wait = Duration::ZERO;
        if let Some(cursor) = cursor {
            wait = WAIT;
            arguments["cursor"] = cursor.into();
            arguments["waitSeconds"] = wait.as_secs().into();
        }
        let text = self.session.call("getTask", arguments, wait).await?;
        Ok(Record(text))
    }

    async fn call(&self, tool: &str, arguments: Value) -> Result<String, Failure> {
        self.session.call(tool, arguments, Duration::ZERO).await
    }

    fn asked(&self) -> std::sync::MutexGuard<'_, HashMap<String, oneshot::Sender<bool>>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    fn says(&self, line: &str) -> bool {
        self.0.contains(line)
    }

    /// Whether the task is somebody's work still.
    fn is_open(&self) -> bool {
        let mut lines = self.0.lines();
        let status = lines.find_map(|line| line.strip_prefix("Status: "));
        matches!(status, Some("ongoing" | "blocked"))
    }

    /// Whether any of the messages is of a `human` or an `agent`.
    fn has_word_of(&self, author: &str) -> bool {
        has_word_of(&self.0, author)
    }

    /// Whether a person wrote something after `line`.
    fn has_answer_after(&self, line: &str) -> bool {
        let after = self.0.rsplit_once(line);
        after.is_some_and(|(_, after)| has_word_of(after, "human"))
    }

    /// Returns where the conversation goes on.
    fn cursor(&self) -> Option<String> {
        let (_, cursor) = self.0.rsplit_once("\nNext cursor: ")?;
        Some(cursor.to_owned())
    }
}

fn has_word_of(conversation: &str, author: &str) -> bool {
    let begins = format!("Z] {author}: ");
    let mut lines = conversation.lines();
    lines.any(|line| line.starts_with('[') && line.contains(&begins))
}

/// Lets people follow.
async fn step() {
    sleep(STEP).await;
}

const STEP: Duration = Duration::from_millis(700);

/// How long one call waits for a person. Then it looks whether the task is open still.
const WAIT: Duration = Duration::from_secs(20);

const PERMISSION_REQUEST: &str = "notifications/claude/channel/permission_request";
const PERMISSION: &str = "notifications/claude/channel/permission";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_task() {
        let text = "Next assigned task:\nID: a1\nTitle: Status: x\nStatus: ongoing\nDetails: ID: b";
        let part = Part::read(text).unwrap();
        assert_eq!((&*part.task, &*part.title), ("a1", "Status: x"));
        assert!(Record(text.to_owned()).is_open());
        assert_eq!(Part::read("no pending tasks exist"), None);
    }

    #[test]
    fn hears_a_person_after_the_question_alone() {
        let said = |lines: &str| {
            Record(format!(
                "Task details:\nID: a\nTitle: t\nStatus: ongoing\nDetails: d\n\nConversation:{lines}\nNext cursor: c9"
            ))
        };
        let human = "\n[2026-11-01T10:00:00Z] human: yes";
        let agent = "\n[2026-11-01T10:00:01Z] agent: Which one?";
        let answered = said(&format!("{agent}{human}"));
        assert!(answered.has_answer_after("Which one?"));
        assert_eq!(answered.cursor().as_deref(), Some("c9"));
        for not_yet in [
            said(&format!("{human}{agent}")),
            said(agent),
            said("\n(no messages)"),
        ] {
            assert!(!not_yet.has_answer_after("Which one?"), "{}", not_yet.0);
        }
    }

    #[test]
    fn a_task_that_is_closed_or_given_back_is_waited_for_no_longer() {
        for (status, is_open) in [
            ("ongoing", true),
            ("blocked", true),
            ("notstarted", false),
            ("completed", false),
            ("rejected", false),
        ] {
            let text = format!("Task details:\nID: a\nTitle: t\nStatus: {status}\nDetails: d");
            assert_eq!(Record(text).is_open(), is_open, "{status}");
        }
    }
}
