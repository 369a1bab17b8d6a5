//! The card that shows a token's secret, once: in the answer to the very POST that made it.
//!
//! Never in a URL, never in the browser's history or cache: the answer is `no-store`, a script wipes it
//! when the reader leaves, and a repetition of the POST mints nothing (see [`Once`](crate::once::Once)).

use askama::Template;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use zeroize::Zeroizing;

use super::{
    clients::{self, ClientGuide},
    layout::Layout,
    page::PageResult,
};
use crate::{actions::Secret, time, variables::slot_variable};

/// A token that was just made.
pub(super) struct SecretCard {
    pub(super) workspace: String,
    pub(super) token: String,
    pub(super) secret: Secret,
    pub(super) mcp_url: String,
    /// What ended, if it replaces another one.
    pub(super) rotation: Option<Rotation>,
}

/// What a rotation ended.
pub(super) struct Rotation {
    pub(super) sessions: usize,
    pub(super) streams: usize,
    pub(super) milliseconds: String,
    /// The clients that were cut off, and how each is started again.
    pub(super) cut: Vec<CutClient>,
}

/// A client that was cut off.
pub(super) struct CutClient {
    /// `Claude Code 2.1.330 at 10.0.0.5`.
    pub(super) words: String,
    pub(super) restart: &'static str,
}

#[derive(Template)]
#[template(path = "secret_card.html")]
struct SecretPage<'a> {
    layout: Layout,
    workspace: &'a str,
    token: &'a str,
    secret: &'a str,
    variable: String,
    rotation: Option<&'a Rotation>,
    clients: Vec<ClientGuide>,
    /// When it was made: who connects after it has the new token.
    since: String,
}

/// Answers with the card.
pub(super) fn show(layout: Layout, card: SecretCard) -> PageResult {
    let named = layout
        .workspace
        .as_ref()
        .map(|workspace| workspace.name.clone());
    let variable = slot_variable(&named.unwrap_or_default(), &card.token);
    let page = SecretPage {
        layout,
        workspace: &card.workspace,
        token: &card.token,
        secret: card.secret.expose_secret(),

        rotation: card.rotation.as_ref(),
        clients: clients::guides(&card.workspace, &variable, &card.mcp_url),
        variable,
        since: time::rfc3339(time::now()),
    };
    // Room for all of it, so that the secret does not move while the page grows.
    let mut html = Zeroizing::new(String::with_capacity(64 * 1024));
    page.render_into(&mut *html).map_err(anyhow::Error::from)?;
    Ok(answer(&html))
}

fn answer(html: &str) -> Response {
    // `no-store` is what all pages have; see `guard::protect`.
    (
        [(CONTENT_TYPE, "text/html; charset=utf-8")],
        html.to_owned(),
    )
        .into_response()
}
