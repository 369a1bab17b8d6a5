//! Forms that may carry files.

use std::collections::HashMap;

use axum::extract::{FromRequest, Multipart, Request, multipart::MultipartError};

use super::{extract::bad_form, page::PageError};
use crate::{
    actions::{File, FileBytes},
    app::App,
    error::AppError,
};

/// A form with its texts and its files.
#[derive(Debug, Default)]
pub(super) struct Upload {
    texts: HashMap<String, String>,
    pub(super) files: Vec<File>,
}

impl Upload {
    /// Takes a text of the form; an absent one is empty.
    pub(super) fn text(&mut self, name: &str) -> String {
        self.texts.remove(name).unwrap_or_default()
    }
}

impl FromRequest<App> for Upload {
    type Rejection = PageError;

    async fn from_request(request: Request, app: &App) -> Result<Self, PageError> {
        let multipart = Multipart::from_request(request, app).await;
        let mut multipart = multipart.map_err(|refused| bad_form(refused.status()))?;
        let mut upload = Self::default();
        while let Some(field) = multipart.next_field().await.map_err(explain)? {
            let name = field.name().unwrap_or_default().to_owned();
            let Some(file_name) = field.file_name().map(str::to_owned) else {
                let text = field.text().await.map_err(explain)?;
                // As browsers send it; a task has lines as everybody writes them.
                upload.texts.insert(name, text.replace("\r\n", "\n"));
                continue;
            };
            let media_type = field.content_type().map(str::to_owned);
            let data = field.bytes().await.map_err(explain)?;
            // A field for files that was left empty.
            if file_name.is_empty() && data.is_empty() {
                continue;
            }
            upload.files.push(File {
                name: file_name,
                media_type,
                data: FileBytes(data),
            });
        }
        Ok(upload)
    }
}

fn explain(error: MultipartError) -> AppError {
    bad_form(error.status())
}
