//! How many allocations a check makes: none but those of `http::Extensions`, and none for what is no token.

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use allocation_counter::measure;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower_layer::Layer as _;
use tower_service::Service;
use tower_workspace_token::{
    HostLabel, Keys, MemoryStore, TokenAuthority, TokenName, VerifiedToken, WorkspaceId,
    WorkspaceTokenLayer, layer::FixedWorkspace, token::PresentedToken,
};

/// Answers with a few bytes whoever has a token.
#[derive(Clone)]
struct Hello;

impl Service<Request<()>> for Hello {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        assert!(request.extensions().get::<VerifiedToken>().is_some());
        ready(Ok(Response::new(Full::new(Bytes::from_static(b"hello")))))
    }
}

struct World {
    authority: TokenAuthority,
    workspace: WorkspaceId,
    token: String,
    other: VerifiedToken,
}

/// A world whose token was seen once.
async fn world() -> World {
    let keys = Keys::generate().unwrap();
    let authority = TokenAuthority::builder(MemoryStore::new(), keys)
        .build()
        .unwrap();
    let workspace = "k3v9x2m7q4a".parse().unwrap();
    let issued = authority
        .issue(&workspace, &TokenName::primary())
        .await
        .unwrap();
    let token = issued.expose_secret().to_owned();
    let presented = PresentedToken::new(token.as_bytes());
    let other = authority.verify(&workspace, presented).await.unwrap();
    World {
        authority,
        workspace,
        token,
        other,
    }
}

fn request(token: &str) -> Request<()> {
    Request::post("/mcp")
        .header("host", "k3v9x2m7q4a.mcp.example.com")
        .header("authorization", format!("Bearer {token}"))
        .body(())
        .unwrap()
}

fn at_once<F: Future>(future: Pin<&mut F>) -> F::Output {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("memory could not decide"),
    }
}

#[tokio::test]
async fn the_warm_path_allocates_what_the_extensions_of_a_request_do_and_nothing_else() {
    let world = world().await;
    let mut extensions = http::Extensions::new();
    let token = world.other.clone();
    let of_extensions = measure(|| {
        extensions.insert(token);
    });
    let of_extensions = of_extensions.count_total;
    assert!(of_extensions <= 3, "{of_extensions}");
    let fixed = WorkspaceTokenLayer::new(world.authority.clone(), FixedWorkspace(world.workspace));
    let label = HostLabel::under("mcp.example.com");
    let labelled = WorkspaceTokenLayer::new(world.authority.clone(), label);
    for layer in [fixed, labelled] {
        let mut service = layer.layer(Hello);
        let mut send = || {
            let request = request(&world.token);
            let mut status = None;
            let allocations = measure(|| {
                let response = at_once(pin!(service.call(request)));
                status = response.ok().map(|response| response.status());
            });
            assert_eq!(status, Some(http::StatusCode::OK));
            allocations.count_total
        };
        // A thread's first request makes what the thread keeps.
        send();
        assert_eq!(send(), of_extensions);
    }
}

#[tokio::test]
async fn a_check_of_a_known_token_and_of_no_token_allocates_nothing() {
    let world = world().await;
    let forged = world.token.replace('.', ",");
    let long = "x".repeat(64 * 1024);
    let check = |token: &str| {
        let presented = PresentedToken::new(token.as_bytes());
        let mut is_valid = false;
        let allocations = measure(|| {
            is_valid = at_once(pin!(world.authority.verify(&world.workspace, presented))).is_ok();
        });
        (is_valid, allocations.count_total)
    };
    check(&world.token);
    assert_eq!(check(&world.token), (true, 0));
    for garbage in ["", "x", &forged, &long, "eyJhbGciOiJIUzI1NiJ9.e30.AAAA"] {
        assert_eq!(check(garbage), (false, 0), "{} bytes", garbage.len());
    }
}
