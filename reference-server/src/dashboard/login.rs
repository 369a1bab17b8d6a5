//! `/login` and `/logout`.

use askama::Template;
use axum::{extract::State, response::IntoResponse};
use serde::Deserialize;

use super::{
    extract::{Form, Query},
    guard::{self, LoggedIn},
    layout::Layout,
    page::{PageResult, render, sentence},
};
use crate::{
    actions::{LoginEnd, Secret},
    app::App,
    error::{AppError, ErrorCode},
    people::{accounts::Origin, users},
};

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    layout: Layout,
    next: String,
    name: String,
    problem: Option<String>,
    /// Nobody has an account yet.
    is_new: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Next {
    #[serde(default)]
    next: String,
}

#[derive(Deserialize)]
pub(super) struct LoginForm {
    name: String,
    password: Secret,
    #[serde(default)]
    next: String,
}

pub(super) async fn show(State(app): State<App>, Query(Next { next }): Query<Next>) -> PageResult {
    page(&app, next, String::new(), None).await
}

pub(super) async fn log_in(
    State(app): State<App>,
    origin: Origin,
    Form(form): Form<LoginForm>,
) -> PageResult {
    let LoginForm {
        name,
        password,
        next,
    } = form;
    match app
        .accounts()
        .log_in(name.clone(), password.into_inner(), origin)
        .await
    {
        Ok(secret) => {
            let cookie = guard::set_cookie(&app, &secret)?;
            Ok(guard::redirect_with(cookie, own_path(&next)))
        }
        Err(error) if is_told(&error) => {
            let status = error.status();
            let page = page(&app, next, name, Some(sentence(&error.to_string()))).await?;
            Ok((status, page).into_response())
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn log_out(State(app): State<App>, person: LoggedIn) -> PageResult {
    if let Some(login) = person.0.login.clone() {
        app.perform(LoginEnd { login }, &person.caller()).await?;
    }
    let cookie = guard::clear_cookie(&app)?;
    Ok(guard::redirect_with(cookie, "/login"))
}

async fn page(app: &App, next: String, name: String, problem: Option<String>) -> PageResult {
    let has_users = app.database().read(users::any).await?;
    render(&LoginPage {
        layout: Layout::stranger("Log in"),
        next,
        name,
        problem,
        is_new: !has_users,
    })
}

fn is_told(error: &AppError) -> bool {
    matches!(
        error.code(),
        ErrorCode::Unauthenticated | ErrorCode::TooManyAttempts
    )
}

/// Returns `next` if it is a page of ours: whoever made the link to the login must not choose where it
/// leads after it.
fn own_path(next: &str) -> &str {
    let is_ours = next.starts_with('/')
        && !next.starts_with("//")
        && next
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if is_ours { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leads_to_our_own_pages_alone() {
        for (next, expected) in [
            ("/w/abc?x=1", "/w/abc?x=1"),
            ("", "/"),
            ("https://evil.example", "/"),
            ("//evil.example", "/"),
            ("/\\evil.example", "/"),
            ("/\tevil", "/"),
            ("/a\r\nSet-Cookie: x", "/"),
        ] {
            assert_eq!(own_path(next), expected, "{next}");
        }
    }
}
