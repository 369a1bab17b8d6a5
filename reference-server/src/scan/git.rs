//! Reads git repositories through git itself: all that any ref, stash or reflog leads to, and what is about
//! to be committed.
//!
//! Objects stream by one after the other. The repository may be anybody's: no program is run that its
//! configuration names, and nothing is fetched.

use std::{
    collections::HashMap,
    io::{self, BufRead, BufReader, Read, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, anyhow, bail};
use serde::Serialize;

use super::{
    finder::Finder,
    inventory::{Inventory, Place, PlaceKind, without_tokens},
};
use crate::{
    error::{AppError, ErrorCode},
    git,
};

/// What there was of a history.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct HistoryRead {
    /// Objects that are not in this clone, as in a partial one.
    pub(crate) missing: u64,
    /// The clone is shallow: what came before is not in it.
    pub(crate) is_shallow: bool,
    /// Why not all of it was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<String>,
}

/// The repository around a directory, as far as its history goes.
pub(crate) struct History<'a>(Git<'a>);

impl<'a> History<'a> {
    /// Finds the repository around `root`.
    ///
    /// # Errors
    /// There is no git, or no repository.
    pub(crate) fn find(root: &'a Path) -> Result<Self, AppError> {
        Git::find(root, Environment::Clean).map(Self)
    }

    /// Reads every object that a ref, the index, a stash or a reflog leads to. What was found until
    /// something went wrong stays found.
    pub(crate) fn read(&self, inventory: &mut Inventory) -> HistoryRead {
        let mut read = HistoryRead::default();
        if let Err(error) = self.try_read(inventory, &mut read) {
            read.problem = Some(format!("{error:#}"));
        }
        read
    }

    fn try_read(&self, inventory: &mut Inventory, read: &mut HistoryRead) -> anyhow::Result<()> {
        let Self(git) = self;
        read.is_shallow = git.ask(&["rev-parse", "--is-shallow-repository"])? == "true";
        let places = inventory.found.iter().map(|found| found.places.len());
        let before: Vec<usize> = places.collect();
        let objects = read_objects(git, inventory, &mut read.missing);
        find_commits(git, inventory, &before)?;
        objects
    }
}

/// Reads the files of the index that are not as the last commit has them.
///
/// # Errors
/// There is no git, or no repository, or git fails.
pub(crate) fn staged(root: &Path, inventory: &mut Inventory) -> Result<(), AppError> {
    // A hook may get an index of its own in a variable.
    let git = Git::find(root, Environment::Given)?;
    Ok(read_staged(&git, inventory)?)
}

/// git in one repository.
struct Git<'a> {
    directory: &'a Path,
    environment: Environment,
}

/// Which repository git works in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Environment {
    /// The one of the directory.
    Clean,
    /// The one that variables name, if they do.
    Given,
}

impl<'a> Git<'a> {
    fn find(root: &'a Path, environment: Environment) -> Result<Self, AppError> {
        let directory = match root.is_dir() {
            true => root,
            false => root
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty())
                .unwrap_or(Path::new(".")),
        };
        let git = Self {
            directory,
            environment,
        };
        let asked = git
            .command(&["rev-parse", "--git-dir"])
            .stderr(Stdio::piped())
            .output();
        let answer = asked.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => AppError::new(
                ErrorCode::Failed,
                "git is not installed here, and a history is read through it: install git, or leave --history and --staged out",
            ),
            _ => anyhow!(error).context("cannot run git").into(),
        })?;
        if answer.status.success() {
            return Ok(git);
        }
        let mut finder = Finder::new();
        let said = without_tokens(&mut finder, &answer.stderr);
        let said = said
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches("fatal: ");
        let path = super::inventory::shown(&mut finder, directory);
        Err(AppError::invalid(format!(
            "git finds no repository at {path} that it may read: {said}"
        )))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = git::command(self.directory);
        if self.environment == Environment::Clean {
            git::forget_variables(&mut command);
        }
        command.arg("--no-replace-objects").args(arguments);
        command
    }

    fn ask(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let answer = self.command(arguments).output().context("cannot run git")?;
        if !answer.status.success() {
            bail!("`git {}` ended with {}", arguments[0], answer.status);
        }
        Ok(String::from_utf8_lossy(&answer.stdout).trim().to_owned())
    }

    /// Starts a git whose output is read.
    fn start(
        &self,
        arguments: &[&str],
        stdin: impl Into<Stdio>,
    ) -> anyhow::Result<(Running, ChildStdout)> {
        let mut command = self.command(arguments);
        let mut child = command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run git")?;
        let stdout = child.stdout.take().context("git has no output")?;
        let name = arguments[0].to_owned();
        Ok((Running { child, name }, stdout))
    }
}

