//! tonic, by `Server::layer`; the service is what its code generator would write.

use std::{
    convert::Infallible,
    future::{Future, ready},
    pin::Pin,
    task::{Context, Poll},
};

use http::{Request, Response, uri::PathAndQuery};
use tokio::{net::TcpListener, time::timeout};
use tokio_stream::{Stream, StreamExt as _};
use tonic::{
    Code, Status,
    body::Body,
    server::{Grpc, NamedService},
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};
use tower_workspace_token::{
    HostLabel, SessionLayer, TokenAuthority, VerifiedToken, WorkspaceTokenLayer, layer::grpc,
};

use crate::{
    client::{PATIENCE, Wire},
    desk::{Desk, FIRST, describe},
    scene::{self, Scene},
};

pub(crate) struct Stack;

impl scene::Stack for Stack {
    const WIRE: Wire = Wire::Grpc;

    fn layer(authority: &TokenAuthority) -> WorkspaceTokenLayer {
        WorkspaceTokenLayer::new(authority.clone(), HostLabel::under("test"))
            .with_rejection_response(grpc::rejection)
    }

    async fn serve(
        listener: TcpListener,
        layer: WorkspaceTokenLayer,
        _sessions: SessionLayer,
        desk: Desk,
    ) {
        Server::builder()
            .layer(layer)
            .add_service(Methods { desk })
            .serve_with_incoming(TcpIncoming::from(listener))
            .await
            .unwrap();
    }
}

/// The methods of `desk.Desk`, each of which takes nothing and returns texts.
#[derive(Clone)]
struct Methods {
    desk: Desk,
}

impl NamedService for Methods {
    const NAME: &str = "desk.Desk";
}

type Texts = Pin<Box<dyn Stream<Item = Result<String, Status>> + Send>>;

impl Service<Request<Body>> for Methods {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let desk = self.desk.clone();
        let mut grpc = Grpc::new(ProstCodec::<String, ()>::default());
        Box::pin(async move {
            Ok(match request.uri().path() {
                "/desk.Desk/stream" => {
                    let stream = service_fn(|_: tonic::Request<()>| {
                        let texts: Texts = Box::pin(desk.stream().map(|text| Ok(text.to_owned())));
                        ready(Ok::<_, Status>(tonic::Response::new(texts)))
                    });
                    grpc.server_streaming(stream, request).await
                }
                path => {
                    let path = path.to_owned();
                    let unary = service_fn(|call: tonic::Request<()>| {
                        let (desk, path) = (desk.clone(), path.clone());
                        async move { unary(&path, &desk, call).await.map(tonic::Response::new) }
                    });
                    grpc.unary(unary, request).await
                }
            })
        })
    }
}

async fn unary(path: &str, desk: &Desk, call: tonic::Request<()>) -> Result<String, Status> {
    let token = call.extensions().get::<VerifiedToken>();
    match path {
        "/desk.Desk/whoami" => {
            desk.see(call.metadata());
            let token = token.ok_or_else(|| Status::internal("there is no layer"))?;
            Ok(describe(Some(token)))
        }
        "/desk.Desk/who" => {
            desk.see(());
            Ok(describe(token))
        }
        "/desk.Desk/hang" => match desk.hang().await {},
        _ => Err(Status::unimplemented("no such method")),
    }
}

/// What tonic's own client makes of it.
struct Client(tonic::client::Grpc<Channel>);

impl Client {
    async fn connect(scene: &Scene) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{}", scene.address())).unwrap();
        // The workspace is a label of the host, which no resolver here knows.
        let endpoint = endpoint.origin("http://acme.test".parse().unwrap());
        Self(tonic::client::Grpc::new(endpoint.connect().await.unwrap()))
    }

    async fn open(
        &mut self,
        page: &'static str,
        token: &str,
    ) -> Result<tonic::Streaming<String>, Status> {
        self.0.ready().await.unwrap();
        let mut request = tonic::Request::new(());
        let bearer = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", bearer);
        let path = PathAndQuery::from_static(page);
        let codec = ProstCodec::<(), String>::default();
        let response = self.0.server_streaming(request, path, codec).await;
        response.map(tonic::Response::into_inner)
    }
}

#[tokio::test]
async fn the_client_of_tonic_reads_why_it_is_refused() {
    let scene = Scene::new::<Stack>().await;
    let mut client = Client::connect(&scene).await;
    let refused = client.open("/desk.Desk/stream", "wrong").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert!(refused.message().contains("not valid here"), "{refused:?}");
}

#[tokio::test]
async fn the_client_of_tonic_does_not_take_a_severed_stream_for_a_complete_one() {
    let mut scene = Scene::new::<Stack>().await;
    let mut client = Client::connect(&scene).await;
    let token = scene.test.token().to_owned();
    let mut stream = client.open("/desk.Desk/stream", &token).await.unwrap();
    assert_eq!(stream.message().await.unwrap().as_deref(), Some(FIRST));
    scene.test.rotate().await;
    let end = timeout(PATIENCE, stream.message()).await;
    let severed = end.expect("an end in time").unwrap_err();
    assert_eq!(severed.code(), Code::Unauthenticated);
    assert!(severed.message().contains("was regenerated"), "{severed:?}");
}

#[tokio::test]
async fn the_client_of_tonic_reads_why_a_running_call_ended() {
    let mut scene = Scene::new::<Stack>().await;
    let mut client = Client::connect(&scene).await;
    let token = scene.test.token().to_owned();
    let call = tokio::spawn(async move { client.open("/desk.Desk/hang", &token).await.map(drop) });
    scene.until_open().await;
    scene.test.rotate().await;
    let answer = timeout(PATIENCE, call).await.expect("an answer in time");
    let ended = answer.unwrap().unwrap_err();
    assert_eq!(ended.code(), Code::Unauthenticated);
}
