//! What is wrong with an `initialize` that rmcp could not read. Asked only when it has been refused, so
//! it decides nothing: rmcp takes what does not fit for a call of another name, and says no more.

use rmcp::{
    ErrorData,
    model::{ClientCapabilities, Implementation},
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// The error that names what is missing or wrong, and repeats nothing of it.
pub(crate) fn unreadable(body: &[u8]) -> ErrorData {
    let message: Value = serde_json::from_slice(body).unwrap_or_default();
    let problems = match &message["params"] {
        Value::Object(params) => problems(params),
        Value::Null => vec![String::from("params is missing")],
        _ => vec![String::from("params is no object")],
    };
    let problems = match problems.is_empty() {
        true => String::from("a member is there twice, or of another form than MCP gives it"),
        false => problems.join(", "),
    };
    ErrorData::invalid_params(
        format!("The params of initialize cannot be read: {problems}. {ADVICE}"),
        None,
    )
}

/// The error of an `initialize` that nobody waits for an answer to.
pub(crate) fn without_id() -> ErrorData {
    ErrorData::invalid_request(
        "The initialize has no id. Send it as a request, whose id is a string or an integer.",
        None,
    )
}

fn problems(params: &Map<String, Value>) -> Vec<String> {
    let version = match params.get("protocolVersion") {
        None => Some("protocolVersion is missing"),
        Some(Value::String(_)) => None,
        Some(_) => Some("protocolVersion is no string"),
    };
    let capabilities = object::<ClientCapabilities>("capabilities", params, &[]);
    let client_info = object::<Implementation>("clientInfo", params, &["name", "version"]);
    let meta = params.get("_meta").is_some_and(|meta| !meta.is_object());
    let meta = meta.then(|| String::from("_meta is no object"));
    let mut problems: Vec<String> = version.map(str::to_owned).into_iter().collect();
    problems.extend(capabilities);
    problems.extend(client_info);
    problems.extend(meta);
    problems
}

/// Looks for the member `name`, which is read as a `T` and holds `strings`.
fn object<T: DeserializeOwned>(
    name: &str,
    params: &Map<String, Value>,
    strings: &[&str],
) -> Option<String> {
    let member = match params.get(name) {
        None => return Some(format!("{name} is missing")),
        Some(Value::Object(member)) => member,
        Some(_) => return Some(format!("{name} is no object")),
    };
    for string in strings {
        match member.get(*string) {
            None => return Some(format!("{name}.{string} is missing")),
            Some(Value::String(_)) => {}
            Some(_) => return Some(format!("{name}.{string} is no string")),
        }
    }
    let is_read = serde_json::from_value::<T>(Value::Object(member.clone())).is_ok();
    (!is_read).then(|| format!("{name} is of another form than MCP gives it"))
}

const ADVICE: &str = "Send protocolVersion, a string; capabilities, an object; clientInfo, an object with the strings name and version.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_is_missing_or_wrong_and_repeats_none_of_it() {
        let said = |params: &str| {
            let body = format!(r#"{{"id":1,"method":"initialize","params":{params}}}"#);
            let error = unreadable(body.as_bytes());
            assert_eq!(error.code.0, -32602);
            assert!(!error.message.contains("a-secret"), "{}", error.message);
            let (_, problems) = error.message.split_once("read: ").unwrap();
            problems.strip_suffix(ADVICE).unwrap().trim().to_owned()
        };
        let client = r#""clientInfo":{"name":"t","version":"1"}"#;
        let version = r#""protocolVersion":"2025-11-25""#;
        let more = r#""capabilities":{}"#;
        for (params, expected) in [
            ("null".to_owned(), "params is missing."),
            ("7".to_owned(), "params is no object."),
            (
                "{}".to_owned(),
                "protocolVersion is missing, capabilities is missing, clientInfo is missing.",
            ),
            (
                format!("{{{more},{client}}}"),
                "protocolVersion is missing.",
            ),
            (
                format!(r#"{{"protocolVersion":["a-secret"],{more},{client}}}"#),
                "protocolVersion is no string.",
            ),
            (
                format!("{{{version},{client}}}"),
                "capabilities is missing.",
            ),
            (
                format!(r#"{{{version},{client},"capabilities":"a-secret"}}"#),
                "capabilities is no object.",
            ),
            (
                format!(r#"{{{version},{client},"capabilities":{{"roots":"a-secret"}}}}"#),
                "capabilities is of another form than MCP gives it.",
            ),
            (format!("{{{version},{more}}}"), "clientInfo is missing."),
            (
                format!(r#"{{{version},{more},"clientInfo":["a-secret"]}}"#),
                "clientInfo is no object.",
            ),
            (
                format!(r#"{{{version},{more},"clientInfo":{{"version":"1"}}}}"#),
                "clientInfo.name is missing.",
            ),
            (
                format!(r#"{{{version},{more},"clientInfo":{{"name":"t","version":1}}}}"#),
                "clientInfo.version is no string.",
            ),
            (
                format!(r#"{{{version},{more},{client},"_meta":7}}"#),
                "_meta is no object.",
            ),
            (
                format!("{{{version},{version},{more},{client}}}"),
                "a member is there twice, or of another form than MCP gives it.",
            ),
        ] {
            assert_eq!(said(&params), expected, "{params}");
        }
    }
}
