//! tower-oauth2-resource-server: a layer for any tower service, under a key set from a text.

use anyhow::Context as _;
use jsonwebtoken::Algorithm;
use tower_oauth2_resource_server::{
    layer::OAuth2ResourceServerLayer, server::OAuth2ResourceServer, tenant::TenantConfiguration,
    validation::ClaimsValidationSpec,
};

use crate::token::{Claims, WORKSPACE, World};

/// Makes the layer, which turns requests away with an empty `R`.
///
/// # Errors
/// It does not take the key.
pub fn layer<R: Default>(world: &World) -> anyhow::Result<OAuth2ResourceServerLayer<R, Claims>> {
    let spec = ClaimsValidationSpec::new().aud(&vec![WORKSPACE.to_owned()]);
    let tenant = TenantConfiguration::static_builder(world.peer_key.jwks())
        .claims_validation(spec)
        .allowed_algorithms(&[Algorithm::HS256])
        .build()
        .context("the tenant")?;
    let server = OAuth2ResourceServer::<Claims>::builder().add_tenant(tenant);
    let server = world
        .runtime
        .block_on(server.build())
        .context("the server")?;
    Ok(server.into_layer())
}
