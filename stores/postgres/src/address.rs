//! The address of a database: what is connected to, and whether that is encrypted.
//!
//! The address may hold a password. It is read into the driver's own configuration, which does not wipe its copy; ours does.

use std::{net::IpAddr, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use secrecy::{ExposeSecret, SecretString};
use tokio_postgres::config::{Config, Host, SslMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;
use zeroize::Zeroizing;

use crate::{
    error::{OpenError, OpenErrorKind},
    options::Options,
};

/// What is needed for a connection.
pub(crate) struct Address {
    pub(crate) config: Config,
    pub(crate) tls: Option<MakeRustlsConnect>,
}

impl Address {
    pub(crate) async fn of(options: &Options) -> Result<Self, OpenError> {
        let mut config = parse(&options.url)?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(OpenError::new(OpenErrorKind::InvalidAddress));
        }
        config.connect_timeout(options.connect_timeout);
        config.tcp_user_timeout(options.timeout);
        if config.get_application_name().is_none() {
            config.application_name(env!("CARGO_PKG_NAME"));
        }
        // Of several hosts, one that takes writes; of one, whatever it is, so that its refusal can be told.
        if config.get_hosts().len().max(config.get_hostaddrs().len()) > 1 {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        let ssl_mode = match config.get_ssl_mode() {
            SslMode::Prefer if is_this_machine(&config) => SslMode::Disable,
            SslMode::Disable => SslMode::Disable,
            _ => SslMode::Require,
        };
        config.ssl_mode(ssl_mode);
        let tls = match ssl_mode {
            SslMode::Disable => None,
            _ => Some(MakeRustlsConnect::new(client_config(options).await?)),
        };
        Ok(Self { config, tls })
    }
}

fn parse(url: &SecretString) -> Result<Config, OpenError> {
    let mut text = Zeroizing::new(url.expose_secret().to_owned());
    // The driver knows libpq's two strictest modes by no name; here, they are what `require` does.
    for strict in ["sslmode=verify-full", "sslmode=verify-ca"] {
        if text.contains(strict) {
            text = Zeroizing::new(text.replace(strict, "sslmode=require"));
        }
    }
    // Without the cause: it may quote a piece of the address.
    text.parse()
        .map_err(|_| OpenError::new(OpenErrorKind::InvalidAddress))
}

/// Returns whether what is sent does not leave this machine.
fn is_this_machine(config: &Config) -> bool {
    let is_local = |host: &Host| match host {
        Host::Tcp(name) => {
            let address: Option<IpAddr> = name.parse().ok();
            name == "localhost" || address.is_some_and(|address| address.is_loopback())
        }
        Host::Unix(_) => true,
    };
    let mut addresses = config.get_hostaddrs().iter();
    config.get_hosts().iter().all(is_local) && addresses.all(IpAddr::is_loopback)
}

async fn client_config(options: &Options) -> Result<ClientConfig, OpenError> {
    if let Some(config) = &options.tls {
        return Ok(ClientConfig::clone(config));
    }
    let roots = match &options.roots {
        Some(pem) => named_roots(pem)?,
        None => system_roots().await?,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| OpenError::with_source(OpenErrorKind::Tls, error))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn named_roots(pem: &[u8]) -> Result<RootCertStore, OpenError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate =
            certificate.map_err(|error| OpenError::with_source(OpenErrorKind::Tls, error))?;
        roots
            .add(certificate)
            .map_err(|error| OpenError::with_source(OpenErrorKind::Tls, error))?;
    }
    match roots.is_empty() {
        true => Err(OpenError::with_source(
            OpenErrorKind::Tls,
            "no certificate was given",
        )),
        false => Ok(roots),
    }
}

async fn system_roots() -> Result<RootCertStore, OpenError> {
    // It reads some hundred files.
    let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs)
        .await
        .map_err(|error| OpenError::with_source(OpenErrorKind::Tls, error))?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    match roots.is_empty() {
        true => Err(OpenError::with_source(
            OpenErrorKind::Tls,
            "the operating system names no certificate authority",
        )),
        false => Ok(roots),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn mode(url: &str) -> SslMode {
        // One root of nobody: reading the system's is not what is tested.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let options = Options::new(url).with_tls(Arc::new(tls));
        let address = Address::of(&options).await.unwrap();
        assert_eq!(
            address.tls.is_some(),
            address.config.get_ssl_mode() != SslMode::Disable
        );
        address.config.get_ssl_mode()
    }

    #[tokio::test]
    async fn nothing_leaves_the_machine_unencrypted_unless_it_is_asked_for() {
        use SslMode::{Disable, Require};
        let cases = [
            ("postgres://u@db.internal/d", Require),
            ("postgres://u@db.internal/d?sslmode=prefer", Require),
            ("postgres://u@db.internal/d?sslmode=require", Require),
            ("postgres://u@db.internal/d?sslmode=verify-full", Require),
            ("postgres://u@db.internal/d?sslmode=verify-ca", Require),
            ("postgres://u@db.internal/d?sslmode=disable", Disable),
            ("host=db.internal user=u", Require),
            ("host=localhost hostaddr=10.0.0.1 user=u", Require),
            ("postgres://u@localhost,db.internal/d", Require),
            ("postgres://u@localhost.evil.example/d", Require),
            ("postgres://u@localhost/d", Disable),
            ("postgres://u@127.0.0.1/d?sslmode=prefer", Disable),
            ("postgres://u@[::1]/d", Disable),
            ("postgres://u@%2Fvar%2Frun%2Fpostgresql/d", Disable),
            ("postgres://u@127.0.0.1/d?sslmode=require", Require),
        ];
        for (url, expected) in cases {
            assert_eq!(mode(url).await, expected, "{url}");
        }
    }

    #[tokio::test]
    async fn what_is_no_address_is_refused_without_a_piece_of_it() {
        for url in [
            "postgres://u:hunter2@host:port/d",
            "postgres://u:hunter2@host/d?hunter2=1",
            "hunter2",
            "postgres://",
        ] {
            let refused = Address::of(&Options::new(url)).await.err();
            let refused = refused.unwrap_or_else(|| panic!("{url}"));
            assert_eq!(refused.kind(), OpenErrorKind::InvalidAddress, "{url}");
            assert!(!format!("{refused:?} {refused}").contains("ter2"), "{url}");
        }
    }
}
