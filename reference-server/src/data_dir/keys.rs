//! The key file: two rings of keys, as text that people can copy and back up.
//!
//! One key per line: ring, role, and 32 bytes in base64 (RFC 4648 §4). Each ring has one primary.
//!
//! ```text
//! signing primary 3q2+7w...=
//! sealing primary yv66vg...=
//! sealing retired AAECAw...=
//! ```

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow, bail};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use secrecy::SecretBox;
use tower_workspace_token::{
    authority::Keys,
    cipher::{KeyRing, RingKey, SealKey},
    jwt::SigningKey,
};
use zeroize::Zeroizing;

use super::{DataDir, create_private, replace_file, with_suffix};
use crate::error::{AppError, ErrorCode};

/// Where the keys are.
#[derive(Debug)]
pub(crate) enum KeySource {
    /// In the data directory, where we made them.
    DataDir,
    /// In a file that somebody hands over: systemd, a container, an operator.
    Given(PathBuf),
}

/// A key file, wherever it is.
#[derive(Clone, Debug)]
pub(crate) struct KeyFile {
    path: PathBuf,
    is_given: bool,
}

/// The keys, and the file that they were read from.
#[derive(Debug)]
pub(crate) struct OpenKeys {
    pub(crate) file: KeyFile,
    pub(crate) keys: Keys,
}

impl KeySource {
    /// Reads the keys; for a database that is new, and if there are none, they are made.
    pub(crate) fn read_or_create(
        &self,
        data_dir: &DataDir,
        is_new: bool,
    ) -> anyhow::Result<OpenKeys> {
        let file = self.file(data_dir);
        if !file.is_given && !file.path.exists() && is_new {
            let keys = create(data_dir)?;
            return Ok(OpenKeys { file, keys });
        }
        self.read(data_dir)
    }

    /// Reads the keys that are there.
    pub(crate) fn read(&self, data_dir: &DataDir) -> anyhow::Result<OpenKeys> {
        let file = self.file(data_dir);
        let keys = file.read()?;
        if !file.is_given {
            // Whoever put it there may have been killed before its name was kept: no token may come under
            // a key that a power failure takes back.
            file.keep()?;
        }
        Ok(OpenKeys { file, keys })
    }

    /// Reads the keys of a file to copy or compare them: nothing is signed or sealed with them, so it does not
    /// matter whose it is.
    pub(crate) fn read_copy(path: &Path) -> anyhow::Result<Keys> {
        let context = || format!("cannot read the key file {}", path.display());
        let file = File::open(path).with_context(context)?;
        let text = read_bounded(file).with_context(context)?;
        parse(&text).with_context(context)
    }

    /// Returns the file that the keys are in, or would be.
    pub(crate) fn file(&self, data_dir: &DataDir) -> KeyFile {
        match self {
            Self::DataDir => KeyFile {
                path: data_dir.key_file(),
                is_given: false,
            },
            Self::Given(path) => KeyFile {
                path: path.clone(),
                is_given: true,
            },
        }
    }
}

impl KeyFile {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the keys that are in the file.
    pub(crate) fn read(&self) -> anyhow::Result<Keys> {
        let path = &self.path;
        let text = match File::open(path) {
            Ok(file) => read_private(file, self.is_given),
            Err(error) if error.kind() == io::ErrorKind::NotFound => bail!(
                "the key file {} is missing, and without it no token in the database can be checked: put it back from its backup, copy it from another node of the same database, or say with --key-file where it is; nothing was changed",
                path.display()
            ),
            Err(error) => Err(error.into()),
        };
        let context = || format!("cannot use the key file {}", path.display());
        parse(&text.with_context(context)?).with_context(context)
    }

    /// Puts a file with `keys` in the place of this one, whole or not at all; until [`keep`](Self::keep) has
    /// succeeded, a power failure may bring this one back.
    pub(crate) fn replace(&self, keys: &Keys) -> anyhow::Result<()> {
        self.check_ours()?;
        replace_file(&self.path, render(keys).as_bytes()).with_context(|| {
            format!(
                "cannot write the key file {}, which is as it was",
                self.path.display()
            )
        })
    }

