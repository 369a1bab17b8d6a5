//! The endpoint behind the token layer, as clients see it.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, StreamBody};
use serde_json::{Value, json};
use tower::{Layer as _, ServiceExt as _};

use super::{response::Problem, *};
use crate::{
    Keys, MemoryStore, TokenAuthority, TokenName, WorkspaceTokenLayer,
    clock::{ManualClock, Timestamp},
    layer::FixedWorkspace,
    token::PresentedToken,
};

struct Endpoint {
    authority: TokenAuthority,
    token: String,
}

struct Answer {
    status: StatusCode,
    headers: http::HeaderMap,
    text: String,
}

impl Endpoint {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_800_000_000)));
        let builder = TokenAuthority::builder(MemoryStore::new(), Keys::generate().unwrap());
        let authority = builder.clock(clock).build().unwrap();
        let workspace = "acme".parse().unwrap();
        let issued = authority.issue(&workspace, &TokenName::primary()).await;
        let token = issued.unwrap().expose_secret().to_owned();
        Self { authority, token }
    }

    async fn ask<B>(&self, request: Request<B>) -> Answer
    where
        B: http_body::Body<Data = Bytes>,
    {
        let workspace = FixedWorkspace("acme".parse().unwrap());
        let layer = WorkspaceTokenLayer::new(self.authority.clone(), workspace);
        let service = layer
            .with_query_token("token")
            .layer(TokenExchange::new(self.authority.clone()));
        read(service.oneshot(request).await.unwrap()).await
    }

    fn request(&self, method: &str, target: &str) -> http::request::Builder {
        let request = Request::builder().method(method).uri(target);
        request
            .header(header::HOST, "a.test")
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
    }

    async fn post(&self, target: &str, content_type: Option<&str>, form: &str) -> Answer {
        let mut request = self.request("POST", target);
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let body = Full::from(Bytes::copy_from_slice(form.as_bytes()));
        self.ask(request.body(body).unwrap()).await
    }

    async fn opens(&self, access: &str) -> bool {
        let presented = PresentedToken::new(access.as_bytes());
        let workspace = "acme".parse().unwrap();
        let verified = self.authority.verify_access(&workspace, presented).await;
        verified.is_ok()
    }
}

async fn read<B>(response: Response<B>) -> Answer
where
    B: http_body::Body<Data = Bytes, Error: std::fmt::Debug>,
{
    let (parts, body) = response.into_parts();
    let text = body.collect().await.unwrap().to_bytes().to_vec();
    Answer {
        status: parts.status,
        headers: parts.headers,
        text: String::from_utf8(text).unwrap(),
    }
}

impl Answer {
    fn json(&self) -> Value {
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/json");
        assert_eq!(self.headers[header::CACHE_CONTROL], "no-store");
        serde_json::from_str(&self.text).unwrap()
    }

    fn is_refused_as(&self, status: u16, code: &str) -> bool {
        let json = self.json();
        assert_eq!(json.as_object().unwrap().len(), 2);
        let sentence = json["error_description"].as_str().unwrap();
        assert!(sentence.ends_with('.') && sentence.is_ascii());
        self.status == status && json["error"] == code
    }
}

const FORM: Option<&str> = Some("application/x-www-form-urlencoded");

#[tokio::test]
async fn hands_over_an_access_token_as_rfc_8693_has_it() {
    let endpoint = Endpoint::new().await;
    let grant = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange";
    for (content_type, form) in [(None, ""), (FORM, ""), (FORM, grant), (FORM, "scope=a")] {
        let answer = endpoint.post("/token", content_type, form).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        assert_eq!(answer.headers[header::PRAGMA], "no-cache");
        let json = answer.json();
        let access = json["access_token"].as_str().unwrap().to_owned();
        let expected = json!({
            "access_token": access,
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "token_type": "Bearer",
            "expires_in": 900,
        });
        assert_eq!(json, expected);
        assert!(endpoint.opens(&access).await);
    }
}

#[tokio::test]
async fn hands_over_the_headers_themselves_where_that_is_asked_for() {
    let endpoint = Endpoint::new().await;
    for (target, form) in [("/token?as=headers", ""), ("/token", "as=headers")] {
        let answer = endpoint.post(target, FORM, form).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let json = answer.json();
        assert_eq!(json.as_object().unwrap().len(), 1);
        let value = json["Authorization"].as_str().unwrap();
        assert!(endpoint.opens(value.strip_prefix("Bearer ").unwrap()).await);
    }
}

#[tokio::test]
async fn only_post_gets_one() {
    let endpoint = Endpoint::new().await;
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let request = endpoint.request(method, "/token");
        let answer = endpoint
            .ask(request.body(Full::<Bytes>::default()).unwrap())
            .await;
        assert!(answer.is_refused_as(405, "invalid_request"), "{method}");
        assert_eq!(answer.headers[header::ALLOW], "POST");
    }
}

