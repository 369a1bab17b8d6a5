//! Reading a file that came with a task or a message.

use axum::response::{IntoResponse as _, Response};
use http::{
    Method,
    header::{
        CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
        X_CONTENT_TYPE_OPTIONS,
    },
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action, FileBytes, workspace_ref};
use crate::{
    app::App,
    caller::Caller,
    error::AppError,
    tasks::{Attachment, AttachmentId, TaskId},
};

/// Returns an attachment of a task with its bytes.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AttachmentShow {
    pub(crate) workspace: String,
    pub(crate) task: String,
    pub(crate) attachment: String,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct AttachmentShown {
    pub(crate) attachment: Attachment,
    pub(crate) data: FileBytes,
}

impl Action for AttachmentShow {
    type Outcome = AttachmentShown;
    const METHOD: Method = Method::GET;
    const ROUTE: &'static str = "/workspaces/{workspace}/tasks/{task}/attachments/{attachment}";
    const ACCESS: Access = Access::Member;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    async fn run(self, app: &App, _caller: &Caller) -> Result<AttachmentShown, AppError> {
        let (task, id): (TaskId, AttachmentId) = (self.task.parse()?, self.attachment.parse()?);
        let workspace = workspace_ref::find(app, &self.workspace).await?.id;
        let found = app.tasks().attachment(&workspace, &task, &id).await?;
        Ok(AttachmentShown {
            attachment: found.attachment,
            data: FileBytes(found.data),
        })
    }
}

impl AttachmentShown {
    /// Returns the file as a download: a browser keeps it and never shows it as a page of ours.
    pub(crate) fn into_download(self) -> Response {
        let disposition = format!(
            "attachment; filename*=UTF-8''{}",
            utf8_percent_encode(&self.attachment.name, ATTRIBUTE)
        );
        let headers = [
            (CONTENT_TYPE, self.attachment.media_type),
            (CONTENT_DISPOSITION, disposition),
            (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
            (
                CONTENT_SECURITY_POLICY,
                "default-src 'none'; sandbox".to_owned(),
            ),
            (CACHE_CONTROL, "private, no-store".to_owned()),
        ];
        (headers, self.data.0).into_response()
    }
}

/// `attr-char` of RFC 8187 §3.2.1 is left as it is.
const ATTRIBUTE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::tasks::Actor;

    #[test]
    fn a_download_is_never_shown_as_a_page() {
        let shown = AttachmentShown {
            attachment: Attachment {
                id: "aaaaaaaaaaa".parse().unwrap(),
                message: None,
                author: Actor::Agent,
                author_name: "primary".to_owned(),
                author_user: None,
                name: "ä\r\nX: y.txt".to_owned(),
                media_type: "text/plain".to_owned(),
                size: 2,
                created_at: String::new(),
            },
            data: FileBytes(Bytes::from_static(b"hi")),
        };
        let response = shown.into_download();
        let header = |name: &str| response.headers()[name].to_str().unwrap();
        assert_eq!(
            header("content-disposition"),
            "attachment; filename*=UTF-8''%C3%A4%0D%0AX%3A%20y.txt"
        );
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("content-type"), "text/plain");
    }
}
