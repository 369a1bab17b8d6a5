//! axum, the layer around a router that has the application as a nested service.

use axum::Router;
use tokio::net::TcpListener;
use tower_workspace_token::{SessionLayer, WorkspaceTokenLayer};

use crate::{axum_app::routes, client::Wire, desk::Desk, scene};

pub(crate) struct Stack;

impl scene::Stack for Stack {
    const WIRE: Wire = Wire::Http1;

    async fn serve(
        listener: TcpListener,
        layer: WorkspaceTokenLayer,
        sessions: SessionLayer,
        desk: Desk,
    ) {
        let inner = routes("/{workspace}", sessions, desk);
        let app = Router::new().nest_service("/w", inner).layer(layer);
        axum::serve(listener, app).await.unwrap();
    }
}
