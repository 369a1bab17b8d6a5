//! warp, by `warp::service` and the library's `serve`.

use std::convert::Infallible;

use http::HeaderMap;
use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;
use tower::{ServiceExt as _, service_fn};
use tower_workspace_token::{
    SessionLayer, VerifiedToken, WorkspaceTokenLayer,
    warp::{Layer as _, optional_token, serve, verified_token},
};
use warp::{
    Filter, Rejection, Reply,
    filters::{BoxedFilter, path::FullPath},
    sse::Event,
};

use crate::{
    client::Wire,
    desk::{Desk, describe, mcp},
    scene,
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
        let routes = warp::service(routes(desk));
        let mcp = warp::header::headers_cloned().map(|headers: HeaderMap| mcp(&headers));
        let mcp = sessions.layer(warp::service(mcp));
        let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let (routes, mcp) = (routes.clone(), mcp.clone());
            async move {
                if request.uri().path().ends_with("/mcp") {
                    let response = mcp.oneshot(request).await?;
                    return Ok::<_, Infallible>(response.map(axum::body::Body::new));
                }
                let response = routes.oneshot(request).await?;
                Ok(response.map(axum::body::Body::new))
            }
        });
        serve(listener, layer.layer(service)).await.unwrap();
    }
}

fn routes(desk: Desk) -> BoxedFilter<(impl Reply,)> {
    let at = |page: &'static str| {
        let workspace = warp::path("w").and(warp::path::param::<String>().map(drop).untuple_one());
        workspace.and(warp::path(page)).and(warp::path::end())
    };
    let desk = warp::any().map(move || desk.clone());
    let whoami = at("whoami")
        .and(desk.clone())
        .and(warp::path::full())
        .and(warp::header::headers_cloned())
        .and(raw_query())
        .and(verified_token())
        .map(
            |desk: Desk, path: FullPath, headers: HeaderMap, query: String, token| {
                desk.see((path, format!("?{query}"), headers));
                describe(Some(&token))
            },
        );
    let who = at("who").and(desk.clone()).and(optional_token()).map(
        |desk: Desk, token: Option<VerifiedToken>| {
            desk.see(());
            describe(token.as_ref())
        },
    );
    let hang = at("hang").and(desk.clone()).and(verified_token()).and_then(
        |desk: Desk, _token| async move {
            match desk.hang().await {}
            #[expect(unreachable_code, reason = "it names the type")]
            Ok::<String, Rejection>(String::new())
        },
    );
    let stream = at("stream")
        .and(desk)
        .and(verified_token())
        .map(|desk: Desk, _token| {
            let events = desk.stream();
            warp::sse::reply(events.map(|piece| Ok::<_, Infallible>(Event::default().data(piece))))
        });
    whoami.or(who).or(hang).or(stream).boxed()
}

fn raw_query() -> impl Filter<Extract = (String,), Error = Infallible> + Clone {
    warp::query::raw().or(warp::any().map(String::new)).unify()
}
