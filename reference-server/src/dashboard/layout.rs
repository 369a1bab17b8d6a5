//! What all pages have around them: the bar, the tabs of a workspace, and the line to what changes.

use axum::{extract::Request, middleware::Next, response::Response};

use crate::{
    actions::workspace_ref,
    app::App,
    caller::{Caller, Person},
    db::ids,
    error::AppError,
    people::{Role, transfers},
    tasks::WorkspaceInfo,
    time,
};

use super::assets;

/// The frame of a page.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) title: String,
    pub(super) person: Option<PersonBar>,
    pub(super) workspace: Option<WorkspaceBar>,
    /// Where the page hears of changes.
    pub(super) live: Option<String>,
    /// What was just done.
    pub(super) notice: Option<&'static str>,
    /// Whether the server shows a demo, which every page says.
    pub(super) is_demo: bool,
}

tokio::task_local! {
    /// Whether what is being answered is asked of a demo. Not handed from page to page, so that none can
    /// forget it: an error's page knows of nothing but the error.
    static IS_DEMO: ();
}

/// Answers a request with pages that say that they are a demo's.
pub(super) async fn say_demo(request: Request, next: Next) -> Response {
    in_demo(next.run(request)).await
}

/// Does `work`, whose pages say that they are a demo's.
pub(super) async fn in_demo<T>(work: impl Future<Output = T>) -> T {
    IS_DEMO.scope((), work).await
}

/// Who is logged in.
#[derive(Clone, Debug)]
pub(super) struct PersonBar {
    pub(super) name: String,
    pub(super) is_administrator: bool,
}

/// The workspace that the page belongs to.
#[derive(Clone, Debug)]
pub(super) struct WorkspaceBar {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) is_archived: bool,
    pub(super) is_locked: bool,
    pub(super) is_owner: bool,
    /// How much waits for a person.
    pub(super) needs: u64,
    /// Who wants to hand it over to whoever looks.
    pub(super) offered_by: Option<String>,
    pub(super) tab: &'static str,
}

impl WorkspaceBar {
    /// # Errors
    /// There is no such workspace for this person.
    pub(super) async fn of(
        app: &App,
        person: &Person,
        workspace: &str,
        tab: &'static str,
    ) -> Result<(Self, WorkspaceInfo), AppError> {
        let caller = Caller::Person(person.clone());
        let (info, role) = workspace_ref::visible(app, workspace, &caller).await?;
        let needs = app.tasks().needs_count(&info.id).await?;
        let id = info.id;
        let transfer = app
            .database()
            .read(move |snapshot| transfers::find(snapshot, &id, time::now()))
            .await?;
        let for_them = transfer.filter(|transfer| transfer.to == person.user.id);
        let bar = Self {
            id: info.id.to_string(),
            name: info.name.clone(),
            is_archived: info.archived,
            is_locked: app.is_locked(&info.id),
            is_owner: role == Role::Owner,
            needs,
            offered_by: for_them.map(|transfer| transfer.by_name),
            tab,
        };
        Ok((bar, info))
    }
}

impl Layout {
    /// The frame for somebody who has not logged in.
    pub(super) fn stranger(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            person: None,
            workspace: None,
            live: None,
            notice: None,
            is_demo: IS_DEMO.try_with(|()| ()).is_ok(),
        }
    }

    /// The frame of a page that belongs to no workspace. Made before what the page shows is asked for.
    pub(super) fn of(app: &App, person: &Person, title: impl Into<String>) -> Self {
        Self {
            person: Some(PersonBar {
                name: person.user.name.clone(),
                is_administrator: person.user.is_administrator,
            }),
            live: Some(format!("/live?since={}", app.live().cursor())),
            ..Self::stranger(title)
        }
    }

    /// The frame of a page of a workspace, and the workspace.
    ///
    /// # Errors
    /// There is no such workspace for this person.
    pub(super) async fn of_workspace(
        app: &App,
        person: &Person,
        workspace: &str,
        tab: &'static str,
        title: &str,
    ) -> Result<(Self, WorkspaceInfo), AppError> {
        let cursor = app.live().cursor();
        let (bar, info) = WorkspaceBar::of(app, person, workspace, tab).await?;
        let mut layout = Self::of(app, person, format!("{title} · {}", info.name));
        layout.live = Some(format!("/live?workspace={}&since={cursor}", info.id));
        layout.workspace = Some(bar);
        Ok((layout, info))
    }

    pub(super) fn with_notice(mut self, notice: Option<&'static str>) -> Self {
        self.notice = notice;
        self
    }

    /// Has the page hear of one task alone.
    pub(super) fn listen_to_task(&mut self, task: &str) {
        // What is no id concerns no task.
        if let Some(live) = self.live.as_mut().filter(|_| ids::is_id(task)) {
            live.push_str("&task=");
            live.push_str(task);
        }
    }

    /// Returns whether the person owns the workspace of the page.
    pub(super) fn is_owner(&self) -> bool {
        self.workspace
            .as_ref()
            .is_some_and(|workspace| workspace.is_owner)
    }

    /// Returns whether the workspace of the page is archived.
    pub(super) fn is_archived(&self) -> bool {
        self.workspace
            .as_ref()
            .is_some_and(|workspace| workspace.is_archived)
    }

    /// Returns the path of a style sheet or script.
    pub(super) fn asset(&self, name: &str) -> String {
        assets::path(name)
    }

    /// Returns whether this is the open tab of the workspace.
    pub(super) fn is_tab(&self, tab: &str) -> bool {
        self.workspace
            .as_ref()
            .is_some_and(|workspace| workspace.tab == tab)
    }
}
