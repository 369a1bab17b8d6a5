//! Files that come with tasks and messages.
//!
//! They are kept in the database, so that a backup has them and a deleted workspace leaves none behind.
//! Bounds: 1 MiB each, which holds logs, patches and screenshots; what comes at once fits, as base64
//! beside a text, into the 4 MiB that the MCP endpoint reads; and what a task may hold is bounded too.
//!
//! # Security
//! The media type is one of a list, whatever was declared, and binary types are compared with the first
//! bytes; text is UTF-8. Names are cleaned before they are kept. An attachment is found by its id, its
//! workspace *and* its task.

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tower_workspace_token::id::WorkspaceId;

use super::{
    Actor, AttachmentId, Author, MessageId, TaskError, TaskErrorKind, TaskId, Tasks, What,
    read::{self, parsed},
    timeline,
};
use crate::{
    db::{DatabaseError, OptionalExtension as _, Row, Transaction, named_params},
    text, time,
};

/// The most bytes of a file.
pub(crate) const MAX_ATTACHMENT: usize = 1024 * 1024;
/// The most files that come with one message or task.
pub(crate) const MAX_ATTACHMENTS_AT_ONCE: usize = 8;
/// The most bytes of all files that come at once.
pub(crate) const MAX_BYTES_AT_ONCE: usize = 2 * 1024 * 1024;
/// The most files of a task, those of its messages included.
pub(crate) const MAX_ATTACHMENTS_OF_TASK: usize = 64;
/// The most bytes of all files of a task.
pub(crate) const MAX_BYTES_OF_TASK: usize = 16 * 1024 * 1024;

/// The same for people who choose files.
pub(crate) const FILES_HINT: &str =
    "Up to 8 files of at most 1 MiB, 2 MiB together: text, JSON, PDF, pictures, ZIP or gzip.";

const MAX_NAME: usize = 100;

/// A file to be added.
#[derive(Clone, Debug)]
pub(crate) struct NewAttachment {
    /// What the sender calls it; cleaned before it is kept.
    pub(crate) name: String,
    /// What the sender says it is; the name decides if this is absent or `application/octet-stream`.
    pub(crate) media_type: Option<String>,
    pub(crate) data: Bytes,
}

/// What is known of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Attachment {
    pub(crate) id: AttachmentId,
    /// The message it came with; absent if it came with the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<MessageId>,
    pub(crate) author: Actor,
    pub(crate) author_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) author_user: Option<String>,
    /// Without path, control characters, or what turns the direction of writing.
    pub(crate) name: String,
    /// One of a fixed list.
    pub(crate) media_type: String,
    pub(crate) size: u64,
    /// When it came, in RFC 3339.
    pub(crate) created_at: String,
}

/// A file with its bytes.
#[derive(Clone, Debug)]
pub(crate) struct AttachmentData {
    pub(crate) attachment: Attachment,
    pub(crate) data: Bytes,
}

/// A file that was found fit to be kept.
#[derive(Debug)]
pub(super) struct Checked {
    id: AttachmentId,
    name: String,
    media_type: &'static str,
    data: Bytes,
}

impl Tasks {
    /// Returns a file of a task.
    ///
    /// # Errors
    /// There is no such file of this task in this workspace, or the database failed.
    pub(crate) async fn attachment(
        &self,
        workspace: &WorkspaceId,
        task: &TaskId,
        id: &AttachmentId,
    ) -> Result<AttachmentData, TaskError> {
        let (workspace, task, id) = (*workspace, task.clone(), id.clone());
        self.database
            .read(move |snapshot| find(snapshot, &workspace, &task, &id))
            .await
    }

    /// Returns the files of a task, oldest first.
    ///
    /// # Errors
    /// There is no such task in this workspace, or the database failed.
    pub(crate) async fn attachments(
        &self,
        workspace: &WorkspaceId,
        task: &TaskId,
    ) -> Result<Vec<Attachment>, TaskError> {
        let (workspace, task) = (*workspace, task.clone());
        self.database
            .read(move |snapshot| {
                read::standing(snapshot, &workspace, &task)?;
                of_task(snapshot, &workspace, &task)
            })
            .await
    }
}

/// Checks files before there is a transaction.
pub(super) fn check(files: Vec<NewAttachment>) -> Result<Vec<Checked>, TaskError> {
    if files.len() > MAX_ATTACHMENTS_AT_ONCE {
        return Err(refused("at most 8 attachments come at once"));
    }
    if files.iter().map(|file| file.data.len()).sum::<usize>() > MAX_BYTES_AT_ONCE {
        return Err(refused(
            "the attachments that come at once have at most 2 MiB together",
        ));
    }
    files.into_iter().map(check_one).collect()
}

