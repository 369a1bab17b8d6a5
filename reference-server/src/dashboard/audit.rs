//! `/w/ID/audit` and `/admin/audit`: who did what, in a workspace and on the whole server; and as a file.

use std::collections::VecDeque;

use askama::Template;
use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use futures_util::stream;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use serde::Deserialize;

use super::{
    extract::{Path, Query},
    filters,
    guard::LoggedIn,
    layout::Layout,
    page::{PageResult, render},
};
use crate::{
    actions::{AuditList, ServerAudit},
    app::App,
    audit::{AuditEntry, AuditPage, export::Format},
    caller::Caller,
    error::AppError,
};

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditListPage {
    layout: Layout,
    list: List,
}

#[derive(Template)]
#[template(path = "admin_audit.html")]
struct ServerAuditPage {
    layout: Layout,
    tab: &'static str,
    list: List,
}

/// The list as the templates show it.
struct List {
    /// The page's own path.
    path: String,
    /// The filter, as it is put into links.
    query: String,
    area: String,
    actor: String,
    /// Whether it is the latest page, which changes.
    is_latest: bool,
    next_before: Option<i64>,
    entries: Vec<AuditEntry>,
    shows_workspaces: bool,
}

/// The query of the page.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    area: String,
    #[serde(default)]
    actor: String,
    before: Option<i64>,
}

/// The query of an export.
#[derive(Debug, Deserialize)]
pub(super) struct AskedExport {
    #[serde(default)]
    format: Format,
    #[serde(default)]
    area: String,
    #[serde(default)]
    actor: String,
}

pub(super) async fn of_workspace(
    State(app): State<App>,
    person: LoggedIn,
    Path(workspace): Path<String>,
    Query(asked): Query<Asked>,
) -> PageResult {
    let (layout, _) = Layout::of_workspace(&app, &person.0, &workspace, "audit", "Audit").await?;
    let path = format!("/w/{workspace}/audit");
    let source = Source::new(Some(workspace), &asked.area, &asked.actor);
    let page = source
        .page(&app, &person.caller(), asked.before, PAGE)
        .await?;
    render(&AuditListPage {
        layout,
        list: List::new(path, asked, page, false),
    })
}

pub(super) async fn of_server(
    State(app): State<App>,
    person: LoggedIn,
    Query(asked): Query<Asked>,
) -> PageResult {
    let layout = Layout::of(&app, &person.0, "Audit of the server");
    let source = Source::new(None, &asked.area, &asked.actor);
    let page = source
        .page(&app, &person.caller(), asked.before, PAGE)
        .await?;
    render(&ServerAuditPage {
        layout,
        tab: "audit",
        list: List::new("/admin/audit".to_owned(), asked, page, true),
    })
}

pub(super) async fn export_of_workspace(
    State(app): State<App>,
    person: LoggedIn,
    Path(workspace): Path<String>,
    Query(asked): Query<AskedExport>,
) -> PageResult {
    let name = format!("audit-{workspace}");
    let source = Source::new(Some(workspace), &asked.area, &asked.actor);
    export(app, person.caller(), source, asked.format, &name).await
}

pub(super) async fn export_of_server(
    State(app): State<App>,
    person: LoggedIn,
    Query(asked): Query<AskedExport>,
) -> PageResult {
    let source = Source::new(None, &asked.area, &asked.actor);
    export(app, person.caller(), source, asked.format, "audit-server").await
}

impl List {
    fn new(path: String, asked: Asked, page: AuditPage, shows_workspaces: bool) -> Self {
        let query = [("area", &asked.area), ("actor", &asked.actor)];
        Self {
            path,
            // Of two texts: they can be written.
            query: serde_urlencoded::to_string(query).unwrap_or_default(),
            area: asked.area,
            actor: asked.actor,
            is_latest: asked.before.is_none(),
            next_before: page.next_before,
            entries: page.entries,
            shows_workspaces,
        }
    }

    fn areas(&self) -> [(&'static str, &'static str); 10] {
        AREAS
    }
}

/// Which list is read, and what of it.
struct Source {
    workspace: Option<String>,
    action: Option<String>,
    actor: Option<String>,
}

impl Source {
    fn new(workspace: Option<String>, area: &str, actor: &str) -> Self {
        let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        Self {
            workspace,
            action: given(area),
            actor: given(actor),
        }
    }

    async fn page(
        &self,
        app: &App,
        caller: &Caller,
        before: Option<i64>,
        limit: u32,
    ) -> Result<AuditPage, AppError> {
        let (action, actor, limit) = (self.action.clone(), self.actor.clone(), Some(limit));
        match self.workspace.clone() {
            Some(workspace) => {
                let list = AuditList {
                    workspace,
                    action,
                    actor,
                    before,
                    limit,
                };
                app.perform(list, caller).await
            }
            None => {
                let list = ServerAudit {
                    action,
                    actor,
                    before,
                    limit,
                };
                app.perform(list, caller).await
            }
        }
    }
}

/// Answers with a file, a part at a time: however long the list is, little of it is in memory. Each part
/// is asked for anew, so that the file ends where the caller's right to it does.
async fn export(
    app: App,
    caller: Caller,
    source: Source,
    format: Format,
    name: &str,
) -> PageResult {
    let first = source.page(&app, &caller, None, PART).await?;
    let writing = Writing {
        app,
        caller,
        source,
        format,
        next_before: first.next_before,
        ready: VecDeque::from([format.head().to_owned() + &lines(format, &first)]),
    };
    let parts = stream::try_unfold(writing, |mut writing| async move {
        let part = writing.next().await?;
        Ok::<_, AppError>(part.map(|part| (part, writing)))
    });
    let headers = [
        (CONTENT_TYPE, format.media_type().to_owned()),
        (
            CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}.{}\"", format.extension()),
        ),
    ];
    let response: Response = (headers, Body::from_stream(parts)).into_response();
    Ok(response)
}

struct Writing {
    app: App,
    caller: Caller,
    source: Source,
    format: Format,
    next_before: Option<i64>,
    ready: VecDeque<String>,
}

impl Writing {
    async fn next(&mut self) -> Result<Option<String>, AppError> {
        if let Some(part) = self.ready.pop_front() {
            return Ok(Some(part));
        }
        let Some(before) = self.next_before else {
            return Ok(None);
        };
        let page = self
            .source
            .page(&self.app, &self.caller, Some(before), PART)
            .await?;
        self.next_before = page.next_before;
        Ok(Some(lines(self.format, &page)))
    }
}

fn lines(format: Format, page: &AuditPage) -> String {
    page.entries
        .iter()
        .map(|entry| format.line(entry))
        .collect()
}

/// The first words of actions.
const AREAS: [(&str, &str); 10] = [
    ("account", "Logins"),
    ("approval", "Approvals"),
    ("backup", "Backups"),
    ("connection", "Connections"),
    ("key", "Keys"),
    ("member", "Members"),
    ("task", "Tasks"),
    ("token", "Tokens"),
    ("user", "Users"),
    ("workspace", "Workspace"),
];
const PAGE: u32 = 50;
const PART: u32 = 1000;
