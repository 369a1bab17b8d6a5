//! The card that shows a token's secret, once: in the answer to the very POST that made it.
//!
//! Never in a URL, never in the browser's history or cache: the answer is `no-store`, a script wipes it
//! when the reader leaves, and a repetition of the POST mints nothing (see [`Once`](crate::once::Once)).

use askama::Template;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use zeroize::Zeroizing;

use super::{filters, layout::Layout, page::PageResult};
use crate::{
    actions::{ClientLine, RejectedLine, Secret},
    clients::{self, ClientGuide},
    variables::slot_variable,
};

/// A token that was just made.
pub(super) struct SecretCard {
    pub(super) workspace: String,
    pub(super) token: String,
    pub(super) secret: Secret,
    pub(super) mcp_url: String,
    /// The token beside which it was made, to replace it.
    pub(super) replaces: Option<String>,
    /// What ended, if it replaces another one.
    pub(super) rotation: Option<Rotation>,
}

/// What a rotation ended.
pub(super) struct Rotation {
    pub(super) sessions: usize,
    pub(super) streams: usize,
    pub(super) milliseconds: String,
    /// The new generation.
    pub(super) generation: u64,
    pub(super) after: Aftermath,
}

/// What came of a rotation since, as a part of the card that keeps itself up to date.
pub(super) struct Aftermath {
    /// The clients that were cut off.
    pub(super) cut: Vec<CutClient>,
    /// The refused uses of the old generation.
    pub(super) tried: Vec<RejectedLine>,
}

/// A client that was cut off, and whether it has come back.
pub(super) struct CutClient {
    /// `Claude Code 2.1.330 at 10.0.0.5`.
    pub(super) words: String,
    /// How it is started again.
    pub(super) restart: &'static str,
    pub(super) was_idle: bool,
    pub(super) is_back: bool,
}

impl CutClient {
    /// Returns those whom the end of `generation` has cut off: one for a client at an address, however many
    /// sessions it had.
    pub(super) fn list(clients: Vec<ClientLine>, generation: u64) -> Vec<Self> {
        let cut = clients
            .into_iter()
            .filter(|client| client.cut_generation == Some(generation));
        let mut cut: Vec<Self> = cut
            .map(|client| Self {
                restart: clients::restart(&client.client_name),
                was_idle: client.was_idle,
                is_back: client.is_back,
                words: client.words,
            })
            .collect();
        // Whoever was at work is first, and stays where it was when it comes back.
        cut.sort_by(|a, b| (a.was_idle, &a.words).cmp(&(b.was_idle, &b.words)));
        cut
    }
}

#[derive(Template)]
#[template(path = "secret_card.html")]
struct SecretPage<'a> {
    layout: Layout,
    workspace: &'a str,
    token: &'a str,
    secret: &'a str,
    variable: String,
    replaces: Option<Replaced<'a>>,
    rotation: Option<&'a Rotation>,
    clients: Vec<ClientGuide>,
}

/// A token that works until it is revoked, and where clients find it.
struct Replaced<'a> {
    token: &'a str,
    variable: String,
}

/// Answers with the card.
pub(super) fn show(layout: Layout, card: SecretCard) -> PageResult {
    let named = layout
        .workspace
        .as_ref()
        .map(|workspace| workspace.name.clone());
    let named = named.unwrap_or_default();
    let variable = slot_variable(&named, &card.token);
    let replaces = card.replaces.as_deref().map(|token| Replaced {
        variable: slot_variable(&named, token),
        token,
    });
    let page = SecretPage {
        layout,
        workspace: &card.workspace,
        token: &card.token,
        secret: card.secret.expose_secret(),

        replaces,
        rotation: card.rotation.as_ref(),
        clients: clients::guides(&card.workspace, &variable, &card.mcp_url),
        variable,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_whom_the_rotation_cut_off_and_nobody_else_in_one_order() {
        let line = |words: &str, cut_generation, was_idle, is_back| ClientLine {
            client: words.to_owned(),
            client_name: words.to_owned(),
            version: String::new(),
            address: None,
            generation: 2,
            first_at: String::new(),
            last_at: String::new(),
            is_connected: is_back,
            is_back,
            cut_generation,
            was_idle,
            words: words.to_owned(),
        };
        let clients = vec![
            line("never-cut", None, false, true),
            line("z", Some(1), false, true),
            line("idle", Some(1), true, false),
            line("cut-before-that", Some(0), false, false),
            line("a", Some(1), false, false),
        ];
        let cut = CutClient::list(clients, 1);
        let shown: Vec<_> = cut
            .iter()
            .map(|client| (&*client.words, client.was_idle, client.is_back))
            .collect();
        let expected = [
            ("a", false, false),
            ("z", false, true),
            ("idle", true, false),
        ];
        assert_eq!(shown, expected);
    }
}
