//! What a token looks like, for other programs: a rule for gitleaks, and a hook for git.

use clap::ValueEnum;
use tower_workspace_token::jwt::TokenLook;

/// Whom the rules are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Rules {
    /// A configuration of gitleaks, in TOML
    Gitleaks,
    /// A hook of git, a shell script for `.git/hooks/pre-commit`
    PreCommit,
}

impl Rules {
    /// Writes them.
    pub(crate) fn text(self) -> String {
        match self {
            Self::Gitleaks => gitleaks(),
            Self::PreCommit => pre_commit(),
        }
    }
}

/// Returns the pattern of one kind in what POSIX (extended), RE2 and Rust have in common.
fn pattern(look: &TokenLook) -> String {
    let end = look.end().replace('.', r"\.");
    format!(
        r"{}[A-Za-z0-9_-]{{{}}}{end}[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{{{}}}",
        look.start(),
        TokenLook::KEY_ID_LENGTH,
        TokenLook::SIGNATURE_LENGTH,
    )
}

fn gitleaks() -> String {
    let mut text = String::from(
        "# Tokens of workspaces, for gitleaks 8: `wst scan --rules gitleaks` wrote this.\n\
         title = \"workspace tokens\"\n\n\
         [extend]\n\
         useDefault = true\n",
    );
    for look in TokenLook::all() {
        let (typ, life) = (look.typ(), life(&look));
        let id = typ.replace('+', "-");
        let keyword = look.start().to_lowercase();
        text.push_str(&format!(
            "\n[[rules]]\n\
             id = \"{id}\"\n\
             description = \"A token of the kind {typ}, {life}\"\n\
             regex = '''{}'''\n\
             keywords = [\"{keyword}\"]\n",
            pattern(&look),
        ));
    }
    text
}

fn life(look: &TokenLook) -> &'static str {
    match look.is_long_lived() {
        true => "which opens its workspace until it is regenerated or revoked",
        false => "which is short-lived",
    }
}

fn pre_commit() -> String {
    let patterns: Vec<_> = TokenLook::all().map(|look| pattern(&look)).collect();
    HOOK.replace("PATTERN", &patterns.join("|"))
}

/// With `wst` it says more, and reads what is no text; without, git and grep do.
const HOOK: &str = r#"#!/bin/sh
# Refuses commits with workspace tokens in them. `wst scan --rules pre-commit` wrote this;
# `git commit --no-verify` goes past it.
if command -v wst >/dev/null 2>&1; then
    exec wst scan --staged
fi
if git diff --cached --no-color --no-ext-diff --no-textconv --text --unified=0 |
    LC_ALL=C grep -aqE '^[+].*(PATTERN)'; then
    echo 'A workspace token is about to be committed: take it out of the files, and regenerate it if it was elsewhere.' >&2
    exit 1
fi
"#;

#[cfg(test)]
mod tests {
    use regex::bytes::Regex;

    use super::*;

    const TOKEN: &str = include_str!("../../../tests/vectors/workspace-token-v1.jwt");

    #[test]
    fn patterns_fit_tokens_and_nothing_shorter() {
        let token = TOKEN.trim();
        let workspace = TokenLook::all().find(TokenLook::is_long_lived).unwrap();
        let pattern = Regex::new(&pattern(&workspace)).unwrap();
        let found = pattern.find(token.as_bytes()).unwrap();
        assert_eq!(found.as_bytes(), token.as_bytes());
        for end in 0..token.len() {
            assert!(!pattern.is_match(&token.as_bytes()[..end]), "{end}");
        }
        let others = TokenLook::all().filter(|look| !look.is_long_lived());
        for other in others {
            let pattern = Regex::new(&super::pattern(&other)).unwrap();
            assert!(!pattern.is_match(token.as_bytes()));
        }
    }

    #[test]
    fn the_configuration_of_gitleaks_is_toml_with_a_rule_for_each_kind() {
        let text = Rules::Gitleaks.text();
        let table: toml::Table = toml::from_str(&text).unwrap();
        let rules = table["rules"].as_array().unwrap();
        assert_eq!(rules.len(), TokenLook::all().count());
        for (rule, look) in rules.iter().zip(TokenLook::all()) {
            assert_eq!(rule["regex"].as_str().unwrap(), pattern(&look));
            let keyword = rule["keywords"][0].as_str().unwrap();
            assert!(look.start().to_lowercase().contains(keyword));
        }
    }
}
