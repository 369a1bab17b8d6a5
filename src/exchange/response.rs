//! What the endpoint answers: RFC 8693 §2.2.1, or the errors of RFC 6749 §5.2.

use http::{
    HeaderValue, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE},
};
use zeroize::Zeroizing;

use super::{
    ExchangeBody,
    form::{ACCESS_TOKEN_TYPE, Shape},
};
use crate::{
    error::{Error, ErrorKind},
    rejection::{Rejection, RejectionKind, TokenProblem},
    token::IssuedAccessToken,
};

/// Why there is no access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// The credential is an access token.
    AccessToken,
    /// The token ended meanwhile, or its workspace is locked.
    Ended,
    /// The credential stood in the URL.
    InUrl,
    /// The service stands behind no token layer.
    Misconfigured,
    /// The layer lets requests through that carry none.
    NoCredential,
    NotForm,
    NotPost,
    OtherGrant,
    OtherType,
    Repeated,
    TokenInBody,
    TooLarge,
    /// The store or the cipher failed.
    Unavailable,
    UnknownShape,
    Unreadable,
}

impl Problem {
    pub(super) fn of(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Ended | ErrorKind::Locked => Self::Ended,
            ErrorKind::NotExchangeable => Self::AccessToken,
            _ => Self::Unavailable,
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::Ended | Self::NoCredential => StatusCode::UNAUTHORIZED,
            Self::Misconfigured => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotPost => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    fn code(self) -> &'static str {
        match self {
            Self::Ended => "invalid_token",
            Self::Misconfigured => "server_error",
            Self::OtherGrant => "unsupported_grant_type",
            Self::Unavailable => "temporarily_unavailable",
            _ => "invalid_request",
        }
    }

    fn sentence(self) -> String {
        let sentence = match self {
            Self::AccessToken => {
                "An access token is not exchanged for another one. Send the workspace token in the Authorization header."
            }
            Self::Ended => return sentence_of(RejectionKind::InvalidToken(TokenProblem::Unknown)),
            Self::InUrl => {
                "A workspace token in the URL is not exchanged. Send it in the Authorization header."
            }
            Self::Misconfigured => return sentence_of(RejectionKind::Misconfigured),
            Self::NotForm => {
                "The body is not taken. Send none, or a form as application/x-www-form-urlencoded."
            }
            Self::NoCredential => return sentence_of(RejectionKind::MissingCredential),
            Self::NotPost => "Access tokens are got by POST.",
            Self::OtherGrant => {
                "The grant_type is not known here. Leave it out, or send urn:ietf:params:oauth:grant-type:token-exchange."
            }
            Self::OtherType => {
                "There are access tokens alone here. Leave requested_token_type out."
            }
            Self::Repeated => "A parameter is there more than once. Send it once.",
            Self::TokenInBody => {
                "A token among the parameters is not taken. Send the workspace token in the Authorization header."
            }
            Self::TooLarge => "The body is too large. Send none.",
            Self::Unavailable => return sentence_of(RejectionKind::StoreUnavailable),
            Self::UnknownShape => {
                "The value of the parameter as is not known. Send headers, or leave it out."
            }
            Self::Unreadable => {
                "The parameters cannot be read. Send them as application/x-www-form-urlencoded."
            }
        };
        sentence.to_owned()
    }

    pub(super) fn into_response(self) -> Response<ExchangeBody> {
        // No sentence holds what JSON would have to escape; a test looks at each.
        let text = format!(
            r#"{{"error":"{}","error_description":"{}"}}"#,
            self.code(),
            self.sentence()
        );
        let mut response = json(self.status(), Zeroizing::new(text.into_bytes()));
        let header = match self {
            Self::Ended => Some((WWW_AUTHENTICATE, CHALLENGE)),
            // Without an error code, as of the layer (RFC 6750 §3.1).
            Self::NoCredential => Some((WWW_AUTHENTICATE, "Bearer realm=\"workspace\"")),
            Self::NotPost => Some((ALLOW, "POST")),
            Self::Unavailable => Some((RETRY_AFTER, "5")),
            _ => None,
        };
        if let Some((name, value)) = header {
            let value = HeaderValue::from_static(value);
            response.headers_mut().insert(name, value);
        }
        response
    }
}

const CHALLENGE: &str = "Bearer realm=\"workspace\", error=\"invalid_token\"";

/// Hands an access token over.
pub(super) fn hand_over(token: &IssuedAccessToken, shape: Shape) -> Response<ExchangeBody> {
    let seconds = token.life().as_secs().to_string();
    let secret = token.expose_secret();
    // A token holds nothing that JSON would have to escape. Sized beforehand: a vector that grows leaves copies behind.
    let pieces: &[&str] = match shape {
        Shape::Headers => &[r#"{"Authorization":"Bearer "#, secret, r#""}"#],
        Shape::Response => &[
            r#"{"access_token":""#,
            secret,
            r#"","issued_token_type":""#,
            ACCESS_TOKEN_TYPE,
            r#"","token_type":"Bearer","expires_in":"#,
            &seconds,
            "}",
        ],
    };
    let length = pieces.iter().map(|piece| piece.len()).sum();
    let mut text = Zeroizing::new(Vec::with_capacity(length));
    for piece in pieces {
        text.extend_from_slice(piece.as_bytes());
    }
    json(StatusCode::OK, text)
}

fn json(status: StatusCode, text: Zeroizing<Vec<u8>>) -> Response<ExchangeBody> {
    let mut response = Response::new(ExchangeBody::new(text));
    *response.status_mut() = status;
    for (name, value) in [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-store"),
        (PRAGMA, "no-cache"),
    ] {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}

fn sentence_of(kind: RejectionKind) -> String {
    Rejection::new(kind).message()
}
