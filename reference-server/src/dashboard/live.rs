//! `/live`: the stream on which a page hears what has changed, as server-sent events.
//!
//! An event is the name of what changed; the parts of the page that show it ask for themselves again.

use std::{collections::HashSet, convert::Infallible, time::Duration};

use axum::{
    extract::State,
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures_util::{Stream, stream};
use serde::Deserialize;
use tower_workspace_token::id::WorkspaceId;

use super::{extract::Query, guard::LoggedIn, page::PageError};
use crate::{
    app::App,
    caller::{Caller, Person},
    error::{AppError, ErrorCode},
    live::{Change, Cursor, Heard, Listener, Seat, Topic},
    people::Role,
    tasks::Need,
    time,
};

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    /// Of one workspace; of all that the person may see otherwise.
    workspace: Option<String>,
    /// Of the tasks, only this one.
    task: Option<String>,
    /// Up to which change the page knows.
    since: Option<String>,
    /// In place of changes, what newly needs somebody, for notifications.
    #[serde(default)]
    notify: bool,
}

struct Watching {
    app: App,
    person: Person,
    workspace: Option<WorkspaceId>,
    task: Option<String>,
    listener: Listener,
    /// What the stream has told of what needs somebody; nothing if it tells of changes.
    needs: Option<Told>,
    _seat: Seat,
}

pub(super) async fn stream(
    State(app): State<App>,
    LoggedIn(person): LoggedIn,
    headers: http::HeaderMap,
    Query(asked): Query<Asked>,
) -> Result<Response, PageError> {
    let workspace = match asked.workspace {
        Some(id) => Some(
            id.parse()
                .map_err(|_| AppError::new(ErrorCode::NotFound, "there is no such workspace"))?,
        ),
        None => None,
    };
    // A stream that was interrupted says where.
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let known = last.or(asked.since.as_deref());
    let known: Option<Cursor> = known.and_then(|known| known.parse().ok());
    let Some(seat) = app.live().seat(person.user.id.as_str()) else {
        let refusal = "too many pages are open: close some";
        return Err(AppError::new(ErrorCode::TooManyAttempts, refusal).into());
    };
    let mut watching = Watching {
        listener: app.live().listen(known),
        app,
        person,
        workspace,
        task: asked.task,
        needs: asked.notify.then(Told::now),
        _seat: seat,
    };
    // Once more, now that nothing can be missed.
    if !watching.is_logged_in().await {
        return Err(AppError::new(ErrorCode::Unauthenticated, "the login is over").into());
    }
    if watching.role(workspace.as_ref()).await?.is_none() {
        return Err(AppError::new(ErrorCode::NotFound, "there is no such workspace").into());
    }
    let events = Sse::new(watching.events()).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    Ok(([("x-accel-buffering", "no")], events).into_response())
}

