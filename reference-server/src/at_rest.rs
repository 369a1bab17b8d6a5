//! How tokens are kept: what of them is sealed, and which journal watches over their rows.
//!
//! What is chosen is kept in the database, so that commands without a server do as the server did.

use std::fmt;

use anyhow::Context as _;
use clap::ValueEnum;
use serde::Deserialize;
use tower_workspace_token::{cipher::Profile, token::AccessTokenLife};

use crate::{
    db::{Database, meta},
    rollback::JournalChoice,
};

/// What an operator chose; what is not chosen is as it was before, but for the life of access tokens, which no
/// database holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct AtRest {
    pub(crate) rollback_journal: JournalChoice,
    pub(crate) seal: Option<Seal>,
    pub(crate) access_token_life: AccessTokenLife,
}

/// What of a token is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Seal {
    /// A digest of its signature: nobody reads a token out of the database, whatever keys they have
    Digest,
    /// The token
    Token,
}

impl Seal {
    const ALL: [Self; 2] = [Self::Digest, Self::Token];

    fn as_str(self) -> &'static str {
        match self {
            Self::Digest => "digest",
            Self::Token => "token",
        }
    }

    fn profile(self) -> Profile {
        match self {
            Self::Digest => Profile::SignatureDigest,
            Self::Token => Profile::Token,
        }
    }
}

impl fmt::Display for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Returns what is to be sealed, and keeps it if it was chosen now.
pub(crate) async fn profile(database: &Database, chosen: Option<Seal>) -> anyhow::Result<Profile> {
    let seal = match chosen {
        Some(chosen) => {
            database
                .write(move |transaction| meta::set(transaction, meta::SEAL, chosen.as_str()))
                .await?;
            chosen
        }
        None => {
            let known = database
                .read(|snapshot| meta::get(snapshot, meta::SEAL))
                .await?;
            match known {
                None => Seal::Token,
                Some(word) => Seal::ALL
                    .into_iter()
                    .find(|seal| seal.as_str() == word)
                    .context("what is sealed was chosen by a newer `wst`: say it with --seal")?,
            }
        }
    };
    Ok(seal.profile())
}
