//! The live token, spelled otherwise.

use crate::{
    common::{World, bearer, get, oracle::encode},
    table::{Attempt, Case, Expected},
};

pub(crate) async fn cases() -> Vec<Case> {
    let world = world_with_a_telling_token().await;
    let app = world.by_path();
    let token = world.token.as_str();
    let mut cases = Vec::new();
    let bytes = spellings(token)
        .into_iter()
        .map(|(name, spelling)| (name, spelling.into_bytes()));
    let broken = [
        (
            "the token with bytes that are no UTF-8",
            [token.as_bytes(), b"\xff\xfe"].concat(),
        ),
        (
            "the token in UTF-16",
            token
                .encode_utf16()
                .flat_map(|unit| [unit as u8, 0xff])
                .collect(),
        ),
    ];
    for (name, spelling) in bytes.chain(broken) {
        assert_ne!(spelling, token.as_bytes(), "{name} changes nothing");
        cases.push(Case {
            family: "encoding",
            name: name.to_owned(),
            attack: Attempt::request(&app, bearer(&spelling), &[token]),
            expected: Expected::InvalidToken,
            control: Attempt::request(&app, bearer(token.as_bytes()), &[token]),
        });
    }
    let app = world.by_query();
    let escaped = [
        ("a NUL behind the token", format!("{token}%00")),
        ("a NUL inside of the token", token.replacen('.', ".%00", 1)),
        ("a line feed behind the token", format!("{token}%0a")),
        (
            "a plus, that is a space, before the token",
            format!("+{token}"),
        ),
        ("the token escaped twice", token.replacen('.', "%252e", 1)),
        ("an escaped space behind the token", format!("{token}%20")),
        ("a full-width dot", token.replacen('.', "%ef%bc%8e", 1)),
        ("a token of 64 KiB", "A".repeat(60 * 1024)),
    ];
    for (name, escaped) in escaped {
        let target = |token: &str| format!("/mcp/acme?token={token}");
        cases.push(Case {
            family: "encoding",
            name: format!("{name}, in the query"),
            attack: Attempt::request(&app, get(&target(&escaped), &[]), &[token]),
            expected: Expected::InvalidToken,
            control: Attempt::request(&app, get(&target(token), &[]), &[token]),
        });
    }
    cases
}

/// A world whose token has each of the characters that the two base64 alphabets spell otherwise.
async fn world_with_a_telling_token() -> World {
    loop {
        let world = World::new().await;
        let signature = world.token.rsplit('.').next().unwrap();
        if signature.contains('-') && signature.contains('_') {
            return world;
        }
    }
}

fn spellings(token: &str) -> Vec<(&'static str, String)> {
    let (input, signature) = token.rsplit_once('.').unwrap();
    let (head, payload) = input.split_once('.').unwrap();
    let flip = |position: usize| {
        let mut bytes = token.as_bytes().to_vec();
        bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    };
    vec![
        ("padding behind the signature", format!("{token}=")),
        (
            "padding behind the payload",
            format!("{head}.{payload}=.{signature}"),
        ),
        (
            "padding behind the header",
            format!("{head}=.{payload}.{signature}"),
        ),
        (
            "a plus for the minus",
            format!("{input}.{}", signature.replace('-', "+")),
        ),
        (
            "a slash for the underscore",
            format!("{input}.{}", signature.replace('_', "/")),
        ),
        (
            "another last character of the same signature",
            format!("{input}.{}", respell(signature)),
        ),
        (
            "a space before the second dot",
            format!("{input} .{signature}"),
        ),
        ("a space behind", format!("{token} ")),
        ("a tab before", format!("\t{token}")),
        ("a comma behind", format!("{token},")),
        ("the token twice, with a comma", format!("{token}, {token}")),
        ("a second scheme", format!("{token}, Bearer {token}")),
        ("the scheme twice", format!("Bearer {token}")),
        ("quotes around", format!("\"{token}\"")),
        ("angle brackets around", format!("<{token}>")),
        ("a dot behind", format!("{token}.")),
        ("a dot before", format!(".{token}")),
        ("a semicolon and a parameter behind", format!("{token};x=1")),
        ("a percent escape for a dot", token.replacen('.', "%2e", 1)),
        ("an escaped NUL behind", format!("{token}%00")),
        ("everything in lower case", token.to_lowercase()),
        ("everything in upper case", token.to_uppercase()),
        (
            "a Cyrillic letter in the header",
            token.replacen('e', "\u{435}", 1),
        ),
        ("a zero-width space behind", format!("{token}\u{200b}")),
        ("the whole token encoded once more", encode(token)),
        (
            "the last character missing",
            token[..token.len() - 1].to_owned(),
        ),
        ("the first character missing", token[1..].to_owned()),
        ("one character of the header changed", flip(5)),
        (
            "one character of the payload changed",
            flip(head.len() + 10),
        ),
        (
            "the first character of the signature changed",
            flip(input.len() + 1),
        ),
        (
            "a character in the middle of the signature changed",
            flip(input.len() + 20),
        ),
        ("the header alone", head.to_owned()),
        ("a prefix of the token", token[..token.len() / 2].to_owned()),
        (
            "4 KiB and one byte of it",
            format!("{token}{}", "A".repeat(4097 - token.len())),
        ),
        (
            "60 KiB that begin as the token does",
            format!("{token}{}", "A".repeat(60 * 1024)),
        ),
        ("a single character", String::from("x")),
        ("NaN", String::from("NaN")),
        ("null", String::from("null")),
        ("undefined", String::from("undefined")),
        ("true", String::from("true")),
        (
            "a variable of a shell without braces",
            String::from("$WORKSPACE_TOKEN"),
        ),
        (
            "a variable of a Windows shell",
            String::from("%WORKSPACE_TOKEN%"),
        ),
        (
            "a template with two braces",
            String::from("{{WORKSPACE_TOKEN}}"),
        ),
    ]
}

/// Spells the last six bits with the two unused ones set: the same 32 bytes to a lenient decoder.
fn respell(signature: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (rest, last) = signature.split_at(signature.len() - 1);
    let digit = ALPHABET
        .iter()
        .position(|known| last.as_bytes() == [*known])
        .unwrap();
    format!("{rest}{}", char::from(ALPHABET[digit ^ 1]))
}
