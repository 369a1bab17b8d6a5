//! jwt-authorizer: a layer for axum 0.7, under a key set from a text.

use axum_07::body::Body as AxumBody;
use http::Request;
use jwt_authorizer::{
    AuthError, Authorizer, IntoLayer as _, JwtAuthorizer, Validation, layer::AuthorizationLayer,
};
use tower::{Layer as _, Service, ServiceExt as _};

use crate::{
    inner::{Answered, Handler},
    request::Body,
    token::{Claims, WORKSPACE, World},
};

/// What the layer puts into a request's extensions.
pub type Identity = jsonwebtoken_9::TokenData<Claims>;

impl From<AuthError> for Answered<AxumBody> {
    fn from(error: AuthError) -> Self {
        Self::Refused(error.into())
    }
}

/// Makes the layer.
///
/// # Errors
/// It does not take the key.
pub fn layer(world: &World) -> anyhow::Result<AuthorizationLayer<Claims>> {
    let validation = Validation::new().aud(&[WORKSPACE]).exp(false);
    let builder = JwtAuthorizer::<Claims>::from_jwks_text(&world.peer_key.jwks());
    let authorizer: Authorizer<Claims> = world
        .runtime
        .block_on(builder.validation(validation).build())?;
    Ok(authorizer.into_layer())
}

/// Puts the layer before `handler`.
///
/// # Errors
/// It does not take the key.
pub fn protect(
    handler: Handler,
    world: &World,
) -> anyhow::Result<impl Service<Request<Body>, Response = Answered<AxumBody>> + Clone + use<>> {
    Ok(layer(world)?.layer(handler.map_response(Answered::Admitted)))
}
