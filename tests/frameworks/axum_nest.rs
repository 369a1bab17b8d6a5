//! axum, a router with the layer nested in another one: what is within `nest` sees the path without its prefix.

use axum::Router;
use tokio::net::TcpListener;
use tower_workspace_token::{PathTemplate, SessionLayer, TokenAuthority, WorkspaceTokenLayer};

use crate::{axum_app::routes, client::Wire, desk::Desk, scene};

pub(crate) struct Stack;

impl scene::Stack for Stack {
    const WIRE: Wire = Wire::Http1;

    fn layer(authority: &TokenAuthority) -> WorkspaceTokenLayer {
        WorkspaceTokenLayer::new(authority.clone(), PathTemplate::new("/{workspace}/*"))
    }

    async fn serve(
        listener: TcpListener,
        layer: WorkspaceTokenLayer,
        sessions: SessionLayer,
        desk: Desk,
    ) {
        let inner = routes("/{workspace}", sessions, desk).layer(layer);
        let app = Router::new().nest("/w", inner);
        axum::serve(listener, app).await.unwrap();
    }
}
