//! The dashboard: pages for people, rendered on the server, on the server's own hosts alone.
//!
//! A page is a thin face of the actions: it asks for what it shows, and its forms post to actions, each
//! as the person whose login the cookie is. Everything works without JavaScript; with it, pages keep
//! themselves up to date. A workspace token opens nothing here: no page looks at `Authorization`.

mod admin;
mod admin_server;
mod assets;
mod audit;
mod board;
mod chart;
mod connect;
mod connections;
mod extract;
mod filters;
mod guard;
pub(crate) mod help;
mod join;
mod layout;
mod live;
mod login;
mod markdown;
mod members;
mod needs_you;
mod notice;
mod page;
mod present;
mod secret_card;
mod settings;
mod setup;
mod task;
#[cfg(test)]
mod tests;
mod tokens;
mod upload;
mod workspace_settings;
mod workspaces;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware::{from_fn, from_fn_with_state, map_request, map_response},
    response::Response,
    routing::{get, post},
};
use http::{HeaderMap, header::ACCEPT};
use tower_http::csrf::CsrfLayer;

use crate::{api, app::App, tasks::MAX_BYTES_AT_ONCE};

/// Returns the pages, and the JSON API for whoever has logged in.
pub(crate) fn router(app: &App) -> Router {
    let pages = Router::new()
        .route("/", get(workspaces::show).post(workspaces::create))
        .route("/live", get(live::stream))
        .route("/logout", post(login::log_out))
        .route("/settings", get(settings::show))
        .route("/settings/name", post(settings::rename))
        .route("/settings/password", post(settings::change_password))
        .route("/settings/logins/{login}/end", post(settings::end_login))
        .route(
            "/w/{workspace}/members",
            get(members::show).post(members::set),
        )
        .route("/w/{workspace}/members/remove", post(members::remove))
        .route(
            "/w/{workspace}/tokens",
            get(tokens::show).post(tokens::create),
        )
        .route("/w/{workspace}/tokens/{token}", get(tokens::show_one))
        .route("/w/{workspace}/tokens/{token}/back", get(tokens::back))
        .route(
            "/w/{workspace}/tokens/{token}/clients/confirm",
            post(tokens::confirm_client),
        )
        .route(
            "/w/{workspace}/tokens/{token}/rejected/hide",
            post(tokens::hide_rejected),
        )
        .route(
            "/w/{workspace}/tokens/{token}/regenerate",
            get(tokens::ask_regenerate).post(tokens::regenerate),
        )
        .route(
            "/w/{workspace}/tokens/{token}/replace",
            post(tokens::replace),
        )
        .route(
            "/w/{workspace}/tokens/{token}/revoke",
            get(tokens::ask_revoke).post(tokens::revoke),
        )
        .route(
            "/w/{workspace}/connect",
            get(connect::show).post(connect::test),
        )
        .route("/w/{workspace}/connections", get(connections::show))
        .route(
            "/w/{workspace}/connections/{connection}/end",
            post(connections::end),
        )
        .route("/w/{workspace}", get(needs_you::show))
        .route("/w/{workspace}/needs-count", get(needs_you::count))
        .route(
            "/w/{workspace}/approvals/{approval}",
            post(needs_you::answer_approval),
        )
        .route(
            "/w/{workspace}/rules/{rule}/remove",
            post(needs_you::remove_rule),
        )
        .route("/w/{workspace}/board", get(board::show).post(board::create))
        .route("/w/{workspace}/tasks/{task}", get(task::show))
        .route("/w/{workspace}/tasks/{task}/reply", post(task::reply))
        .route("/w/{workspace}/tasks/{task}/status", post(task::set_status))
        .route("/w/{workspace}/tasks/{task}/assign", post(task::assign))
        .route("/w/{workspace}/tasks/{task}/edit", post(task::edit))
        .route("/w/{workspace}/tasks/{task}/move", post(board::move_task))
        .route(
            "/w/{workspace}/tasks/{task}/files/{attachment}",
            get(task::download),
        )
        .merge(administration())
        .layer(DefaultBodyLimit::max(MAX_FORM))
        .layer(map_response(guard::protect))
        .with_state(app.clone());
    // What strangers may send is small.
    let doors = Router::new()
        .route("/login", get(login::show).post(login::log_in))
        .route("/setup", get(setup::show).post(setup::claim))
        .route("/join", get(join::show).post(join::join))
        .route("/join/whose", post(join::whose))
        .layer(DefaultBodyLimit::max(MAX_STRANGERS_FORM))
        .layer(map_response(guard::protect))
        .with_state(app.clone());
    let api = api::router(app.clone())
        .layer(from_fn_with_state(app.clone(), guard::authenticate))
        .merge(api::description())
        .layer(map_response(guard::protect_api));
    let all = pages
        .merge(doors)
        .merge(api)
        .layer(CsrfLayer::new().with_rejection_response(guard::ForeignForm))
        .layer(map_request(guard::hurry));
    let all = match app.is_demo() {
        true => all.layer(from_fn(layout::say_demo)),
        false => all,
    };
    all.merge(assets::router())
}

/// A name, a password and a link, percent-encoded at their worst, and room for the rest.
const MAX_STRANGERS_FORM: usize = 16 * 1024;

/// Answers for paths that nothing is at, for whoever wants a page; `None` for programs.
pub(crate) async fn not_found(app: &App, headers: &HeaderMap) -> Option<Response> {
    let mut accepted = headers.get_all(ACCEPT).iter();
    let wants_page = accepted.any(|accepted| {
        let accepted = accepted.to_str().unwrap_or_default();
        accepted.contains("text/html")
    });
    if !wants_page {
        return None;
    }
    let page = match app.is_demo() {
        true => layout::in_demo(async { page::not_found() }).await,
        false => page::not_found(),
    };
    Some(guard::protect(page).await)
}

/// Who did what, what a workspace is like, and what administrators do.
fn administration() -> Router<App> {
    Router::new()
        .route(
            "/w/{workspace}/settings",
            get(workspace_settings::show).post(workspace_settings::update),
        )
        .route("/w/{workspace}/archive", post(workspace_settings::archive))
        .route(
            "/w/{workspace}/unarchive",
            post(workspace_settings::unarchive),
        )
        .route("/w/{workspace}/delete", post(workspace_settings::delete))
        .route("/w/{workspace}/transfer", post(workspace_settings::offer))
        .route(
            "/w/{workspace}/transfer/accept",
            post(workspace_settings::accept),
        )
        .route(
            "/w/{workspace}/transfer/cancel",
            post(workspace_settings::cancel),
        )
        .route("/admin/health", get(admin_server::health))
        .route("/admin/backup", post(admin_server::back_up))
        .route("/admin/keys", get(admin_server::keys))
        .route("/admin/keys/rotate", post(admin_server::rotate))
        .route("/admin/keys/rewrap", post(admin_server::rewrap))
        .route("/admin/keys/{id}/retire", post(admin_server::retire))
        .route("/w/{workspace}/audit", get(audit::of_workspace))
        .route(
            "/w/{workspace}/audit/export",
            get(audit::export_of_workspace),
        )
        .route("/admin", get(admin::show))
        .route("/admin/users", post(admin::add))
        .route("/admin/users/{user}", post(admin::update))
        .route("/admin/users/{user}/link", post(admin::link))
        .route("/admin/audit", get(audit::of_server))
        .route("/admin/audit/export", get(audit::export_of_server))
}

/// The files that may come at once, or a text of 64 KiB, percent-encoded at its worst, and room for the rest.
const MAX_FORM: usize = MAX_BYTES_AT_ONCE + 256 * 1024;
