//! `/join`: choosing a password with a one-time link.

use askama::Template;
use axum::{extract::State, response::IntoResponse};
use serde::Deserialize;

use super::{
    extract::Form,
    guard,
    layout::Layout,
    page::{PageResult, render, sentence},
    setup,
};
use crate::{actions::Secret, app::App, people::accounts::Origin};

#[derive(Template)]
#[template(path = "join.html")]
struct JoinPage {
    layout: Layout,
    /// Whose link it is, once it is known.
    name: Option<String>,
    problem: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct LinkForm {
    link: Secret,
}

#[derive(Deserialize)]
pub(super) struct JoinForm {
    link: Secret,
    password: Secret,
}

pub(super) async fn show() -> PageResult {
    page(None, None)
}

/// Tells whoever has a link the name that goes with it: the page asks, as no server sees what stands behind
/// the `#` before.
pub(super) async fn whose(
    State(app): State<App>,
    origin: Origin,
    Form(form): Form<LinkForm>,
) -> PageResult {
    let name = app.accounts().invited(setup::code(&form.link), origin);
    Ok(name.await?.into_response())
}

pub(super) async fn join(
    State(app): State<App>,
    origin: Origin,
    Form(form): Form<JoinForm>,
) -> PageResult {
    let link = setup::code(&form.link);
    let (accounts, password) = (app.accounts(), form.password.into_inner());
    match accounts.join(link.clone(), password, origin.clone()).await {
        Ok(secret) => {
            let cookie = guard::set_cookie(&app, &secret)?;
            Ok(guard::redirect_with(cookie, "/"))
        }
        Err(error) if error.status().is_client_error() => {
            let name = accounts.invited(link, origin).await.ok();
            let page = page(name, Some(sentence(&error.to_string())))?;
            Ok((error.status(), page).into_response())
        }
        Err(error) => Err(error.into()),
    }
}

fn page(name: Option<String>, problem: Option<String>) -> PageResult {
    render(&JoinPage {
        layout: Layout::stranger("Choose a password"),
        name,
        problem,
    })
}
