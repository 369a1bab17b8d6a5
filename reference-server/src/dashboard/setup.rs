//! `/setup`: making the first account with the one-time link.

use askama::Template;
use axum::{extract::State, response::IntoResponse};
use secrecy::SecretString;
use serde::Deserialize;

use super::{
    extract::Form,
    guard,
    layout::Layout,
    page::{PageResult, render, sentence},
};
use crate::{actions::Secret, app::App, people::accounts::Origin};

#[derive(Template)]
#[template(path = "setup.html")]
struct SetupPage {
    layout: Layout,
    name: String,
    problem: Option<String>,
    /// There is an account: nobody makes the first one any longer.
    is_set_up: bool,
}

#[derive(Deserialize)]
pub(super) struct SetupForm {
    /// What stands behind the `#`: a script fills it in, or the person does.
    link: Secret,
    name: String,
    password: Secret,
}

pub(super) async fn show(State(app): State<App>) -> PageResult {
    page(&app, String::new(), None).await
}

pub(super) async fn claim(
    State(app): State<App>,
    origin: Origin,
    Form(form): Form<SetupForm>,
) -> PageResult {
    let (accounts, link) = (app.accounts(), code(&form.link));
    let claimed = accounts.claim(link, form.name.clone(), form.password.into_inner(), origin);
    match claimed.await {
        Ok(secret) => {
            app.setup_file().remove();
            let cookie = guard::set_cookie(&app, &secret)?;
            Ok(guard::redirect_with(cookie, "/"))
        }
        Err(error) if error.status().is_client_error() => {
            let page = page(&app, form.name, Some(sentence(&error.to_string()))).await?;
            Ok((error.status(), page).into_response())
        }
        Err(error) => Err(error.into()),
    }
}

async fn page(app: &App, name: String, problem: Option<String>) -> PageResult {
    render(&SetupPage {
        is_set_up: app.accounts().is_set_up().await?,
        layout: Layout::stranger("Set up"),
        name,
        problem,
    })
}

/// Returns the secret of a link: people paste all of it as well as what is behind the `#`.
pub(super) fn code(link: &Secret) -> SecretString {
    let text = link.expose_secret().trim();
    text.rsplit('#').next().unwrap_or(text).into()
}
