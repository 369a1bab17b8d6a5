//! [`Inventory`]: each token that was found, once, with the places where it is.
//!
//! What it keeps is bounded, whatever is scanned: so many tokens, and so many places of each.

use std::{collections::HashMap, io, path::Path};

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tower_workspace_token::jwt::UncheckedClaims;
use zeroize::Zeroizing;

use super::finder::{Finder, Sighting};

/// What a scan has found so far.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    pub(crate) found: Vec<Found>,
    by_digest: HashMap<[u8; 32], usize>,
    /// Files and objects that were read.
    pub(crate) read: u64,
    pub(crate) bytes: u64,
    pub(crate) unreadable: Vec<Unreadable>,
    /// With those that are not listed.
    pub(crate) unreadable_count: u64,
    /// Tokens that there was no room for.
    pub(crate) left_out: u64,
}

/// A token, and where it is.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) token: FoundToken,
    pub(crate) typ: &'static str,
    pub(crate) is_long_lived: bool,
    /// Whether all of it is there.
    pub(crate) is_whole: bool,
    /// What it says of itself.
    pub(crate) says: Option<UncheckedClaims>,
    pub(crate) places: Vec<Place>,
    /// Further ones, which are not listed.
    pub(crate) more_places: u64,
}

/// The text of a token that was found. It is not printed.
pub(crate) struct FoundToken(Zeroizing<Vec<u8>>);

/// Where a token is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Place {
    #[serde(rename = "in")]
    pub(crate) kind: PlaceKind,
    /// The file; tokens in its name are left out.
    pub(crate) path: String,
    /// The line, from 1; none if it is in the file's name.
    pub(crate) line: Option<u64>,
    /// The first commit that has it; none if no commit has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) commit: Option<String>,
    /// The git object it is in.
    #[serde(skip)]
    pub(super) object: Option<String>,
}

/// What kind of place it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PlaceKind {
    /// A file as it is now.
    #[default]
    File,
    /// The history of a git repository.
    History,
    /// What is about to be committed.
    Staged,
}

/// What could not be read.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Unreadable {
    pub(crate) path: String,
    pub(crate) problem: String,
}

impl Inventory {
    /// Notes a token at a place.
    pub(super) fn note(&mut self, sighting: &Sighting<'_>, place: Place) {
        let digest: [u8; 32] = Sha256::digest(&*sighting.text).into();
        let index = match self.by_digest.get(&digest) {
            Some(index) => *index,
            None if self.found.len() >= MOST_TOKENS => {
                self.left_out += 1;
                return;
            }
            None => {
                self.found.push(Found::of(sighting));
                self.by_digest.insert(digest, self.found.len() - 1);
                self.found.len() - 1
            }
        };
        let found = &mut self.found[index];
        if found.places.len() == MOST_PLACES {
            // The last one stays: in a history that is the oldest.
            found.places.pop();
            found.more_places += 1;
        }
        found.places.push(place);
    }

    /// Notes the tokens in a name.
    pub(super) fn note_name(&mut self, finder: &mut Finder, name: &[u8], place: &Place) {
        finder.read_short(name, |sighting| self.note(&sighting, place.clone()));
    }

    /// Notes the tokens of a stream that is at `place`.
    ///
    /// # Errors
    /// The stream cannot be read to its end.
    pub(super) fn note_stream(
        &mut self,
        finder: &mut Finder,
        stream: &mut impl io::Read,
        place: &Place,
    ) -> io::Result<()> {
        let bytes = finder.read(stream, |sighting| {
            let line = Some(sighting.line);
            self.note(
                &sighting,
                Place {
                    line,
                    ..place.clone()
                },
            );
        })?;
        self.read += 1;
        self.bytes += bytes;
        Ok(())
    }

    /// Notes that something could not be read.
    pub(super) fn note_unreadable(&mut self, path: String, error: &io::Error) {
        self.unreadable_count += 1;
        if self.unreadable.len() < MOST_PLACES {
            // The kind alone: the text of some errors quotes.
            let problem = error.kind().to_string();
            self.unreadable.push(Unreadable { path, problem });
        }
    }
}

impl Found {
    fn of(sighting: &Sighting<'_>) -> Self {
        Self {
            token: FoundToken(sighting.text.clone()),
            typ: sighting.look.typ(),
            is_long_lived: sighting.look.is_long_lived(),
            is_whole: sighting.is_whole,
            says: sighting.claims(),
            places: Vec::new(),
            more_places: 0,
        }
    }
}

impl FoundToken {
    pub(crate) fn expose_secret(&self) -> &str {
        str::from_utf8(&self.0).expect("a token that was found has characters of base64url alone")
    }
}

impl std::fmt::Debug for FoundToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FoundToken").finish_non_exhaustive()
    }
}

/// Returns a path as it is shown: some programs name files after the URL that they have fetched, token and all.
pub(super) fn shown(finder: &mut Finder, path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    without_tokens(finder, path.as_os_str().as_bytes())
}

pub(super) fn without_tokens(finder: &mut Finder, text: &[u8]) -> String {
    let mut secrets = Vec::new();
    finder.read_short(text, |sighting| secrets.push(sighting.text));
    let mut shown = Zeroizing::new(String::from_utf8_lossy(text).into_owned());
    for secret in secrets {
        // Nothing but ASCII, so that it is in the text as it is in the bytes.
        let secret = str::from_utf8(&secret).unwrap_or_default();
        *shown = shown.replace(secret, "<token>");
    }
    std::mem::take(&mut *shown)
}

/// As many as a person can do something about.
const MOST_TOKENS: usize = 10_000;
const MOST_PLACES: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = include_str!("../../../tests/vectors/workspace-token-v1.jwt");

    #[test]
    fn a_token_is_one_however_often_it_is_found_and_places_are_bounded() {
        let (mut finder, mut inventory) = (Finder::new(), Inventory::default());
        let mut text = TOKEN.repeat(MOST_PLACES + 5).into_bytes();
        text.extend(&TOKEN.as_bytes()[..TOKEN.len() - 10]);
        let read = finder.read(&mut &*text, |sighting| {
            let line = Some(sighting.line);
            inventory.note(
                &sighting,
                Place {
                    line,
                    ..Place::default()
                },
            );
        });
        read.unwrap();
        let [whole, cut] = &*inventory.found else {
            panic!("{}", inventory.found.len())
        };
        assert_eq!((whole.places.len(), whole.more_places), (MOST_PLACES, 5));
        assert!(whole.is_whole && !cut.is_whole);
        assert_eq!(whole.says.unwrap().workspace.as_str(), "acme");
    }

    #[test]
    fn neither_debug_output_nor_a_path_shows_a_token() {
        let (mut finder, mut inventory) = (Finder::new(), Inventory::default());
        let name = format!("a/mcp?token={}&x=é", TOKEN.trim());
        inventory.note_name(&mut finder, name.as_bytes(), &Place::default());
        assert!(inventory.found[0].is_whole);
        let path = without_tokens(&mut finder, name.as_bytes());
        assert_eq!(path, "a/mcp?token=<token>&x=é");
        let debug = format!("{inventory:?}");
        let payload = TOKEN.split('.').nth(1).unwrap();
        assert!(!debug.contains(&payload[..12]), "{debug}");
        let cut = format!("a/{}", &TOKEN[..TOKEN.len() - 50]);
        assert_eq!(without_tokens(&mut finder, cut.as_bytes()), "a/<token>");
    }
}
