//! The description of the API, in OpenAPI 3.1: made of the actions themselves, so that it leaves none out
//! and says of none what is not so.

use std::sync::LazyLock;

use http::Method;
use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{PREFIX, Visitor, visit_all};
use crate::{
    actions::{Access, Action, Answer as _},
    error::ErrorBody,
};

/// Returns the document, as JSON.
pub(crate) fn document() -> &'static str {
    static DOCUMENT: LazyLock<String> = LazyLock::new(|| Description::new().finish().to_string());
    &DOCUMENT
}

struct Description {
    paths: Map<String, Value>,
    /// Of answers: they refer to schemas that they share.
    answers: SchemaGenerator,
    /// Of arguments: whole in themselves, since what may be left out of them differs.
    arguments: SchemaGenerator,
}

impl Description {
    fn new() -> Self {
        let settings = SchemaSettings::draft2020_12();
        let answers = settings.clone().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
        });
        let arguments = settings.with(|settings| settings.inline_subschemas = true);
        let mut description = Self {
            paths: Map::new(),
            answers: answers.for_serialize().into_generator(),
            arguments: arguments.for_deserialize().into_generator(),
        };
        visit_all(&mut description);
        description
    }

    fn finish(mut self) -> Value {
        let error = self.answers.subschema_for::<ErrorBody>();
        let refused = json!({
            "description": "What was wrong, as a code for programs and a sentence for people.",
            "content": {"application/json": {"schema": error}},
        });
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": "wst",
                "version": env!("CARGO_PKG_VERSION"),
                "description": "What people do with workspaces, their tokens and tasks. Called with the cookie of a login of the dashboard; a workspace token opens nothing here.",
            },
            "servers": [{"url": PREFIX}],
            "security": [{"login": []}, {"loginOverTls": []}],
            "paths": self.paths,
            "components": {
                "schemas": self.answers.take_definitions(true),
                "responses": {"Refused": refused},
                "securitySchemes": {
                    "login": {"type": "apiKey", "in": "cookie", "name": "wst",
                        "description": "The login's cookie on loopback without TLS."},
                    "loginOverTls": {"type": "apiKey", "in": "cookie", "name": "__Host-wst",
                        "description": "The login's cookie everywhere else."},
                },
            },
        })
    }
}

