//! Files in JSON, with or without comments: an entry is put in, and every other byte stays as it is.

use jsonc_parser::{
    ParseOptions,
    cst::{CstArray, CstInputValue, CstNode, CstObject, CstObjectProp, CstRootNode},
    errors::ParseError,
};
use serde::de::IgnoredAny;
use serde_json::Value;

use super::{
    Syntax, Unusable,
    entry::{Edit, HEADERS, Member, Setting},
};

/// Puts the entry into `text`, which may be empty.
pub(super) fn merge(text: &str, syntax: Syntax, edit: &Edit<'_>) -> Result<String, Unusable> {
    let (mark, text) = split_mark(text);
    let root = parse(text, syntax)?;
    let file = root
        .object_value_or_create()
        .ok_or(Unusable::NotA("what stands", "object"))?;
    if let Some(id) = &edit.input {
        add_input(&list(&file, "inputs")?, id);
    }
    let servers = object(&file, edit.servers, edit.servers)?;
    let entry = object(&servers, edit.name, "the entry")?;
    for rival in edit.rivals() {
        remove(&entry, rival);
    }
    if edit.drops_authorization() {
        drop_authorization(&entry);
    }
    for member in &edit.members {
        put(&entry, member)?;
    }
    let text = root.to_string();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    Ok(format!("{mark}{text}{end}"))
}

/// Reads all of `text`, which may be empty.
pub(super) fn read(text: &str, syntax: Syntax) -> Result<Value, Unusable> {
    let (_, text) = split_mark(text);
    let root = parse(text, syntax)?;
    match root.value() {
        None => Ok(Value::Object(serde_json::Map::new())),
        Some(value) => match value.to_serde_value() {
            Some(Value::Object(file)) => Ok(Value::Object(file)),
            _ => Err(Unusable::NotA("what stands", "object")),
        },
    }
}

fn parse(text: &str, syntax: Syntax) -> Result<CstRootNode, Unusable> {
    if let Syntax::Json {
        comments: false, ..
    } = syntax
    {
        check_strict(text)?;
    }
    let (comments, trailing_commas, language) = match syntax {
        Syntax::Json {
            comments: true,
            trailing_commas,
        } => (true, trailing_commas, "JSON with comments"),
        _ => (false, false, "JSON"),
    };
    let options = ParseOptions {
        allow_comments: comments,
        allow_trailing_commas: trailing_commas,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    let invalid = |error: ParseError| Unusable::Invalid {
        language,
        line: error.line_display(),
    };
    CstRootNode::parse(text, &options).map_err(invalid)
}

/// Refuses comments, which the parser that keeps them lets through.
fn check_strict(text: &str) -> Result<(), Unusable> {
    if text.trim().is_empty() {
        return Ok(());
    }
    let parsed = serde_json::from_str::<IgnoredAny>(text);
    parsed.map(|_| ()).map_err(|error| Unusable::Invalid {
        language: "JSON",
        line: error.line(),
    })
}

/// Returns the object that `name` is, made if it is not there; `called` so in an error.
fn object(parent: &CstObject, name: &str, called: &'static str) -> Result<CstObject, Unusable> {
    check_single(parent, name, called)?;
    parent
        .object_value_or_create(name)
        .ok_or(Unusable::NotA(called, "object"))
}

fn list(parent: &CstObject, name: &'static str) -> Result<CstArray, Unusable> {
    check_single(parent, name, name)?;
    parent
        .array_value_or_create(name)
        .ok_or(Unusable::NotA(name, "list"))
}

/// Refuses two members of one name: parsers differ in which of them they take.
fn check_single(parent: &CstObject, name: &str, called: &'static str) -> Result<(), Unusable> {
    match named(parent, |found| found == name).count() {
        0 | 1 => Ok(()),
        _ => Err(Unusable::Doubled(called)),
    }
}

fn named(
    parent: &CstObject,
    mut is_it: impl FnMut(&str) -> bool,
) -> impl Iterator<Item = CstObjectProp> {
    let all = parent.properties().into_iter();
    all.filter(move |member| member.decoded_name().is_some_and(|name| is_it(&name)))
}

fn put(entry: &CstObject, member: &Member) -> Result<(), Unusable> {
    match &member.value {
        Setting::Authorization(value) => {
            let headers = object(entry, member.name, member.name)?;
            // In another case it would be a second header.
            let mut others = named(&headers, is_authorization);
            let first = others.next();
            others.for_each(CstObjectProp::remove);
            match first {
                Some(first) => replace(&first, text(value)),
                None => {
                    headers.append("Authorization", text(value));
                }
            }
        }
        Setting::Flag(flag) => set(entry, member.name, CstInputValue::Bool(*flag))?,
        Setting::Text(value) => set(entry, member.name, text(value))?,
    }
    Ok(())
}

fn set(entry: &CstObject, name: &'static str, value: CstInputValue) -> Result<(), Unusable> {
    check_single(entry, name, name)?;
    match entry.get(name) {
        Some(member) => replace(&member, value),
        None => {
            entry.append(name, value);
        }
    }
    Ok(())
}

/// Leaves the bytes alone if they mean `value` already.
fn replace(member: &CstObjectProp, value: CstInputValue) {
    let is_same = match (member.value().and_then(|old| old.to_serde_value()), &value) {
        (Some(Value::String(old)), CstInputValue::String(new)) => old == *new,
        (Some(Value::Bool(old)), CstInputValue::Bool(new)) => old == *new,
        _ => false,
    };
    if !is_same {
        member.set_value(value);
    }
}

fn remove(entry: &CstObject, name: &str) {
    named(entry, |found| found == name).for_each(CstObjectProp::remove);
}

fn drop_authorization(entry: &CstObject) {
    for headers in HEADERS.iter().filter_map(|name| entry.get(name)) {
        let Some(table) = headers.object_value() else {
            continue;
        };
        named(&table, is_authorization).for_each(CstObjectProp::remove);
        if table.properties().is_empty() {
            headers.remove();
        }
    }
}

fn add_input(inputs: &CstArray, id: &str) {
    let is_it = |input: &CstNode| {
        let input = input.to_serde_value();
        input.is_some_and(|input| input.get("id").and_then(Value::as_str) == Some(id))
    };
    if inputs.elements().iter().any(is_it) {
        return;
    }
    inputs.append(CstInputValue::Object(vec![
        ("type".to_owned(), text("promptString")),
        ("id".to_owned(), text(id)),
        ("description".to_owned(), text("Workspace token")),
        ("password".to_owned(), CstInputValue::Bool(true)),
    ]));
}

fn is_authorization(name: &str) -> bool {
    name.eq_ignore_ascii_case("authorization")
}

fn text(value: &str) -> CstInputValue {
    CstInputValue::String(value.to_owned())
}

/// Takes the byte order mark off, which some editors put first.
fn split_mark(text: &str) -> (&str, &str) {
    match text.strip_prefix('\u{feff}') {
        Some(rest) => ("\u{feff}", rest),
        None => ("", text),
    }
}
