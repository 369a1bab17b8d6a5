//! The layer above `ConcurrencyLimit` and `Buffer`: services that have to be ready before they are called.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    Request, Response,
    header::{AUTHORIZATION, HOST},
};
use http_body_util::Full;
use tokio::net::TcpListener;
use tower::{
    Layer as _, Service, ServiceBuilder, ServiceExt as _, buffer::BufferLayer,
    limit::ConcurrencyLimitLayer, service_fn,
};
use tower_workspace_token::{
    Keys, MemoryStore, SessionLayer, TokenAuthority, TokenName, WorkspaceTokenLayer,
    layer::FixedWorkspace, serve::serve,
};

use crate::{client::Wire, desk::Desk, plain_app::answer, scene};

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
            .layer(layer)
            .layer(ConcurrencyLimitLayer::new(2))
            .layer(BufferLayer::new(2))
            .layer_fn(Strict::new)
            .service(service);
        serve(listener, service).await.unwrap();
    }
}

/// Panics where it is called without having been ready, or is asked twice whether it is.
pub(crate) struct Strict<S> {
    inner: S,
    is_ready: bool,
    counts: Arc<Counts>,
}

#[derive(Default)]
pub(crate) struct Counts {
    ready: AtomicUsize,
    called: AtomicUsize,
}

impl<S> Strict<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self {
            inner,
            is_ready: false,
            counts: Arc::default(),
        }
    }
}

impl<S: Clone> Clone for Strict<S> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            is_ready: false,
            counts: Arc::clone(&self.counts),
        }
    }
}

impl<S: Service<R>, R> Service<R> for Strict<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let readiness = self.inner.poll_ready(cx);
        if readiness.is_ready() && !self.is_ready {
            self.is_ready = true;
            self.counts.ready.fetch_add(1, Ordering::SeqCst);
        }
        readiness
    }

    fn call(&mut self, request: R) -> S::Future {
        assert!(
            std::mem::take(&mut self.is_ready),
            "called before it was ready"
        );
        self.counts.called.fetch_add(1, Ordering::SeqCst);
        self.inner.call(request)
    }
}

fn hello(_: Request<()>) -> Ready<Result<Response<Full<Bytes>>, Infallible>> {
    ready(Ok(Response::new(Full::from("hello"))))
}

#[tokio::test]
async fn the_inner_service_is_ready_once_for_each_call_and_called_no_oftener() {
    let (store, keys) = (MemoryStore::new(), Keys::generate().unwrap());
    let authority = |store: &MemoryStore| {
        let builder = TokenAuthority::builder(store.clone(), keys.clone());
        builder.build().unwrap()
    };
    let workspace = "acme".parse().unwrap();
    let issuing = authority(&store);
    let issued = issuing.issue(&workspace, &TokenName::primary()).await;
    let bearer = format!("Bearer {}", issued.unwrap().expose_secret());
    // This one has not seen the token: its first check waits for the store.
    let authority = authority(&store);
    let counts = Arc::new(Counts::default());
    let strict = Strict {
        counts: Arc::clone(&counts),
        ..Strict::new(service_fn(hello))
    };
    let sessions = SessionLayer::new(authority.clone());
    let layer = WorkspaceTokenLayer::new(authority, FixedWorkspace(workspace));
    let layer = layer.with_optional_token();
    let mut service = layer.layer(sessions.layer(strict));
    let request = |bearer: &str| {
        let request = Request::post("/").header(HOST, "localhost");
        request.header(AUTHORIZATION, bearer).body(()).unwrap()
    };
    let counted = || {
        let (ready, called) = (&counts.ready, &counts.called);
        (ready.load(Ordering::SeqCst), called.load(Ordering::SeqCst))
    };
    for expected in 1..=3 {
        let ready = service.ready().await.unwrap();
        let response = ready.call(request(&bearer)).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(counted(), (expected, expected));
    }
    // Who is turned away does not use the readiness up: it is there for the next.
    for _ in 0..3 {
        let ready = service.ready().await.unwrap();
        let response = ready.call(request("Bearer wrong")).await.unwrap();
        assert_eq!(response.status(), 401);
        assert_eq!(counted(), (4, 3));
    }
    let ready = service.ready().await.unwrap();
    assert_eq!(ready.call(request(&bearer)).await.unwrap().status(), 200);
    assert_eq!(counted(), (4, 4));
}