    /// Makes sure that the file that is there outlives a power failure.
    pub(crate) fn keep(&self) -> anyhow::Result<()> {
        let sync = || File::open(directory_of(&self.path))?.sync_all();
        sync().with_context(|| {
            format!(
                "the key file {} was written, but a power failure may bring the one before it back: look after the disk, then try again",
                self.path.display()
            )
        })
    }

    /// Refuses a file that somebody else writes: what we put there would be lost with their next version.
    fn check_ours(&self) -> anyhow::Result<()> {
        let metadata = fs::symlink_metadata(&self.path)
            .with_context(|| format!("cannot look at the key file {}", self.path.display()))?;
        let is_ours = metadata.is_file()
            && metadata.uid() == rustix::process::geteuid().as_raw()
            && metadata.permissions().mode() & 0o077 == 0;
        if !is_ours {
            bail!(
                "the key file {} is handed over by somebody else and not written here: run this on a copy of the file that is yours alone (mode 0600), and hand that over",
                self.path.display()
            );
        }
        Ok(())
    }
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Writes a copy of the keys for a safe place, which the data directory is not.
pub(crate) fn export_to(
    keys: &Keys,
    path: &Path,
    data_dir: &Path,
    force: bool,
) -> Result<(), AppError> {
    let folder = path.parent().unwrap_or(path);
    let folder = fs::canonicalize(folder)
        .with_context(|| format!("there is no directory {}", folder.display()))?;
    if folder.starts_with(fs::canonicalize(data_dir).context("there is no data directory")?) {
        return Err(AppError::invalid(
            "a copy in the data directory would be lost with it: name a file elsewhere",
        ));
    }
    if path.try_exists().context("cannot look at the file")? && !force {
        return Err(AppError::new(
            ErrorCode::AlreadyExists,
            format!(
                "{} is there already: give --force to replace it",
                path.display()
            ),
        ));
    }
    replace_file(path, render(keys).as_bytes())
        .and_then(|()| File::open(directory_of(path))?.sync_all())
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}

fn create(data_dir: &DataDir) -> anyhow::Result<Keys> {
    let keys = Keys::generate()?;
    let path = data_dir.key_file();
    write(data_dir, &path, &keys).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(keys)
}

/// Writes the file whole or not at all, and never over another one.
fn write(data_dir: &DataDir, path: &Path, keys: &Keys) -> io::Result<()> {
    let unfinished = with_suffix(path, ".new");
    let _ = fs::remove_file(&unfinished);
    let mut file = create_private(&unfinished)?;
    file.write_all(render(keys).as_bytes())?;
    file.sync_all()?;
    let linked = fs::hard_link(&unfinished, path);
    fs::remove_file(&unfinished)?;
    linked?;
    data_dir.sync()
}

pub(crate) fn render(keys: &Keys) -> Zeroizing<String> {
    let lines = keys.signing.iter().count() + keys.sealing.iter().count();
    // Enough for all of it, so that the text does not move while it grows.
    let mut text = Zeroizing::new(String::with_capacity(HEAD.len() + lines * LINE));
    text.push_str(HEAD);
    let signing = keys.signing.iter().map(SigningKey::expose_secret);
    render_ring(&mut text, "signing", signing);
    let sealing = keys.sealing.iter().map(SealKey::expose_secret);
    render_ring(&mut text, "sealing", sealing);
    text
}

/// Writes the keys of a ring, whose first one is the primary.
fn render_ring<'a>(text: &mut String, ring: &str, keys: impl Iterator<Item = &'a [u8; 32]>) {
    for (index, key) in keys.enumerate() {
        text.push_str(ring);
        text.push_str(if index == 0 { " primary " } else { " retired " });
        BASE64_STANDARD.encode_string(key, text);
        text.push('\n');
    }
}

/// Reads a file that others must not be able to read.
///
/// `is_given` says that somebody hands it over, and so may have to let our group read it.
pub(crate) fn read_private(file: File, is_given: bool) -> anyhow::Result<Zeroizing<String>> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        bail!("it is not a file");
    }
    check_mode(metadata.permissions().mode(), metadata.uid(), is_given)?;
    read_bounded(file)
}

