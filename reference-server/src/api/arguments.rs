//! How an action travels: in the path of its route, and in the query (GET) or a JSON body (POST).

use anyhow::{Context as _, anyhow};
use axum::extract::RawPathParams;
use bytes::Bytes;
use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use super::PREFIX;
use crate::{actions::Action, error::AppError};

/// An action on its way.
pub(crate) struct ApiCall {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) body: Bytes,
}

/// Writes an action as a call of its route.
pub(crate) fn encode<A: Action>(action: &A) -> anyhow::Result<ApiCall> {
    let Value::Object(mut arguments) = serde_json::to_value(action)? else {
        return Err(anyhow!("an action is a struct"));
    };
    let mut target = format!("{PREFIX}{}", fill(A::ROUTE, &mut arguments)?);
    let body = if A::METHOD == Method::GET {
        if !arguments.is_empty() {
            target.push('?');
            target.push_str(&serde_urlencoded::to_string(&arguments)?);
        }
        Bytes::new()
    } else {
        serde_json::to_vec(&arguments)?.into()
    };
    Ok(ApiCall {
        method: A::METHOD,
        target,
        body,
    })
}

/// Puts arguments in the places that the route has for them, and takes them out of `arguments`.
fn fill(route: &str, arguments: &mut Map<String, Value>) -> anyhow::Result<String> {
    let segments = route.split('/').map(|segment| {
        let Some(name) = segment.strip_prefix('{').and_then(|s| s.strip_suffix('}')) else {
            return Ok(segment.to_owned());
        };
        match arguments.remove(name) {
            Some(Value::String(text)) => Ok(utf8_percent_encode(&text, SEGMENT).to_string()),
            _ => Err(anyhow!("the route's `{name}` is no text of the action")),
        }
    });
    let segments: Vec<String> = segments.collect::<anyhow::Result<_>>()?;
    Ok(segments.join("/"))
}

/// Reads an action from the parts of a request.
pub(super) fn decode<A: Action>(
    path: &RawPathParams,
    query: Option<&str>,
    body: &[u8],
) -> Result<A, AppError> {
    let path = path.iter();
    let decoded = if A::METHOD == Method::GET {
        from_query(path, query.unwrap_or_default())
    } else {
        from_body(path, body)
    };
    decoded.map_err(|error| AppError::invalid(format!("{error:#}")))
}

fn from_query<'a, A: Action>(
    path: impl Iterator<Item = (&'a str, &'a str)>,
    query: &str,
) -> anyhow::Result<A> {
    let mut pairs: Vec<(String, String)> = serde_urlencoded::from_str(query)?;
    pairs.extend(path.map(|(name, value)| (name.to_owned(), value.to_owned())));
    // Through text again, since it is this format that reads numbers out of words.
    Ok(serde_urlencoded::from_str(&serde_urlencoded::to_string(
        pairs,
    )?)?)
}

fn from_body<'a, A: Action>(
    path: impl Iterator<Item = (&'a str, &'a str)>,
    body: &[u8],
) -> anyhow::Result<A> {
    let mut arguments: Map<String, Value> = match body {
        [] => Map::new(),
        body => serde_json::from_slice(body).context("the body is not a JSON object")?,
    };
    for (name, value) in path {
        arguments.insert(name.to_owned(), Value::String(value.to_owned()));
    }
    Ok(serde_json::from_value(Value::Object(arguments))?)
}

/// What is escaped in a segment of a path: everything but the unreserved of RFC 3986 §2.3.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