fn check_one(file: NewAttachment) -> Result<Checked, TaskError> {
    let name = clean(&file.name);
    checked(file, &name).map_err(|error| error.about(&name))
}

fn checked(file: NewAttachment, name: &str) -> Result<Checked, TaskError> {
    if file.data.is_empty() {
        return Err(refused("an attachment must not be empty"));
    }
    if file.data.len() > MAX_ATTACHMENT {
        return Err(refused("an attachment has at most 1 MiB"));
    }
    let media_type = media_type(file.media_type.as_deref(), name)?;
    if !begins_as(media_type, &file.data) {
        return Err(refused(
            "an attachment's contents are not what its type, or the ending of its name, says",
        ));
    }
    Ok(Checked {
        id: AttachmentId::random()?,
        name: name.to_owned(),
        media_type,
        data: file.data,
    })
}

/// Types that are kept, the endings that stand for them, and what their files begin with.
const TYPES: &[(&str, &[&str], &[u8])] = &[
    ("application/gzip", &["gz", "tgz"], b"\x1f\x8b"),
    ("application/json", &["json"], b""),
    ("application/pdf", &["pdf"], b"%PDF-"),
    ("application/zip", &["zip"], b"PK"),
    ("image/gif", &["gif"], b"GIF8"),
    ("image/jpeg", &["jpg", "jpeg"], b"\xff\xd8\xff"),
    ("image/png", &["png"], b"\x89PNG\r\n\x1a\n"),
    ("image/webp", &["webp"], b"RIFF"),
    ("text/csv", &["csv"], b""),
    ("text/markdown", &["md", "markdown"], b""),
    (TEXT, &["txt", "log", "diff", "patch"], b""),
];

const TEXT: &str = "text/plain";

/// Types that clients give to what is text, and which a browser might do more with.
const ALSO_TEXT: &[&str] = &[
    "application/javascript",
    "application/toml",
    "application/x-sh",
    "application/xml",
    "application/x-yaml",
    "application/yaml",
];

/// Returns the type to keep: that of the list, `text/plain` for any other text.
fn media_type(declared: Option<&str>, name: &str) -> Result<&'static str, TaskError> {
    let declared = declared.map(|declared| {
        let essence = declared.split(';').next().unwrap_or_default();
        essence.trim().to_ascii_lowercase()
    });
    let declared = declared
        .as_deref()
        .filter(|declared| !matches!(*declared, "" | "application/octet-stream"));
    let found = match declared {
        Some(declared) => TYPES.iter().find(|(name, ..)| *name == declared),
        None => {
            let ending = name.rsplit_once('.').map(|(_, ending)| ending);
            let ending = ending.unwrap_or_default().to_ascii_lowercase();
            TYPES
                .iter()
                .find(|(_, endings, _)| endings.contains(&&*ending))
        }
    };
    match (found, declared) {
        (Some((found, ..)), _) => Ok(found),
        // Whether it is text is seen from the contents.
        (None, None) => Ok(TEXT),
        (None, Some(declared)) if declared.starts_with("text/") => Ok(TEXT),
        (None, Some(declared)) if ALSO_TEXT.contains(&declared) => Ok(TEXT),
        (None, Some(_)) => Err(refused(
            "an attachment is a text, JSON, PDF, PNG, JPEG, GIF, WebP, ZIP or gzip file: put others into a ZIP file",
        )),
    }
}

fn begins_as(media_type: &str, data: &[u8]) -> bool {
    let magic = TYPES.iter().find(|(name, ..)| *name == media_type);
    let magic = magic.map_or(&b""[..], |(_, _, magic)| magic);
    match magic {
        b"" => std::str::from_utf8(data).is_ok_and(|text| !text.contains('\0')),
        magic => data.starts_with(magic),
    }
}

/// Makes a name that harms no file system, no header and no page.
fn clean(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let is_fit = |character: &char| {
        text::is_shown_in_line(*character)
            && !matches!(*character, '"' | '<' | '>' | '|' | ':' | '*' | '?')
    };
    let fit: String = last.chars().filter(is_fit).collect();
    let fit = fit.trim().trim_start_matches('.');
    // The end is kept, since it is what tells people the type.
    let length = fit.chars().count();
    let fit: String = fit.chars().skip(length.saturating_sub(MAX_NAME)).collect();
    match fit.as_str() {
        "" => "attachment".to_owned(),
        _ => fit,
    }
}