impl Watching {
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(Some(self), async |watching| {
            let mut watching = watching?;
            let event = watching.next().await?;
            Some((Ok(event), Some(watching)))
        })
    }

    /// Waits for something that the person may hear of; `None` ends the stream.
    async fn next(&mut self) -> Option<Event> {
        loop {
            let heard = tokio::select! {
                heard = self.listener.next() => heard,
                () = self.app.tasks().closed() => return None,
            };
            let (cursor, change) = match heard {
                Heard::Everything(cursor) => {
                    // Among what was missed may be the end of the login.
                    if !self.is_logged_in().await {
                        return None;
                    }
                    return Some(
                        Event::default()
                            .id(cursor.to_string())
                            .event("live-all")
                            .data("-"),
                    );
                }
                Heard::Change(cursor, change) => (cursor, change),
            };
            if change.topic == Topic::People && !self.is_logged_in().await {
                return None;
            }
            if !self.concerns(&change).await {
                continue;
            }
            if self.needs.is_some() {
                match self.new_need(&change).await {
                    Some(need) => return Some(Event::default().event("needs-you").data(need)),
                    None => continue,
                }
            }
            let event = Event::default().id(cursor.to_string());
            return Some(match change.topic {
                Topic::Approvals => event.event("live-approvals").data("-"),
                Topic::Audit => event.event("live-audit").data("-"),
                Topic::Connections => event.event("live-connections").data("-"),
                Topic::People => event.event("live-people").data("-"),
                Topic::Settings => event.event("live-settings").data("-"),
                Topic::Task(id) => event.event("live-tasks").data(id),
                Topic::Tokens => event.event("live-tokens").data("-"),
            });
        }
    }

    /// Returns the first need of a changed workspace that is newer than the stream and was not told.
    async fn new_need(&mut self, change: &Change) -> Option<String> {
        let workspace = change.workspace?;
        let told = self.needs.as_mut()?;
        if !matches!(change.topic, Topic::Approvals | Topic::Task(_)) {
            return None;
        }
        let page = self.app.tasks().needs(&workspace).await.ok()?;
        // The newest one: others that came with it are on the page that it leads to.
        let need = page.needs.iter().rev().find(|need| told.is_new(need))?;
        told.remember(need);
        let (title, body) = match (&need.approval, &need.task) {
            (Some(approval), _) => (
                format!("{} asks for permission", approval.agent),
                format!("to use {}", approval.tool),
            ),
            (None, Some(task)) => ("A task needs you".to_owned(), task.title.clone()),
            (None, None) => return None,
        };
        let url = format!("/w/{workspace}");
        serde_json::to_string(&serde_json::json!({ "title": title, "body": body, "url": url })).ok()
    }

    async fn concerns(&self, change: &Change) -> bool {
        if let (Some(task), Topic::Task(changed)) = (&self.task, &change.topic)
            && task != changed
        {
            return false;
        }
        let Some(changed) = &change.workspace else {
            return true;
        };
        if self.workspace.as_ref().is_some_and(|mine| mine != changed) {
            return false;
        }
        // Asked each time: they may have left since the last one.
        let Ok(Some(role)) = self.role(Some(changed)).await else {
            return false;
        };
        // What members see no page of, they hear nothing of.
        let is_owners = matches!(
            change.topic,
            Topic::Audit | Topic::Connections | Topic::Tokens
        );
        role == Role::Owner || !is_owners
    }

    /// Returns what the person may do in a workspace; of the server as a whole, everybody hears.
    async fn role(&self, workspace: Option<&WorkspaceId>) -> Result<Option<Role>, AppError> {
        match workspace {
            None => Ok(Some(Role::Member)),
            Some(workspace) => {
                let caller = Caller::Person(self.person.clone());
                self.app.role(workspace, &caller).await
            }
        }
    }

    /// Looks again whether the login holds, and what its user may do.
    async fn is_logged_in(&mut self) -> bool {
        match self
            .app
            .as_of_now(Caller::Person(self.person.clone()))
            .await
        {
            Ok(Caller::Person(person)) => {
                self.person = person;
                true
            }
            _ => false,
        }
    }
}

/// What a stream of notifications has told.
struct Told {
    /// In RFC 3339, as needs have it: what is older was there before.
    from: String,
    keys: HashSet<String>,
}

impl Told {
    fn now() -> Self {
        Self {
            from: time::rfc3339(time::now()),
            keys: HashSet::new(),
        }
    }

    fn is_new(&self, need: &Need) -> bool {
        need.since >= self.from && !self.keys.contains(&Self::key(need))
    }

    fn remember(&mut self, need: &Need) {
        // Nobody reads a thousand notifications: better one twice than memory without a bound.
        if self.keys.len() >= MOST_TOLD {
            self.keys.clear();
            self.from.clone_from(&need.since);
        }
        self.keys.insert(Self::key(need));
    }

    fn key(need: &Need) -> String {
        match (&need.approval, &need.task) {
            (Some(approval), _) => approval.id.to_string(),
            (None, Some(task)) => format!("{} {}", task.id, need.since),
            (None, None) => String::new(),
        }
    }
}

const MOST_TOLD: usize = 1000;
const KEEP_ALIVE: Duration = Duration::from_secs(20);
