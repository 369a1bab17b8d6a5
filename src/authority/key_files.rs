//! Keys from two files, as a secret store hands them over. Nothing here makes a key: a file that is
//! missing by mistake, and made anew, would turn every token away.

use std::{
    error, fmt,
    fs::{self, File, Metadata},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use secrecy::SecretBox;
use zeroize::Zeroizing;

use super::Keys;
use crate::{
    cipher::{KeyRing, SealKey},
    jwt::SigningKey,
};

const KEY_LENGTH: usize = 32;

/// A key file that was not read; see [`kind`](Self::kind) for what to do about it.
///
/// It holds the path and nothing that is in the file.
#[derive(Debug)]
pub struct KeyFileError {
    kind: KeyFileErrorKind,
    path: PathBuf,
    source: Option<io::Error>,
}

/// Sorts a [`KeyFileError`] by what there is to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyFileErrorKind {
    /// Others can read or write it: `chmod 600`, and a new key if it was so for long.
    Exposed,
    /// There is no such file: put it back from where keys are kept or, before the first token, make it.
    Missing,
    /// It is a directory, a pipe or a device: put a file there.
    NotFile,
    /// It could not be read: see [`source`](error::Error::source).
    Unreadable,
    /// It does not hold 32 bytes, perhaps since they were written as text.
    WrongLength,
}

impl Keys {
    /// Reads the files `signing` and `sealing` in `directory`, of 32 random bytes each.
    ///
    /// They are made once, before the first token is issued:
    /// ```sh
    /// mkdir keys && cd keys && umask 077 && for ring in signing sealing; do head -c 32 /dev/urandom > $ring; done
    /// ```
    /// Links are followed, as secrets that Kubernetes mounts are links. After a change of keys, read the
    /// former ones from a directory of their own and add them with [`KeyRing::with_retired`].
    ///
    /// # Errors
    /// A file is missing, is none, is not of 32 bytes, or cannot be read. On Unix also if anybody but its
    /// owner can read or write it; its group may read one that is root's (mode 0440), which is how systemd
    /// and container runtimes hand secrets over. Kubernetes' own default is 0644: set `defaultMode: 0440`.
    ///
    /// # Security
    /// What is read is wiped on the way into the rings. Where files have no Unix modes, nobody's access is
    /// looked at. Whoever may write to the directory may put other keys there.
    pub fn read_dir(directory: impl AsRef<Path>) -> Result<Self, KeyFileError> {
        let read = |name| read_key(directory.as_ref().join(name));
        Ok(Self {
            signing: KeyRing::new(SigningKey::from_bytes(read("signing")?)),
            sealing: KeyRing::new(SealKey::from_bytes(read("sealing")?)),
        })
    }
}

impl KeyFileError {
    /// Returns what sort of error this is.
    pub fn kind(&self) -> KeyFileErrorKind {
        self.kind
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.kind {
            KeyFileErrorKind::Exposed => write!(
                f,
                "others can read or write the key file {path}: run `chmod 600` on it, and if it was so for long, replace the key"
            ),
            KeyFileErrorKind::Missing => write!(
                f,
                "the key file {path} is missing: put it back from where keys are kept or, if no token was issued yet, make it: (umask 077; head -c 32 /dev/urandom > FILE)"
            ),
            KeyFileErrorKind::NotFile => write!(f, "the key file {path} is no file"),
            KeyFileErrorKind::Unreadable => write!(f, "the key file {path} could not be read"),
            KeyFileErrorKind::WrongLength => write!(
                f,
                "the key file {path} is not of {KEY_LENGTH} bytes: it holds a key as it is, without a line end, and not as hex or base64"
            ),
        }
    }
}

impl error::Error for KeyFileError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

/// What is wrong with a file, before it is said of which.
struct Problem(KeyFileErrorKind, Option<io::Error>);

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => KeyFileErrorKind::Missing,
            io::ErrorKind::UnexpectedEof => KeyFileErrorKind::WrongLength,
            _ => KeyFileErrorKind::Unreadable,
        };
        Self(kind, Some(error))
    }
}

