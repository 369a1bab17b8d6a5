//! Finding the one credential of a request, and taking it out.
//!
//! The credential stands in `Authorization: Bearer` (RFC 6750 §2.1) or, where that was switched on, in a
//! query parameter (§2.3). Wherever it stood, it stands there no longer afterwards, also when the request is turned away.

use std::{borrow::Cow, fmt, mem, ops::Range};

use http::{HeaderMap, HeaderValue, Request, Uri, header::AUTHORIZATION, uri::PathAndQuery};
use zeroize::Zeroizing;

use crate::{
    jwt::MAX_TOKEN_LENGTH,
    rejection::{CredentialProblem, Rejection, RejectionKind},
    token::PresentedToken,
};

/// The most bytes of a query in which a credential is looked for: what is longer holds none that we gave out.
const LONGEST_QUERY: usize = 8 * 1024;

/// What a request carried, taken out of it. In a request's extensions, on the way from the scrub layer
/// to the token layer, nobody else can read it.
#[derive(Clone)]
pub(crate) struct Captured {
    credential: Outcome,
    in_query: bool,
}

type Outcome = Result<Option<Credential>, CredentialProblem>;

/// The one credential of a request.
#[derive(Clone)]
pub(crate) enum Credential {
    /// The whole header; the token begins at the offset. Moved, not copied.
    Header(HeaderValue, usize),
    /// The target as it came, and where in its query the token stands. Moved, not copied.
    Query(PathAndQuery, Range<usize>),
    /// What was escaped in the query.
    Unescaped(Zeroizing<Vec<u8>>),
}

/// A query without its credential.
struct Scrubbed<'a> {
    /// `None` if nothing had to be removed.
    rest: Option<String>,
    found: Result<Option<Value<'a>>, CredentialProblem>,
}

/// The value of a parameter.
struct Value<'a> {
    decoded: Cow<'a, [u8]>,
    /// Where it stands in the query.
    place: Range<usize>,
}

impl Captured {
    #[inline]
    pub(crate) fn as_result(&self) -> Result<Option<&Credential>, Rejection> {
        match &self.credential {
            Ok(credential) => Ok(credential.as_ref()),
            Err(problem) => Err(Rejection::new(RejectionKind::MalformedCredential(*problem))),
        }
    }

    /// Returns whether a credential stood in the query, so that the answer must not be kept or referred to.
    pub(crate) fn was_in_query(&self) -> bool {
        self.in_query
    }

    /// Joins what an outer layer took out: two credentials are one too many, wherever each was found.
    fn join(self, outer: Self) -> Self {
        Self {
            credential: combine(outer.credential, self.credential),
            in_query: outer.in_query || self.in_query,
        }
    }
}

impl Credential {
    /// Returns the bytes of the token as they were sent.
    #[inline]
    pub(crate) fn expose_secret(&self) -> &[u8] {
        match self {
            Self::Header(value, offset) => &value.as_bytes()[*offset..],
            Self::Query(target, place) => {
                let query = target.query().unwrap_or_default();
                query.as_bytes().get(place.clone()).unwrap_or_default()
            }
            Self::Unescaped(value) => value,
        }
    }

    /// Returns it as what is to be checked, with the place where it stood.
    #[inline]
    pub(crate) fn as_presented(&self) -> PresentedToken<'_> {
        let bytes = self.expose_secret();
        match self.is_from_query() {
            true => PresentedToken::from_url(bytes),
            false => PresentedToken::new(bytes),
        }
    }

    /// Returns whether it stood in the query.
    pub(crate) fn is_from_query(&self) -> bool {
        !matches!(self, Self::Header(..))
    }

    /// Returns the rejection of what is no token at all, but a variable that the client left empty or as it is.
    pub(crate) fn placeholder(&self) -> Option<Rejection> {
        let bytes = self.expose_secret();
        if bytes.is_empty() {
            return Some(Rejection::new(RejectionKind::EmptyCredential));
        }
        let name = variable_name(bytes)?.to_owned();
        Some(Rejection::new(RejectionKind::UnsetVariable(name)))
    }
}

