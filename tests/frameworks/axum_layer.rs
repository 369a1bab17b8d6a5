//! axum, the layer by `Router::layer`: it covers what is routed, and what is not.

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
        let app = routes("/w/{workspace}", sessions, desk).layer(layer);
        axum::serve(listener, app).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_not_routed_is_refused_too() {
    let scene = scene::Scene::new::<Stack>().await;
    assert_eq!(scene.send(scene.anonymous("nowhere")).await.status, 401);
    assert_eq!(scene.send(scene.request("nowhere")).await.status, 404);
}
