//! Who may see the pages: the login behind the cookie, and the headers that keep other sites out.

use std::time::Duration;

use axum::{
    body::Body,
    extract::{FromRequestParts, Request, State},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE, REFERRER_POLICY, SET_COOKIE, USER_AGENT,
        X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
    },
    request::Parts,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret as _, SecretString};
use tower_http::csrf::{ProtectionError, ResponseForProtectionError};
use tower_http::timeout::TimeoutBody;

use super::page::PageError;
use crate::{
    app::App,
    caller::{Caller, Person},
    db::DatabaseError,
    error::{AppError, ErrorCode},
    http::client_address::Arrival,
    people::{UserId, accounts::Origin, logins},
    time,
};

/// The person who asks for a page; whoever has not logged in is led to do so.
#[derive(Clone, Debug)]
pub(super) struct LoggedIn(pub(super) Person);

impl LoggedIn {
    pub(super) fn caller(&self) -> Caller {
        Caller::Person(self.0.clone())
    }

    pub(super) fn user(&self) -> &UserId {
        &self.0.user.id
    }
}

impl FromRequestParts<App> for LoggedIn {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        match person(app, parts).await {
            Ok(Some(person)) => Ok(Self(person)),
            Ok(None) => Err(to_login(parts)),
            Err(error) => Err(PageError(error.into()).into_response()),
        }
    }
}

/// Where a login comes from.
impl FromRequestParts<App> for Origin {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Self::Rejection> {
        let agent = parts.headers.get(USER_AGENT);
        Ok(Self {
            address: Arrival::address(&parts.extensions),
            agent: agent
                .and_then(|agent| agent.to_str().ok())
                .map(str::to_owned),
        })
    }
}

/// Puts the caller into requests of the JSON API, and turns others away.
pub(super) async fn authenticate(
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Result<Response, AppError> {
    let (mut parts, body) = request.into_parts();
    let Some(person) = person(&app, &parts).await? else {
        return Err(AppError::new(
            ErrorCode::Unauthenticated,
            "log in to the dashboard, and send its cookie",
        ));
    };
    parts.extensions.insert(Caller::Person(person));
    Ok(next.run(Request::from_parts(parts, body)).await)
}

/// Finds the login that the request's cookie stands for.
async fn person(app: &App, parts: &Parts) -> Result<Option<Person>, DatabaseError> {
    let Some(cookie) = cookie(app, &parts.headers) else {
        return Ok(None);
    };
    let now = time::now();
    let found = app
        .database()
        .read(move |snapshot| logins::find(snapshot, &cookie, now))
        .await?;
    let Some((login, user)) = found else {
        return Ok(None);
    };
    if logins::is_due(&login, now) {
        let id = login.id.clone();
        app.database()
            .write(move |transaction| logins::touch(transaction, &id, now))
            .await?;
    }
    Ok(Some(Person {
        user,
        login: Some(login.id),
        address: Arrival::address(&parts.extensions),
    }))
}

/// Returns the cookie's value; none if it is there twice, which no browser of ours does.
fn cookie(app: &App, headers: &HeaderMap) -> Option<SecretString> {
    let name = cookie_name(app);
    let lines = headers.get_all(COOKIE).iter();
    let pairs = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'));
    let mut values = pairs.filter_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name).then_some(value)
    });
    match (values.next(), values.next()) {
        (Some(value), None) => Some(value.into()),
        _ => None,
    }
}

/// Returns what the login's cookie is called. With the prefix, browsers take it over TLS alone, from this
/// very host (RFC 6265bis §4.1.3.2); on loopback there is no TLS.
fn cookie_name(app: &App) -> &'static str {
    if app.addresses().is_https() {
        "__Host-wst"
    } else {
        "wst"
    }
}

/// Gives the browser a login.
pub(super) fn set_cookie(app: &App, secret: &SecretString) -> Result<HeaderValue, AppError> {
    let lifetime = logins::LONGEST.as_secs();
    cookie_header(app, secret.expose_secret(), lifetime)
}

/// Takes the login away from the browser.
pub(super) fn clear_cookie(app: &App) -> Result<HeaderValue, AppError> {
    cookie_header(app, "", 0)
}

fn cookie_header(app: &App, value: &str, lifetime: u64) -> Result<HeaderValue, AppError> {
    let secure = if app.addresses().is_https() {
        "; Secure"
    } else {
        ""
    };
    let name = cookie_name(app);
    let cookie =
        format!("{name}={value}; Path=/; Max-Age={lifetime}; HttpOnly; SameSite=Lax{secure}");
    let mut cookie = HeaderValue::try_from(cookie).map_err(anyhow::Error::from)?;
    cookie.set_sensitive(true);
    Ok(cookie)
}

/// Answers with a redirect that carries the cookie.
pub(super) fn redirect_with(cookie: HeaderValue, to: &str) -> Response {
    ([(SET_COOKIE, cookie)], Redirect::to(to)).into_response()
}

/// Leads to the login, and from there back to the page. A part of a page that asks for itself makes the
/// whole page go there.
fn to_login(parts: &Parts) -> Response {
    let back = match parts.method {
        Method::GET => parts
            .uri
            .path_and_query()
            .map_or("/", |target| target.as_str()),
        // A form cannot be sent again by itself.
        _ => "/",
    };
    let login = format!(
        "/login?next={}",
        utf8_percent_encode(back, NON_ALPHANUMERIC)
    );
    if parts.headers.contains_key("hx-request") {
        let redirect = [(HeaderName::from_static("hx-redirect"), "/login")];
        return (StatusCode::UNAUTHORIZED, redirect).into_response();
    }
    Redirect::to(&login).into_response()
}

/// Answers a form that another site sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct ForeignForm;

impl<B: From<String>> ResponseForProtectionError<B> for ForeignForm {
    fn response_for_protection_error(&mut self, _: ProtectionError) -> http::Response<B> {
        let text =
            "This was sent by another site, and was not done. Open the dashboard and do it there.";
        let mut response = http::Response::new(B::from(text.to_owned()));
        *response.status_mut() = StatusCode::FORBIDDEN;
        response
    }
}

/// Gives up on a body that comes to a halt.
pub(super) async fn hurry(request: Request) -> Request {
    request.map(|body| Body::new(TimeoutBody::new(BODY_PAUSE, body)))
}

/// Tells the browser what pages may do: what they bring with them, and nothing else.
pub(super) async fn protect(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, CSP),
        (REFERRER_POLICY, "same-origin"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("permissions-policy"),
            "camera=(), geolocation=(), microphone=()",
        ),
    ] {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    // Pages show what others must not find in a shared browser's cache.
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The same for answers of the API, which are no pages.
pub(super) async fn protect_api(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The longest pause within the body of a request.
const BODY_PAUSE: Duration = Duration::from_secs(20);

const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                   connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