pub(super) fn insert_all(
    connection: &Transaction<'_>,
    author: &Author,
    task: &TaskId,
    message: Option<&MessageId>,
    files: &[Checked],
    now: i64,
) -> Result<(), TaskError> {
    if files.is_empty() {
        return Ok(());
    }
    check_room(connection, task, files)?;
    for file in files {
        insert(connection, author, task, message, file, now)?;
        timeline::insert(
            connection,
            author,
            task,
            What::Attached,
            ("", &file.name),
            now,
        )?;
    }
    Ok(())
}

fn check_room(
    connection: &Transaction<'_>,
    task: &TaskId,
    files: &[Checked],
) -> Result<(), TaskError> {
    let (count, bytes): (usize, usize) = connection
        .prepare_cached("SELECT count(*), CAST(coalesce(sum(size), 0) AS BIGINT) FROM attachments WHERE task = ?1")?
        .query_row([task.as_str()], |row| {
            Ok((
                row.get::<_, u32>(0)? as usize,
                usize::try_from(row.get::<_, i64>(1)?).unwrap_or(usize::MAX),
            ))
        })?;
    let added: usize = files.iter().map(|file| file.data.len()).sum();
    if count + files.len() > MAX_ATTACHMENTS_OF_TASK {
        return Err(refused(
            "a task has at most 64 attachments: create another task for more",
        ));
    }
    if bytes.saturating_add(added) > MAX_BYTES_OF_TASK {
        return Err(refused(
            "the attachments of a task have at most 16 MiB together: create another task for more",
        ));
    }
    Ok(())
}

fn insert(
    connection: &Transaction<'_>,
    author: &Author,
    task: &TaskId,
    message: Option<&MessageId>,
    file: &Checked,
    now: i64,
) -> Result<(), TaskError> {
    connection
        .prepare_cached(
            "INSERT INTO attachments (id, workspace, task, message, author, author_user, author_name, made_with,
                                      name, media_type, size, created_at, data)
             VALUES (:id, :workspace, :task, :message, :author, :author_user, :author_name, :made_with,
                     :name, :media_type, :size, :now, :data)",
        )?
        .execute(named_params! {
            ":id": file.id.as_str(),
            ":workspace": author.workspace().as_str(),
            ":task": task.as_str(),
            ":message": message.map(MessageId::as_str),
            ":author": author.actor().as_str(),
            ":author_user": author.user(),
            ":author_name": author.name(),
            ":made_with": author.token_id(),
            ":name": file.name,
            ":media_type": file.media_type,
            ":size": i64::try_from(file.data.len()).unwrap_or(i64::MAX),
            ":now": now,
            ":data": &file.data[..],
        })?;
    Ok(())
}

const COLUMNS: &str =
    "id, message, author, author_name, author_user, name, media_type, size, created_at";

pub(super) fn of_task_sql() -> String {
    format!("SELECT {COLUMNS} FROM attachments WHERE task = ?1 AND workspace = ?2 ORDER BY number")
}

