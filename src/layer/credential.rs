//! Finding the one credential of a request, and taking it out.
//!
//! The credential stands in `Authorization: Bearer` (RFC 6750 §2.1) or, where that was switched on, in a
//! query parameter (§2.3). Wherever it stood, it stands there no longer afterwards, also when the request is turned away.

use std::{borrow::Cow, fmt, sync::Arc};

use http::{HeaderMap, HeaderValue, Uri, header::AUTHORIZATION, request::Parts, uri::PathAndQuery};
use zeroize::Zeroizing;

use crate::rejection::{CredentialProblem, Rejection, RejectionKind};

/// What a request carried, taken out of it. In a request's extensions nobody else can read it.
#[derive(Clone)]
pub(crate) struct Captured {
    credential: Arc<Result<Option<Credential>, CredentialProblem>>,
    in_query: bool,
}

/// The one credential of a request.
pub(crate) struct Credential {
    secret: Secret,
}

enum Secret {
    /// The whole header; the token begins at the offset. Moved, not copied.
    Header(HeaderValue, usize),
    Query(Zeroizing<Vec<u8>>),
}

/// A query without its credential.
struct Scrubbed {
    /// `None` if nothing had to be removed.
    rest: Option<String>,
    found: Result<Option<Zeroizing<Vec<u8>>>, CredentialProblem>,
}

impl Captured {
    pub(crate) fn as_result(&self) -> Result<Option<&Credential>, Rejection> {
        match &*self.credential {
            Ok(credential) => Ok(credential.as_ref()),
            Err(problem) => Err(Rejection::new(RejectionKind::MalformedCredential(*problem))),
        }
    }

    /// Returns whether a credential stood in the query, so that the answer must not be kept or referred to.
    pub(crate) fn was_in_query(&self) -> bool {
        self.in_query
    }

    /// Joins what two layers took out: two credentials are one too many, wherever each was found.
    fn join(self, inner: Self) -> Self {
        let in_query = self.in_query || inner.in_query;
        let credential = match (&*self.credential, &*inner.credential) {
            (_, Ok(None)) | (Err(_), _) => self.credential,
            (Ok(None), _) | (_, Err(_)) => inner.credential,
            (Ok(Some(_)), Ok(Some(_))) => Arc::new(Err(CredentialProblem::Repeated)),
        };
        Self {
            credential,
            in_query,
        }
    }
}

impl Credential {
    /// Returns the bytes of the token as they were sent.
    pub(crate) fn expose_secret(&self) -> &[u8] {
        match &self.secret {
            Secret::Header(value, offset) => &value.as_bytes()[*offset..],
            Secret::Query(value) => value,
        }
    }

    /// Returns whether it stood in the query.
    pub(crate) fn is_from_query(&self) -> bool {
        matches!(self.secret, Secret::Query(_))
    }

    /// Refuses what is no token at all, but a variable that the client left empty or as it is.
    pub(crate) fn refuse_placeholder(&self) -> Result<(), Rejection> {
        let bytes = self.expose_secret();
        if bytes.is_empty() {
            return Err(Rejection::new(RejectionKind::EmptyCredential));
        }
        match variable_name(bytes) {
            Some(name) => Err(Rejection::new(RejectionKind::UnsetVariable(
                name.to_owned(),
            ))),
            None => Ok(()),
        }
    }
}

/// Takes the credential out of a request, and what an outer scrub layer captured.
///
/// The request is looked through even so: the outer layer may know of fewer places.
pub(crate) fn capture(parts: &mut Parts, query_parameter: Option<&str>) -> Captured {
    let outer = parts.extensions.remove::<Captured>();
    let in_header = take_header(&mut parts.headers);
    let in_query = match query_parameter {
        Some(name) => take_query(parts, name),
        None => Ok(None),
    };
    let here = Captured {
        in_query: !matches!(in_query, Ok(None)),
        credential: Arc::new(combine(in_header, in_query)),
    };
    match outer {
        Some(outer) => outer.join(here),
        None => here,
    }
}

fn combine(
    in_header: Result<Option<Credential>, CredentialProblem>,
    in_query: Result<Option<Credential>, CredentialProblem>,
) -> Result<Option<Credential>, CredentialProblem> {
    match (in_header?, in_query?) {
        (Some(_), Some(_)) => Err(CredentialProblem::Repeated),
        (header, query) => Ok(header.or(query)),
    }
}

fn take_header(headers: &mut HeaderMap) -> Result<Option<Credential>, CredentialProblem> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(first) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        headers.remove(AUTHORIZATION);
        return Err(CredentialProblem::Repeated);
    }
    let Some(offset) = bearer_offset(first.as_bytes()) else {
        // Another scheme is none of our business, but it is a secret all the same.
        if let Some(value) = headers.get_mut(AUTHORIZATION) {
            value.set_sensitive(true);
        }
        return Ok(None);
    };
    let secret = headers
        .remove(AUTHORIZATION)
        .map(|value| Secret::Header(value, offset));
    Ok(secret.map(|secret| Credential { secret }))
}

