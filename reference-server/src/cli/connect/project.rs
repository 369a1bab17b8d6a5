//! The files of a project: where they are, and how one is replaced by another in one step.

use std::{
    env, fs,
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Component, Path, PathBuf},
};

use anyhow::Context as _;

use crate::error::{AppError, ErrorCode};

/// A folder that is somebody's work.
#[derive(Debug)]
pub(super) struct Project {
    /// Without symbolic links.
    root: PathBuf,
}

/// Where a file is, or is to be.
#[derive(Debug)]
pub(super) struct Place {
    /// As people are told of it.
    pub(super) shown: String,
    /// Where it really is, symbolic links followed.
    path: PathBuf,
}

impl Project {
    /// Opens the project at `folder`, or where the command runs.
    pub(super) fn open(folder: Option<&Path>) -> Result<Self, AppError> {
        let folder = folder.unwrap_or(Path::new("."));
        let root = fs::canonicalize(folder)
            .ok()
            .filter(|root| root.is_dir())
            .ok_or_else(|| {
                let folder = folder.display();
                AppError::new(
                    ErrorCode::NotFound,
                    format!("there is no folder {folder}: give the project's with --dir"),
                )
            })?;
        Ok(Self { root })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Finds `file`, which is relative to the project, or to the home directory if it begins with `~`.
    pub(super) fn place(&self, file: &str) -> Result<Place, AppError> {
        match file.strip_prefix("~/") {
            None => Place::find(&self.root, file, file),
            Some(in_home) => {
                let home = env::var_os("HOME").filter(|home| !home.is_empty());
                let home = home.and_then(|home| fs::canonicalize(home).ok());
                let home = home.ok_or_else(|| {
                    AppError::new(
                        ErrorCode::Failed,
                        format!("there is no home directory for {file}: set HOME"),
                    )
                })?;
                Place::find(&home, in_home, file)
            }
        }
    }
}

impl Place {
    fn find(base: &Path, file: &str, shown: &str) -> Result<Self, AppError> {
        let place = |path| Self {
            shown: shown.to_owned(),
            path,
        };
        let mut path = base.to_owned();
        let mut parts = Path::new(file).components().peekable();
        while let Some(Component::Normal(part)) = parts.next() {
            path.push(part);
            let metadata = match fs::symlink_metadata(&path) {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    path.extend(parts);
                    return Ok(place(path));
                }
                Err(error) => return Err(failed(shown, "cannot be looked at", &error)),
            };
            if metadata.is_symlink() {
                path = fs::canonicalize(&path)
                    .map_err(|error| failed(shown, "is a link to nothing", &error))?;
                // What a project brings must not decide what is written elsewhere.
                if !path.starts_with(base) {
                    return Err(AppError::new(
                        ErrorCode::Failed,
                        format!(
                            "{shown} leads out of its folder by a symbolic link: put a file of its own there"
                        ),
                    ));
                }
            }
            let is_last = parts.peek().is_none();
            if path.is_dir() == is_last || (is_last && !path.is_file()) {
                return Err(AppError::new(
                    ErrorCode::Failed,
                    format!("{shown} is no file: move away what is there"),
                ));
            }
        }
        Ok(place(path))
    }

    /// Reads the file, if it is there.
    pub(super) fn read(&self) -> Result<Option<String>, AppError> {
        let length = match fs::metadata(&self.path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(&self.shown, "cannot be read", &error)),
        };
        if length > MAX_LENGTH {
            return Err(AppError::new(
                ErrorCode::Failed,
                format!("{} is larger than 1 MiB: nothing was changed", self.shown),
            ));
        }
        let bytes =
            fs::read(&self.path).map_err(|error| failed(&self.shown, "cannot be read", &error))?;
        let text = String::from_utf8(bytes).map_err(|_| {
            AppError::new(
                ErrorCode::Failed,
                format!("{} is no text in UTF-8: nothing was changed", self.shown),
            )
        })?;
        Ok(Some(text))
    }

    /// Puts `text` in the file's place in one step, with the permissions that the file has.
    pub(super) fn replace(&self, text: &str) -> Result<(), AppError> {
        self.try_replace(text)
            .with_context(|| format!("{} cannot be written", self.shown))?;
        Ok(())
    }

    fn try_replace(&self, text: &str) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(&self.path);
        fs::create_dir_all(folder)?;
        let unfinished = folder.join(format!(".wst-connect.{}.new", std::process::id()));
        let write = || -> io::Result<()> {
            let permissions = fs::metadata(&self.path).map(|file| file.permissions()).ok();
            // Whatever is in there is nobody else's until it is known who may read the file.
            let mode = if permissions.is_some() { 0o600 } else { 0o666 };
            let mut file = fs::File::options()
                .write(true)
                .create_new(true)
                .mode(mode)
                .open(&unfinished)?;
            file.write_all(text.as_bytes())?;
            if let Some(permissions) = permissions {
                let mode = permissions.mode() & 0o777;
                file.set_permissions(fs::Permissions::from_mode(mode))?;
            }
            file.sync_all()?;
            fs::rename(&unfinished, &self.path)
        };
        write().inspect_err(|error| {
            if error.kind() != io::ErrorKind::AlreadyExists {
                let _ = fs::remove_file(&unfinished);
            }
        })
    }
}

fn failed(shown: &str, what: &str, error: &io::Error) -> AppError {
    AppError::new(ErrorCode::Failed, format!("{shown} {what}: {error}"))
}

const MAX_LENGTH: u64 = 1024 * 1024;