fn read_bounded(mut file: File) -> anyhow::Result<Zeroizing<String>> {
    let metadata = file.metadata()?;
    if metadata.len() > MAX_LENGTH {
        bail!("it is too long for a key file");
    }
    // Room for all of it and the byte that shows the end, so that the text does not move.
    let mut text = Zeroizing::new(String::with_capacity(metadata.len() as usize + 1));
    file.read_to_string(&mut text)?;
    Ok(text)
}

fn check_mode(mode: u32, owner: u32, is_given: bool) -> anyhow::Result<()> {
    let others = mode & 0o077;
    // systemd and container runtimes hand credentials over as root's, readable by the service's group.
    let is_credential = is_given && owner == 0 && others == 0o040;
    if others != 0 && !is_credential {
        bail!(
            "other users can read it (mode {:04o}): run `chmod 600` on it, and if it was so for long, replace what is in it",
            mode & 0o7777
        );
    }
    let us = rustix::process::geteuid().as_raw();
    if owner != us && owner != 0 {
        bail!("it belongs to another user: run `chown` on it");
    }
    Ok(())
}

pub(crate) fn parse(text: &str) -> anyhow::Result<Keys> {
    let (mut signing, mut sealing) = (Ring::default(), Ring::default());
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        parse_line(line, &mut signing, &mut sealing)
            .with_context(|| format!("line {}", index + 1))?;
    }
    Ok(Keys {
        signing: signing.close("signing")?,
        sealing: sealing.close("sealing")?,
    })
}

/// Reads a line. No error holds any part of it.
fn parse_line(
    line: &str,
    signing: &mut Ring<SigningKey>,
    sealing: &mut Ring<SealKey>,
) -> anyhow::Result<()> {
    let mut words = line.split_ascii_whitespace();
    let (Some(ring), Some(role), Some(key), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        bail!("expected three words: ring, role and key");
    };
    let is_primary = match role {
        "primary" => true,
        "retired" => false,
        _ => bail!("a key is primary or retired"),
    };
    let secret = decode(key)?;
    match ring {
        "signing" => signing.add(is_primary, SigningKey::from_bytes(secret)),
        "sealing" => sealing.add(is_primary, SealKey::from_bytes(secret)),
        _ => bail!("a ring is signing or sealing"),
    }
}

fn decode(text: &str) -> anyhow::Result<SecretBox<[u8; 32]>> {
    // As long as the decoder wants, which reckons with whole groups of three bytes.
    let mut bytes = Zeroizing::new([0; 48]);
    let length = BASE64_STANDARD
        .decode_slice(text, bytes.as_mut_slice())
        // The decoder's own error would quote a character of the key.
        .map_err(|_| anyhow!("the key is not 32 bytes in base64"))?;
    if length != 32 {
        bail!("the key has {length} bytes and needs 32");
    }
    Ok(SecretBox::init_with_mut(|key: &mut [u8; 32]| {
        key.copy_from_slice(&bytes[..32]);
    }))
}

/// The keys of one ring, as they are read.
struct Ring<K> {
    primary: Option<K>,
    retired: Vec<K>,
}

impl<K> Default for Ring<K> {
    fn default() -> Self {
        Self {
            primary: None,
            retired: Vec::new(),
        }
    }
}

impl<K: RingKey> Ring<K> {
    fn add(&mut self, is_primary: bool, key: K) -> anyhow::Result<()> {
        if !is_primary {
            self.retired.push(key);
        } else if self.primary.replace(key).is_some() {
            bail!("the ring has a primary already");
        }
        Ok(())
    }

    fn close(self, name: &str) -> anyhow::Result<KeyRing<K>> {
        let primary = self
            .primary
            .ok_or_else(|| anyhow!("it holds no primary {name} key"))?;
        self.retired
            .into_iter()
            .try_fold(KeyRing::new(primary), KeyRing::with_retired)
            .with_context(|| format!("{name} keys"))
    }
}

