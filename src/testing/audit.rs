//! [`RouteAudit`]: tries every route of an application with no credential and with every bad one.

use std::{fmt, future, time::Duration};

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use tower_service::Service;

use super::{BadCredential, TestWorkspace};
use crate::rejection::Rejection;

/// What is tried on each path. `CONNECT` names no path.
const METHODS: [Method; 8] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
    Method::TRACE,
];

/// Whoever does not answer for that long waits for something, and so has let the request in.
const PATIENCE: Duration = Duration::from_secs(2);

/// Tries every route of an application with no credential and with every bad one, and fails where one answers.
///
/// A route passes if a [`WorkspaceTokenLayer`](crate::WorkspaceTokenLayer) answers with 401, whatever the method, and
/// lets the current token in. That the answer is the layer's, and not a 401 of the handler, is read from its
/// extensions. Routes that are open to all are listed, by the paths that they have in the router; one that is listed
/// and is not there fails as well. See the [module docs](super) for an example.
///
/// The current token is tried with GET alone, which reaches the handlers of the application under test.
#[derive(Debug)]
pub struct RouteAudit<'a> {
    workspace: &'a TestWorkspace,
    host: String,
    parameters: Vec<(String, String)>,
    public: Vec<String>,
    paths: Vec<String>,
    allows_preflight: bool,
    allows_fallback: bool,
}

/// What an audit finds fault with: a sentence that names method and path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding(String);

/// What came of a request.
enum Outcome {
    /// The layer answered.
    TurnedAway(StatusCode),
    /// The router has no such method there.
    NoSuchMethod,
    /// Something behind the layer answered, or there is none.
    Answered(StatusCode),
    /// Nothing answered yet.
    Waits,
}

impl<'a> RouteAudit<'a> {
    /// Begins an audit of an application that was built with the authority of `workspace`.
    pub fn new(workspace: &'a TestWorkspace) -> Self {
        let id = (String::from("workspace"), workspace.id().to_string());
        Self {
            workspace,
            host: String::from("localhost"),
            parameters: vec![id],
            public: Vec::new(),
            paths: Vec::new(),
            allows_preflight: false,
            allows_fallback: false,
        }
    }

    /// Sends this `Host`. Defaults to `localhost`; a [`HostLabel`](crate::HostLabel) needs `acme.` and its domain.
    pub fn with_host(mut self, host: impl Into<String>) -> Self {
        self.host = host.into();
        self
    }

