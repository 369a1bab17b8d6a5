//! Refuses to listen where everybody on the way could read: a login or a token that was read once is
//! no longer one's own.

use std::net::SocketAddr;

use super::Listening;
use crate::{addresses::PublicUrl, error::AppError};

/// Checks that nothing secret travels in the clear, unless the operator says that it may.
pub(crate) fn check(listening: &Listening, public_url: Option<&PublicUrl>) -> Result<(), AppError> {
    check_public(listening, public_url)?;
    let Some(admin) = listening.admin else {
        return Ok(());
    };
    if !is_loopback(admin) && !listening.insecure_admin {
        return Err(AppError::usage(format!(
            "refusing to show metrics in the clear on {admin}: keep --admin-listen on 127.0.0.1, or say --insecure-admin where only your own monitoring can reach that address"
        )));
    }
    Ok(())
}

fn check_public(listening: &Listening, public_url: Option<&PublicUrl>) -> Result<(), AppError> {
    let is_http_outside = public_url.is_some_and(|url| !url.is_https());
    if listening.tls.is_some() {
        if is_http_outside {
            return Err(AppError::usage(
                "the public URL begins with http://, but the server speaks TLS: give --public-url with https://, or leave it out",
            ));
        }
        return Ok(());
    }
    if is_loopback(listening.address) || listening.insecure_http {
        return Ok(());
    }
    let address = listening.address;
    if listening.proxies.is_empty() {
        return Err(AppError::usage(format!(
            "refusing to listen in the clear on {address}, where logins and tokens could be read on the way: give --tls-cert and --tls-key; or --trusted-proxy with the address of a proxy in front that ends TLS, and the https:// address as --public-url; or listen on 127.0.0.1; or accept the danger with --insecure-http"
        )));
    }
    if is_http_outside {
        return Err(AppError::usage(format!(
            "refusing to listen in the clear on {address} for a public URL that begins with http://: let the trusted proxy end TLS and give --public-url with https://, or accept the danger with --insecure-http"
        )));
    }
    Ok(())
}

/// Says in the log what an operator may not have meant.
pub(crate) fn warn(listening: &Listening, public_url: Option<&PublicUrl>) {
    if listening.tls.is_some() {
        if public_url.is_none() {
            tracing::warn!(
                "the name in the certificate is not known: give it as --public-url, with https://"
            );
        }
        return;
    }
    if listening.insecure_http {
        tracing::warn!(
            "--insecure-http: whoever is on the way can read logins and tokens, and use them"
        );
        return;
    }
    let has_proxy = !listening.proxies.is_empty();
    match public_url {
        Some(url) if !url.is_https() && !url.is_loopback() => tracing::warn!(
            "the public URL begins with http://: whoever is on the way can read tokens, and nobody can log in there"
        ),
        Some(url) if url.is_https() && !has_proxy => tracing::warn!(
            "clients are not told apart behind a proxy that is not trusted: give its address as --trusted-proxy"
        ),
        None if has_proxy => tracing::warn!(
            "the proxy's own address is not known: give it as --public-url, with https://"
        ),
        _ => {}
    }
}

/// Returns whether nobody but this machine reaches an address.
pub(crate) fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{http::client_address::ProxyHeader, listener::certificate::CertificateFiles};

    fn listening(address: &str) -> Listening {
        Listening {
            address: address.parse().unwrap(),
            tls: None,
            proxies: [].into(),
            proxy_header: ProxyHeader::default(),
            insecure_http: false,
            admin: None,
            insecure_admin: false,
        }
    }

    fn refusal(listening: &Listening, public_url: Option<&str>) -> Option<String> {
        let public_url = public_url.map(|url| url.parse().unwrap());
        let checked = check(listening, public_url.as_ref());
        checked.err().map(|error| {
            assert_eq!(error.exit_code(), 2);
            error.to_string()
        })
    }

    const OPEN: [&str; 5] = [
        "0.0.0.0:80",
        "[::]:80",
        "192.0.2.7:80",
        "[2001:db8::1]:80",
        "[::ffff:192.0.2.7]:80",
    ];

    #[test]
    fn listens_in_the_clear_only_where_nobody_else_is() {
        for address in [
            "127.0.0.1:80",
            "127.9.9.9:80",
            "[::1]:80",
            "[::ffff:127.0.0.1]:80",
        ] {
            assert_eq!(refusal(&listening(address), None), None, "{address}");
        }
        for address in OPEN {
            for url in [None, Some("https://e.com"), Some("http://e.com")] {
                let refusal = refusal(&listening(address), url).unwrap();
                for way_out in [
                    "--tls-cert",
                    "--tls-key",
                    "--trusted-proxy",
                    "127.0.0.1",
                    "--insecure-http",
                ] {
                    assert!(refusal.contains(way_out), "{refusal}");
                }
            }
        }
    }

    #[test]
    fn tls_a_trusted_proxy_or_an_explicit_word_are_the_ways_out() {
        for address in OPEN {
            let tls = Listening {
                tls: Some(CertificateFiles::new("c".into(), "k".into())),
                ..listening(address)
            };
            assert_eq!(refusal(&tls, None), None);
            assert_eq!(refusal(&tls, Some("https://e.com")), None);
            assert!(refusal(&tls, Some("http://e.com")).is_some());
            let proxy = Listening {
                proxies: ["10.0.0.1".parse().unwrap()].into(),
                ..listening(address)
            };
            assert_eq!(refusal(&proxy, None), None);
            assert_eq!(refusal(&proxy, Some("https://e.com")), None);
            assert!(refusal(&proxy, Some("http://e.com")).is_some());
            let insecure = Listening {
                insecure_http: true,
                ..listening(address)
            };
            assert_eq!(refusal(&insecure, Some("http://e.com")), None);
        }
    }

    #[test]
    fn metrics_are_for_this_machine_unless_told_otherwise() {
        let local = listening("127.0.0.1:80");
        for address in OPEN {
            let open = Listening {
                admin: Some(address.parse().unwrap()),
                ..listening("127.0.0.1:80")
            };
            assert!(refusal(&open, None).unwrap().contains("--insecure-admin"));
            // What opens the one does not open the other.
            let other = Listening {
                insecure_http: true,
                ..open
            };
            assert!(refusal(&other, None).is_some());
            let told = Listening {
                insecure_admin: true,
                ..other
            };
            assert_eq!(refusal(&told, None), None);
        }
        let on_loopback = Listening {
            admin: Some("[::1]:9090".parse().unwrap()),
            ..local
        };
        assert_eq!(refusal(&on_loopback, None), None);
    }
}
