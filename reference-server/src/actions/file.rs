//! [`File`]: an attachment on its way in or out, its bytes as base64 in JSON.

use std::borrow::Cow;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::tasks::NewAttachment;

/// A file to be attached.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    /// What it is called; cleaned before it is kept.
    pub(crate) name: String,
    /// What it is; without it the ending of the name decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    pub(crate) data: FileBytes,
}

/// The bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileBytes(pub(crate) Bytes);

impl File {
    pub(super) fn into_new(self) -> NewAttachment {
        NewAttachment {
            name: self.name,
            media_type: self.media_type,
            data: self.data.0,
        }
    }
}

impl JsonSchema for FileBytes {
    fn schema_name() -> Cow<'static, str> {
        "FileBytes".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "contentEncoding": "base64"})
    }
}

impl Serialize for FileBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for FileBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = BASE64_STANDARD.decode(text);
        let bytes = bytes.map_err(|_| D::Error::custom("the data is not base64"))?;
        Ok(Self(bytes.into()))
    }
}
