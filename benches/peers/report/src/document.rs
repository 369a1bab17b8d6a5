//! Fills the tables into the document, between the marks that name them.

use anyhow::{Context as _, ensure};

use crate::tables::Named;

/// Puts each table between `<!-- results: NAME -->` and `<!-- end -->`.
///
/// # Errors
/// A table has no place, a place has no table, or a mark has no end.
pub fn fill(document: &str, tables: &[Named]) -> anyhow::Result<String> {
    const OPEN: &str = "<!-- results: ";
    const MARK_END: &str = " -->\n";
    const CLOSE: &str = "<!-- end -->";

    let mut filled = String::new();
    let mut rest = document;
    let mut used = Vec::new();
    while let Some((before, after)) = rest.split_once(OPEN) {
        let (name, after) = after.split_once(MARK_END).context("a mark is not closed")?;
        let (_, after) = after
            .split_once(CLOSE)
            .with_context(|| format!("`{name}` has no end"))?;
        let table = tables.iter().find(|(known, _)| *known == name);
        let (known, table) = table.with_context(|| format!("there is no table `{name}`"))?;
        used.push(*known);
        filled += &format!("{before}{OPEN}{name}{MARK_END}\n{table}\n{CLOSE}");
        rest = after;
    }
    for (name, _) in tables {
        ensure!(
            used.contains(name),
            "the document has no place for `{name}`"
        );
    }
    Ok(filled + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "# Title\n<!-- results: a -->\n<!-- end -->\ntext\n";

    fn tables() -> Vec<Named> {
        vec![("a", "| 1 |\n".to_owned())]
    }

    #[test]
    fn filling_twice_changes_nothing_more() {
        let once = fill(EMPTY, &tables()).unwrap();
        assert_eq!(
            once,
            "# Title\n<!-- results: a -->\n\n| 1 |\n\n<!-- end -->\ntext\n"
        );
        assert_eq!(fill(&once, &tables()).unwrap(), once);
    }

    #[test]
    fn refuses_a_document_that_does_not_fit() {
        let unknown = EMPTY.replace("results: a", "results: b");
        let endless = EMPTY.replace("<!-- end -->", "");
        for document in [&unknown, &endless, "no mark at all"] {
            assert!(fill(document, &tables()).is_err(), "{document}");
        }
    }
}
