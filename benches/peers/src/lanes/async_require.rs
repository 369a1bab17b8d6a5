//! tower-http's `AsyncRequireAuthorization` around `jsonwebtoken::decode`.

use std::{
    future::{Ready, ready},
    marker::PhantomData,
};

use http::{Request, Response};
use tower_http::auth::{AsyncAuthorizeRequest, AsyncRequireAuthorizationLayer};

use super::{
    decode::Decode,
    gate::{Check as _, bearer, unauthorized},
};
use crate::token::PeerKey;

/// Decodes at once, so that its future need not be boxed; turns requests away with an empty `R`.
#[derive(Debug)]
pub struct Authorize<R>(Decode, PhantomData<fn() -> R>);

/// Makes the layer.
pub fn layer<R>(key: &PeerKey) -> AsyncRequireAuthorizationLayer<Authorize<R>> {
    AsyncRequireAuthorizationLayer::new(Authorize(Decode::new(key), PhantomData))
}

impl<R> Clone for Authorize<R> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<B, R: Default> AsyncAuthorizeRequest<B> for Authorize<R> {
    type RequestBody = B;
    type ResponseBody = R;
    type Future = Ready<Result<Request<B>, Response<R>>>;

    fn authorize(&mut self, mut request: Request<B>) -> Self::Future {
        let claims = bearer(request.headers()).and_then(|token| self.0.check(token));
        ready(match claims {
            None => Err(unauthorized()),
            Some(claims) => {
                request.extensions_mut().insert(claims);
                Ok(request)
            }
        })
    }
}
