//! Taking the credential out of a request before anything else sees it.

use std::task::{Context, Poll};

use http::Request;
use tower_layer::Layer;
use tower_service::Service;

use super::credential::capture;

/// Takes the credential out of each request and keeps it, unreadable, for the [`WorkspaceTokenLayer`](super::WorkspaceTokenLayer) inside.
///
/// Put it outermost, before trace and CORS layers. It keeps the response type, so it may wrap a whole
/// axum `Router`. See the [module docs](super) for the order of the layers.
#[derive(Clone, Debug, Default)]
pub struct CredentialScrubLayer {
    query_parameter: Option<&'static str>,
}

/// The service of a [`CredentialScrubLayer`].
#[derive(Clone, Debug)]
pub struct CredentialScrub<S> {
    inner: S,
    query_parameter: Option<&'static str>,
}

impl CredentialScrubLayer {
    /// Makes a layer that takes out `Authorization: Bearer`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes out the query parameter `name` as well; give the token layer the same name.
    pub fn with_query_token(self, name: &'static str) -> Self {
        Self {
            query_parameter: Some(name),
        }
    }
}

impl<S> Layer<S> for CredentialScrubLayer {
    type Service = CredentialScrub<S>;

    fn layer(&self, inner: S) -> CredentialScrub<S> {
        CredentialScrub {
            inner,
            query_parameter: self.query_parameter,
        }
    }
}

impl<S, B> Service<Request<B>> for CredentialScrub<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        let captured = capture(&mut request, self.query_parameter);
        request.extensions_mut().insert(captured);
        self.inner.call(request)
    }
}
