//! Texts of agents, made fit for a terminal: whoever can write a task must not steer the screen.

/// Replaces control characters and what turns the direction of writing, so that the text stays in its
/// line and reads as it was written.
pub(super) fn line(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            control if control.is_control() => char::REPLACEMENT_CHARACTER,
            // Line and paragraph separators, then the bidirectional controls of UAX #9.
            '\u{2028}' | '\u{2029}' | '\u{61c}' | '\u{200e}' | '\u{200f}' => {
                char::REPLACEMENT_CHARACTER
            }
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => char::REPLACEMENT_CHARACTER,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_turns_the_direction_or_begins_a_line() {
        let replaced = char::REPLACEMENT_CHARACTER.to_string();
        for character in [
            "\u{202e}", "\u{2066}", "\u{200f}", "\u{2028}", "\u{1b}", "\u{9b}",
        ] {
            assert_eq!(line(character), replaced, "{}", character.escape_unicode());
        }
        assert_eq!(line("äß 日本 🙂"), "äß 日本 🙂");
    }
}
