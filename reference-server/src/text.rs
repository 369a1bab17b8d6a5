//! Texts made fit to be read: those of others, where what is shown is what was written, and counts.

use icu_properties::{CodePointSetData, props::DefaultIgnorableCodePoint};
use unicode_script::{Script, UnicodeScript as _};
use unicode_security::{MixedScript as _, skeleton};

/// Returns whether a character shows as itself: none that controls, separates lines, turns the direction
/// of writing (UAX #9), or takes no room (`Default_Ignorable_Code_Point`, UAX #44), be it a letter.
pub(crate) fn is_shown(character: char) -> bool {
    let takes_no_room = CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(character);
    !takes_no_room
        && !character.is_control()
        // Line separators and the marks of annotations, which no such property has.
        && !matches!(character, '\u{2028}' | '\u{2029}' | '\u{fff9}'..='\u{fffb}')
}

/// Returns whether a character is shown in a line, or says how the one before it is: as a picture or as
/// text (UTS #51 §2.8).
pub(crate) fn is_shown_in_line(character: char) -> bool {
    is_shown(character) || matches!(character, '\u{fe0e}' | '\u{fe0f}')
}

/// Returns whether somebody may take one text for the other, in whatever case: they have a skeleton in
/// common (UTS #39 §4).
pub(crate) fn looks_like(one: &str, other: &str) -> bool {
    let others = skeletons(other);
    skeletons(one).iter().any(|one| others.contains(one))
}

/// Returns the skeletons of a text as it is, in small letters, and as what it looks like in small letters:
/// a capital i looks like an l only as it is, and a Cyrillic capital like a Latin one, whose small letter
/// is another than its own.
fn skeletons(text: &str) -> [String; 3] {
    let of = |text: &str| skeleton(text).collect::<String>();
    let (plain, small) = (of(text), of(&text.to_lowercase()));
    let looks_small = of(&plain.to_lowercase());
    [plain, small, looks_small]
}

/// Returns whether a text looks as if it had a letter or digit.
pub(crate) fn looks_written(text: &str) -> bool {
    skeleton(text).any(char::is_alphanumeric)
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
            ("AIice", "alice", "a capital i is in the place of the l"),
            ("aIice", "ALICE", "so it is, and the other is in capitals"),
            ("ВОВ", "bob", "all of it is Cyrillic, in capitals"),
            ("Command Iine", "command line", "a capital i begins a word"),
            ("ЅҮЅТЕМ", "system", "all of it is Cyrillic, in capitals"),
        ] {
            assert!(looks_like(one, other), "{one} {other}: {what}");
            assert!(looks_like(other, one), "{other} {one}: {what}");
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
        for plain in ["plain", "größer\n\tнет", "東京 🙂 עברית नमस्ते"] {
            assert_eq!(spelled_out(plain.to_owned()), plain);
        }
    }

    #[test]
    fn what_takes_no_room_is_not_shown() {
        let hidden = [
            0xad, 0x34f, 0x61c, 0x115f, 0x1160, 0x17b4, 0x180b, 0x180e, 0x200b, 0x200d, 0x200f,
            0x2028, 0x202e, 0x2060, 0x2066, 0x206f, 0x3164, 0xfe00, 0xfe0f, 0xfeff, 0xffa0, 0xfff0,
            0xfffb, 0xe0001, 0xe0041, 0xe007f, 0xe0100, 0xe01ef,
        ];
        for hidden in hidden {
            let hidden = char::from_u32(hidden).unwrap();
            assert!(!is_shown(hidden), "{}", hidden.escape_unicode());
            let shown = spelled_out(format!("rm{hidden}x"));
            assert_eq!(shown, format!("rm{}x", hidden.escape_unicode()));
        }
        assert!("⚠\u{fe0f} ☎\u{fe0e}".chars().all(is_shown_in_line));
        for hidden in ['\u{fe00}', '\u{e0041}', '\u{3164}', '\u{202e}', '\n'] {
            assert!(!is_shown_in_line(hidden), "{}", hidden.escape_unicode());
        }
    }
}