fn read_key(path: PathBuf) -> Result<SecretBox<[u8; KEY_LENGTH]>, KeyFileError> {
    read_whole(&path).map_err(|Problem(kind, source)| KeyFileError { kind, path, source })
}

fn read_whole(path: &Path) -> Result<SecretBox<[u8; KEY_LENGTH]>, Problem> {
    // Before it is opened, which would wait for the other end of a pipe.
    check(&fs::metadata(path)?)?;
    let mut file = File::open(path)?;
    // And once more: this is the file that is read.
    check(&file.metadata()?)?;
    // Clear intermediates. Read straight into it: a file has no buffer of its own.
    let mut key = Zeroizing::new([0; KEY_LENGTH]);
    file.read_exact(&mut *key)?;
    if file.read(&mut *Zeroizing::new([0; 1]))? != 0 {
        return Err(Problem(KeyFileErrorKind::WrongLength, None));
    }
    Ok(SecretBox::init_with_mut(|secret: &mut [u8; KEY_LENGTH]| {
        secret.copy_from_slice(&*key);
    }))
}

fn check(metadata: &Metadata) -> Result<(), Problem> {
    if !metadata.is_file() {
        return Err(Problem(KeyFileErrorKind::NotFile, None));
    }
    if is_exposed(metadata) {
        return Err(Problem(KeyFileErrorKind::Exposed, None));
    }
    Ok(())
}

#[cfg(unix)]
fn is_exposed(metadata: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    is_mode_exposed(metadata.mode(), metadata.uid())
}

#[cfg(not(unix))]
fn is_exposed(_metadata: &Metadata) -> bool {
    false
}