#[tokio::test]
async fn the_token_comes_in_the_header_alone() {
    let endpoint = Endpoint::new().await;
    let by_url = Request::post(format!("/token?token={}", endpoint.token));
    let by_url = by_url.header(header::HOST, "a.test");
    let answer = endpoint
        .ask(by_url.body(Full::<Bytes>::default()).unwrap())
        .await;
    assert!(answer.is_refused_as(400, "invalid_request"));
    assert!(answer.text.contains("Authorization header"));
    let form = format!("subject_token={}", endpoint.token);
    let answer = endpoint.post("/token", FORM, &form).await;
    assert!(answer.is_refused_as(400, "invalid_request"));
    assert!(answer.text.contains("Authorization header"));
    assert!(!answer.text.contains(&endpoint.token));
    let without = Request::post("/token").header(header::HOST, "a.test");
    let answer = endpoint
        .ask(without.body(Full::<Bytes>::default()).unwrap())
        .await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn an_access_token_is_not_exchanged() {
    let mut endpoint = Endpoint::new().await;
    let answer = endpoint.post("/token", None, "").await;
    let access = answer.json()["access_token"].as_str().unwrap().to_owned();
    endpoint.token = access;
    let answer = endpoint.post("/token", None, "").await;
    assert!(answer.is_refused_as(400, "invalid_request"));
    assert!(answer.text.contains("workspace token"));
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_in_words() {
    let endpoint = Endpoint::new().await;
    let large = "a".repeat(service::LARGEST_FORM + 1);
    for (target, content_type, form, status, code) in [
        (
            "/token",
            FORM,
            "grant_type=password",
            400,
            "unsupported_grant_type",
        ),
        ("/token?as=xml", FORM, "", 400, "invalid_request"),
        (
            "/token",
            Some("application/json"),
            "{}",
            400,
            "invalid_request",
        ),
        ("/token", FORM, "as=%zz", 400, "invalid_request"),
        ("/token", FORM, &*large, 413, "invalid_request"),
    ] {
        let answer = endpoint.post(target, content_type, form).await;
        assert!(
            answer.is_refused_as(status, code),
            "{target} {form:.40}: {}",
            answer.text
        );
    }
}

/// A body that does not say how long it is.
#[tokio::test]
async fn a_body_is_read_up_to_the_bound() {
    let endpoint = Endpoint::new().await;
    for (frames, status) in [(16, 200), (17, 413)] {
        let frame = http_body::Frame::data(Bytes::from(vec![b'a'; 1024]));
        let frames = (0..frames).map(|_| {
            Ok::<_, Infallible>(http_body::Frame::data(frame.data_ref().unwrap().clone()))
        });
        let body = StreamBody::new(tokio_stream::iter(frames));
        let request = endpoint.request("POST", "/token");
        let answer = endpoint.ask(request.body(body).unwrap()).await;
        assert_eq!(answer.status, status, "{}", answer.text);
    }
}

#[tokio::test]
async fn a_service_without_the_layer_says_so() {
    let endpoint = Endpoint::new().await;
    let service = TokenExchange::new(endpoint.authority.clone());
    let request = endpoint.request("POST", "/token");
    let request = request.body(Full::<Bytes>::default()).unwrap();
    let answer = read(service.oneshot(request).await.unwrap()).await;
    assert!(answer.is_refused_as(500, "server_error"));
}

/// Where tokens are optional, the endpoint is what asks for one.
#[tokio::test]
async fn a_request_that_carries_none_is_asked_for_one() {
    let endpoint = Endpoint::new().await;
    let workspace = FixedWorkspace("acme".parse().unwrap());
    let layer = WorkspaceTokenLayer::new(endpoint.authority.clone(), workspace);
    let exchange = TokenExchange::new(endpoint.authority.clone());
    let service = layer.with_optional_token().layer(exchange);
    let request = Request::post("/token").header(header::HOST, "a.test");
    let request = request.body(Full::<Bytes>::default()).unwrap();
    let answer = read(service.oneshot(request).await.unwrap()).await;
    assert!(answer.is_refused_as(401, "invalid_request"));
    assert_eq!(
        answer.headers[header::WWW_AUTHENTICATE],
        "Bearer realm=\"workspace\""
    );
}

#[tokio::test]
async fn every_refusal_is_json() {
    use Problem::*;
    for problem in [
        AccessToken,
        Ended,
        InUrl,
        Misconfigured,
        NoCredential,
        NotForm,
        NotPost,
        OtherGrant,
        OtherType,
        Repeated,
        TokenInBody,
        TooLarge,
        Unavailable,
        UnknownShape,
        Unreadable,
    ] {
        let answer = read(problem.into_response()).await;
        assert!(answer.json()["error"].is_string(), "{problem:?}");
        assert!(!answer.status.is_success());
    }
}
