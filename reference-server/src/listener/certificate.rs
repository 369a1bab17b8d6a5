//! The certificate and its key: read from files at the start, and again when the files change.
//!
//! A new certificate comes into use with the next handshake, and connections that are open stay open.
//! New files that cannot be used change nothing: the old certificate stays, and the log says why.

use std::{
    fs::{self, File, Metadata},
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{data_dir::keys::read_private, metrics};

/// Where the certificate and its key are.
#[derive(Clone, Debug)]
pub(crate) struct CertificateFiles {
    certificate: PathBuf,
    key: PathBuf,
}

/// The certificate that handshakes are made with. Cheap to clone; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    files: CertificateFiles,
    current: Arc<RwLock<Arc<ServerConfig>>>,
}

/// Waits for reasons to read the files again.
#[derive(Debug)]
pub(crate) struct Reloader {
    certificate: Certificate,
    seen: Seen,
    hang_up: Signal,
}

/// What tells whether the files are still those that were read; `None` for one that is not there.
type Seen = [Option<Stamp>; 2];

/// A file that was replaced has another number, one that was written another time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl CertificateFiles {
    pub(crate) fn new(certificate: PathBuf, key: PathBuf) -> Self {
        Self { certificate, key }
    }

    fn stamps(&self) -> Seen {
        // Through links: a new certificate often is a link that points elsewhere.
        [&self.certificate, &self.key].map(|path| fs::metadata(path).ok().map(Stamp::of))
    }

    fn read(&self) -> anyhow::Result<ServerConfig> {
        let chain = read_chain(&self.certificate).with_context(|| {
            format!("cannot use the certificate {}", self.certificate.display())
        })?;
        let key = read_key(&self.key)
            .with_context(|| format!("cannot use the certificate's key {}", self.key.display()))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .context("no version of TLS can be spoken")?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .with_context(|| {
                format!(
                    "cannot use the certificate {} with the key {}",
                    self.certificate.display(),
                    self.key.display()
                )
            })?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

impl Certificate {
    /// Reads the certificate.
    ///
    /// # Errors
    /// A file cannot be read or used, or the key can be read by others.
    pub(crate) fn read(files: CertificateFiles) -> anyhow::Result<Self> {
        let config = files.read()?;
        Ok(Self {
            files,
            current: Arc::new(RwLock::new(Arc::new(config))),
        })
    }

    /// Returns what the next handshake is made with.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        let current = self.current.read();
        Arc::clone(&current.unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the files once more; the old certificate stays if they cannot be used.
    fn reload(&self) {
        match self.files.read() {
            Ok(config) => {
                let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
                *current = Arc::new(config);
                metrics::certificate_reloaded(true);
                tracing::info!("the new certificate is in use");
            }
            Err(error) => {
                metrics::certificate_reloaded(false);
                tracing::error!("the old certificate stays in use: {error:#}");
            }
        }
    }
}

impl Reloader {
    /// Prepares to follow the files, and takes SIGHUP as a word to read them.
    pub(crate) fn new(certificate: Certificate) -> anyhow::Result<Self> {
        Ok(Self {
            seen: certificate.files.stamps(),
            certificate,
            hang_up: signal(SignalKind::hangup()).context("cannot listen to signals")?,
        })
    }

    /// Follows the files for as long as it is polled.
    pub(crate) async fn run(mut self) {
        loop {
            // Looked at again and again: notifications of changes miss network and overlay filesystems.
            tokio::select! {
                _ = self.hang_up.recv() => self.reload(),
                () = tokio::time::sleep(LOOK_EVERY) => self.reload_if_changed(),
            }
        }
    }

    fn reload_if_changed(&mut self) {
        if self.certificate.files.stamps() != self.seen {
            self.reload();
        }
    }

    fn reload(&mut self) {
        // First, so that what changes while it is read is read once more.
        self.seen = self.certificate.files.stamps();
        self.certificate.reload();
    }
}

impl Stamp {
    fn of(metadata: Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

fn read_chain(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let mut text = Vec::new();
    File::open(path)?
        .take(MAX_LENGTH + 1)
        .read_to_end(&mut text)?;
    if text.len() as u64 > MAX_LENGTH {
        bail!("it is too long for a certificate");
    }
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|_| anyhow!("it is not PEM"))?;
    if chain.is_empty() {
        bail!("it holds no certificate in PEM");
    }
    Ok(chain)
}

/// Reads the key. No error holds any part of it.
fn read_key(path: &Path) -> anyhow::Result<PrivateKeyDer<'static>> {
    let text = read_private(File::open(path)?, true)?;
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| match error {
        pem::Error::NoItemsFound => {
            anyhow!(
                "it holds no private key in PEM (PKCS #8, SEC 1 or PKCS #1, without a password)"
            )
        }
        _ => anyhow!("it is not PEM"),
    })
}

/// As long as an operator who has put a certificate there may wait for it.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Many times what a chain needs.
const MAX_LENGTH: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tempfile::TempDir;

    use super::*;

    struct Files {
        directory: TempDir,
    }

    impl Files {
        fn new() -> Self {
            let files = Self {
                directory: tempfile::tempdir().unwrap(),
            };
            files.issue("example.com");
            files
        }

        fn path(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }

        fn write(&self, name: &str, text: &str, mode: u32) {
            // Another file each time, as those do who replace certificates.
            let unfinished = self.path("unfinished");
            fs::write(&unfinished, text).unwrap();
            fs::set_permissions(&unfinished, fs::Permissions::from_mode(mode)).unwrap();
            fs::rename(&unfinished, self.path(name)).unwrap();
        }

        fn issue(&self, name: &str) {
            let issued = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
            self.write("cert.pem", &issued.cert.pem(), 0o644);
            self.write("key.pem", &issued.signing_key.serialize_pem(), 0o600);
        }

        fn names(&self) -> CertificateFiles {
            CertificateFiles::new(self.path("cert.pem"), self.path("key.pem"))
        }

        fn error(&self) -> String {
            format!("{:#}", Certificate::read(self.names()).unwrap_err())
        }
    }

    #[test]
    fn refuses_files_that_cannot_be_used_and_quotes_nothing_of_the_key() {
        let files = Files::new();
        let key = fs::read_to_string(files.path("key.pem")).unwrap();
        let certificate = fs::read_to_string(files.path("cert.pem")).unwrap();
        let secret = key.lines().nth(1).unwrap();
        let other = rcgen::generate_simple_self_signed(["other".to_owned()]).unwrap();
        let cases: [(&str, &str, &str, u32, &str); 8] = [
            (
                "an empty certificate",
                "cert.pem",
                "",
                0o644,
                "no certificate",
            ),
            (
                "half a certificate",
                "cert.pem",
                &certificate[..200],
                0o644,
                "PEM",
            ),
            (
                "a certificate of nonsense",
                "cert.pem",
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                0o644,
                "cannot use the certificate",
            ),
            ("no key", "key.pem", &certificate, 0o600, "no private key"),
            ("half a key", "key.pem", &key[..key.len() / 2], 0o600, "PEM"),
            ("a key for others", "key.pem", &key, 0o644, "other users"),
            ("a key for a group", "key.pem", &key, 0o660, "other users"),
            (
                "another key",
                "key.pem",
                &other.signing_key.serialize_pem(),
                0o600,
                "with the key",
            ),
        ];
        for (name, file, text, mode, expected) in cases {
            let path = files.path(file);
            let mode_before = fs::metadata(&path).unwrap().permissions().mode();
            let before = fs::read_to_string(&path).unwrap();
            files.write(file, text, mode);
            let error = files.error();
            assert!(error.contains(expected), "{name}: {error}");
            assert!(error.contains(file), "{name}: {error}");
            assert!(!error.contains(&secret[..8]), "{name}: {error}");
            files.write(file, &before, mode_before);
        }
        fs::remove_file(files.path("cert.pem")).unwrap();
        assert!(files.error().contains("cert.pem"));
    }

    #[tokio::test]
    async fn files_that_change_are_read_again_and_bad_ones_leave_the_old_certificate() {
        let files = Files::new();
        let certificate = Certificate::read(files.names()).unwrap();
        let mut reloader = Reloader::new(certificate.clone()).unwrap();
        let first = certificate.current();
        reloader.reload_if_changed();
        assert!(Arc::ptr_eq(&first, &certificate.current()));

        files.issue("example.org");
        reloader.reload_if_changed();
        let second = certificate.current();
        assert!(!Arc::ptr_eq(&first, &second));

        // A certificate that has come before its key.
        let next = rcgen::generate_simple_self_signed(["example.net".to_owned()]).unwrap();
        files.write("cert.pem", &next.cert.pem(), 0o644);
        reloader.reload_if_changed();
        assert!(Arc::ptr_eq(&second, &certificate.current()));
        files.write("key.pem", &next.signing_key.serialize_pem(), 0o600);
        reloader.reload_if_changed();
        let third = certificate.current();
        assert!(!Arc::ptr_eq(&second, &third));

        fs::remove_file(files.path("key.pem")).unwrap();
        reloader.reload_if_changed();
        assert!(Arc::ptr_eq(&third, &certificate.current()));
    }
}