/// Takes the credential out of a request, and what an outer scrub layer captured.
///
/// The request is looked through even so: the outer layer may know of fewer places.
#[inline]
pub(crate) fn capture<B>(request: &mut Request<B>, query_parameter: Option<&str>) -> Captured {
    let outer = request.extensions_mut().remove::<Captured>();
    let mut here = Captured {
        credential: take_header(request.headers_mut()),
        in_query: false,
    };
    if let Some(name) = query_parameter {
        let in_query = take_query(request, name);
        here.in_query = !matches!(in_query, Ok(None));
        here.credential = combine(here.credential, in_query);
    }
    match outer {
        Some(outer) => here.join(outer),
        None => here,
    }
}

/// Returns the one credential of two places.
fn combine(one: Outcome, other: Outcome) -> Outcome {
    match (one?, other?) {
        (Some(_), Some(_)) => Err(CredentialProblem::Repeated),
        (one, other) => Ok(one.or(other)),
    }
}

#[inline]
fn take_header(headers: &mut HeaderMap) -> Outcome {
    let before = headers.len();
    let Some(mut value) = headers.remove(AUTHORIZATION) else {
        return Ok(None);
    };
    // All of that name are gone now.
    if before - headers.len() > 1 {
        return Err(CredentialProblem::Repeated);
    }
    let Some(offset) = bearer_offset(value.as_bytes()) else {
        // Another scheme is none of our business, but it is a secret all the same.
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
        return Ok(None);
    };
    Ok(Some(Credential::Header(value, offset)))
}

/// Returns where the token begins in `Bearer <token>`; the scheme's case does not count (RFC 9110 §11.1).
///
/// What follows the scheme but a space is a bad token of ours, and not another scheme that would be
/// passed on with what it carries.
#[inline]
fn bearer_offset(value: &[u8]) -> Option<usize> {
    let (scheme, rest) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return None;
    }
    match rest {
        // As every client sends it.
        [b' ', token, ..] if *token != b' ' => Some(7),
        [next, ..] if is_scheme_byte(next) => None,
        _ => {
            // What begins with more spaces than a token has characters is none; they need not all be counted.
            let spaces = rest.iter().take(MAX_TOKEN_LENGTH);
            Some(6 + spaces.take_while(|byte| **byte == b' ').count())
        }
    }
}

/// Returns whether a scheme's name could go on with `byte` (`tchar`, RFC 9110 §5.6.2).
fn is_scheme_byte(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

fn take_query<B>(request: &mut Request<B>, name: &str) -> Outcome {
    clean_original_uri(request, name);
    let Some(query) = request.uri().query() else {
        return Ok(None);
    };
    let Scrubbed { rest, found } = scrub_query(query, name);
    let found = found.map(|value| value.map(Value::into_owned));
    let Some(rest) = rest else {
        return found.map(|_| None);
    };
    let clean = with_query(request.uri(), &rest);
    let target = mem::replace(request.uri_mut(), clean).into_parts();
    let Some((place, unescaped)) = found? else {
        return Ok(None);
    };
    Ok(match (unescaped, target.path_and_query) {
        (Some(unescaped), _) => Some(Credential::Unescaped(unescaped)),
        (None, target) => target.map(|target| Credential::Query(target, place)),
    })
}

/// axum keeps the URI as it came in an extension, where handlers (and logs) find it.
#[cfg(feature = "axum")]
fn clean_original_uri<B>(request: &mut Request<B>, name: &str) {
    use axum::extract::OriginalUri;
    let Some(OriginalUri(uri)) = request.extensions().get::<OriginalUri>() else {
        return;
    };
    let rest = uri.query().and_then(|query| scrub_query(query, name).rest);
    if let Some(rest) = rest {
        let clean = with_query(uri, &rest);
        request.extensions_mut().insert(OriginalUri(clean));
    }
}

#[cfg(not(feature = "axum"))]
fn clean_original_uri<B>(_request: &mut Request<B>, _name: &str) {}

/// Takes every parameter `name` out of `query`; names are percent-decoded before they are compared.
fn scrub_query<'a>(query: &'a str, name: &str) -> Scrubbed<'a> {
    if query.len() > LONGEST_QUERY {
        return scrub_long_query(query, name);
    }
    let is_escaped = memchr::memchr(b'%', query.as_bytes()).is_some();
    let mut found = Ok(None);
    let mut rest = None;
    for (start, parameter) in parameters(query) {
        let name_length = match name_length(parameter, name, is_escaped) {
            Ok(length) => length,
            // Nobody can tell what hides in it: nothing of the query goes further.
            Err(problem) => return Scrubbed::nothing(problem),
        };
        match (name_length, &mut rest) {
            (Some(length), _) => {
                // What came before stays as it was, to the byte.
                rest.get_or_insert_with(|| query[..start].trim_end_matches('&').to_owned());
                found = match found {
                    Ok(None) => Value::read(parameter, start, length).map(Some),
                    Ok(Some(_)) => Err(CredentialProblem::Repeated),
                    Err(problem) => Err(problem),
                };
            }
            (None, Some(rest)) => {
                if start > 0 && !rest.is_empty() {
                    rest.push('&');
                }
                rest.push_str(parameter);
            }
            (None, None) => {}
        }
    }
    Scrubbed { rest, found }
}

