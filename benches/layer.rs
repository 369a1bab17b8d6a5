//! What the token layer adds to a request: `ready`, `call`, `poll` and `drop` of a service that does nothing.
//!
//! ```sh
//! cargo bench --bench layer --features full
//! ```
//!
//! The first line, `bare`, is the same request without the layer: subtract it. The race against other
//! layers, in one process and with confidence intervals, is `benches/peers`.

mod common;

use criterion::{BatchSize, Bencher, Criterion, criterion_group, criterion_main};
use http::Request;
use tower_layer::Layer as _;
use tower_service::Service;
use tower_workspace_token::{
    CredentialScrubLayer, HostLabel, TokenName, WorkspaceId, WorkspaceTokenLayer,
    layer::FixedWorkspace,
};

use common::{DOMAIN, Fixture, Hello, TARGET, exchange, request};

fn layer(criterion: &mut Criterion) {
    let fixture = Fixture::new();
    let _runtime = fixture.runtime.enter();
    assert!(fixture.check(&fixture.token).is_ok());
    let fixed =
        WorkspaceTokenLayer::new(fixture.authority.clone(), FixedWorkspace(fixture.workspace));
    let labelled = WorkspaceTokenLayer::new(fixture.authority.clone(), HostLabel::under(DOMAIN));
    let scrub = CredentialScrubLayer::new().with_query_token("token");

    let host = fixture.host();
    let with_header = |token: &str| request(&host, TARGET, Some(token));
    let in_query = format!("{TARGET}?token={}", fixture.token);
    let mut group = criterion.benchmark_group("layer");
    let mut run = |name: &str, service: &mut dyn FnMut(&mut Bencher<'_>)| {
        group.bench_function(name, |bencher| service(bencher));
    };
    let good = || with_header(&fixture.token);
    run("bare", &mut |bencher| send(bencher, Hello, good));
    run("bare, token in the query", &mut |bencher| {
        send(bencher, Hello, || request(&host, &in_query, None));
    });
    run("warm", &mut |bencher| {
        send(bencher, fixed.layer(Hello), good)
    });
    run("warm, workspace from the host", &mut |bencher| {
        send(bencher, labelled.layer(Hello), good);
    });
    run("warm, behind a scrub layer", &mut |bencher| {
        let layer = labelled.clone().with_query_token("token");
        send(bencher, scrub.layer(layer.layer(Hello)), good);
    });
    run("warm, token in the query", &mut |bencher| {
        let layer = fixed.clone().with_query_token("token");
        send(bencher, layer.layer(Hello), || {
            request(&host, &in_query, None)
        });
    });
    run("wrong signature, with the 401", &mut |bencher| {
        let forged = fixture.forged();
        send(bencher, fixed.layer(Hello), || with_header(&forged));
    });
    run("garbage, with the 401", &mut |bencher| {
        let garbage = fixture.garbage();
        send(bencher, fixed.layer(Hello), || with_header(&garbage));
    });
    run("64 KiB of token, with the 401", &mut |bencher| {
        let long = "x".repeat(64 * 1024);
        send(bencher, fixed.layer(Hello), || with_header(&long));
    });
    run("10,000 parameters", &mut |bencher| {
        let parameters: Vec<_> = (0..10_000).map(|number| format!("p{number}")).collect();
        let target = format!("{TARGET}?{}", parameters.join("&"));
        let layer = fixed.clone().with_query_token("token");
        let many = || request(&host, &target, Some(&fixture.token));
        send(bencher, layer.layer(Hello), many);
    });
    group.finish();

    cold(criterion, &fixture);
}

/// The first sight of a token whose record is in memory: MAC, claims, and every byte.
fn cold(criterion: &mut Criterion, fixture: &Fixture) {
    let labelled = WorkspaceTokenLayer::new(fixture.authority.clone(), HostLabel::under(DOMAIN));
    let workspaces: Vec<WorkspaceId> = (0..64)
        .map(|number| format!("w{number}").parse().expect("an id"))
        .collect();
    let name = TokenName::primary();
    for workspace in &workspaces {
        let issued = fixture.authority.issue(workspace, &name);
        fixture.runtime.block_on(issued).expect("a free slot");
    }
    let mut turn = workspaces.iter().cycle();
    let mut fresh = || {
        let workspace = turn.next().expect("a cycle");
        let rotation = fixture.authority.rotate(workspace, &name);
        let receipt = fixture.runtime.block_on(rotation).expect("a live token");
        let host = format!("{workspace}.{DOMAIN}");
        request(&host, TARGET, Some(receipt.token.expose_secret()))
    };
    criterion.bench_function("layer/cold, workspace from the host", |bencher| {
        send(bencher, labelled.layer(Hello), &mut fresh);
    });
}

fn send<S: Service<Request<()>>>(
    bencher: &mut Bencher<'_>,
    mut service: S,
    request: impl FnMut() -> Request<()>,
) {
    bencher.iter_batched(
        request,
        |request| assert!(exchange(&mut service, request)),
        // As many as lie in the fastest cache together.
        BatchSize::NumIterations(64),
    );
}

criterion_group!(benches, layer);
criterion_main!(benches);
