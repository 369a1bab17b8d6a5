//! axum-jwt-auth: an extractor, called here as axum calls it, and without what axum adds around it.

use std::{convert::Infallible, sync::Arc};

use axum::{
    extract::FromRequestParts as _,
    response::{IntoResponse as _, Response},
};
use axum_jwt_auth::{Decoder, LocalDecoder};
use http::Request;
use jsonwebtoken_10::{Algorithm, DecodingKey, Validation};
use tower::{Service, service_fn};

use crate::{
    inner::{Answered, Handler},
    request::Body,
    token::{Claims, PeerKey, WORKSPACE},
};

/// What the extractor gives.
pub type Extracted = axum_jwt_auth::Claims<Claims>;

/// Makes the decoder.
pub fn decoder(key: &PeerKey) -> Decoder<Claims> {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_audience(&[WORKSPACE]);
    validation.set_required_spec_claims(&["aud"]);
    validation.validate_exp = false;
    let keys = vec![DecodingKey::from_secret(&key.bytes)];
    let decoder = LocalDecoder::new(keys, validation).expect("there are a key and an audience");
    Arc::new(decoder)
}

/// Puts the extractor before `handler`.
pub fn protect(
    handler: Handler,
    key: &PeerKey,
) -> impl Service<Request<Body>, Response = Answered<axum::body::Body>, Error = Infallible> + Clone + use<>
{
    let decoder = decoder(key);
    service_fn(move |request: Request<Body>| {
        let (decoder, mut handler) = (decoder.clone(), handler);
        async move {
            let (mut parts, body) = request.into_parts();
            let claims: Result<Extracted, _> =
                Extracted::from_request_parts(&mut parts, &decoder).await;
            match claims.map_err(|refusal| -> Response { refusal.into_response() }) {
                Err(refusal) => Ok(Answered::Refused(refusal)),
                Ok(_claims) => {
                    let request = Request::from_parts(parts, body);
                    handler.call(request).await.map(Answered::Admitted)
                }
            }
        }
    })
}
