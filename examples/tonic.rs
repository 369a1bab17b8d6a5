//! A gRPC server with tonic gains workspace tokens: one layer, which answers in the terms of gRPC.
//!
//! Run with
//! ```text
//! cargo run --example tonic
//! ```
//! It prints a token; then, in another terminal (an empty message of gRPC is five zero bytes):
//! ```text
//! TOKEN=…
//! URL=http://acme.rpc.localhost:50051
//! alias grpc='curl -i --http2-prior-knowledge -X POST -H content-type:application/grpc -H te:trailers --output -'
//! grpc $URL/notes.Notes/Read                                                                 # grpc-status: 16
//! printf '\0\0\0\0\0' | grpc $URL/notes.Notes/Read --oauth2-bearer $TOKEN --data-binary @-   # notes of acme
//! printf '\0\0\0\0\0' | grpc $URL/notes.Notes/Watch --oauth2-bearer $TOKEN --data-binary @- -N -m 3 # note 1
//! ```
//! The last one is a stream. Enter rotates the token: the stream ends with `UNAUTHENTICATED`, and the old token is
//! answered with it.
//!
//! `Notes` is written here as tonic's code generator would write it, so that this needs no `protoc`.

use std::{
    convert::Infallible,
    error::Error,
    future::{Future, ready},
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request as HttpRequest, Response as HttpResponse};
use tokio_stream::{Stream, StreamExt as _};
use tonic::{
    Request, Response, Status,
    body::Body,
    server::{Grpc, NamedService},
    transport::{Server, server::TcpIncoming},
};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};
use tower_workspace_token::{
    HostLabel, Keys, MemoryStore, TokenAuthority, TokenName, VerifiedToken, WorkspaceId,
    WorkspaceTokenLayer, layer::grpc,
};

async fn read(request: Request<()>) -> Result<Response<String>, Status> {
    let token = token_of(&request)?;
    Ok(Response::new(format!("notes of {}", token.workspace())))
}

/// A note every second, for as long as anybody listens and the token holds.
fn watch(request: Request<()>) -> Result<Response<Notes>, Status> {
    token_of(&request)?;
    let notes = tokio_stream::iter(1..)
        .throttle(Duration::from_secs(1))
        .map(|count: u32| Ok(format!("note {count}")));
    Ok(Response::new(Box::pin(notes)))
}

type Notes = Pin<Box<dyn Stream<Item = Result<String, Status>> + Send>>;

/// The layer puts it into the extensions of each request.
fn token_of<T>(request: &Request<T>) -> Result<&VerifiedToken, Status> {
    let token = request.extensions().get();
    token.ok_or_else(|| Status::internal("there is no token layer"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // --- what is added to the server ---
    let authority = TokenAuthority::builder(MemoryStore::new(), Keys::generate()?).build()?;
    let layer = WorkspaceTokenLayer::new(authority.clone(), HostLabel::under("rpc.localhost"))
        .with_rejection_response(grpc::rejection);
    // --- and `.layer(layer)`, below ---

    let workspace = "acme".parse()?;
    let issued = authority.issue(&workspace, &TokenName::primary()).await?;
    eprintln!("TOKEN={}", issued.expose_secret());
    rotate_on_enter(authority, workspace);
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:50051");
    let listener = tokio::net::TcpListener::bind(address).await?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    Server::builder()
        .layer(layer)
        .add_service(NotesServer)
        .serve_with_incoming(TcpIncoming::from(listener))
        .await?;
    Ok(())
}

fn rotate_on_enter(authority: TokenAuthority, workspace: WorkspaceId) {
    let runtime = tokio::runtime::Handle::current();
    std::thread::spawn(move || {
        for _line in io::stdin().lines().map_while(Result::ok) {
            match runtime.block_on(authority.rotate(&workspace, &TokenName::primary())) {
                Ok(receipt) => {
                    eprintln!("{} streams ended", receipt.ended.streams);
                    eprintln!("TOKEN={}", receipt.token.expose_secret());
                }
                Err(error) => eprintln!("not rotated: {error}"),
            }
        }
    });
}

/// What a code generator writes for
/// ```proto
/// package notes;
/// service Notes {
///   rpc Read(google.protobuf.Empty) returns (google.protobuf.StringValue);
///   rpc Watch(google.protobuf.Empty) returns (stream google.protobuf.StringValue);
/// }
/// ```
#[derive(Clone)]
struct NotesServer;

impl NamedService for NotesServer {
    const NAME: &str = "notes.Notes";
}

impl Service<HttpRequest<Body>> for NotesServer {
    type Response = HttpResponse<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequest<Body>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::default());
            Ok(match request.uri().path() {
                "/notes.Notes/Read" => grpc.unary(service_fn(read), request).await,
                "/notes.Notes/Watch" => {
                    let watch = service_fn(|request| ready(watch(request)));
                    grpc.server_streaming(watch, request).await
                }
                _ => Status::unimplemented("there is no such method").into_http(),
            })
        })
    }
}
