//! The audit list as a file: JSON Lines, or CSV (RFC 4180) that no spreadsheet runs.

use serde::{Deserialize, Serialize};

use super::AuditEntry;

/// How entries are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    Csv,
    #[default]
    Jsonl,
}

impl Format {
    /// Returns what the file begins with.
    pub(crate) fn head(self) -> &'static str {
        match self {
            Self::Csv => "number,at,workspace,user,actor,action,subject,detail,address\r\n",
            Self::Jsonl => "",
        }
    }

    /// Returns an entry as a line, with its end.
    pub(crate) fn line(self, entry: &AuditEntry) -> String {
        match self {
            Self::Csv => csv(entry),
            Self::Jsonl => match serde_json::to_string(entry) {
                Ok(json) => json + "\n",
                // Texts and numbers: there is nothing that JSON cannot say.
                Err(_) => String::new(),
            },
        }
    }

    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
        }
    }

    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Jsonl => "application/x-ndjson",
        }
    }
}

fn csv(entry: &AuditEntry) -> String {
    let number = entry.number.to_string();
    let fields = [
        number.as_str(),
        &entry.at,
        entry.workspace.as_deref().unwrap_or_default(),
        entry.user.as_deref().unwrap_or_default(),
        &entry.actor,
        &entry.action,
        &entry.subject,
        &entry.detail,
        entry.address.as_deref().unwrap_or_default(),
    ];
    fields.map(cell).join(",") + "\r\n"
}

/// Returns a text as a cell. What a spreadsheet would take for a formula gets an apostrophe before it, as
/// OWASP advises ("CSV Injection"), since names and reasons are words of others.
fn cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let defused = if is_formula { "'" } else { "" };
    let text = format!("{defused}{text}");
    if text.contains([',', '"', '\r', '\n', '\'']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(actor: &str, detail: &str) -> AuditEntry {
        AuditEntry {
            number: 7,
            at: "2026-01-02T03:04:05Z".to_owned(),
            workspace: None,
            user: None,
            actor: actor.to_owned(),
            action: "token.rotate".to_owned(),
            subject: "primary".to_owned(),
            detail: detail.to_owned(),
            address: Some("::1".to_owned()),
        }
    }

    #[test]
    fn a_spreadsheet_finds_no_formula() {
        for text in ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"] {
            assert_eq!(cell(text), format!("\"'{text}\""), "{text:?}");
        }
        assert_eq!(cell("a=1"), "a=1");
    }

    #[test]
    fn a_cell_keeps_its_commas_quotes_and_lines() {
        let line = Format::Csv.line(&entry("ada", "said \"no\", twice\nso"));
        assert_eq!(
            line,
            "7,2026-01-02T03:04:05Z,,,ada,token.rotate,primary,\"said \"\"no\"\", twice\nso\",::1\r\n"
        );
        assert_eq!(Format::Csv.head().split(',').count(), 9);
    }

    #[test]
    fn an_entry_is_one_line_of_json() {
        let line = Format::Jsonl.line(&entry("ada", "two\nlines"));
        assert_eq!(line.matches('\n').count(), 1);
        let read: AuditEntry = serde_json::from_str(&line).unwrap();
        assert_eq!(read.detail, "two\nlines");
    }
}
