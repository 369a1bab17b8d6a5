//! [`Trust`]: whose word is taken for who a server is.

use std::{fs, path::PathBuf, sync::Arc};

use anyhow::{Context as _, bail};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio_rustls::TlsConnector;

/// Which authorities are trusted.
#[derive(Clone, Debug, Default)]
pub(crate) enum Trust {
    /// Those of a file, in PEM, and no others.
    File(PathBuf),
    /// Those of the operating system.
    #[default]
    System,
}

impl Trust {
    pub(super) fn connector(&self) -> anyhow::Result<TlsConnector> {
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.authorities()?)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsConnector::from(Arc::new(config)))
    }

    pub(super) fn authorities(&self) -> anyhow::Result<RootCertStore> {
        let mut authorities = RootCertStore::empty();
        match self {
            Self::File(path) => {
                let shown = path.display();
                let text = fs::read(path).with_context(|| format!("cannot read {shown}"))?;
                for certificate in CertificateDer::pem_slice_iter(&text) {
                    let certificate =
                        certificate.with_context(|| format!("{shown} is not PEM as expected"))?;
                    authorities
                        .add(certificate)
                        .with_context(|| format!("a certificate in {shown} is no authority's"))?;
                }
                if authorities.is_empty() {
                    bail!("there is no certificate in {shown}");
                }
            }
            // Those that cannot be read are of no use; a server that needs one of them is not trusted.
            Self::System => {
                let found = rustls_native_certs::load_native_certs().certs;
                authorities.add_parsable_certificates(found);
            }
        }
        Ok(authorities)
    }
}
