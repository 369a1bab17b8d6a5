//! How agents send files: `attachments[]` of `createTask` and `reply`.

use base64::{
    Engine as _,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use rmcp::schemars::JsonSchema;
use serde::Deserialize;

use super::Refusal;
use crate::tasks::{Attachment, NewAttachment};

/// A file. Other servers of this protocol call the fields by other names, which are taken as well.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars", inline)]
#[serde(rename_all = "camelCase")]
pub(super) struct AttachmentArgument {
    /// What it is called, with its ending.
    #[serde(alias = "name", alias = "fileName", alias = "file_name")]
    filename: String,
    /// What it is, as image/png; without it the ending of the name decides. Text, JSON, PDF, PNG, JPEG, GIF, WebP, ZIP and gzip are taken.
    #[serde(
        default,
        alias = "contentType",
        alias = "content_type",
        alias = "mediaType",
        alias = "media_type",
        alias = "mime_type",
        alias = "type"
    )]
    #[schemars(with = "String")]
    mime_type: Option<String>,
    /// Its bytes as base64: at most 1 MiB of them, and 2 MiB in all attachments of a call.
    #[serde(alias = "content", alias = "base64", alias = "blob")]
    data: String,
}

impl AttachmentArgument {
    pub(super) fn decode_all(attachments: Vec<Self>) -> Result<Vec<NewAttachment>, Refusal> {
        attachments.into_iter().map(Self::decode).collect()
    }

    fn decode(self) -> Result<NewAttachment, Refusal> {
        // A data URL says the same with a few words before it.
        let text = match self.data.strip_prefix("data:") {
            Some(url) => url.split_once(',').map_or("", |(_, data)| data),
            None => &self.data,
        };
        let text: String = text.split_ascii_whitespace().collect();
        let alphabet = match text.contains(['-', '_']) {
            true => URL_SAFE,
            false => STANDARD,
        };
        let padding = DecodePaddingMode::Indifferent;
        let config = GeneralPurposeConfig::new().with_decode_padding_mode(padding);
        let data = GeneralPurpose::new(&alphabet, config).decode(text);
        let data = data.map_err(|_| {
            Refusal::new(
                "Not done: the data of an attachment is not base64. Encode it and call again.",
            )
        })?;
        Ok(NewAttachment {
            name: self.filename,
            media_type: self.mime_type,
            data: data.into(),
        })
    }
}

/// Returns a line about a file.
pub(super) fn describe(attachment: &Attachment) -> String {
    format!(
        "{}  {} ({}, {} bytes)",
        attachment.id, attachment.name, attachment.media_type, attachment.size
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn decode(attachment: Value) -> Option<(String, Option<String>, Vec<u8>)> {
        let argument: AttachmentArgument = serde_json::from_value(attachment).ok()?;
        let file = argument.decode().ok()?;
        Some((file.name, file.media_type, file.data.to_vec()))
    }

    #[test]
    fn takes_the_names_of_other_servers() {
        let expected = Some((
            "a.txt".to_owned(),
            Some("text/plain".to_owned()),
            b"hi?>".to_vec(),
        ));
        for attachment in [
            json!({ "filename": "a.txt", "mimeType": "text/plain", "data": "aGk/Pg==" }),
            json!({ "name": "a.txt", "contentType": "text/plain", "content": "aGk/Pg" }),
            json!({ "fileName": "a.txt", "type": "text/plain", "base64": "aGk_Pg", "size": 4 }),
            json!({ "filename": "a.txt", "mimeType": "text/plain", "data": "data:text/plain;base64,aGk/\nPg==" }),
        ] {
            assert_eq!(decode(attachment.clone()), expected, "{attachment}");
        }
    }

    #[test]
    fn refuses_what_is_no_file() {
        for attachment in [
            json!({ "filename": "a.txt" }),
            json!({ "data": "aGk=" }),
            json!({ "filename": "a.txt", "data": "not base64!" }),
            json!("aGk="),
        ] {
            assert_eq!(decode(attachment.clone()), None, "{attachment}");
        }
    }
}
