//! The setup link: how the first person gets in.

use std::{
    fs,
    io::{ErrorKind, Read as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use super::{links, users};
use crate::{app::App, data_dir, error::AppError, time};

/// Where the link's secret is kept, so that it can be shown again.
#[derive(Clone, Debug)]
pub(crate) struct SetupFile(PathBuf);

/// Returns the setup link, a new one if the last one is too old; `None` if there is an account already.
pub(crate) async fn link(app: &App) -> Result<Option<SecretString>, AppError> {
    let file = app.setup_file().clone();
    let secret = app
        .database()
        .write(move |transaction| {
            if users::any(transaction)? {
                file.remove();
                return Ok(None);
            }
            let now = time::now();
            if let Some(kept) = file.read()
                && links::holds(transaction, links::Purpose::Setup, &kept, now)?
            {
                return Ok(Some(kept));
            }
            let made = links::make_setup(transaction, now)?;
            file.write(&made)?;
            Ok::<_, AppError>(Some(made))
        })
        .await?;
    Ok(secret.map(|secret| url(app, "setup", &secret)))
}

/// Returns the URL of a one-time link.
pub(crate) fn url(app: &App, page: &str, secret: &SecretString) -> SecretString {
    let public_url = app.addresses().public_url();
    format!("{public_url}/{page}#{}", secret.expose_secret()).into()
}

impl SetupFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Returns what the file holds; whatever it is, the database says whether it is good for anything.
    fn read(&self) -> Option<SecretString> {
        let mut text = Zeroizing::new(String::with_capacity(MOST));
        let file = fs::File::open(&self.0).ok()?;
        file.take(MOST as u64).read_to_string(&mut text).ok()?;
        let (_, secret) = text.trim().rsplit_once('#')?;
        Some(secret.into())
    }

    fn write(&self, secret: &SecretString) -> anyhow::Result<()> {
        let write = |path: &Path| -> std::io::Result<()> {
            match fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = data_dir::create_private(path)?;
            writeln!(file, "#{}", secret.expose_secret())
        };
        write(&self.0).with_context(|| format!("cannot write {}", self.0.display()))
    }

    /// Takes the file away, whose secret opens nothing any longer.
    pub(crate) fn remove(&self) {
        // It is no loss if it stays.
        let _ = fs::remove_file(&self.0);
    }
}

const MOST: usize = 256;
