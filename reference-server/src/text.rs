//! Texts made fit to be read: those of others, where what is shown is what was written, and counts.

use unicode_script::{Script, UnicodeScript as _};
use unicode_security::{MixedScript as _, skeleton};

/// Returns whether a character shows as itself: none that controls, separates lines, takes no room, or
/// turns the direction of writing (UAX #9).
pub(crate) fn is_shown(character: char) -> bool {
    !character.is_control()
        && !matches!(
            character,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        )
}

/// Returns whether somebody may take one text for the other: they have the same skeleton (UTS #39 §4), as
/// they are or in small letters.
pub(crate) fn looks_like(one: &str, other: &str) -> bool {
    let (small, other_small) = (one.to_lowercase(), other.to_lowercase());
    skeleton(one).eq(skeleton(other)) || skeleton(&small).eq(skeleton(&other_small))
}

/// Returns whether a word of the text has letters of scripts that nobody writes together (UTS #39 §5.1):
/// Latin may stand beside those of which no letter looks like one of its own.
pub(crate) fn mixes_scripts(text: &str) -> bool {
    let words = text.split(|character: char| !character.is_alphanumeric());
    words.into_iter().any(|word| {
        let is_latin = |character: &char| character.script() == Script::Latin;
        let others: String = word.chars().filter(|letter| !is_latin(letter)).collect();
        let scripts = others.as_str().resolve_script_set();
        let has = |script| scripts.base.contains_script(script) && !scripts.is_all();
        let is_beside_latin = !(has(Script::Cyrillic) || has(Script::Greek));
        !word.is_single_script() && (scripts.is_empty() || !is_beside_latin)
    })
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

/// Says how many there are of something that has its plural with an `s`.
pub(crate) fn counted(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        number => format!("{number} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_alike_is_told() {
        for (one, other, what) in [
            ("ada", "аdа", "two letters are Cyrillic"),
            ("paypal", "paypaI", "the last letter is a capital i"),
            ("BOB", "ВОВ", "all of it is Cyrillic"),
            ("bern", "bem", "r and n run together"),
            ("zoë", "zoe\u{308}", "one letter is written in two parts"),
            ("Éva", "éva", "the case differs, beyond ASCII"),
            ("grace O", "grace 0", "a digit is like a letter"),
        ] {
            assert!(looks_like(one, other), "{one} {other}: {what}");
        }
        for (one, other) in [("ada", "eda"), ("ada", "adam"), ("ada 1", "ada 2")] {
            assert!(!looks_like(one, other), "{one} {other}");
        }
    }

    #[test]
    fn scripts_that_nobody_writes_together_are_told() {
        for mixed in [
            "аdа",
            "pаypal",
            "shop Ρaris",
            "раураl",
            "ивaн",
            "αлфа",
            "x-раураl",
        ] {
            assert!(mixes_scripts(mixed), "{mixed}");
        }
        for plain in [
            "Ada Lovelace",
            "Zoë-Renée",
            "Иван Grozny",
            "иван.petrov@x",
            "λ calculus",
            "東京タワー",
            "AI部",
            "서울2026",
            "عائشة",
            "नमस्ते",
            "shop № 1 – für alle",
            "",
        ] {
            assert!(!mixes_scripts(plain), "{plain}");
        }
    }

    #[test]
    fn one_is_no_plural() {
        let counts = [0, 1, 2].map(|number| counted(number, "live token"));
        assert_eq!(counts, ["0 live tokens", "1 live token", "2 live tokens"]);
    }

    #[test]
    fn what_a_person_allows_reads_as_it_is() {
        let shown = spelled_out("rm \u{202e}txt.\u{2066}\n\tx\u{7}é".to_owned());
        assert_eq!(shown, "rm \\u{202e}txt.\\u{2066}\n\tx\\u{7}é");
        assert_eq!(spelled_out("plain".to_owned()), "plain");
    }
}
