//! A token in places that are none, and requests that ask to be let in without one.

use http::{HeaderName, HeaderValue, Method};

use crate::{
    common::{World, bearer, get},
    table::{Attempt, Case, Expected},
};

pub(crate) async fn cases() -> Vec<Case> {
    let world = World::new().await;
    let app = world.by_query();
    let token = world.token.as_str();
    let mut cases = Vec::new();
    let mut push = |name: String, request, expected| {
        cases.push(Case {
            family: "places that are none",
            name,
            attack: Attempt::request(&app, request, &[token]),
            expected,
            control: Attempt::request(&app, bearer(token.as_bytes()), &[token]),
        });
    };
    for name in FIELDS {
        for (scheme, value) in [
            ("bare", token.to_owned()),
            ("as Bearer", format!("Bearer {token}")),
        ] {
            let request = get("/mcp/acme", &[(name, value.as_bytes())]);
            push(
                format!("the token {scheme} in {name}"),
                request,
                Expected::NoCredential,
            );
        }
    }
    for name in COOKIES {
        let value = format!("{name}={token}");
        let request = get("/mcp/acme", &[("cookie", value.as_bytes())]);
        push(
            format!("the token in the cookie {name}"),
            request,
            Expected::NoCredential,
        );
    }
    for scheme in SCHEMES {
        let value = format!("{scheme} {token}");
        let request = get("/mcp/acme", &[("authorization", value.as_bytes())]);
        push(
            format!("the token by the scheme {scheme:?}"),
            request,
            Expected::NoCredential,
        );
    }
    for parameter in PARAMETERS {
        let request = get(&format!("/mcp/acme?{parameter}={token}"), &[]);
        push(
            format!("the token in the parameter {parameter}"),
            request,
            Expected::NoCredential,
        );
    }
    let methods = METHODS.map(|method| Method::from_bytes(method.as_bytes()).unwrap());
    for method in methods {
        let mut request = get("/mcp/acme", &[]);
        *request.method_mut() = method.clone();
        push(
            format!("{method} without a token"),
            request,
            Expected::NoCredential,
        );
        let mut request = bearer(b"x");
        *request.method_mut() = method.clone();
        push(
            format!("{method} with a bad token"),
            request,
            Expected::InvalidToken,
        );
    }
    for (name, value) in ASSERTIONS {
        let mut request = get("/mcp/acme", &[]);
        let field = HeaderName::from_bytes(name.as_bytes()).unwrap();
        let is = HeaderValue::from_str(value).unwrap();
        request.headers_mut().insert(field, is);
        push(
            format!("{name}: {value}, and no token"),
            request,
            Expected::NoCredential,
        );
        let request = get(
            "/mcp/acme",
            &[(name, value.as_bytes()), ("authorization", b"Bearer x")],
        );
        push(
            format!("{name}: {value}, and a bad token"),
            request,
            Expected::InvalidToken,
        );
    }
    cases
}

/// Fields that other services read a token from, and fields that happen to carry texts.
const FIELDS: [&str; 33] = [
    "access-token",
    "api-key",
    "apikey",
    "authentication",
    "authorisation",
    "authorization-info",
    "from",
    "if-match",
    "if-none-match",
    "mcp-token",
    "proxy-authentication-info",
    "proxy-authorization",
    "referer",
    "token",
    "user-agent",
    "www-authenticate",
    "x-access-token",
    "x-amz-security-token",
    "x-api-key",
    "x-api-token",
    "x-auth",
    "x-auth-key",
    "x-auth-token",
    "x-authorization",
    "x-csrf-token",
    "x-forwarded-access-token",
    "x-forwarded-authorization",
    "x-goog-iap-jwt-assertion",
    "x-jwt",
    "x-original-authorization",
    "x-token",
    "x-workspace-token",
    "last-event-id",
];

const COOKIES: [&str; 12] = [
    "token",
    "access_token",
    "Authorization",
    "Bearer",
    "__Host-session",
    "__Secure-token",
    "id",
    "jwt",
    "session",
    "sid",
    "workspace",
    "mcp-session-id",
];

/// Schemes of the registry of IANA, of clouds, and misspellings.
const SCHEMES: [&str; 28] = [
    "Basic",
    "Concealed",
    "Digest",
    "DPoP",
    "GNAP",
    "HOBA",
    "JWT",
    "MAC",
    "Mutual",
    "Negotiate",
    "NTLM",
    "OAuth",
    "PrivateToken",
    "SCRAM-SHA-256",
    "SharedKey",
    "Token",
    "vapid",
    "AWS4-HMAC-SHA256",
    "ApiKey",
    "Bear",
    "Beare",
    "Bearers",
    "Bearer2",
    "Bearer-",
    "XBearer",
    "bearertoken",
    "Bearer%20",
    "=Bearer",
];

const PARAMETERS: [&str; 34] = [
    "Token",
    "TOKEN",
    "tokens",
    "token_",
    "_token",
    "xtoken",
    "token%00",
    "token%20",
    "%20token",
    "token.",
    "token%5B%5D",
    "token[0]",
    "token[acme]",
    "access_token",
    "accessToken",
    "api_key",
    "apikey",
    "auth",
    "authorization",
    "Authorization",
    "bearer",
    "bearer_token",
    "code",
    "id_token",
    "jwt",
    "key",
    "password",
    "refresh_token",
    "secret",
    "session",
    "sig",
    "state",
    "ticket",
    "t%6fken%00",
];

const METHODS: [&str; 15] = [
    "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "HEAD", "PROPFIND", "SEARCH",
    "QUERY", "DEBUG", "get", "X", "GETS",
];

/// What proxies and gateways say to services that trust them.
const ASSERTIONS: [(&str, &str); 37] = [
    ("access-control-request-method", "GET"),
    ("access-control-request-headers", "authorization"),
    ("client-ip", "127.0.0.1"),
    ("cf-connecting-ip", "127.0.0.1"),
    ("content-type", "application/json"),
    ("expect", "200-ok"),
    ("forwarded", "for=127.0.0.1;host=a.test;proto=https"),
    ("front-end-https", "on"),
    ("mcp-protocol-version", "2025-06-18"),
    ("mcp-session-id", "1"),
    ("origin", "https://a.test"),
    ("purpose", "prefetch"),
    ("remote-user", "admin"),
    ("sec-fetch-mode", "no-cors"),
    ("sec-fetch-site", "same-origin"),
    ("ssl-client-verify", "SUCCESS"),
    ("true-client-ip", "127.0.0.1"),
    ("via", "1.1 localhost"),
    ("x-auth-request-user", "admin"),
    ("x-authenticated-user", "admin"),
    ("x-client-verify", "SUCCESS"),
    ("x-custom-ip-authorization", "127.0.0.1"),
    ("x-forwarded-for", "127.0.0.1"),
    ("x-forwarded-host", "localhost"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-user", "admin"),
    ("x-health-check", "1"),
    ("x-http-method-override", "OPTIONS"),
    ("x-internal", "true"),
    (
        "x-middleware-subrequest",
        "middleware:middleware:middleware",
    ),
    ("x-original-url", "/health"),
    ("x-real-ip", "127.0.0.1"),
    ("x-remote-user", "admin"),
    ("x-requested-with", "XMLHttpRequest"),
    ("x-rewrite-url", "/health"),
    ("x-workspace", "acme"),
    ("x-workspace-id", "acme"),
];
