//! Templates as responses, and errors as pages.

use askama::Template;
use axum::response::{Html, IntoResponse, Redirect, Response};

use super::{guard::LoggedIn, layout::Layout};
use crate::{
    actions::Action,
    app::App,
    error::{AppError, ErrorCode},
};

/// What a page's handler returns.
pub(super) type PageResult = Result<Response, PageError>;

/// A failure, shown as a page.
#[derive(Debug)]
pub(super) struct PageError(pub(super) AppError);

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    layout: Layout,
    heading: &'static str,
    message: String,
}

/// Renders a template.
pub(super) fn render(template: &impl Template) -> PageResult {
    let html = template.render().map_err(anyhow::Error::from)?;
    Ok(Html(html).into_response())
}

/// Does what a form asks for, and leads to the page that shows it.
pub(super) async fn perform_and_go<A: Action>(
    app: &App,
    person: &LoggedIn,
    action: A,
    to: &str,
) -> PageResult {
    app.perform(action, &person.caller()).await?;
    Ok(Redirect::to(to).into_response())
}

/// Shows that there is no such page.
pub(super) fn not_found() -> Response {
    let error = AppError::new(
        ErrorCode::NotFound,
        "There is no such page. It may have been taken away, or be somebody else's.",
    );
    PageError(error).into_response()
}

impl<E: Into<AppError>> From<E> for PageError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let error = self.0.without_causes();
        let status = error.status();
        let page = ErrorPage {
            layout: Layout::stranger("Not done"),
            heading: heading(error.code()),
            message: sentence(&error.to_string()),
        };
        match page.render() {
            Ok(html) => (status, Html(html)).into_response(),
            Err(_) => (status, page.message).into_response(),
        }
    }
}

fn heading(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::NotFound => "Not here",
        ErrorCode::Forbidden => "Not yours to do",
        ErrorCode::TooManyAttempts => "Too fast",
        ErrorCode::InvalidArgument => "That will not do",
        _ => "That did not work",
    }
}

/// Makes a sentence of an error's text.
pub(super) fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters
        .next()
        .map(|first| first.to_uppercase().to_string());
    let sentence = first.unwrap_or_default() + characters.as_str();
    match sentence.ends_with(['.', '!', '?']) {
        true => sentence,
        false => sentence + ".",
    }
}
