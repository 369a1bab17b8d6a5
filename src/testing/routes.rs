//! The paths of an axum `Router`, which has no list of them.
//!
//! They are read from its `Debug` output, the one place that shows them. What that looks like axum does not promise: so
//! each reading begins with a router whose paths are known, and ends with a panic where it does not find just these.
//! It may stop working with another version of axum, but it does not overlook a route.

use std::collections::BTreeSet;

use axum::{Router, routing::get};

/// What axum calls the rest of a path that it hands to a nested service.
const NESTED: &str = "/{*__private__axum_nest_tail_param}";

/// A path as it was routed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RoutedPath {
    pub(super) template: String,
    /// It leads to a nested service, whose own paths nobody sees.
    pub(super) is_nested_service: bool,
}

/// Returns the paths of `router`, sorted.
///
/// # Panics
/// If this version of axum shows its routes in another way.
pub(super) fn routes_of(router: &Router) -> Vec<RoutedPath> {
    let known = read(&known_router()).map(BTreeSet::from_iter);
    let expected = ["/a/{id}", "/b/c", "/d", "/d/", "/e\\\"{{f}}"].map(path);
    let expected = expected.into_iter().chain([nested("/d")]).collect();
    let paths = read(router).filter(|_| known == Some(expected));
    let Some(mut paths) = paths else {
        panic!(
            "this version of axum does not show its routes as axum 0.8 does: list them, and audit them with `run_on`"
        );
    };
    paths.sort();
    paths
}

/// A router that is put together in every way, with layers around it.
fn known_router() -> Router {
    let leaf = || get(async || ());
    let inner = Router::new().route("/c", leaf());
    Router::new()
        .route("/a/{id}", leaf().post(async || ()))
        .nest("/b", inner.clone())
        .nest_service("/d", inner)
        .merge(Router::new().route("/e\\\"{{f}}", leaf()).fallback(leaf()))
        .layer(axum::middleware::map_response(
            async |response: axum::response::Response| response,
        ))
}

fn path(template: &str) -> RoutedPath {
    RoutedPath {
        template: template.to_owned(),
        is_nested_service: false,
    }
}

fn nested(prefix: &str) -> RoutedPath {
    RoutedPath {
        template: prefix.to_owned(),
        is_nested_service: true,
    }
}

fn read(router: &Router) -> Option<Vec<RoutedPath>> {
    let text = format!("{router:?}");
    let rest = text.strip_prefix("Router { path_router: PathRouter { routes: {")?;
    let (routes, rest) = rest.split_once("}, node: Node { paths: {")?;
    let mut paths = Vec::new();
    let mut rest = rest;
    while !rest.starts_with("} } }, fallback_router: PathRouter {") {
        let (_id, quoted) = rest.strip_prefix("RouteId(")?.split_once("): \"")?;
        let (template, behind) = unquote(quoted)?;
        paths.push(match template.strip_suffix(NESTED) {
            Some(prefix) => nested(prefix),
            None => path(&template),
        });
        rest = behind.strip_prefix(", ").unwrap_or(behind);
    }
    let is_complete = routes.matches("RouteId(").count() == paths.len();
    is_complete.then_some(paths)
}

/// Reads a quoted text up to its end, and returns what is behind it.
fn unquote(quoted: &str) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut characters = quoted.char_indices();
    loop {
        match characters.next()? {
            (at, '"') => return Some((text, &quoted[at + 1..])),
            // `Debug` escapes more than these, none of which belongs into a path.
            (_, '\\') => match characters.next()?.1 {
                escaped @ ('"' | '\\' | '\'') => text.push(escaped),
                _ => return None,
            },
            (_, character) => text.push(character),
        }
    }
}
