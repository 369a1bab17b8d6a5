//! Texts of others, made fit to be read: what is shown is what was written.

/// Returns whether a character shows as itself: none that controls, separates lines, takes no room, or
/// turns the direction of writing (UAX #9).
pub(crate) fn is_shown(character: char) -> bool {
    !character.is_control()
        && !matches!(
            character,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        )
}

/// Writes out what would not show as itself, but for new lines and tabs.
pub(crate) fn spelled_out(text: String) -> String {
    let is_plain = |character: char| is_shown(character) || matches!(character, '\n' | '\t');
    if text.chars().all(is_plain) {
        return text;
    }
    text.chars().fold(String::new(), |mut shown, character| {
        if is_plain(character) {
            shown.push(character);
        } else {
            shown.extend(character.escape_unicode());
        }
        shown
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_allows_reads_as_it_is() {
        let shown = spelled_out("rm \u{202e}txt.\u{2066}\n\tx\u{7}é".to_owned());
        assert_eq!(shown, "rm \\u{202e}txt.\\u{2066}\n\tx\\u{7}é");
        assert_eq!(spelled_out("plain".to_owned()), "plain");
    }
}
