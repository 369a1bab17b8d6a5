//! [`Answer`]: how the API says what an action came to. In JSON, unless it is a file.

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Value, json};

/// What an action comes to, as it travels.
pub(crate) trait Answer: Send + 'static {
    fn into_answer(self) -> Response;

    /// Describes the answer's content, as OpenAPI does: what there is of each media type.
    fn content(schemas: &mut SchemaGenerator) -> Value;
}

impl<T: Serialize + JsonSchema + Send + 'static> Answer for T {
    fn into_answer(self) -> Response {
        Json(self).into_response()
    }

    fn content(schemas: &mut SchemaGenerator) -> Value {
        json!({"application/json": {"schema": schemas.subschema_for::<T>()}})
    }
}