impl Visitor for Description {
    fn visit<A: Action>(&mut self) {
        let mut arguments = self.arguments.root_schema_for::<A>().to_value();
        let mut parameters = Vec::new();
        let required = take_required(&mut arguments);
        let mut body_required = Vec::new();
        let mut properties = take_properties(&mut arguments);
        let is_get = A::METHOD == Method::GET;
        properties.retain(|name, schema| {
            let is_in_path = A::ROUTE.contains(&format!("{{{name}}}"));
            let is_required = required.contains(name);
            if is_in_path || is_get {
                parameters.push(parameter(name, schema, is_in_path, is_required));
                return false;
            }
            if is_required {
                body_required.push(name.clone());
            }
            true
        });
        let summary = arguments["description"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let content = A::Outcome::content(&mut self.answers);
        let mut operation = json!({
            "operationId": A::schema_name(),
            "summary": summary.replace('\n', " "),
            "description": format!("For {}.", whom(A::ACCESS)),
            "tags": [tag(A::ROUTE)],
            "parameters": parameters,
            "responses": responses(&content),
        });
        if !is_get {
            operation["requestBody"] = json!({
                "required": !body_required.is_empty(),
                "content": {"application/json": {"schema": {
                    "type": "object",
                    "properties": properties,
                    "required": body_required,
                    "additionalProperties": false,
                }}},
            });
        }
        let path = self.paths.entry(A::ROUTE).or_insert_with(|| json!({}));
        path[A::METHOD.as_str().to_lowercase()] = operation;
    }
}

fn take_required(schema: &mut Value) -> Vec<String> {
    let required = schema["required"].take();
    serde_json::from_value(required).unwrap_or_default()
}

fn take_properties(schema: &mut Value) -> Map<String, Value> {
    match schema["properties"].take() {
        Value::Object(properties) => properties,
        _ => Map::new(),
    }
}

fn parameter(name: &str, schema: &Value, is_in_path: bool, is_required: bool) -> Value {
    let mut schema = without_null(schema);
    let description = schema
        .as_object_mut()
        .and_then(|schema| schema.remove("description"));
    json!({
        "name": name,
        "in": if is_in_path { "path" } else { "query" },
        "required": is_in_path || is_required,
        "description": description.unwrap_or_else(|| json!("")),
        "schema": schema,
    })
}

/// A query has no word for null: what is not there is left out.
fn without_null(schema: &Value) -> Value {
    let mut schema = schema.clone();
    if let Some(types) = schema["type"].as_array() {
        let kept = types.iter().find(|kind| *kind != "null").cloned();
        schema["type"] = kept.unwrap_or_default();
    }
    let choices = schema["anyOf"].as_array().cloned().unwrap_or_default();
    let is_null = |choice: &Value| choice["type"] == "null";
    if let Some(choice) = choices.iter().find(|choice| !is_null(choice))
        && choices.iter().any(is_null)
    {
        return choice.clone();
    }
    if let Some(object) = schema.as_object_mut() {
        // Asking for what is not there has put it there.
        object.retain(|_, value| !value.is_null());
    }
    schema
}

fn responses(content: &Value) -> Value {
    let mut responses = json!({
        "200": {"description": "It was done.", "content": content},
    });
    for status in REFUSALS {
        responses[status] = json!({"$ref": "#/components/responses/Refused"});
    }
    responses
}

fn whom(access: Access) -> &'static str {
    match access {
        Access::Administrator => "administrators of the server",
        Access::Member => "members of the workspace",
        Access::Owner => "owners of the workspace",
        Access::Person => "everybody who has logged in",
    }
}

/// Returns the first word of a route, or the first one inside of a workspace.
fn tag(route: &str) -> &str {
    let inside = route
        .strip_prefix("/workspaces/{workspace}")
        .unwrap_or(route);
    let words = inside.split('/').find(|word| !word.is_empty());
    words.unwrap_or("workspaces")
}

/// What any action may answer with, beside what it is for; see `ErrorCode`.
const REFUSALS: [&str; 9] = [
    "400", "401", "403", "404", "409", "413", "429", "500", "503",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn describes_every_argument_where_it_is() {
        let document: Value = serde_json::from_str(document()).unwrap();
        let list = &document["paths"]["/workspaces/{workspace}/audit"]["get"];
        let named = |name: &str| {
            let parameters = list["parameters"].as_array().unwrap();
            parameters
                .iter()
                .find(|parameter| parameter["name"] == name)
                .unwrap()
                .clone()
        };
        assert_eq!(list["operationId"], "AuditList");
        assert_eq!(
            (&named("workspace")["in"], &named("workspace")["required"]),
            (&json!("path"), &json!(true))
        );
        assert_eq!(
            (&named("limit")["in"], &named("limit")["required"]),
            (&json!("query"), &json!(false))
        );
        assert_eq!(named("limit")["schema"]["type"], "integer");
        let add = &document["paths"]["/users"]["post"]["requestBody"];
        let body = &add["content"]["application/json"]["schema"];
        assert_eq!(body["required"], json!(["name"]));
        assert_eq!(body["properties"]["is_administrator"]["type"], "boolean");
    }

    #[test]
    fn refers_to_nothing_that_is_not_there() {
        let document: Value = serde_json::from_str(document()).unwrap();
        let text = document.to_string();
        let references = text.split("\"$ref\":\"#").skip(1);
        let mut count = 0;
        for reference in references {
            let pointer = reference.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
            count += 1;
        }
        assert!(count > 100);
    }
}
