//! `/w/ID`: what waits for a person, with a place to answer each.

use askama::Template;
use axum::extract::State;
use serde::Deserialize;

use super::{
    chart::Chart,
    extract::{Form, Path, Query},
    filters,
    guard::LoggedIn,
    layout::{Layout, WorkspaceBar},
    notice::Done,
    page::{PageResult, perform_and_go, render},
};
use crate::{
    actions::{AnswerTimesShow, ApprovalAnswer, ApprovalList, NeedsYou, RuleRemove},
    app::App,
    tasks::{Answer, ApprovalRule, Need, NeedKind},
};

#[derive(Template)]
#[template(path = "needs_you.html")]
struct NeedsYouPage {
    layout: Layout,
    workspace: String,
    needs: Vec<Need>,
    /// How many there are, shown ones included.
    count: u64,
    rules: Vec<ApprovalRule>,
    /// How long answers took lately, once there were any.
    chart: Option<Chart>,
}

/// How much there is, for the tab that each page of the workspace has.
#[derive(Template)]
#[template(path = "needs_count.html")]
struct NeedsCount {
    workspace: WorkspaceBar,
}

#[derive(Deserialize)]
pub(super) struct AnswerForm {
    answer: Answer,
    /// The task to go back to, if it was answered there.
    #[serde(default)]
    task: String,
}

pub(super) async fn show(
    State(app): State<App>,
    person: LoggedIn,
    Path(workspace): Path<String>,
    Query(done): Query<Done>,
) -> PageResult {
    let (layout, _) =
        Layout::of_workspace(&app, &person.0, &workspace, "needs-you", "Needs you").await?;
    let needs = NeedsYou {
        workspace: workspace.clone(),
    };
    let needs = app.perform(needs, &person.caller()).await?;
    let approvals = ApprovalList {
        workspace: workspace.clone(),
    };
    let rules = app.perform(approvals, &person.caller()).await?.rules;
    let times = AnswerTimesShow {
        workspace: workspace.clone(),
    };
    let times = app.perform(times, &person.caller()).await?;
    render(&NeedsYouPage {
        layout: layout.with_notice(done.notice()),
        workspace,
        needs: needs.needs,
        count: needs.count,
        rules,
        chart: Chart::of_answers(&times),
    })
}

pub(super) async fn count(
    State(app): State<App>,
    person: LoggedIn,
    Path(workspace): Path<String>,
) -> PageResult {
    let workspace = WorkspaceBar::of(&app, &person.0, &workspace, "").await?.0;
    render(&NeedsCount { workspace })
}

pub(super) async fn answer_approval(
    State(app): State<App>,
    person: LoggedIn,
    Path((workspace, approval)): Path<(String, String)>,
    Form(form): Form<AnswerForm>,
) -> PageResult {
    let to = match form.task.as_str() {
        "" => format!("/w/{workspace}?done=approval"),
        task => format!("/w/{workspace}/tasks/{task}?done=approval"),
    };
    let action = ApprovalAnswer {
        workspace,
        approval,
        answer: form.answer,
    };
    perform_and_go(&app, &person, action, &to).await
}

pub(super) async fn remove_rule(
    State(app): State<App>,
    person: LoggedIn,
    Path((workspace, rule)): Path<(String, String)>,
) -> PageResult {
    let to = format!("/w/{workspace}?done=rule");
    perform_and_go(&app, &person, RuleRemove { workspace, rule }, &to).await
}

impl Need {
    /// Returns an id for the element, the same as long as it is the same need.
    fn element(&self) -> String {
        match (&self.approval, &self.task) {
            (Some(approval), _) => format!("approval-{}", approval.id),
            (None, Some(task)) => format!("need-{}", task.id),
            (None, None) => String::new(),
        }
    }

    fn tag(&self) -> (&'static str, &'static str) {
        match self.kind {
            NeedKind::Approval => ("warn", "asks for permission"),
            NeedKind::Blocked => ("bad", "blocked"),
            NeedKind::Question => ("busy", "question"),
        }
    }
}
