//! The JSON API, `/api/v1`: a route per action.
//!
//! Whoever mounts it says who may call it; nothing in here asks. Today that is the control socket.

mod arguments;
mod handler;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{HeaderValue, header::CACHE_CONTROL},
    middleware,
    response::Response,
    routing::on,
};

use crate::{
    actions::{
        Action, TaskAdd, TaskList, TaskReply, TaskShow, TokenCreate, TokenInspect, TokenList,
        TokenRevoke, TokenRotate, WorkspaceArchive, WorkspaceCreate, WorkspaceList,
    },
    app::App,
    error::{AppError, ErrorCode},
};

pub(crate) use arguments::{ApiCall, encode};

/// Where the API lies.
pub(crate) const PREFIX: &str = "/api/v1";

/// Returns the routes of all actions, under [`PREFIX`].
pub(crate) fn router(app: App) -> Router {
    let routes = Router::new();
    let routes = with::<WorkspaceCreate>(routes);
    let routes = with::<WorkspaceList>(routes);
    let routes = with::<WorkspaceArchive>(routes);
    let routes = with::<TokenCreate>(routes);
    let routes = with::<TokenList>(routes);
    let routes = with::<TokenRotate>(routes);
    let routes = with::<TokenRevoke>(routes);
    let routes = with::<TokenInspect>(routes);
    let routes = with::<TaskAdd>(routes);
    let routes = with::<TaskList>(routes);
    let routes = with::<TaskReply>(routes);
    let routes = with::<TaskShow>(routes);
    Router::new()
        .nest(PREFIX, routes)
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_route)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::map_response(forbid_storing))
        .with_state(app)
}

fn with<A: Action>(routes: Router<App>) -> Router<App> {
    let filter = A::METHOD
        .try_into()
        .expect("actions have methods that axum knows");
    routes.route(A::ROUTE, on(filter, handler::handle::<A>))
}

async fn no_such_route() -> AppError {
    AppError::new(ErrorCode::NotFound, "there is no such route in the API")
}

/// Answers hold secrets that are shown once.
async fn forbid_storing<B>(mut response: Response<B>) -> Response<B> {
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A text of 64 KiB, escaped as JSON at its worst, and room for the rest.
const MAX_BODY: usize = 512 * 1024;