const HEAD: &str = "\
# The keys of the workspace tokens in this directory. Whoever has them and the database has the tokens.
# Keep a copy in a safe place, apart from backups of the database: without it these are worth nothing.
";

/// The most characters of a line: two words and 44 of base64.
const LINE: usize = 64;

const MAX_LENGTH: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let [keys, older] = [(); 2].map(|()| Keys::generate().unwrap());
        let keys = Keys {
            signing: keys
                .signing
                .with_retired(older.signing.primary().clone())
                .unwrap(),
            sealing: keys
                .sealing
                .with_retired(older.sealing.primary().clone())
                .unwrap(),
        };
        let text = render(&keys);
        assert!(text.capacity() >= text.len() && text.len() <= HEAD.len() + 4 * LINE);
        let read = parse(&text).unwrap();
        assert!(
            read.signing
                .iter()
                .map(RingKey::id)
                .eq(keys.signing.iter().map(RingKey::id))
        );
        assert!(
            read.sealing
                .iter()
                .map(RingKey::id)
                .eq(keys.sealing.iter().map(RingKey::id))
        );
    }

    #[test]
    fn replaces_its_own_file_and_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let file = KeyFile {
            path: directory.path().join("workspaces.keys"),
            is_given: true,
        };
        let [first, second] = [(); 2].map(|()| Keys::generate().unwrap());
        fs::write(&file.path, render(&first).as_bytes()).unwrap();
        let set = |mode| fs::set_permissions(&file.path, fs::Permissions::from_mode(mode)).unwrap();
        set(0o440);
        assert!(file.replace(&second).is_err());
        set(0o600);
        assert_eq!(
            file.read().unwrap().signing.primary().id(),
            first.signing.primary().id()
        );
        file.replace(&second).unwrap();
        assert_eq!(
            file.read().unwrap().signing.primary().id(),
            second.signing.primary().id()
        );
        let mode = fs::metadata(&file.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        let link = KeyFile {
            path: directory.path().join("link"),
            is_given: true,
        };
        std::os::unix::fs::symlink(&file.path, &link.path).unwrap();
        assert!(link.replace(&first).is_err());
    }

    #[test]
    fn refuses_what_is_not_a_key_file_and_quotes_none_of_it() {
        let key = BASE64_STANDARD.encode([7; 32]);
        let short = BASE64_STANDARD.encode([7; 31]);
        for (name, text) in [
            ("empty", String::new()),
            ("no sealing key", format!("signing primary {key}")),
            (
                "two primaries",
                format!("signing primary {key}\nsigning primary {key}\nsealing primary {key}"),
            ),
            (
                "same key twice",
                format!("signing primary {key}\nsigning retired {key}\nsealing primary {key}"),
            ),
            (
                "short key",
                format!("signing primary {short}\nsealing primary {key}"),
            ),
            (
                "unknown ring",
                format!("signing primary {key}\nsealing primary {key}\nother primary {key}"),
            ),
            (
                "unknown role",
                format!("signing primary {key}\nsealing primary {key}\nsealing spare {key}"),
            ),
            (
                "not base64",
                format!("signing primary {key}!\nsealing primary {key}"),
            ),
            (
                "four words",
                format!("signing primary {key} x\nsealing primary {key}"),
            ),
        ] {
            let error = format!("{:#}", parse(&text).unwrap_err());
            assert!(!error.contains(&key[..8]), "{name}: {error}");
        }
    }

    #[test]
    fn takes_a_groups_credential_only_from_root_and_only_if_given() {
        let us = rustix::process::geteuid().as_raw();
        assert!(check_mode(0o100_600, us, false).is_ok());
        assert!(check_mode(0o100_440, 0, true).is_ok());
        for (mode, owner, is_given) in [
            (0o100_440, 0, false),
            (0o100_444, 0, true),
            (0o100_660, 0, true),
            (0o100_644, us, false),
            (0o100_600, us + 1, true),
        ] {
            assert!(check_mode(mode, owner, is_given).is_err(), "{mode:o}");
        }
    }
}