/// Returns the files of a task, oldest first; there are never more than [`MAX_ATTACHMENTS_OF_TASK`].
pub(super) fn of_task(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
    task: &TaskId,
) -> Result<Vec<Attachment>, TaskError> {
    let mut statement = connection.prepare_cached(&of_task_sql())?;
    let rows = statement.query_map([task.as_str(), workspace.as_str()], from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Finds a file by all three: an id alone says nothing about whose it is.
fn find(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
    task: &TaskId,
    id: &AttachmentId,
) -> Result<AttachmentData, TaskError> {
    let sql = format!(
        "SELECT {COLUMNS}, data FROM attachments WHERE id = ?1 AND task = ?2 AND workspace = ?3"
    );
    connection
        .prepare_cached(&sql)?
        .query_row([id.as_str(), task.as_str(), workspace.as_str()], |row| {
            Ok(AttachmentData {
                attachment: from_row(row)?,
                data: row.get::<_, Vec<u8>>(9)?.into(),
            })
        })
        .optional()?
        .ok_or_else(|| TaskError::new(TaskErrorKind::NoAttachment))
}

fn from_row(row: &Row<'_>) -> Result<Attachment, DatabaseError> {
    Ok(Attachment {
        id: parsed(row, 0)?,
        message: match row.get::<_, Option<String>>(1)? {
            Some(_) => Some(parsed(row, 1)?),
            None => None,
        },
        author: parsed(row, 2)?,
        author_name: row.get(3)?,
        author_user: row.get(4)?,
        name: row.get(5)?,
        media_type: row.get(6)?,
        size: row.get::<_, i64>(7)?.unsigned_abs(),
        created_at: time::rfc3339(row.get(8)?),
    })
}

fn refused(problem: &'static str) -> TaskError {
    TaskError::new(TaskErrorKind::Invalid(problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(name: &str, declared: Option<&str>, data: &'static [u8]) -> Option<(String, String)> {
        let file = NewAttachment {
            name: name.to_owned(),
            media_type: declared.map(ToOwned::to_owned),
            data: Bytes::from_static(data),
        };
        let checked = check(vec![file]).ok()?.pop()?;
        Some((checked.name, checked.media_type.to_owned()))
    }

    #[test]
    fn the_kept_type_is_one_of_the_list() {
        let png = b"\x89PNG\r\n\x1a\n0000";
        for (name, declared, data, expected) in [
            ("a.png", Some("image/png"), &png[..], Some("image/png")),
            ("a.png", None, &png[..], Some("image/png")),
            ("a.html", Some("text/html"), b"<script>", Some("text/plain")),
            ("a.html", None, b"<script>", Some("text/plain")),
            ("a.svg", Some("image/svg+xml"), b"<svg/>", None),
            ("a.exe", Some("application/x-msdownload"), b"MZ", None),
            ("a.exe", None, b"MZ\x90\x00\x03", None),
            (
                "a.json",
                Some("application/json; charset=utf-8"),
                b"{}",
                Some("application/json"),
            ),
            ("lies.png", Some("image/png"), b"<html>", None),
            ("lies.txt", Some("text/plain"), b"\xff\xfe\x00", None),
            (
                "notes",
                Some("application/octet-stream"),
                b"hello",
                Some("text/plain"),
            ),
            ("empty.txt", None, b"", None),
        ] {
            let kept = kept(name, declared, data).map(|(_, media_type)| media_type);
            assert_eq!(kept.as_deref(), expected, "{name} as {declared:?}");
        }
    }

    #[test]
    fn a_refusal_says_which_file_is_meant() {
        let files = [
            ("fine.txt", &b"x"[..]),
            ("lies\u{202e}.png", &b"<html>"[..]),
        ];
        let files = files.map(|(name, data)| NewAttachment {
            name: name.to_owned(),
            media_type: None,
            data: Bytes::from_static(data),
        });
        let refused = check(files.into()).err().unwrap().to_string();
        assert!(refused.ends_with("says: lies.png"), "{refused}");
        let (each, all) = (MAX_ATTACHMENT >> 20, MAX_BYTES_AT_ONCE >> 20);
        let bounds = format!(
            "Up to {MAX_ATTACHMENTS_AT_ONCE} files of at most {each} MiB, {all} MiB together:"
        );
        assert!(FILES_HINT.starts_with(&bounds), "{bounds}");
    }

    #[test]
    fn names_are_cleaned() {
        for (name, expected) in [
            ("../../etc/passwd", "passwd"),
            ("C:\\dir\\report.txt", "report.txt"),
            (".bashrc", "bashrc"),
            ("a\r\nX-Evil: 1.txt", "aX-Evil 1.txt"),
            ("\u{202e}txt.exe", "txt.exe"),
            ("re\u{ad}port\u{3164}.txt", "report.txt"),
            ("a\"b<c>.txt", "abc.txt"),
            ("", "attachment"),
            ("..", "attachment"),
        ] {
            assert_eq!(clean(name), expected, "{name:?}");
        }
        let long = clean(&format!("{}.txt", "x".repeat(300)));
        assert_eq!((long.chars().count(), long.ends_with(".txt")), (100, true));
    }

    #[test]
    fn too_much_is_refused() {
        let file = |bytes: usize| NewAttachment {
            name: "a.txt".to_owned(),
            media_type: None,
            data: vec![b'a'; bytes].into(),
        };
        assert!(check(vec![file(MAX_ATTACHMENT); 2]).is_ok());
        assert!(check(vec![file(MAX_ATTACHMENT + 1)]).is_err());
        assert!(check(vec![file(MAX_ATTACHMENT); 3]).is_err());
        assert!(check(vec![file(1); MAX_ATTACHMENTS_AT_ONCE + 1]).is_err());
    }
}