/// A group may read what root hands over to it, and never write.
#[cfg(unix)]
fn is_mode_exposed(mode: u32, owner: u32) -> bool {
    let others = mode & 0o077;
    let is_handed_over = owner == 0 && others == 0o040;
    others != 0 && !is_handed_over
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::{
        error::Error as _,
        os::unix::fs::{PermissionsExt as _, symlink},
        sync::atomic::{AtomicUsize, Ordering},
    };

    use super::*;
    use crate::cipher::RingKey as _;

    /// A directory with two keys, removed in the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            static MADE: AtomicUsize = AtomicUsize::new(0);
            let number = MADE.fetch_add(1, Ordering::Relaxed);
            let name = format!("key-files-{}-{number}", std::process::id());
            let folder = Self(std::env::temp_dir().join(name));
            fs::create_dir_all(&folder.0).unwrap();
            folder.put("signing", &[1; 32], 0o600);
            folder.put("sealing", &[2; 32], 0o400);
            folder
        }

        fn put(&self, name: &str, key: &[u8], mode: u32) {
            let path = self.0.join(name);
            let _ = fs::remove_file(&path);
            fs::write(&path, key).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }

        /// Reads them, and returns which file was refused, and why.
        fn refused(&self) -> (KeyFileErrorKind, String) {
            let error = Keys::read_dir(&self.0).unwrap_err();
            assert!(error.to_string().contains(&*error.path().to_string_lossy()));
            let file = error.path().strip_prefix(&self.0).unwrap();
            (error.kind(), file.display().to_string())
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn reads_a_key_for_each_ring() {
        let folder = Folder::new();
        let keys = Keys::read_dir(&folder.0).unwrap();
        let signing = SigningKey::from_bytes(SecretBox::init_with(|| [1; 32]));
        let sealing = SealKey::from_bytes(SecretBox::init_with(|| [2; 32]));
        assert_eq!(keys.signing.primary().id(), signing.id());
        assert_eq!(keys.sealing.primary().id(), sealing.id());
    }

    /// As Kubernetes mounts them: `signing` → `..data/signing`, `..data` → the directory of this version.
    #[test]
    fn follows_links_and_looks_at_what_they_lead_to() {
        let folder = Folder::new();
        fs::create_dir(folder.0.join("..1")).unwrap();
        symlink("..1", folder.0.join("..data")).unwrap();
        fs::rename(folder.0.join("sealing"), folder.0.join("..1/sealing")).unwrap();
        symlink("..data/sealing", folder.0.join("sealing")).unwrap();
        assert!(Keys::read_dir(&folder.0).is_ok());
        folder.put("..1/sealing", &[2; 32], 0o644);
        let expected = (KeyFileErrorKind::Exposed, "sealing".to_owned());
        assert_eq!(folder.refused(), expected);
        fs::remove_file(folder.0.join("..1/sealing")).unwrap();
        assert_eq!(folder.refused().0, KeyFileErrorKind::Missing);
    }

    #[test]
    fn refuses_a_file_that_others_can_read() {
        for mode in [0o604, 0o644, 0o620, 0o602, 0o660, 0o666, 0o444, 0o601] {
            let folder = Folder::new();
            folder.put("signing", &[1; 32], mode);
            let expected = (KeyFileErrorKind::Exposed, "signing".to_owned());
            assert_eq!(folder.refused(), expected, "{mode:o}");
        }
    }

    #[test]
    fn a_group_may_read_what_is_roots_alone() {
        for (mode, owner, is_refused) in [
            (0o100440, 0, false),
            (0o100640, 0, false),
            (0o100440, 1000, true),
            (0o100640, 1000, true),
            (0o100460, 0, true),
            (0o100444, 0, true),
            (0o100404, 0, true),
            (0o100600, 1000, false),
        ] {
            assert_eq!(is_mode_exposed(mode, owner), is_refused, "{mode:o} {owner}");
        }
    }

    #[test]
    fn refuses_a_file_of_another_length_and_repeats_nothing_of_it() {
        let base64 = b"c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IDMyYnk=";
        for key in [
            &b""[..],
            &[7; 31],
            &[7; 33],
            b"secret secret secret secret 32by\n",
            base64,
        ] {
            let folder = Folder::new();
            folder.put("sealing", key, 0o600);
            let expected = (KeyFileErrorKind::WrongLength, "sealing".to_owned());
            assert_eq!(folder.refused(), expected, "{}", key.len());
            let error = Keys::read_dir(&folder.0).unwrap_err();
            let said = format!("{error} {error:?}");
            assert!(!said.contains("secret") && !said.contains("c2Vj"), "{said}");
        }
    }

    #[test]
    fn a_missing_file_is_not_made_anew() {
        let folder = Folder::new();
        fs::remove_file(folder.0.join("sealing")).unwrap();
        let expected = (KeyFileErrorKind::Missing, "sealing".to_owned());
        assert_eq!(folder.refused(), expected);
        assert!(!folder.0.join("sealing").exists());
        let error = Keys::read_dir(folder.0.join("nowhere")).unwrap_err();
        assert_eq!(error.kind(), KeyFileErrorKind::Missing);
        assert!(error.to_string().contains("head -c 32 /dev/urandom"));
        assert!(error.source().is_some());
    }

    /// A pipe would be waited for, for ever.
    #[test]
    fn what_is_no_file_is_not_opened() {
        let folder = Folder::new();
        fs::remove_file(folder.0.join("signing")).unwrap();
        fs::create_dir(folder.0.join("signing")).unwrap();
        let expected = (KeyFileErrorKind::NotFile, "signing".to_owned());
        assert_eq!(folder.refused(), expected);
        fs::remove_dir(folder.0.join("signing")).unwrap();
        let made = std::process::Command::new("mkfifo")
            .args(["-m", "600"])
            .arg(folder.0.join("signing"))
            .status();
        if made.is_ok_and(|made| made.success()) {
            assert_eq!(folder.refused(), expected);
        }
    }
}
