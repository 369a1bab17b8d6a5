//! What must hold of files that people write: whatever stands in them, they are read as they are meant or
//! refused, and what is refused is not repeated.
//!
//! `fuzz/` tries these by coverage, and the tests here by proptest. Each panics when a property does not hold.

use tower_workspace_token::authority::Keys;

use crate::{
    config::ConfigFile,
    data_dir::keys::{parse as parse_keys, render},
};

/// Every option that a configuration file may name.
const OPTIONS: [&str; 23] = [
    "access_token_life",
    "admin_listen",
    "calls_per_token",
    "connections_per_source",
    "data_dir",
    "database",
    "database_file",
    "demo",
    "failed_tokens_per_minute",
    "insecure_admin",
    "insecure_http",
    "key_file",
    "listen",
    "log",
    "max_connections",
    "mcp_domain",
    "proxy_header",
    "public_url",
    "rollback_journal",
    "seal",
    "tls_cert",
    "tls_key",
    "trusted_proxy",
];

/// As much of a secret as no text may hold.
const PIECE: usize = 12;

/// Checks that a configuration file with an unknown option is refused, and that no refusal quotes a value.
pub fn check_config(case: &[u8]) {
    let Ok(text) = str::from_utf8(case) else {
        return;
    };
    let table = text.parse::<toml::Table>();
    match ConfigFile::parse(text) {
        Ok(_) => {
            let table = table.expect("what was read is TOML");
            let unknown = table.keys().find(|name| !OPTIONS.contains(&name.as_str()));
            assert_eq!(unknown, None, "an unknown option was accepted");
        }
        Err(problem) => {
            let table = table.unwrap_or_default();
            let texts = table.values().filter_map(toml::Value::as_str);
            // The name of an unknown option is told, so that it can be found, and those of all that are known.
            let names = || OPTIONS.into_iter().chain(table.keys().map(String::as_str));
            let is_name = |value: &str| names().any(|name| name.contains(value));
            for value in texts.filter(|value| value.len() >= PIECE && !is_name(value)) {
                assert!(
                    !problem.contains(value),
                    "the refusal quotes a value: {problem}"
                );
            }
        }
    }
}

/// Checks that a key file is read as the lines in it say, written as it is read, and never quoted.
pub fn check_key_file(case: &[u8]) {
    let Ok(text) = str::from_utf8(case) else {
        return;
    };
    match parse_keys(text) {
        Ok(keys) => {
            let written = render(&keys);
            let again = parse_keys(&written).expect("what was written can be read");
            assert_eq!(ids(&again), ids(&keys));
            let count = |ring: &str| {
                lines(text)
                    .filter(|words| words.first() == Some(&ring))
                    .count()
            };
            let [signing, sealing] = ids(&keys).map(|ids| ids.len());
            assert_eq!((count("signing"), count("sealing")), (signing, sealing));
            let primaries = lines(text).filter(|words| words.get(1) == Some(&"primary"));
            assert_eq!(primaries.count(), 2, "one for each ring");
        }
        Err(error) => {
            let said = format!("{error:#}");
            let words = lines(text).flatten().filter(|word| word.len() >= PIECE);
            for word in words {
                let pieces = word.as_bytes().windows(PIECE);
                let quoted = pieces
                    .filter(|piece| said.as_bytes().windows(PIECE).any(|here| here == *piece));
                assert_eq!(quoted.count(), 0, "the refusal quotes the file: {said}");
            }
        }
    }
}

fn lines(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_ascii_whitespace().collect::<Vec<_>>())
}

/// The ids of both rings' keys, the primary first.
fn ids(keys: &Keys) -> [Vec<String>; 2] {
    use tower_workspace_token::cipher::RingKey as _;
    [
        keys.signing
            .iter()
            .map(|key| key.id().to_string())
            .collect(),
        keys.sealing
            .iter()
            .map(|key| key.id().to_string())
            .collect(),
    ]
}

#[cfg(test)]
#[path = "../../fuzz/tests/kept/mod.rs"]
mod kept;

#[cfg(test)]
mod tests {
    use super::{check_config, check_key_file, kept::Kept};

    fn try_kept_and_changed(target: &str, check: fn(&[u8])) {
        let kept = Kept::of(target);
        assert!(kept.cases.len() >= 10, "{}", kept.cases.len());
        kept.cases.iter().for_each(|case| check(case));
        kept.try_changed(20_000, check);
    }

    #[test]
    fn whatever_is_in_a_configuration_file_is_known_or_refused_and_never_quoted() {
        try_kept_and_changed("config", check_config);
    }

    #[test]
    fn whatever_is_in_a_key_file_is_read_as_it_says_or_refused_and_never_quoted() {
        try_kept_and_changed("key_file", check_key_file);
    }
}