    /// Puts `value` where a path has the parameter `name`. By default `{workspace}` is the id of the workspace, and every
    /// other parameter is `1`.
    pub fn with_parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parameters.insert(0, (name.into(), value.into()));
        self
    }

    /// Lists a route that is open to all, by its path in the router.
    pub fn with_public(mut self, path: impl Into<String>) -> Self {
        self.public.push(path.into());
        self
    }

    /// Tries this path too: one within a nested service, whose paths cannot be seen from outside.
    pub fn with_path(mut self, path: impl Into<String>) -> Self {
        self.paths.push(path.into());
        self
    }

    /// Lets anybody's `OPTIONS` be answered, as a CORS layer around the token layer does.
    pub fn with_public_preflight(mut self) -> Self {
        self.allows_preflight = true;
        self
    }

    /// Lets the fallback, which answers where there is no route, be open to all.
    pub fn with_public_fallback(mut self) -> Self {
        self.allows_fallback = true;
        self
    }

    /// Audits every route of an axum application (feature `axum`).
    ///
    /// Routes of nested and merged routers are found as well. A nested *service* (`nest_service`) keeps its own to itself:
    /// list its paths with [`with_path`](Self::with_path), or the audit fails.
    ///
    /// # Panics
    /// With all findings, if there is one; or if this version of axum shows its routes in another way.
    #[cfg(feature = "axum")]
    pub async fn run(&self, app: axum::Router) {
        report(&self.findings(app).await);
    }

    /// Returns what [`run`](Self::run) would panic with (feature `axum`).
    ///
    /// # Panics
    /// If this version of axum shows its routes in another way.
    #[cfg(feature = "axum")]
    pub async fn findings(&self, app: axum::Router) -> Vec<Finding> {
        let routes = super::routes::routes_of(&app);
        let (nested, routes): (Vec<_>, Vec<_>) = routes
            .into_iter()
            .partition(|route| route.is_nested_service);
        let nested: Vec<String> = nested.into_iter().map(|route| route.template).collect();
        let is_of_public_service = |template: &str| {
            let service = template.strip_suffix('/');
            service
                .is_some_and(|service| self.is_public(service) && nested.contains(&service.into()))
        };
        let routes = routes.into_iter().map(|route| route.template);
        let routes: Vec<String> = routes
            .filter(|template| !is_of_public_service(template))
            .collect();
        let mut findings: Vec<Finding> = nested
            .iter()
            .filter(|service| !self.is_public(service) && !self.has_path_within(service))
            .map(|service| {
                Finding(format!(
                    "{service} leads to a nested service, whose routes cannot be seen: list them by `with_path`"
                ))
            })
            .collect();
        findings.extend(self.try_all::<_, axum::body::Body, _>(app, &routes).await);
        findings
    }

    /// Audits `paths` of any service, and those of [`with_path`](Self::with_path); parameters stand in them as in those of
    /// an axum router.
    ///
    /// A route that is not among them is not audited.
    ///
    /// # Panics
    /// With all findings, if there is one; or if the service fails.
    pub async fn run_on<S, B, R>(&self, service: S, paths: &[&str])
    where
        S: Service<Request<B>, Response = Response<R>, Error: fmt::Debug> + Clone,
        B: Default,
    {
        let paths: Vec<String> = paths.iter().copied().map(String::from).collect();
        report(&self.try_all(service, &paths).await);
    }

    async fn try_all<S, B, R>(&self, service: S, routes: &[String]) -> Vec<Finding>
    where
        S: Service<Request<B>, Response = Response<R>, Error: fmt::Debug> + Clone,
        B: Default,
    {
        let bad = self.workspace.bad_credentials().await;
        let mut findings = Vec::new();
        for template in routes.iter().chain(&self.paths) {
            let path = self.path_of(template);
            if self.is_public(template) {
                self.try_public(&service, &path, &mut findings).await;
            } else {
                self.try_protected(&service, &path, &bad, &mut findings)
                    .await;
            }
        }
        let is_missing =
            |listed: &&String| !routes.contains(listed) && !self.paths.contains(listed);
        findings.extend(
            self.public
                .iter()
                .filter(is_missing)
                .map(|listed| Finding(format!("{listed} is listed as public, and is not there"))),
        );
        if !self.allows_fallback {
            self.try_unrouted(&service, routes, &mut findings).await;
        }
        findings
    }

    async fn try_protected<S, B, R>(
        &self,
        service: &S,
        path: &str,
        bad: &[BadCredential],
        findings: &mut Vec<Finding>,
    ) where
        S: Service<Request<B>, Response = Response<R>, Error: fmt::Debug> + Clone,
        B: Default,
    {
        let (before, mut is_tried) = (findings.len(), false);
        for method in METHODS {
            match self.send(service, &method, path, |_| {}).await {
                Outcome::TurnedAway(StatusCode::UNAUTHORIZED) => is_tried = true,
                Outcome::NoSuchMethod => continue,
                Outcome::Answered(_) if self.allows_preflight && method == Method::OPTIONS => {
                    continue;
                }
                outcome => {
                    findings.push(Finding(format!(
                        "{method} {path} {outcome} without a credential"
                    )));
                    continue;
                }
            }
            for bad in bad {
                let outcome = self
                    .send(service, &method, path, |request| bad.apply(request))
                    .await;
                if !matches!(outcome, Outcome::TurnedAway(status) if status == bad.status()) {
                    findings.push(Finding(format!(
                        "{method} {path} {outcome} with {}",
                        bad.name()
                    )));
                }
            }
        }
        if findings.len() > before {
            return;
        }
        if !is_tried {
            findings.push(Finding(format!(
                "{path} knows none of the methods that were tried"
            )));
        }
        // Who refuses everybody refuses bad credentials as well, which then proves nothing.
        let with_token = |request: &mut Request<B>| {
            let bearer = self.workspace.bearer();
            request.headers_mut().insert(header::AUTHORIZATION, bearer);
        };
        if let Outcome::TurnedAway(status) =
            self.send(service, &Method::GET, path, with_token).await
        {
            findings.push(Finding(format!(
                "GET {path} is refused with {status} with the current token: is the application built with the authority of the test's workspace?"
            )));
        }
    }

    async fn try_public<S, B, R>(&self, service: &S, path: &str, findings: &mut Vec<Finding>)
    where
        S: Service<Request<B>, Response = Response<R>, Error: fmt::Debug> + Clone,
        B: Default,
    {
        for method in METHODS {
            match self.send(service, &method, path, |_| {}).await {
                Outcome::TurnedAway(_) | Outcome::NoSuchMethod => {}
                Outcome::Answered(_) | Outcome::Waits => return,
            }
        }
        findings.push(Finding(format!(
            "{path} is listed as public, and is protected"
        )));
    }

    /// Tries paths beside those that are routed: the fallback, which nothing shows.
    async fn try_unrouted<S, B, R>(
        &self,
        service: &S,
        routes: &[String],
        findings: &mut Vec<Finding>,
    ) where
        S: Service<Request<B>, Response = Response<R>, Error: fmt::Debug> + Clone,
        B: Default,
    {
        // Beside an open route with a parameter would be that very route.
        let is_beside_public = |folder: &str| {
            let in_folder = |listed: &&String| listed.starts_with(&format!("{folder}/"));
            self.public.iter().filter(in_folder).any(|listed| {
                routes.contains(&format!("{listed}/")) || listed[folder.len()..].contains('{')
            })
        };
        let mut folders: Vec<String> = routes
            .iter()
            .filter(|template| !self.is_public(template))
            .filter_map(|template| Some(template.rsplit_once('/')?.0.to_owned()))
            .chain([String::new()])
            .filter(|folder| !is_beside_public(folder))
            .collect();
        folders.sort();
        folders.dedup();
        for folder in folders {
            let path = self.path_of(&format!("{folder}/no-such-route"));
            match self.send(service, &Method::GET, &path, |_| {}).await {
                Outcome::TurnedAway(_)
                | Outcome::NoSuchMethod
                | Outcome::Answered(StatusCode::NOT_FOUND) => {}
                outcome => findings.push(Finding(format!(
                    "GET {path}, where there is no route, {outcome} without a credential"
                ))),
            }
        }
    }

    async fn send<S, B, R>(
        &self,
        service: &S,
        method: &Method,
        path: &str,
        prepare: impl FnOnce(&mut Request<B>),
    ) -> Outcome
    where
        S: Service<Request<B>, Response = Response<R>, Error: fmt::Debug> + Clone,
        B: Default,
    {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.host)
            .body(B::default());
        let mut request = request.unwrap_or_else(|error| panic!("{path} is no path: {error}"));
        prepare(&mut request);
        let mut service = service.clone();
        let answer = async {
            future::poll_fn(|cx| service.poll_ready(cx)).await?;
            service.call(request).await
        };
        match tokio::time::timeout(PATIENCE, answer).await {
            Err(_) => Outcome::Waits,
            Ok(Ok(response)) => Outcome::of(method, &response),
            Ok(Err(error)) => panic!("{method} {path}: the service failed: {error:?}"),
        }
    }

    fn is_public(&self, template: &str) -> bool {
        self.public.iter().any(|listed| listed == template)
    }

    #[cfg(feature = "axum")]
    fn has_path_within(&self, service: &str) -> bool {
        let inside = |path: &String| {
            path.strip_prefix(service)
                .is_some_and(|rest| rest.len() > 1)
        };
        self.paths.iter().any(inside)
    }

    /// Puts values in the places of the parameters.
    fn path_of(&self, template: &str) -> String {
        let mut path = String::new();
        // What stands doubled is a brace of the path itself, which only comes percent-encoded.
        let template = template.replace("{{", "%7B").replace("}}", "%7D");
        let mut rest = &*template;
        while let Some((before, from_name)) = rest.split_once('{') {
            let (name, after) = from_name.split_once('}').unwrap_or((from_name, ""));
            let name = name.trim_start_matches('*');
            let value = self.parameters.iter().find(|(known, _)| known == name);
            path.push_str(before);
            path.push_str(value.map_or("1", |(_, value)| value));
            rest = after;
        }
        path + rest
    }
}

impl Outcome {
    fn of<R>(method: &Method, response: &Response<R>) -> Self {
        let status = response.status();
        if response.extensions().get::<Rejection>().is_some() {
            return Self::TurnedAway(status);
        }
        let allow = response.headers().get(header::ALLOW);
        let is_elsewhere = |allow: &HeaderValue| {
            let mut allowed = allow.as_bytes().split(|byte| *byte == b',');
            !allowed.any(|name| name.trim_ascii() == method.as_str().as_bytes())
        };
        if status == StatusCode::METHOD_NOT_ALLOWED && allow.is_some_and(is_elsewhere) {
            return Self::NoSuchMethod;
        }
        Self::Answered(status)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered(status) => write!(f, "answers {status}"),
            Self::NoSuchMethod => f.write_str("answers that there is no such method"),
            Self::TurnedAway(status) => write!(f, "is refused with {status}"),
            Self::Waits => f.write_str("is let in, and waits for something,"),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn report(findings: &[Finding]) {
    if !findings.is_empty() {
        let list: String = findings
            .iter()
            .map(|finding| format!("\n- {finding}"))
            .collect();
        panic!("not every route is as it should be:{list}");
    }
}
