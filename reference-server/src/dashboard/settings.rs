//! `/settings`: a person's own name, password and logins.

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse, Redirect},
};
use serde::Deserialize;

use super::{
    extract::{Form, Path, Query},
    filters,
    guard::LoggedIn,
    layout::Layout,
    notice::Done,
    page::{PageResult, render},
};
use crate::{
    actions::{LoginEnd, LoginLine, LoginList, MePassword, MeRename, Secret},
    app::App,
};

#[derive(Template)]
#[template(path = "settings.html")]
struct SettingsPage {
    layout: Layout,
    name: String,
    logins: Vec<LoginLine>,
}

#[derive(Deserialize)]
pub(super) struct NameForm {
    name: String,
}

#[derive(Deserialize)]
pub(super) struct PasswordForm {
    old: Secret,
    new: Secret,
}

pub(super) async fn show(
    State(app): State<App>,
    person: LoggedIn,
    Query(done): Query<Done>,
) -> PageResult {
    let layout = Layout::of(&app, &person.0, "Settings").with_notice(done.notice());
    let logins = app.perform(LoginList {}, &person.caller()).await?.logins;
    render(&SettingsPage {
        layout,
        name: person.0.user.name,
        logins,
    })
}

pub(super) async fn rename(
    State(app): State<App>,
    person: LoggedIn,
    Form(form): Form<NameForm>,
) -> PageResult {
    let name = form.name.trim().to_owned();
    app.perform(MeRename { name }, &person.caller()).await?;
    Ok(Redirect::to("/settings?done=name").into_response())
}

pub(super) async fn change_password(
    State(app): State<App>,
    person: LoggedIn,
    Form(form): Form<PasswordForm>,
) -> PageResult {
    let change = MePassword {
        old: form.old,
        new: form.new,
    };
    app.perform(change, &person.caller()).await?;
    Ok(Redirect::to("/settings?done=password").into_response())
}

pub(super) async fn end_login(
    State(app): State<App>,
    person: LoggedIn,
    Path(login): Path<String>,
) -> PageResult {
    app.perform(LoginEnd { login }, &person.caller()).await?;
    Ok(Redirect::to("/settings?done=login").into_response())
}
