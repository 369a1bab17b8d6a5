//! Files in TOML: an entry is put in, and comments, order and spelling of everything else stay.

use serde_json::Value;
use toml_edit::{DocumentMut, Item, Table, TableLike, TomlError, value};

use super::{
    Unusable,
    entry::{Edit, HEADERS, Setting},
};

/// Puts the entry into `text`, which may be empty.
pub(super) fn merge(text: &str, edit: &Edit<'_>) -> Result<String, Unusable> {
    let mut document: DocumentMut = text.parse().map_err(|error| invalid(text, &error))?;
    // Neither table gets a heading of its own where its entries have one.
    let servers = table(document.as_table_mut(), edit.servers, edit.servers, true)?;
    let entry = table(servers, edit.name, "the entry", false)?;
    for rival in edit.rivals() {
        entry.remove(rival);
    }
    if edit.drops_authorization() {
        drop_authorization(entry);
    }
    for member in &edit.members {
        match &member.value {
            Setting::Authorization(header) => {
                let headers = table(entry, member.name, member.name, false)?;
                set(headers, "Authorization", header.as_str().into());
            }
            Setting::Flag(flag) => set(entry, member.name, (*flag).into()),
            Setting::Text(text) => set(entry, member.name, text.as_str().into()),
        }
    }
    Ok(document.to_string())
}

/// Reads all of `text`, which may be empty.
pub(super) fn read(text: &str) -> Result<Value, Unusable> {
    // By the parser that writes as well: what one takes, the other has to.
    let document: DocumentMut = text.parse().map_err(|error| invalid(text, &error))?;
    Ok(as_json(document.as_item()))
}

fn table<'a>(
    parent: &'a mut dyn TableLike,
    name: &str,
    called: &'static str,
    is_implicit: bool,
) -> Result<&'a mut dyn TableLike, Unusable> {
    let made = || {
        let mut table = Table::new();
        table.set_implicit(is_implicit);
        Item::Table(table)
    };
    let item = parent.entry(name).or_insert_with(made);
    item.as_table_like_mut()
        .ok_or(Unusable::NotA(called, "table"))
}

/// Leaves the bytes alone if they mean `new` already, and keeps a comment behind the value otherwise.
fn set(table: &mut dyn TableLike, name: &str, new: toml_edit::Value) {
    let Some(item) = table.get_mut(name) else {
        table.insert(name, value(new));
        return;
    };
    let Some(old) = item.as_value_mut() else {
        *item = value(new);
        return;
    };
    let is_same = (old.as_str().is_some() && old.as_str() == new.as_str())
        || (old.as_bool().is_some() && old.as_bool() == new.as_bool());
    if !is_same {
        let decor = old.decor().clone();
        *old = new;
        *old.decor_mut() = decor;
    }
}

fn drop_authorization(entry: &mut dyn TableLike) {
    for name in HEADERS {
        let Some(headers) = entry.get_mut(name).and_then(Item::as_table_like_mut) else {
            continue;
        };
        let is_it = |name: &&str| name.eq_ignore_ascii_case("authorization");
        let found: Vec<String> = headers
            .iter()
            .map(|(name, _)| name)
            .filter(is_it)
            .map(str::to_owned)
            .collect();
        for name in &found {
            headers.remove(name);
        }
        if !found.is_empty() && headers.is_empty() {
            entry.remove(name);
        }
    }
}

/// Tells the line alone: the parser's own words quote it.
fn invalid(text: &str, error: &TomlError) -> Unusable {
    let start = error.span().map_or(0, |span| span.start);
    let before = text.as_bytes().iter().take(start);
    Unusable::Invalid {
        language: "TOML",
        line: 1 + before.filter(|byte| **byte == b'\n').count(),
    }
}

/// What is neither a text nor a flag nor a table says nothing of an entry.
fn as_json(item: &Item) -> Value {
    if let Some(text) = item.as_str() {
        return Value::String(text.to_owned());
    }
    if let Some(flag) = item.as_bool() {
        return Value::Bool(flag);
    }
    let Some(table) = item.as_table_like() else {
        return Value::Null;
    };
    let members = table.iter();
    Value::Object(
        members
            .map(|(name, item)| (name.to_owned(), as_json(item)))
            .collect(),
    )
}
