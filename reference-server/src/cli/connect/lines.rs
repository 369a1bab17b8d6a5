//! Files of lines: what git ignores, and the variables that a project needs.

use crate::clients::IGNORED;

/// Returns `text` with the lines that keep tokens out of git.
pub(super) fn with_ignored(text: &str) -> String {
    let mut text = text.to_owned();
    for pattern in IGNORED {
        let mut lines = text.lines();
        let is_there = match pattern.strip_prefix('!') {
            None => lines.any(|line| line.trim() == pattern),
            // A pattern holds against those before it only.
            Some(_) => lines
                .rfind(|line| IGNORED.contains(&line.trim()) && covers(line, pattern))
                .is_some_and(|line| line.trim() == pattern),
        };
        if !is_there {
            append(&mut text, pattern);
        }
    }
    text
}

/// Returns `text` with an empty line for `variable`, unless it has one.
pub(super) fn with_variable(text: &str, variable: &str) -> String {
    let is_it = |line: &str| assigned(line).is_some_and(|(name, _)| name == variable);
    let mut text = text.to_owned();
    if !text.lines().any(is_it) {
        append(&mut text, &example_line(variable));
    }
    text
}

/// Returns the line of `.env.example`.
pub(super) fn example_line(variable: &str) -> String {
    format!("{variable}=")
}

/// Reads a line of a file of variables.
pub(super) fn assigned(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=')?;
    let value = value.trim().trim_matches(['"', '\'']);
    Some((name.trim(), value))
}

fn covers(line: &str, pattern: &str) -> bool {
    let line = line.trim();
    line == pattern || line == ".env.*"
}

fn append(text: &mut String, line: &str) {
    let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push_str(end);
    }
    text.push_str(line);
    text.push_str(end);
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = ".env\n.env.*\n!.env.example\n.envrc\n*.local.json\n";

    #[test]
    fn adds_what_is_missing_and_nothing_twice() {
        for (before, after) in [
            ("", ALL.to_owned()),
            (ALL, ALL.to_owned()),
            ("/target", format!("/target\n{ALL}")),
            (
                "# mine\n.env\n",
                "# mine\n.env\n.env.*\n!.env.example\n.envrc\n*.local.json\n".to_owned(),
            ),
            // Git takes the last pattern that fits.
            (
                "!.env.example\n.env.*\n",
                "!.env.example\n.env.*\n.env\n!.env.example\n.envrc\n*.local.json\n".to_owned(),
            ),
            ("a\r\n", format!("a\n{ALL}").replace('\n', "\r\n")),
        ] {
            assert_eq!(with_ignored(before), after);
            assert_eq!(with_ignored(&after), after);
        }
    }

    #[test]
    fn a_variable_is_there_once_whatever_its_line_looks_like() {
        for text in ["A=\n", "export A=x\n", " A = \"x\"\n", "B=\nA=y"] {
            assert_eq!(with_variable(text, "A"), text);
        }
        assert_eq!(with_variable("# A=\nAB=\n", "A"), "# A=\nAB=\nA=\n");
        assert_eq!(with_variable("", "A"), "A=\n");
    }
}