/// Refuses a query that is too long to be looked through at the expense of those who wait, unless it is
/// plain that it holds no parameter `name`.
fn scrub_long_query<'a>(query: &'a str, name: &str) -> Scrubbed<'a> {
    let bytes = query.as_bytes();
    let literal = memchr::memmem::find(bytes, name.as_bytes());
    if literal.is_none() && memchr::memchr(b'%', bytes).is_none() && !name.contains(' ') {
        return Scrubbed {
            rest: None,
            found: Ok(None),
        };
    }
    let long_value = literal.and_then(|start| Value::read_long(query, start, name.len()));
    Scrubbed {
        rest: Some(String::new()),
        found: long_value.map(Some).ok_or(CredentialProblem::LongQuery),
    }
}

/// Returns the length of the parameter's name as it was sent, if it is `name` once it is decoded.
fn name_length(
    parameter: &str,
    name: &str,
    is_escaped: bool,
) -> Result<Option<usize>, CredentialProblem> {
    let bytes = parameter.as_bytes();
    let ends_at = |length: usize| matches!(bytes.get(length), None | Some(b'='));
    if bytes.starts_with(name.as_bytes()) && ends_at(name.len()) && !name.contains(['%', '+']) {
        return Ok(Some(name.len()));
    }
    // Three characters for each byte of the name are the longest that it can get.
    let longest = 3 * name.len();
    let length = bytes
        .iter()
        .take(longest + 1)
        .take_while(|byte| **byte != b'=')
        .count();
    let has_plus = || name.contains(' ') && bytes[..length].contains(&b'+');
    if length > longest || !(is_escaped || has_plus()) {
        return Ok(None);
    }
    let is_it = *decode(&parameter[..length])? == *name.as_bytes();
    Ok(is_it.then_some(length))
}

impl Scrubbed<'_> {
    /// Lets nothing of a query through.
    fn nothing(problem: CredentialProblem) -> Self {
        Self {
            rest: Some(String::new()),
            found: Err(problem),
        }
    }
}

impl<'a> Value<'a> {
    /// Reads the value of the parameter that stands at `start`, behind a name of `name_length`.
    fn read(
        parameter: &'a str,
        start: usize,
        name_length: usize,
    ) -> Result<Self, CredentialProblem> {
        let value = parameter.get(name_length + 1..).unwrap_or_default();
        let begin = start + parameter.len() - value.len();
        // Too long for any token, escaped or not: it is refused as it is.
        let decoded = if value.len() > MAX_TOKEN_LENGTH {
            Cow::Borrowed(value.as_bytes())
        } else {
            decode(value)?
        };
        Ok(Self {
            decoded,
            place: begin..begin + value.len(),
        })
    }

