//! `/admin`: the users of the server, for its administrators.

use askama::Template;
use axum::{extract::State, response::IntoResponse};
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{
    extract::{Form, Path, Query},
    filters,
    guard::LoggedIn,
    layout::Layout,
    notice::Done,
    page::{PageResult, perform_and_go, render},
};
use crate::{
    actions::{UserAdd, UserAdded, UserLine, UserLink, UserList, UserUpdate},
    app::App,
    once::OnceForm,
    people::UserId,
};

#[derive(Template)]
#[template(path = "admin.html")]
struct UsersPage {
    layout: Layout,
    tab: &'static str,
    users: Vec<UserLine>,
    app: App,
    reader: UserId,
}

#[derive(Template)]
#[template(path = "admin_link.html")]
struct LinkPage<'a> {
    layout: Layout,
    name: &'a str,
    link: &'a str,
}

#[derive(Deserialize)]
pub(super) struct NewUser {
    name: String,
    #[serde(default)]
    is_administrator: bool,
    #[serde(default)]
    once: String,
}

#[derive(Deserialize)]
pub(super) struct LinkForm {
    #[serde(default)]
    once: String,
}

#[derive(Deserialize)]
pub(super) struct UserForm {
    is_administrator: Option<bool>,
    is_disabled: Option<bool>,
}

impl UsersPage {
    /// Returns a number for a form; without randomness none, and the form is refused.
    fn number(&self, form: OnceForm) -> String {
        let number = self.app.once().number(&self.reader, form);
        number.unwrap_or_default()
    }
}

pub(super) async fn show(
    State(app): State<App>,
    person: LoggedIn,
    Query(done): Query<Done>,
) -> PageResult {
    let layout = Layout::of(&app, &person.0, "Users").with_notice(done.notice());
    let users = app.perform(UserList {}, &person.caller()).await?.users;
    render(&UsersPage {
        layout,
        tab: "users",
        users,
        reader: person.user().clone(),
        app,
    })
}

pub(super) async fn add(
    State(app): State<App>,
    person: LoggedIn,
    Form(form): Form<NewUser>,
) -> PageResult {
    let action = UserAdd {
        name: form.name.trim().to_owned(),
        is_administrator: form.is_administrator,
    };
    let caller = person.caller();
    let adding = app.perform(action, &caller);
    let added = app
        .once()
        .run(person.user(), OnceForm::UserAdd, &form.once, adding)
        .await?;
    show_link(Layout::of(&app, &person.0, "A link"), &added)
}

pub(super) async fn link(
    State(app): State<App>,
    person: LoggedIn,
    Path(user): Path<String>,
    Form(form): Form<LinkForm>,
) -> PageResult {
    let caller = person.caller();
    let linking = app.perform(UserLink { user }, &caller);
    let added = app
        .once()
        .run(person.user(), OnceForm::UserLink, &form.once, linking)
        .await?;
    show_link(Layout::of(&app, &person.0, "A link"), &added)
}

pub(super) async fn update(
    State(app): State<App>,
    person: LoggedIn,
    Path(user): Path<String>,
    Form(form): Form<UserForm>,
) -> PageResult {
    let action = UserUpdate {
        user,
        is_administrator: form.is_administrator,
        is_disabled: form.is_disabled,
    };
    perform_and_go(&app, &person, action, "/admin?done=user").await
}

/// Answers with the link, once: as with a token, it is in no URL and in no cache.
fn show_link(layout: Layout, added: &UserAdded) -> PageResult {
    let page = LinkPage {
        layout,
        name: &added.user.name,
        link: added.link.expose_secret(),
    };
    // Room for all of it, so that the secret does not move while the page grows.
    let mut html = Zeroizing::new(String::with_capacity(16 * 1024));
    page.render_into(&mut *html).map_err(anyhow::Error::from)?;
    let media_type = [(CONTENT_TYPE, "text/html; charset=utf-8")];
    Ok((media_type, html.to_string()).into_response())
}
