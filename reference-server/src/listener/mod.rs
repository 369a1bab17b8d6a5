//! How the server is reached: where it listens, whether it speaks TLS, and whom it believes.
//!
//! | module | holds |
//! |---|---|
//! | `exposure` | refuses to listen where passwords and tokens would travel in the clear |
//! | `certificate` | the certificate's files, read again when they change |
//! | `tls` | handshakes, beside the loop that accepts |
//! | `bounded` | bounds how many connections there are, and cuts off who does not read |
//! | `shares` | bounds how many of them one source may have |

pub(crate) mod bounded;
pub(crate) mod certificate;
pub(crate) mod exposure;
pub(crate) mod shares;
pub(crate) mod tls;

use std::{net::SocketAddr, sync::Arc};

use crate::{
    addresses::Addresses,
    http::client_address::{Arrivals, ProxyHeader, TrustedProxy},
};
use certificate::CertificateFiles;

/// What the operator said about listening.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<CertificateFiles>,
    pub(crate) proxies: Arc<[TrustedProxy]>,
    pub(crate) proxy_header: ProxyHeader,
    pub(crate) insecure_http: bool,
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) insecure_admin: bool,
}

impl Listening {
    /// Returns what tells where requests come from.
    pub(crate) fn arrivals(&self, addresses: &Addresses) -> Arrivals {
        let is_tls = self.tls.is_some();
        let is_open = !exposure::is_loopback(self.address);
        Arrivals {
            proxies: Arc::clone(&self.proxies),
            header: self.proxy_header,
            is_tls,
            is_https_outside: addresses.is_https(),
            is_loopback_private: addresses.is_https() || addresses.is_reached_by_loopback(),
            is_for_proxies_alone: is_open && !is_tls && !self.insecure_http,
            is_insecure: self.insecure_http,
        }
    }
}
