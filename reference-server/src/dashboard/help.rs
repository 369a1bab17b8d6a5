//! The page that every 401 names: what a token is, where to keep it, and how to come by one that works.
//!
//! It is `docs/token-security.md`, with this server's address in its examples. It is for everybody, and says
//! nothing of this server but the address that was asked.

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use pulldown_cmark::{Options, Parser, html};

use super::{guard, layout::Layout, page::render};
use crate::app::App;

/// Where the page is.
pub(crate) const PATH: &str = "/help/token-security";

const TEXT: &str = include_str!("help/token-security.md");

/// The server that the text is about.
const EXAMPLE: &str = "https://agents.example.com";

#[derive(Template)]
#[template(path = "help.html")]
struct HelpPage {
    layout: Layout,
    content: String,
}

pub(crate) async fn show(State(app): State<App>) -> Response {
    let text = TEXT.replace(EXAMPLE, &app.addresses().public_url().to_string());
    let mut content = String::with_capacity(text.len() * 3 / 2);
    // The text is our own, and the address one that was parsed: neither holds HTML.
    html::push_html(&mut content, Parser::new_ext(&text, Options::ENABLE_TABLES));
    let page = HelpPage {
        layout: Layout::stranger("Token security"),
        content,
    };
    guard::protect(render(&page).into_response()).await
}
