//! What a client asks for, in the query and in a form.

use super::response::Problem;
use crate::layer::decode;

const GRANT_TYPE: &[u8] = b"urn:ietf:params:oauth:grant-type:token-exchange";
pub(super) const ACCESS_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:access_token";

/// How the access token is to be handed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Shape {
    /// As the headers that a client sends.
    Headers,
    /// As RFC 8693 §2.2.1 has it.
    #[default]
    Response,
}

/// Reads `query` and `form`, which are encoded alike; what is not known is ignored (RFC 8693 §2.1, RFC 6749 §3.2).
pub(super) fn read(query: &str, form: &[u8]) -> Result<Shape, Problem> {
    let form = std::str::from_utf8(form).map_err(|_| Problem::Unreadable)?;
    let (mut shape, mut seen) = (Shape::default(), Vec::new());
    let parameters = query.split('&').chain(form.split('&'));
    for parameter in parameters.filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let name = decode(name).map_err(|_| Problem::Unreadable)?;
        let Some(known) = KNOWN.iter().find(|known| known.as_bytes() == &*name) else {
            continue;
        };
        if seen.contains(known) {
            return Err(Problem::Repeated);
        }
        seen.push(known);
        // Before its value is decoded, which would leave a copy of it.
        if ["actor_token", "subject_token"].contains(known) {
            return Err(Problem::TokenInBody);
        }
        let value = decode(value).map_err(|_| Problem::Unreadable)?;
        match (*known, &*value) {
            ("as", b"headers") => shape = Shape::Headers,
            ("as", _) => return Err(Problem::UnknownShape),
            ("grant_type", GRANT_TYPE) => {}
            ("grant_type", _) => return Err(Problem::OtherGrant),
            ("requested_token_type", value) if value == ACCESS_TOKEN_TYPE.as_bytes() => {}
            _ => return Err(Problem::OtherType),
        }
    }
    Ok(shape)
}

const KNOWN: [&str; 5] = [
    "actor_token",
    "as",
    "grant_type",
    "requested_token_type",
    "subject_token",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_knows_and_ignores_the_rest() {
        const GRANT: &str = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange";
        let grant = format!("grant_type={GRANT}");
        let typed = format!("requested_token_type={ACCESS_TOKEN_TYPE}&scope=a+b&audience=x");
        for (query, form, shape) in [
            ("", "", Shape::Response),
            ("as=headers", "", Shape::Headers),
            ("", "as=headers", Shape::Headers),
            ("%61s=%68eaders", "", Shape::Headers),
            ("a=1&&b", &grant, Shape::Response),
            ("", &typed, Shape::Response),
            ("scope=a&scope=b", "scope=c", Shape::Response),
        ] {
            assert_eq!(read(query, form.as_bytes()), Ok(shape), "{query} {form}");
        }
    }

    #[test]
    fn refuses_what_it_cannot_do() {
        for (query, form, problem) in [
            ("as=header", "", Problem::UnknownShape),
            ("as", "", Problem::UnknownShape),
            ("as=headers&as=headers", "", Problem::Repeated),
            ("as=headers", "as=headers", Problem::Repeated),
            ("", "grant_type=client_credentials", Problem::OtherGrant),
            ("", "grant_type=", Problem::OtherGrant),
            (
                "",
                "requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Asaml2",
                Problem::OtherType,
            ),
            ("", "subject_token=secret", Problem::TokenInBody),
            ("subject_token=secret", "", Problem::TokenInBody),
            ("", "%73ubject_token=secret", Problem::TokenInBody),
            ("", "actor_token=secret", Problem::TokenInBody),
            ("", "subject_token=secret%zz", Problem::TokenInBody),
            ("", "a%zz=1", Problem::Unreadable),
            ("", "as=%ff", Problem::Unreadable),
        ] {
            assert_eq!(read(query, form.as_bytes()), Err(problem), "{query} {form}");
        }
        assert_eq!(read("", b"\xff"), Err(Problem::Unreadable));
    }
}
