//! The audit finds what was forgotten, wherever it was forgotten, and nothing else.

use axum::{
    Router,
    http::StatusCode,
    middleware,
    routing::{any, get, post},
};

use super::{RouteAudit, TestWorkspace};
use crate::{
    SessionLayer, TokenAuthority, VerifiedToken, WorkspaceTokenLayer,
    layer::{FixedWorkspace, PathTemplate},
};

fn layer(authority: &TokenAuthority) -> WorkspaceTokenLayer {
    WorkspaceTokenLayer::new(authority.clone(), PathTemplate::new("/w/{workspace}/*"))
}

async fn notes(token: VerifiedToken) -> String {
    token.workspace().to_string()
}

fn protected(workspace: &TestWorkspace) -> Router {
    Router::new()
        .route("/w/{workspace}/notes", get(notes).post(notes))
        .route("/w/{workspace}/notes/{id}", any(notes))
        .layer(layer(workspace.authority()))
}

async fn findings(audit: RouteAudit<'_>, app: Router) -> Vec<String> {
    let findings = audit.findings(app).await;
    findings.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn an_application_whose_every_route_is_protected_passes() {
    let workspace = TestWorkspace::new().await;
    RouteAudit::new(&workspace).run(protected(&workspace)).await;
}

#[tokio::test]
async fn a_route_that_was_added_below_the_layer_is_found() {
    let workspace = TestWorkspace::new().await;
    let app = protected(&workspace).route("/w/{workspace}/export", post(async || "everything"));
    let found = findings(RouteAudit::new(&workspace), app).await;
    assert_eq!(
        found,
        ["POST /w/acme/export answers 200 OK without a credential"]
    );
}

#[tokio::test]
async fn forgotten_routes_of_nested_and_merged_routers_are_found() {
    let workspace = TestWorkspace::new().await;
    let forgotten = || Router::new().route("/{id}/secret", get(async || "secret"));
    let app = protected(&workspace)
        .nest("/admin", forgotten())
        .merge(forgotten());
    let found = findings(RouteAudit::new(&workspace), app).await;
    let expected = |path: &str| {
        ["GET", "HEAD"].map(|method| format!("{method} {path} answers 200 OK without a credential"))
    };
    assert_eq!(
        found,
        [expected("/admin/1/secret"), expected("/1/secret")].concat()
    );
}

#[tokio::test]
async fn one_method_beside_the_layer_is_found() {
    let workspace = TestWorkspace::new().await;
    let by_method = get(notes)
        .layer(layer(workspace.authority()))
        .delete(async || "deleted");
    let app = Router::new().route("/w/{workspace}/notes", by_method);
    let found = findings(RouteAudit::new(&workspace), app).await;
    assert_eq!(
        found,
        ["DELETE /w/acme/notes answers 200 OK without a credential"]
    );
}

#[tokio::test]
async fn a_route_that_takes_tokens_and_needs_none_is_found() {
    let workspace = TestWorkspace::new().await;
    let optional = layer(workspace.authority()).with_optional_token();
    let app = Router::new()
        .route("/w/{workspace}/notes", get(async || "notes"))
        .layer(optional);
    let found = findings(RouteAudit::new(&workspace), app).await;
    assert!(
        found[0].starts_with("GET /w/acme/notes answers 200 OK without"),
        "{found:?}"
    );
}

#[tokio::test]
async fn a_401_that_is_not_the_layers_is_found() {
    let workspace = TestWorkspace::new().await;
    let app = Router::new().route(
        "/w/{workspace}/notes",
        get(async || StatusCode::UNAUTHORIZED),
    );
    let found = findings(RouteAudit::new(&workspace), app).await;
    assert!(
        found[0].starts_with("GET /w/acme/notes answers 401"),
        "{found:?}"
    );
}

#[tokio::test]
async fn a_layer_that_takes_any_token_is_found() {
    let workspace = TestWorkspace::new().await;
    // Turns away who has no header, and lets in who has any.
    let gullible = middleware::from_fn(
        async |request: axum::extract::Request, next: middleware::Next| {
            if request.headers().contains_key("authorization") {
                return next.run(request).await;
            }
            let kind = crate::rejection::RejectionKind::MissingCredential;
            let mut response = StatusCode::UNAUTHORIZED.into_response();
            let extensions = response.extensions_mut();
            extensions.insert(crate::rejection::Rejection::new(kind));
            response
        },
    );
    use axum::response::IntoResponse as _;
    let app = Router::new()
        .route("/w/{workspace}/notes", post(async || "notes"))
        .layer(gullible);
    let found = findings(RouteAudit::new(&workspace), app).await;
    for bad in workspace.bad_credentials().await {
        let expected = format!("POST /w/acme/notes answers 200 OK with {}", bad.name());
        assert!(found.contains(&expected), "{expected}: {found:?}");
    }
}

#[tokio::test]
async fn an_application_with_another_authority_is_found() {
    let (workspace, other) = (TestWorkspace::new().await, TestWorkspace::new().await);
    let found = findings(RouteAudit::new(&workspace), protected(&other)).await;
    assert!(
        found[0].contains("refused with 401 Unauthorized with the current token"),
        "{found:?}"
    );
}

#[tokio::test]
async fn a_path_that_names_no_workspace_is_found() {
    let workspace = TestWorkspace::new().await;
    let app = protected(&workspace);
    let app = app.route(
        "/x/{workspace}",
        get(notes).layer(layer(workspace.authority())),
    );
    let found = findings(RouteAudit::new(&workspace), app).await;
    assert_eq!(
        found[0],
        "GET /x/acme is refused with 400 Bad Request without a credential"
    );
}

#[tokio::test]
async fn public_routes_are_listed_and_have_to_be_there_and_open() {
    let workspace = TestWorkspace::new().await;
    let app = || protected(&workspace).route("/health", get(async || "ok"));
    let audit = || RouteAudit::new(&workspace);
    audit().with_public("/health").run(app()).await;
    let unlisted = findings(audit(), app()).await;
    assert!(
        unlisted[0].starts_with("GET /health answers"),
        "{unlisted:?}"
    );
    let gone = findings(audit().with_public("/health"), protected(&workspace)).await;
    assert_eq!(gone, ["/health is listed as public, and is not there"]);
    let listed = audit().with_public("/health");
    let closed = findings(listed.with_public("/w/{workspace}/notes"), app()).await;
    assert_eq!(
        closed,
        ["/w/acme/notes is listed as public, and is protected"]
    );
}

#[tokio::test]
async fn an_open_fallback_is_found() {
    let workspace = TestWorkspace::new().await;
    let app = || {
        let all = Router::new().fallback(async || "the single page");
        protected_by_route(&workspace).merge(all)
    };
    let found = findings(RouteAudit::new(&workspace), app()).await;
    assert!(
        found[0].starts_with("GET /no-such-route, where there is no route, answers 200"),
        "{found:?}"
    );
    let audit = RouteAudit::new(&workspace).with_public_fallback();
    audit.run(app()).await;
}

/// With `route_layer`, which leaves the fallback alone.
fn protected_by_route(workspace: &TestWorkspace) -> Router {
    Router::new()
        .route("/w/{workspace}/notes", get(notes))
        .route_layer(layer(workspace.authority()))
}

#[tokio::test]
async fn methods_and_paths_that_are_not_there_pass() {
    let workspace = TestWorkspace::new().await;
    let app = protected_by_route(&workspace);
    RouteAudit::new(&workspace).run(app).await;
}

#[tokio::test]
async fn a_nested_service_is_found_until_its_paths_are_listed() {
    let workspace = TestWorkspace::new().await;
    let inner = || Router::new().route("/notes", get(async || "notes"));
    let fixed = WorkspaceTokenLayer::new(
        workspace.authority().clone(),
        FixedWorkspace(*workspace.id()),
    );
    let app = Router::new().nest_service("/w", inner()).layer(fixed);
    let found = findings(RouteAudit::new(&workspace), app.clone()).await;
    assert!(
        found[0].starts_with("/w leads to a nested service"),
        "{found:?}"
    );
    let audit = || RouteAudit::new(&workspace).with_path("/w/notes");
    audit().run(app.clone()).await;
    let open = app.nest_service("/open", inner());
    let found = findings(audit().with_path("/open/notes"), open.clone()).await;
    assert!(
        found.contains(&"GET /open/notes answers 200 OK without a credential".into()),
        "{found:?}"
    );
    audit().with_public("/open").run(open).await;
}

#[tokio::test]
async fn an_open_preflight_is_found_unless_it_is_allowed() {
    let workspace = TestWorkspace::new().await;
    let app = || {
        protected(&workspace).layer(middleware::from_fn(
            async |request: axum::extract::Request, next: middleware::Next| {
                use axum::response::IntoResponse as _;
                if request.method() == axum::http::Method::OPTIONS {
                    return StatusCode::NO_CONTENT.into_response();
                }
                next.run(request).await
            },
        ))
    };
    let found = findings(RouteAudit::new(&workspace), app()).await;
    assert!(found[0].starts_with("OPTIONS"), "{found:?}");
    let audit = RouteAudit::new(&workspace).with_public_preflight();
    audit.run(app()).await;
}

#[tokio::test]
async fn a_handler_that_waits_for_strangers_is_found() {
    let workspace = TestWorkspace::new().await;
    tokio::time::pause();
    let app = protected(&workspace).route(
        "/events",
        get(async || std::future::pending::<StatusCode>().await),
    );
    let found = findings(RouteAudit::new(&workspace), app).await;
    assert!(
        found[0].starts_with("GET /events is let in, and waits"),
        "{found:?}"
    );
}

#[tokio::test]
async fn any_service_is_audited_by_its_paths() {
    let workspace = TestWorkspace::new().await;
    let audit = RouteAudit::new(&workspace);
    audit
        .run_on::<_, axum::body::Body, _>(protected(&workspace), &["/w/{workspace}/notes"])
        .await;
}

#[tokio::test]
#[should_panic(expected = "not every route is as it should be:\n- GET /open answers 200 OK")]
async fn a_finding_fails_the_test() {
    let workspace = TestWorkspace::new().await;
    let app = protected(&workspace).route("/open", get(async || "open"));
    RouteAudit::new(&workspace).run(app).await;
}

#[tokio::test]
async fn every_bad_session_is_unknown_and_a_good_one_is_not() {
    let workspace = TestWorkspace::new().await;
    let open = async || ([("mcp-session-id", "inner")], "opened");
    let app = Router::new()
        .route("/w/{workspace}/mcp", post(open))
        .layer(SessionLayer::new(workspace.authority().clone()))
        .layer(layer(workspace.authority()));
    let post = || workspace.request(axum::http::Method::POST, "/w/acme/mcp");
    let send = async |request: http::Request<()>| {
        use tower::ServiceExt as _;
        let request = request.map(|()| axum::body::Body::empty());
        app.clone().oneshot(request).await.unwrap()
    };
    let opened = send(post()).await;
    assert_eq!(opened.status(), StatusCode::OK);
    let mut good = post();
    let session = opened.headers()["mcp-session-id"].clone();
    good.headers_mut().insert("mcp-session-id", session);
    for bad in workspace.bad_sessions().await {
        let mut request = post();
        bad.apply(&mut request);
        let response = send(request).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{bad:?}");
    }
    assert_eq!(send(good).await.status(), StatusCode::OK);
}

/// Each is refused for what it is named after.
#[tokio::test]
async fn bad_access_tokens_are_bad_for_their_own_reasons() {
    use crate::rejection::{RejectionKind, TokenProblem};
    let workspace = TestWorkspace::new().await;
    let mut problems = Vec::new();
    for bad in workspace.bad_credentials().await {
        if !bad.name().contains("access token") {
            continue;
        }
        let mut request = axum::http::Request::new(());
        bad.apply(&mut request);
        let value = request.headers()["authorization"].to_str().unwrap();
        let token = value.strip_prefix("Bearer ").unwrap().as_bytes();
        let presented = crate::token::PresentedToken::new(token);
        let authority = workspace.authority();
        let rejection = authority.verify_access(workspace.id(), presented).await;
        problems.push(rejection.unwrap_err().kind().clone());
    }
    let expected = [
        TokenProblem::Expired,
        TokenProblem::Superseded,
        TokenProblem::WrongWorkspace,
    ];
    assert_eq!(problems, expected.map(RejectionKind::InvalidToken));
}

#[tokio::test]
async fn a_session_that_is_called_expired_is_not_ended() {
    let mut workspace = TestWorkspace::new().await;
    workspace.bad_sessions().await;
    assert_eq!(workspace.rotate().await.sessions, 1);
}

#[tokio::test]
async fn the_credentials_and_the_workspace_print_no_token() {
    let workspace = TestWorkspace::new().await;
    let printed = format!(
        "{workspace:?} {:?} {:?} {:?}",
        workspace.bad_credentials().await,
        workspace.bad_sessions().await,
        workspace.bearer(),
    );
    assert!(!printed.contains("eyJ"), "{printed}");
}