/// A git that runs; it ends with this.
struct Running {
    child: Child,
    name: String,
}

impl Running {
    /// Waits for its end, which has to be a good one.
    fn finish(mut self) -> anyhow::Result<()> {
        let status = self.child.wait().context("cannot wait for git")?;
        match status.success() {
            true => Ok(()),
            false => bail!(
                "`git {}` ended with {status}: `git fsck` says whether the repository is whole",
                self.name
            ),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_objects(git: &Git<'_>, inventory: &mut Inventory, missing: &mut u64) -> anyhow::Result<()> {
    let (list, names) = git.start(
        &[
            "rev-list",
            "--objects",
            "--all",
            "--reflog",
            "--indexed-objects",
            // `?` and the object, which `cat-file` then does not find.
            "--missing=print",
        ],
        Stdio::null(),
    )?;
    let format = format!("--batch={HEAD}");
    let (cat, objects) = git.start(&["cat-file", &format, "--buffer"], names)?;
    let mut objects = BufReader::new(objects);
    let mut finder = Finder::new();
    while let Some(head) = Head::read(&mut objects)? {
        *missing += u64::from(read_object(
            &mut finder,
            &head,
            &mut objects,
            inventory,
            PlaceKind::History,
        )?);
    }
    cat.finish()?;
    list.finish()
}

/// Reads what follows a head; returns whether there is nothing, since the object is not in this clone.
fn read_object(
    finder: &mut Finder,
    head: &Head,
    objects: &mut impl Read,
    inventory: &mut Inventory,
    kind: PlaceKind,
) -> anyhow::Result<bool> {
    let Some(size) = head.size else {
        return Ok(true);
    };
    let path = match &*head.kind {
        "commit" => "(message of a commit)".to_owned(),
        "tag" => TAG.to_owned(),
        _ => without_tokens(finder, &head.path),
    };
    let place = Place {
        kind,
        path,
        line: None,
        commit: (head.kind == "commit").then(|| head.object.clone()),
        object: Some(head.object.clone()),
    };
    let name = head
        .path
        .rsplit(|byte| *byte == b'/')
        .next()
        .unwrap_or_default();
    inventory.note_name(finder, name, &place);
    let mut content = objects.by_ref().take(size);
    // A tree is a list of names, which come by one by one.
    if head.kind != "tree" {
        inventory.note_stream(finder, &mut content, &place)?;
    }
    let rest = io::copy(&mut content, &mut io::sink())?;
    if head.kind != "tree" && rest > 0 {
        bail!("git gave more of an object than there is");
    }
    let mut newline = [0];
    objects
        .read_exact(&mut newline)
        .context("git stopped in the middle of an object")?;
    Ok(false)
}

/// Where what is in a tag is said to be.
const TAG: &str = "(message of a tag)";

/// What `cat-file` says before an object.
struct Head {
    object: String,
    kind: String,
    /// None if the object is missing.
    size: Option<u64>,
    path: Vec<u8>,
}

/// Its form.
const HEAD: &str = "%(objectname) %(objecttype) %(objectsize) %(rest)";

impl Head {
    fn read(objects: &mut impl BufRead) -> anyhow::Result<Option<Self>> {
        let mut line = Vec::new();
        objects
            .read_until(b'\n', &mut line)
            .context("cannot read what git says")?;
        if line.pop().is_none() {
            return Ok(None);
        }
        let mut words = line.splitn(4, |byte| *byte == b' ');
        let mut word = || {
            words
                .next()
                .map(|word| String::from_utf8_lossy(word).into_owned())
                .unwrap_or_default()
        };
        let (object, kind, size) = (word(), word(), word());
        let path = words.next().unwrap_or_default().to_vec();
        let size = match &*kind {
            "missing" => None,
            _ => Some(size.parse().context("git says no size of an object")?),
        };
        Ok(Some(Self {
            object,
            kind,
            size,
            path,
        }))
    }
}

/// Finds the first commit of each object in which a token is, in one walk through the history.
///
/// `before` says how many places each token had when the history was not read yet.
fn find_commits(git: &Git<'_>, inventory: &mut Inventory, before: &[usize]) -> anyhow::Result<()> {
    // A tag is older or newer than the commits around it.
    let is_sought = |place: &Place| {
        place.kind == PlaceKind::History && place.commit.is_none() && place.path != TAG
    };
    let places = inventory
        .found
        .iter()
        .flat_map(|found| &found.places)
        .filter(|place| is_sought(place));
    let sought: HashMap<String, ()> = places
        .filter_map(|place| Some((place.object.clone()?, ())))
        .collect();
    if sought.is_empty() {
        return Ok(());
    }
    let mut first: HashMap<String, (u64, String, Vec<u8>)> = HashMap::new();
    // Not `git log`, which ends where a tree is missing.
    let (list, output) = git.start(
        &[
            "rev-list",
            "--objects",
            "--in-commit-order",
            "--all",
            "--reflog",
            "--reverse",
            "--topo-order",
            "--missing=print",
        ],
        Stdio::null(),
    )?;
    let mut output = BufReader::new(output);
    let (mut commit, mut number, mut line) = (String::new(), 0, Vec::new());
    while first.len() < sought.len() {
        line.clear();
        let length = output.read_until(b'\n', &mut line);
        if length.context("cannot read what git says")? == 0 {
            list.finish()?;
            break;
        }
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        // A commit stands alone, and before what it is the first to have; a tree at the top has an empty name.
        if line.first() == Some(&b'?') {
            continue;
        }
        let Some(at) = line.iter().position(|byte| *byte == b' ') else {
            commit = String::from_utf8_lossy(line).into_owned();
            number += 1;
            continue;
        };
        let object = String::from_utf8_lossy(&line[..at]);
        if sought.contains_key(&*object) && !first.contains_key(&*object) {
            let path = line[at + 1..].to_vec();
            first.insert(object.into_owned(), (number, commit.clone(), path));
        }
    }
    let mut finder = Finder::new();
    for (index, found) in inventory.found.iter_mut().enumerate() {
        let at = before
            .get(index)
            .copied()
            .unwrap_or_default()
            .min(found.places.len());
        for place in found.places[at..]
            .iter_mut()
            .filter(|place| is_sought(place))
        {
            let Some((_, commit, path)) =
                place.object.as_ref().and_then(|object| first.get(object))
            else {
                continue;
            };
            place.commit = Some(commit.clone());
            place.path = without_tokens(&mut finder, path);
        }
        // The first commit comes first; what no commit has, as the index may, last.
        found.places[at..].sort_by_key(|place| {
            let known = place.object.as_ref().and_then(|object| first.get(object));
            known.map_or(u64::MAX, |(number, ..)| *number)
        });
    }
    Ok(())
}

fn read_staged(git: &Git<'_>, inventory: &mut Inventory) -> anyhow::Result<()> {
    let (diff, changes) = git.start(
        &[
            "diff",
            "--cached",
            "--raw",
            "-z",
            "--no-abbrev",
            "--no-renames",
            "--no-relative",
            "--no-ext-diff",
            "--no-color",
            "--diff-filter=d",
            "--ignore-submodules=all",
        ],
        Stdio::null(),
    )?;
    let format = format!("--batch={HEAD}");
    let (mut cat, objects) = git.start(&["cat-file", &format], Stdio::piped())?;
    let mut asked: ChildStdin = cat.child.stdin.take().context("git has no input")?;
    let (mut changes, mut objects) = (BufReader::new(changes), BufReader::new(objects));
    let mut finder = Finder::new();
    while let Some(change) = field(&mut changes)? {
        let change = String::from_utf8_lossy(&change).into_owned();
        let object = change
            .split(' ')
            .nth(3)
            .context("git says no object of a change")?;
        let path = field(&mut changes)?.unwrap_or_default();
        // Without the path, which may hold a newline.
        writeln!(asked, "{object}")
            .and_then(|()| asked.flush())
            .context("git stopped")?;
        let head = Head::read(&mut objects)?.context("git stopped")?;
        let head = Head { path, ..head };
        if read_object(
            &mut finder,
            &head,
            &mut objects,
            inventory,
            PlaceKind::Staged,
        )? {
            let path = without_tokens(&mut finder, &head.path);
            inventory.note_unreadable(path, &io::ErrorKind::NotFound.into());
        }
    }
    drop(asked);
    cat.finish()?;
    diff.finish()
}

/// Reads up to a NUL; `None` at the end. A newline before it belongs to the form.
fn field(output: &mut impl BufRead) -> anyhow::Result<Option<Vec<u8>>> {
    let mut field = Vec::new();
    output
        .read_until(0, &mut field)
        .context("cannot read what git says")?;
    if field.pop().is_none() {
        return Ok(None);
    }
    if field.first() == Some(&b'\n') {
        field.remove(0);
    }
    Ok(Some(field))
}
