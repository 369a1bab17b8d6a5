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
    problem: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct JoinForm {
    link: Secret,
    password: Secret,
}

pub(super) async fn show() -> PageResult {
    page(None)
}

pub(super) async fn join(
    State(app): State<App>,
    origin: Origin,
    Form(form): Form<JoinForm>,
) -> PageResult {
    let link = setup::code(&form.link);
    match app
        .accounts()
        .join(link, form.password.into_inner(), origin)
        .await
    {
        Ok(secret) => {
            let cookie = guard::set_cookie(&app, &secret)?;
            Ok(guard::redirect_with(cookie, "/"))
        }
        Err(error) if error.status().is_client_error() => {
            let page = page(Some(sentence(&error.to_string())))?;
            Ok((error.status(), page).into_response())
        }
        Err(error) => Err(error.into()),
    }
}

fn page(problem: Option<String>) -> PageResult {
    render(&JoinPage {
        layout: Layout::stranger("Choose a password"),
        problem,
    })
}