    /// Reads the value behind the name at `start` if it is too long for any token: a bad credential like others.
    fn read_long(query: &'a str, start: usize, name_length: usize) -> Option<Self> {
        let parameter = &query[start..];
        let begins = start == 0 || query.as_bytes()[start - 1] == b'&';
        let end = memchr::memchr(b'&', parameter.as_bytes()).unwrap_or(parameter.len());
        let value = parameter.get(name_length + 1..end)?;
        let is_long =
            begins && parameter.as_bytes()[name_length] == b'=' && value.len() > MAX_TOKEN_LENGTH;
        is_long.then(|| Self {
            decoded: Cow::Borrowed(value.as_bytes()),
            place: start + name_length + 1..start + end,
        })
    }

    /// Returns where the value stands, and its text if that stands nowhere as it is.
    fn into_owned(self) -> (Range<usize>, Option<Zeroizing<Vec<u8>>>) {
        let unescaped = match self.decoded {
            Cow::Borrowed(_) => None,
            Cow::Owned(text) => Some(Zeroizing::new(text)),
        };
        (self.place, unescaped)
    }
}

/// Splits a query at `&`, with the offset of each part.
fn parameters(query: &str) -> impl Iterator<Item = (usize, &str)> {
    let ends = memchr::memchr_iter(b'&', query.as_bytes()).chain([query.len()]);
    let mut start = 0;
    ends.map(move |end| {
        let parameter = (start, &query[start..end]);
        start = end + 1;
        parameter
    })
}

/// Decodes `%XX` and `+`, as forms are encoded; copies only where there is one of them.
pub(crate) fn decode(text: &str) -> Result<Cow<'_, [u8]>, CredentialProblem> {
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
    let path = uri.path();
    // As large as it gets, or it would be given another allocation to be shared by.
    let mark = if query.is_empty() { "" } else { "?" };
    let path_and_query = [path, mark, query].concat();
    // The remaining characters were part of a valid URI before. Should they not be one, the path alone is safe.
    let clean =
        PathAndQuery::try_from(path_and_query).unwrap_or_else(|_| PathAndQuery::from_static("/"));
    if uri.authority().is_none() {
        return Uri::from(clean);
    }
    let mut parts = uri.clone().into_parts();
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
            .map(|value| value.map(|value| String::from_utf8(value.decoded.into()).unwrap()));
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
    fn knows_the_place_of_a_value_that_is_as_it_was_sent() {
        for query in [
            "token=x",
            "a=1&token=x",
            "token=x&b=2",
            "%74oken=x",
            "&&token=x&",
        ] {
            let value = scrub_query(query, "token").found.unwrap().unwrap();
            assert_eq!(&query[value.place], "x", "{query}");
            assert!(matches!(value.decoded, Cow::Borrowed(_)));
        }
        let empty = scrub_query("a=1&token", "token").found.unwrap().unwrap();
        assert_eq!(empty.place, 9..9);
    }

    /// A parameter whose own name has what is escaped in others.
    #[test]
    fn finds_a_parameter_with_an_odd_name() {
        for (name, query) in [
            ("a b", "a+b=x"),
            ("a b", "a%20b=x"),
            ("a+b", "a%2Bb=x"),
            ("%", "%25=x"),
        ] {
            let found = scrub_query(query, name).found.unwrap();
            assert!(found.is_some(), "{name} in {query}");
        }
        for (name, query) in [("a+b", "a+b=x"), ("a b", "a-b=x"), ("token", "%2574oken=x")] {
            let found = scrub_query(query, name).found.unwrap();
            assert!(found.is_none(), "{name} in {query}");
        }
    }

    #[test]
    fn a_query_too_long_for_a_token_passes_only_without_one() {
        let long = "a=1&".repeat(LONGEST_QUERY / 4 + 1);
        assert_eq!(scrub(&long), (None, Ok(None)));
        for hidden in ["token=x", "%74oken=x", "b=%41"] {
            let refused = (Some(String::new()), Err(CredentialProblem::LongQuery));
            assert_eq!(scrub(&format!("{long}{hidden}")), refused, "{hidden}");
        }
        let long_token = "x".repeat(LONGEST_QUERY);
        let (rest, found) = scrub(&format!("a=1&token={long_token}&b=2"));
        assert_eq!((rest.as_deref(), found), (Some(""), Ok(Some(long_token))));
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
