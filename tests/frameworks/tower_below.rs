//! The layer below `Buffer` and `ConcurrencyLimit`, where one service answers one request after another.

use tokio::net::TcpListener;
use tower::{ServiceBuilder, buffer::BufferLayer, limit::ConcurrencyLimitLayer, service_fn};
use tower_workspace_token::{SessionLayer, WorkspaceTokenLayer, serve::serve};

use crate::{
    client::Wire,
    desk::Desk,
    plain_app::answer,
    scene::{self, Scene},
    tower_above::Strict,
};

pub(crate) struct Stack;

impl scene::Stack for Stack {
    const WIRE: Wire = Wire::Http1;

    async fn serve(
        listener: TcpListener,
        layer: WorkspaceTokenLayer,
        sessions: SessionLayer,
        desk: Desk,
    ) {
        let service = service_fn(move |request| answer(request, sessions.clone(), desk.clone()));
        let service = ServiceBuilder::new()
            .layer(BufferLayer::new(4))
            .layer(ConcurrencyLimitLayer::new(1))
            .layer(layer)
            .layer_fn(Strict::new)
            .service(service);
        serve(listener, service).await.unwrap();
    }
}

/// One call at a time is let through, so that the next is answered only if the severed one gave up its place.
#[tokio::test]
async fn a_severed_call_gives_up_its_place() {
    let mut scene = Scene::new::<Stack>().await;
    let call = scene.begin("hang").await;
    scene.test.rotate().await;
    assert_eq!(call.await.unwrap().status, 401);
    let next = scene.send(scene.request("whoami")).await;
    assert_eq!(next.status, 200);
}
