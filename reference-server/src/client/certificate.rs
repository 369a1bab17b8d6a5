//! The certificate of a server, as a client sees it: whether it is trusted, and for how long.

use std::{error::Error as _, io, sync::Arc, time::Duration};

use anyhow::Context as _;
use rustls::{
    CertificateError,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::time::timeout;

use super::{CONNECT, ClientError, ClientErrorKind, HttpClient, ServerAddress, Trust, connect};

/// A chain that is trusted now.
pub(crate) struct Certificate {
    chain: Vec<CertificateDer<'static>>,
    name: ServerName<'static>,
}

impl HttpClient {
    /// Shakes hands, and returns the certificate that was shown; `None` where no TLS is spoken.
    ///
    /// # Errors
    /// The server cannot be reached, or its certificate is not trusted.
    pub(crate) async fn certificate(
        &self,
        address: &ServerAddress,
    ) -> Result<Option<Certificate>, ClientError> {
        let Some(name) = address.server_name() else {
            return Ok(None);
        };
        let name = name.map_err(ClientError::of(ClientErrorKind::Tls))?;
        let stream = connect(address).await?;
        let handshake = timeout(CONNECT, self.tls.connect(name.clone(), stream)).await;
        let stream = handshake
            .map_err(ClientError::of(ClientErrorKind::TimedOut))?
            .map_err(ClientError::of(ClientErrorKind::Tls))?;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let chain = chain.iter().cloned().map(CertificateDer::into_owned);
        Ok(Some(Certificate {
            chain: chain.collect(),
            name,
        }))
    }
}

impl Certificate {
    /// Returns for how many whole days from `now` the chain is trusted; up to [`MOST_DAYS`].
    ///
    /// It is verified as of later days, so that of all its certificates the one counts that expires first.
    ///
    /// # Errors
    /// The authorities cannot be read.
    pub(crate) fn days_left(&self, trust: &Trust, now: Duration) -> anyhow::Result<u64> {
        let provider = Arc::new(ring::default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(trust.authorities()?), provider)
                .build()
                .context("no authority is trusted")?;
        let (leaf, others) = self
            .chain
            .split_first()
            .context("there is no certificate")?;
        let holds_in = |days: u64| {
            let then =
                UnixTime::since_unix_epoch(now + DAY * u32::try_from(days).unwrap_or(u32::MAX));
            verifier
                .verify_server_cert(leaf, others, &self.name, &[], then)
                .is_ok()
        };
        // It holds for `least` days, and not for `most`.
        let (mut least, mut most) = (0, MOST_DAYS + 1);
        while most - least > 1 {
            let middle = least.midpoint(most);
            match holds_in(middle) {
                true => least = middle,
                false => most = middle,
            }
        }
        Ok(least)
    }
}

impl ClientError {
    /// Returns what is wrong with the certificate, if that is what is wrong.
    pub(crate) fn certificate_problem(&self) -> Option<&'static str> {
        let error = self.source()?.downcast_ref::<io::Error>()?.get_ref()?;
        let rustls::Error::InvalidCertificate(problem) = error.downcast_ref::<rustls::Error>()?
        else {
            return None;
        };
        Some(match problem {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired",
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "it does not hold yet: is the clock right?"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "it is for another name"
            }
            CertificateError::UnknownIssuer => "nobody who is trusted here has issued it",
            CertificateError::Revoked => "it was revoked",
            _ => "it is not trusted",
        })
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Longer than anybody has to think of.
pub(crate) const MOST_DAYS: u64 = 3650;
