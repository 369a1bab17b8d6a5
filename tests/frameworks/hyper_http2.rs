//! hyper alone, HTTP/2.

use hyper::server::conn::http2;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tower::{Layer as _, service_fn};
use tower_workspace_token::{SessionLayer, WorkspaceTokenLayer};

use crate::{client::Wire, desk::Desk, plain_app::answer, scene};

pub(crate) struct Stack;

impl scene::Stack for Stack {
    const WIRE: Wire = Wire::Http2;

    async fn serve(
        listener: TcpListener,
        layer: WorkspaceTokenLayer,
        sessions: SessionLayer,
        desk: Desk,
    ) {
        let service = service_fn(move |request| answer(request, sessions.clone(), desk.clone()));
        let service = TowerToHyperService::new(layer.layer(service));
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let builder = http2::Builder::new(TokioExecutor::new());
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service.clone()));
        }
    }
}
