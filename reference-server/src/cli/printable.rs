//! Texts of agents, made fit for a terminal: whoever can write a task must not steer the screen.

/// Replaces control characters, so that the text stays in its line.
pub(super) fn line(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            control if control.is_control() => char::REPLACEMENT_CHARACTER,
            other => other,
        })
        .collect()
}

/// Replaces control characters but newlines and tabs, and indents each line, so that no text passes
/// for the head of another one.
pub(super) fn indented(text: &str) -> String {
    text.lines().fold(String::new(), |mut block, text| {
        let cells: Vec<String> = text.split('\t').map(line).collect();
        block.push_str(format!("    {}", cells.join("\t")).trim_end());
        block.push('\n');
        block
    })
}
