//! What the session layer adds to a request of a live session, and what opening one costs.
//!
//! ```sh
//! cargo bench --bench sessions --features full
//! ```
//!
//! Both benches of a request come behind a token layer: their difference is the session's.

mod common;

use std::{
    convert::Infallible,
    future::{Ready, ready},
    hint::black_box,
    task::{Context, Poll},
};

use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::Full;
use tower_layer::Layer as _;
use tower_service::Service;
use tower_workspace_token::{SessionLayer, WorkspaceTokenLayer, layer::FixedWorkspace};

use common::{Fixture, Hello, TARGET, exchange, request};

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

/// Opens a session of its own for every request that has none, as an MCP service does for `initialize`.
#[derive(Clone, Copy, Debug)]
struct Opening;

impl Service<Request<()>> for Opening {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        drop(black_box(request));
        let mut response = Response::new(Full::default());
        let inner_id = HeaderValue::from_static("0b7a4c1e-5f5e-4a0e-9a57-1c8f0f5f2d11");
        response.headers_mut().insert(SESSION_ID, inner_id);
        ready(Ok(response))
    }
}

fn sessions(criterion: &mut Criterion) {
    let fixture = Fixture::new();
    let _runtime = fixture.runtime.enter();
    let token =
        WorkspaceTokenLayer::new(fixture.authority.clone(), FixedWorkspace(fixture.workspace));
    let session = SessionLayer::new(fixture.authority.clone());
    let host = fixture.host();
    let initialize = || request(&host, TARGET, Some(&fixture.token));

    let mut opening = token.layer(session.layer(Opening));
    let opened = common::at_once(std::pin::pin!(opening.call(initialize())));
    let opened = opened.expect("it cannot fail").headers()[SESSION_ID].clone();
    let call = || {
        let mut request = initialize();
        request.headers_mut().insert(SESSION_ID, opened.clone());
        request
    };
    let mut inside = token.layer(session.layer(Hello));
    assert!(exchange(&mut inside, call()));

    let mut group = criterion.benchmark_group("session");
    let batch = BatchSize::NumIterations(64);
    group.bench_function("token layer alone", |bencher| {
        let mut service = token.layer(Hello);
        bencher.iter_batched(call, |request| exchange(&mut service, request), batch);
    });
    group.bench_function("token and session layer", |bencher| {
        bencher.iter_batched(call, |request| exchange(&mut inside, request), batch);
    });
    group.bench_function(
        "open, and end the one that was idle for longest",
        |bencher| {
            bencher.iter_batched(initialize, |request| exchange(&mut opening, request), batch);
        },
    );
    group.finish();
}

criterion_group!(benches, sessions);
criterion_main!(benches);