/// Returns where the token begins in `Bearer <token>`; the scheme's case does not count (RFC 9110 §11.1).
///
/// What follows the scheme but a space is a bad token of ours, and not another scheme that would be
/// passed on with what it carries.
fn bearer_offset(value: &[u8]) -> Option<usize> {
    let (scheme, rest) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"bearer") || rest.first().is_some_and(is_scheme_byte) {
        return None;
    }
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    Some(6 + spaces)
}

/// Returns whether a scheme's name could go on with `byte` (`tchar`, RFC 9110 §5.6.2).
fn is_scheme_byte(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

fn take_query(parts: &mut Parts, name: &str) -> Result<Option<Credential>, CredentialProblem> {
    clean_original_uri(parts, name);
    let Some(query) = parts.uri.query() else {
        return Ok(None);
    };
    let scrubbed = scrub_query(query, name);
    if let Some(rest) = scrubbed.rest {
        parts.uri = with_query(&parts.uri, &rest);
    }
    Ok(scrubbed.found?.map(|value| Credential {
        secret: Secret::Query(value),
    }))
}

/// axum keeps the URI as it came in an extension, where handlers (and logs) find it.
#[cfg(feature = "axum")]
fn clean_original_uri(parts: &mut Parts, name: &str) {
    use axum::extract::OriginalUri;
    let Some(OriginalUri(uri)) = parts.extensions.get::<OriginalUri>() else {
        return;
    };
    let rest = uri.query().and_then(|query| scrub_query(query, name).rest);
    if let Some(rest) = rest {
        let clean = with_query(uri, &rest);
        parts.extensions.insert(OriginalUri(clean));
    }
}

#[cfg(not(feature = "axum"))]
fn clean_original_uri(_parts: &mut Parts, _name: &str) {}

/// Takes every parameter `name` out of `query`; names are percent-decoded before they are compared.
fn scrub_query(query: &str, name: &str) -> Scrubbed {
    let mut found = Ok(None);
    let mut rest = None;
    for (position, start, parameter) in parameters(query) {
        let (raw_name, raw_value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match decode(raw_name) {
            Err(problem) => {
                // Nobody can tell what hides in it: nothing of the query goes further.
                return Scrubbed {
                    rest: Some(String::new()),
                    found: Err(problem),
                };
            }
            Ok(decoded) if *decoded == *name.as_bytes() => {
                // What came before stays as it was, to the byte.
                rest.get_or_insert_with(|| query[..start].trim_end_matches('&').to_owned());
                found = match found {
                    Ok(None) => {
                        decode(raw_value).map(|value| Some(Zeroizing::new(value.into_owned())))
                    }
                    Ok(Some(_)) => Err(CredentialProblem::Repeated),
                    Err(problem) => Err(problem),
                };
            }
            Ok(_) => {
                if let Some(rest) = &mut rest {
                    if position > 0 && !rest.is_empty() {
                        rest.push('&');
                    }
                    rest.push_str(parameter);
                }
            }
        }
    }
    Scrubbed { rest, found }
}

/// Splits a query at `&`, with the position and the offset of each part.
fn parameters(query: &str) -> impl Iterator<Item = (usize, usize, &str)> {
    let ends = memchr::memchr_iter(b'&', query.as_bytes()).chain([query.len()]);
    let mut start = 0;
    ends.enumerate().map(move |(position, end)| {
        let parameter = (position, start, &query[start..end]);
        start = end + 1;
        parameter
    })
}

/// Decodes `%XX` and `+`, as forms are encoded; copies only where there is one of them.
fn decode(text: &str) -> Result<Cow<'_, [u8]>, CredentialProblem> {
    let bytes = text.as_bytes();
    if memchr::memchr2(b'%', b'+', bytes).is_none() {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        decoded.push(match byte {
            b'%' => {
                let (digits, tail) = rest
                    .split_first_chunk::<2>()
                    .ok_or(CredentialProblem::BadEscape)?;
                rest = tail;
                hex(digits[0])? << 4 | hex(digits[1])?
            }
            b'+' => b' ',
            byte => *byte,
        });
    }
    if std::str::from_utf8(&decoded).is_err() {
        return Err(CredentialProblem::BadEscape);
    }
    Ok(Cow::Owned(decoded))
}

fn hex(digit: u8) -> Result<u8, CredentialProblem> {
    let value = char::from(digit)
        .to_digit(16)
        .ok_or(CredentialProblem::BadEscape)?;
    Ok(u8::try_from(value).expect("a hexadecimal digit is below 16"))
}

fn with_query(uri: &Uri, query: &str) -> Uri {
    let path_and_query = if query.is_empty() {
        uri.path().to_owned()
    } else {
        format!("{}?{query}", uri.path())
    };
    let mut parts = uri.clone().into_parts();
    // The remaining characters were part of a valid URI before. Should they not be one, the path alone is safe.
    let clean =
        PathAndQuery::try_from(path_and_query).unwrap_or_else(|_| PathAndQuery::from_static("/"));
    parts.path_and_query = Some(clean);
    Uri::from_parts(parts).unwrap_or_default()
}

/// Returns NAME of a credential that is literally `${NAME}`: clients send it so when NAME is not set.
fn variable_name(credential: &[u8]) -> Option<&str> {
    let name = credential.strip_prefix(b"${")?.strip_suffix(b"}")?;
    let (first, rest) = name.split_first()?;
    let is_name = (first.is_ascii_alphabetic() || *first == b'_')
        && rest
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
        && name.len() <= 64;
    is_name.then(|| std::str::from_utf8(name).ok())?
}

impl fmt::Debug for Captured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Captured").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrub(query: &str) -> (Option<String>, Result<Option<String>, CredentialProblem>) {
        let scrubbed = scrub_query(query, "token");
        let found = scrubbed
            .found
            .map(|value| value.map(|value| String::from_utf8(value.to_vec()).unwrap()));
        (scrubbed.rest, found)
    }

    #[test]
    fn takes_the_parameter_out_and_leaves_the_rest_as_it_was() {
        let cases = [
            ("", None, None),
            ("a=1&b=%zz", None, None),
            ("tokens=1", None, None),
            ("token=x", Some(""), Some("x")),
            ("token", Some(""), Some("")),
            ("a=1&token=x", Some("a=1"), Some("x")),
            ("token=x&a=1", Some("a=1"), Some("x")),
            ("a=1&token=x&b=2", Some("a=1&b=2"), Some("x")),
            ("a=1&%74oken=x&b=2", Some("a=1&b=2"), Some("x")),
            ("%74%6f%6B%65%6e=%24%7bT%7D", Some(""), Some("${T}")),
            ("a=%41&token=a%2Bb+c", Some("a=%41"), Some("a+b c")),
        ];
        for (query, rest, found) in cases {
            let expected = (rest.map(str::to_owned), Ok(found.map(str::to_owned)));
            assert_eq!(scrub(query), expected, "{query}");
        }
    }

    #[test]
    fn refuses_a_repeated_parameter_and_removes_both() {
        assert_eq!(
            scrub("token=x&a=1&token=x"),
            (Some("a=1".into()), Err(CredentialProblem::Repeated))
        );
        assert_eq!(scrub("token=&toke%6e=").1, Err(CredentialProblem::Repeated));
    }

    #[test]
    fn refuses_broken_escapes_and_lets_nothing_through() {
        for query in [
            "%zz=1",
            "a%=1",
            "a%4=1",
            "%ff=1",
            "token=x&%c3%28=1",
            "token=x&%",
        ] {
            assert_eq!(
                scrub(query),
                (Some(String::new()), Err(CredentialProblem::BadEscape)),
                "{query}"
            );
        }
        for query in ["token=%", "token=%ff", "token=%4"] {
            assert_eq!(
                scrub(query),
                (Some(String::new()), Err(CredentialProblem::BadEscape)),
                "{query}"
            );
        }
    }

    #[test]
    fn finds_the_token_behind_the_scheme() {
        let cases = [
            ("Bearer x", Some(7)),
            ("bEARER x", Some(7)),
            ("Bearer   x", Some(9)),
            ("Bearer", Some(6)),
            ("Bearer ", Some(7)),
            ("Bearer\tx", Some(6)),
            ("Bearer,x", Some(6)),
            ("Bearerx", None),
            ("Bearer-x", None),
            ("Basic x", None),
            ("Bear", None),
            ("", None),
        ];
        for (value, offset) in cases {
            assert_eq!(bearer_offset(value.as_bytes()), offset, "{value:?}");
        }
    }

    #[test]
    fn knows_a_variable_that_was_not_replaced() {
        let longest = format!("${{{}}}", "N".repeat(64));
        let too_long = format!("${{{}}}", "N".repeat(65));
        assert_eq!(
            variable_name(b"${WORKSPACE_TOKEN_ACME}"),
            Some("WORKSPACE_TOKEN_ACME")
        );
        assert_eq!(variable_name(b"${_1}"), Some("_1"));
        assert!(variable_name(longest.as_bytes()).is_some());
        for text in [
            "${}",
            "${1}",
            "${A-B}",
            "$A",
            "${A",
            "A}",
            "${A}}",
            "${\u{e4}}",
            &too_long,
        ] {
            assert_eq!(variable_name(text.as_bytes()), None, "{text}");
        }
    }
}
