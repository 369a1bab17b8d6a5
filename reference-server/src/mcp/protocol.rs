//! [`ByProtocol`]: serves each workspace in the eras that its settings say.
//!
//! A change takes effect with the next request. The other service does not know the sessions that were
//! opened before, so their next request is answered with 404, upon which clients initialize again.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use axum::body::HttpBody;
use http::{Request, Response};
use tower::Service;
use tower_workspace_token::VerifiedToken;
use tower_workspace_token_mcp::{
    McpResponseBody, McpResponseFuture, McpService, Protocol as McpProtocol,
};

use super::handler::AgentHandler;
use crate::{tasks::Protocol, workspaces::Protocols};

/// Two services, of which each request reaches one.
#[derive(Clone)]
pub(crate) struct ByProtocol {
    /// Shared, since a service is cloned for each request.
    services: Arc<Services>,
}

struct Services {
    dual: McpService<AgentHandler>,
    legacy: McpService<AgentHandler>,
    protocols: Protocols,
}

impl ByProtocol {
    pub(super) fn new(
        protocols: Protocols,
        service: impl Fn(McpProtocol) -> McpService<AgentHandler>,
    ) -> Self {
        let services = Services {
            dual: service(McpProtocol::Dual),
            legacy: service(McpProtocol::Legacy),
            protocols,
        };
        Self {
            services: Arc::new(services),
        }
    }
}

impl<B> Service<Request<B>> for ByProtocol
where
    B: HttpBody + Send + 'static,
    B::Data: Send,
{
    type Response = Response<McpResponseBody>;
    type Error = Infallible;
    type Future = McpResponseFuture<AgentHandler, B>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Both are always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // Without a token either of them refuses.
        let token = request.extensions().get::<VerifiedToken>();
        let services = &*self.services;
        let protocol = token.map(|token| services.protocols.of(token.workspace()));
        let service = match protocol.unwrap_or_default() {
            Protocol::Dual => &services.dual,
            Protocol::Legacy => &services.legacy,
        };
        service.clone().call(request)
    }
}
