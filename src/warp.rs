//! Filters for warp (feature `warp`), and how an existing warp application gains the layer.
//!
//! A warp application ends in `warp::serve(routes)`, which takes filters and nothing else. What changes is
//! that last line: the routes become a tower service, the layer goes around it, and
//! [`serve`](serve()) serves it.
//!
//! ```no_run
//! use std::convert::Infallible;
//!
//! use tower_workspace_token::{
//!     Keys, MemoryStore, PathTemplate, TokenAuthority, VerifiedToken, WorkspaceTokenLayer,
//!     warp::{Layer, serve, verified_token},
//! };
//! use warp::Filter;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! # let stopped = std::future::ready(());
//! async fn notes(token: VerifiedToken) -> Result<String, Infallible> {
//!     Ok(format!("notes of {}", token.workspace()))
//! }
//!
//! let routes = warp::path!("w" / String / "notes")
//!     .map(|_workspace| ())
//!     .untuple_one()
//!     .and(verified_token())
//!     .and_then(notes);
//!
//! let authority = TokenAuthority::builder(MemoryStore::new(), Keys::generate()?).build()?;
//! let layer = WorkspaceTokenLayer::new(authority, PathTemplate::new("/w/{workspace}/*"));
//!
//! // Was: warp::serve(routes).run(([127, 0, 0, 1], 3030)).await;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:3030").await?;
//! serve(listener, layer.layer(warp::service(routes)))
//!     .with_graceful_shutdown(stopped)
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! The token comes from the layer, not from the path: a filter that reads the workspace out of the path
//! again gets what the client wrote, [`VerifiedToken::workspace`] is what was checked.
//!
//! The layer covers all of the routes. To leave some open, be it for a workspace or, as `/health`, for none, set
//! [`with_optional_token`](crate::layer::WorkspaceTokenLayer::with_optional_token), ask for
//! [`optional_token`] there and for [`verified_token`] elsewhere, and answer [`Unprotected`] with a 401 in a
//! `recover` filter.
//!
//! # What warp sees
//! Requests without the credential: neither `warp::header::headers_cloned` nor `warp::query::raw` nor a log
//! filter gets to see it. Streams (`warp::sse::reply`) end when the token is rotated.
//!
//! # Deployment caveat
//! A WebSocket (`warp::ws`) is an upgraded connection, which neither the layer nor
//! [`serve`](serve()) watches: close it when [`Lease::ended`](crate::authority::Lease::ended) completes.

use std::{convert::Infallible, fmt};

use warp::{Filter, Rejection, reject::Reject};

use crate::authority::VerifiedToken;
pub use crate::serve::serve;
pub use tower_layer::Layer;

/// Extracts the token of the request, as the layer has verified it.
///
/// Rejects with [`Unprotected`] if there is none: no
/// [`WorkspaceTokenLayer`](crate::layer::WorkspaceTokenLayer) is around the routes, or it lets requests
/// without a token through.
pub fn verified_token() -> impl Filter<Extract = (VerifiedToken,), Error = Rejection> + Copy {
    optional_token().and_then(required)
}

/// Extracts the token of the request, or `None` if it has none; for routes behind
/// [`with_optional_token`](crate::layer::WorkspaceTokenLayer::with_optional_token).
///
/// A request with a bad credential never gets here.
pub fn optional_token() -> impl Filter<Extract = (Option<VerifiedToken>,), Error = Infallible> + Copy
{
    warp::ext::optional()
}

async fn required(token: Option<VerifiedToken>) -> Result<VerifiedToken, Rejection> {
    token.ok_or_else(|| warp::reject::custom(Unprotected(())))
}

/// Why [`verified_token`] rejects.
///
/// warp answers it with a 500 that says so, since a route that asks for a token and is served without the
/// layer is a mistake in the program. Behind an optional token it is none: there, answer it in a `recover`
/// filter, which finds it by `rejection.find::<Unprotected>()`.
#[derive(Clone, Copy)]
pub struct Unprotected(());

impl Reject for Unprotected {}

impl fmt::Debug for Unprotected {
    /// Writes a sentence, for this is what warp answers with.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "this route needs a workspace token, and no WorkspaceTokenLayer has verified one",
        )
    }
}
