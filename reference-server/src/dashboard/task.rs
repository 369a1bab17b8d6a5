//! `/w/ID/tasks/T`: one task, its conversation and what happened to it.

use askama::Template;
use axum::extract::State;
use serde::Deserialize;

use super::{
    extract::{Form, Path, Query},
    filters,
    guard::LoggedIn,
    layout::Layout,
    notice::Done,
    page::{PageResult, perform_and_go, render},
    upload::Upload,
};
use crate::{
    actions::{
        AttachmentShow, ShownMessage, TaskAssign, TaskEdit, TaskReply, TaskSetStatus, TaskShow,
    },
    app::App,
    tasks::{Actor, Approval, ApprovalState, Attachment, Status, Task, TimelineEvent, What},
};

#[derive(Template)]
#[template(path = "task.html")]
struct TaskPage {
    layout: Layout,
    workspace: String,
    task: Task,
    /// Files that came with the task itself.
    files: Vec<Attachment>,
    thread: Vec<Entry>,
    /// Leads to what was said before.
    older: Option<String>,
    is_archived: bool,
}

/// Something in the order in which it happened.
struct Entry {
    at: String,
    item: Item,
}

enum Item {
    Approval(Approval),
    Event(TimelineEvent),
    Message(ShownMessage, Vec<Attachment>),
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct ThreadQuery {
    before: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct StatusForm {
    status: Status,
}

#[derive(Deserialize)]
pub(super) struct AssignForm {
    assignee: Actor,
}

#[derive(Deserialize)]
pub(super) struct EditForm {
    title: String,
    body: String,
}

pub(super) async fn show(
    State(app): State<App>,
    person: LoggedIn,
    Path((workspace, task)): Path<(String, String)>,
    Query(query): Query<ThreadQuery>,
    Query(done): Query<Done>,
) -> PageResult {
    let (mut layout, info) =
        Layout::of_workspace(&app, &person.0, &workspace, "task", "Task").await?;
    layout.listen_to_task(&task);
    let action = TaskShow {
        workspace: workspace.clone(),
        task,
        before: query.before,
        limit: None,
    };
    let shown = app.perform(action, &person.caller()).await?;
    layout.title = format!("{} · {}", shown.task.card.title, info.name);
    let (files, mut of_messages): (Vec<_>, Vec<_>) = shown
        .attachments
        .into_iter()
        .partition(|attachment| attachment.message.is_none());
    let messages = shown.messages.into_iter().map(|message| {
        let (mine, others) = std::mem::take(&mut of_messages)
            .into_iter()
            .partition(|attachment: &Attachment| attachment.message.as_ref() == Some(&message.id));
        of_messages = others;
        Entry {
            at: message.created_at.clone(),
            item: Item::Message(message, mine),
        }
    });
    let mut thread: Vec<Entry> = messages.collect();
    // What happened before the messages of this page belongs to an earlier one.
    let from = shown.previous_cursor.as_ref().and_then(|_| thread.first());
    let from = from.map(|first| first.at.clone()).unwrap_or_default();
    let events = shown
        .timeline
        .into_iter()
        .filter(Entry::is_shown)
        .map(|event| Entry {
            at: event.at.clone(),
            item: Item::Event(event),
        });
    let approvals = shown.approvals.into_iter().map(|approval| Entry {
        at: approval.created_at.clone(),
        item: Item::Approval(approval),
    });
    thread.extend(events.chain(approvals).filter(|entry| entry.at >= from));
    thread.sort_by(|one, other| one.at.cmp(&other.at));
    render(&TaskPage {
        layout: layout.with_notice(done.notice()),
        workspace,
        task: shown.task,
        files,
        thread,
        older: shown.previous_cursor.map(|cursor| cursor.to_string()),
        is_archived: info.archived,
    })
}

pub(super) async fn reply(
    State(app): State<App>,
    person: LoggedIn,
    Path((workspace, task)): Path<(String, String)>,
    mut upload: Upload,
) -> PageResult {
    let to = match upload.text("back").as_str() {
        "needs-you" => format!("/w/{workspace}?done=message"),
        _ => format!("/w/{workspace}/tasks/{task}?done=message#end"),
    };
    let action = TaskReply {
        workspace,
        task,
        text: upload.text("text"),
        attachments: upload.files,
    };
    perform_and_go(&app, &person, action, &to).await
}

pub(super) async fn set_status(
    State(app): State<App>,
    person: LoggedIn,
    Path((workspace, task)): Path<(String, String)>,
    Form(form): Form<StatusForm>,
) -> PageResult {
    let to = format!("/w/{workspace}/tasks/{task}?done=status");
    let action = TaskSetStatus {
        workspace,
        task,
        status: form.status,
    };
    perform_and_go(&app, &person, action, &to).await
}

pub(super) async fn assign(
    State(app): State<App>,
    person: LoggedIn,
    Path((workspace, task)): Path<(String, String)>,
    Form(form): Form<AssignForm>,
) -> PageResult {
    let to = format!("/w/{workspace}/tasks/{task}?done=saved");
    let action = TaskAssign {
        workspace,
        task,
        assignee: form.assignee,
    };
    perform_and_go(&app, &person, action, &to).await
}

pub(super) async fn edit(
    State(app): State<App>,
    person: LoggedIn,
    Path((workspace, task)): Path<(String, String)>,
    Form(form): Form<EditForm>,
) -> PageResult {
    let to = format!("/w/{workspace}/tasks/{task}?done=saved");
    let action = TaskEdit {
        workspace,
        task,
        title: Some(form.title.trim().to_owned()),
        body: Some(form.body.replace("\r\n", "\n")),
    };
    perform_and_go(&app, &person, action, &to).await
}

pub(super) async fn download(
    State(app): State<App>,
    person: LoggedIn,
    Path((workspace, task, attachment)): Path<(String, String, String)>,
) -> PageResult {
    let action = AttachmentShow {
        workspace,
        task,
        attachment,
    };
    let shown = app.perform(action, &person.caller()).await?;
    Ok(shown.into_download())
}

impl Entry {
    /// Approvals and files are shown themselves.
    fn is_shown(event: &TimelineEvent) -> bool {
        !matches!(
            event.what,
            What::ApprovalAsked | What::ApprovalAnswered | What::Attached
        )
    }
}

impl TimelineEvent {
    fn words(&self) -> String {
        let word = |state: &str| match state.parse::<Status>() {
            Ok(status) => status.words().to_lowercase(),
            Err(_) => state.to_owned(),
        };
        let whom = |assignee: &str| match assignee {
            "human" => "a person",
            _ => "agents",
        };
        match self.what {
            What::Created => "created the task".to_owned(),
            What::Taken => "took the task".to_owned(),
            What::Status => format!(
                "moved it from {} to {}",
                word(&self.before),
                word(&self.after)
            ),
            What::Assigned => format!("gave it to {}", whom(&self.after)),
            What::Edited if self.before != self.after => {
                format!("renamed it from “{}”", self.before)
            }
            What::Edited => "edited the text".to_owned(),
            What::Attached => format!("attached {}", self.after),
            What::ApprovalAsked => format!("asked to use {}", self.after),
            What::ApprovalAnswered => format!("{}: {}", self.before, self.after),
        }
    }
}

impl Approval {
    /// Returns what became of it; nothing while it waits.
    fn verdict(&self) -> Option<(&'static str, &'static str)> {
        match self.state {
            ApprovalState::Allowed => Some(("good", "allowed")),
            ApprovalState::Denied => Some(("bad", "denied")),
            ApprovalState::Gone => Some(("warn", "the agent went away")),
            ApprovalState::Pending => None,
        }
    }
}

impl Attachment {
    fn shown_size(&self) -> String {
        match self.size {
            size if size < 1024 => format!("{size} bytes"),
            size if size < MIB => format!("{} KiB", size / 1024),
            size => format!("{}.{} MiB", size / MIB, size % MIB * 10 / MIB),
        }
    }
}

const MIB: u64 = 1024 * 1024;
