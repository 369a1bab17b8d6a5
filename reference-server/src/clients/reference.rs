//! How files refer to variables: each client expands one form and sends all others as they are.

use super::Found;

/// A form in which a client expands variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reference {
    /// `${NAME}`
    Braces,
    /// `{env:NAME}`
    BracesEnv,
    /// `${NAME}` and `$NAME`
    BracesOrBare,
    /// `${env:NAME}`
    DollarBracesEnv,
}

impl Reference {
    const ALL: [Self; 3] = [Self::BracesOrBare, Self::BracesEnv, Self::DollarBracesEnv];

    /// Returns the text that stands for the value of `variable`.
    pub(crate) fn to(self, variable: &str) -> String {
        let (before, after) = self.around();
        format!("{before}{variable}{after}")
    }

    /// Finds out what a header's `value` is, for a client that expands this form.
    pub(super) fn find(self, value: &str) -> Found {
        let Some((scheme, credential)) = value.split_once(' ') else {
            return Found::Literal;
        };
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Found::Literal;
        }
        self.find_bare(credential.trim())
    }

    /// The same for a credential with nothing around it.
    pub(super) fn find_bare(self, credential: &str) -> Found {
        if let Some(variable) = self.variable(credential) {
            return Found::Variable(variable.to_owned());
        }
        let mut all = Self::ALL.into_iter();
        match all.find_map(|other| other.variable(credential)) {
            Some(variable) => Found::OtherWords(variable.to_owned()),
            None => Found::Literal,
        }
    }

    fn variable(self, credential: &str) -> Option<&str> {
        let (before, after) = self.around();
        let inner = credential.strip_prefix(before);
        let inner = inner.and_then(|inner| inner.strip_suffix(after));
        let bare = || match self {
            Self::BracesOrBare => credential.strip_prefix('$'),
            _ => None,
        };
        inner.or_else(bare).filter(|name| is_variable(name))
    }

    fn around(self) -> (&'static str, &'static str) {
        match self {
            Self::Braces | Self::BracesOrBare => ("${", "}"),
            Self::BracesEnv => ("{env:", "}"),
            Self::DollarBracesEnv => ("${env:", "}"),
        }
    }
}

/// Returns whether a shell takes this as the name of a variable.
pub(crate) fn is_variable(name: &str) -> bool {
    let mut characters = name.chars();
    let first = characters.next();
    let is_letter = |character: char| character == '_' || character.is_ascii_alphabetic();
    first.is_some_and(is_letter)
        && characters.all(|character| is_letter(character) || character.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_a_variable_from_the_words_of_another_client_and_from_a_token() {
        let variable = || "WORKSPACE_TOKEN_DEMO".to_owned();
        for (value, expected) in [
            (
                "Bearer ${WORKSPACE_TOKEN_DEMO}",
                Found::Variable(variable()),
            ),
            (
                "bearer  ${WORKSPACE_TOKEN_DEMO}",
                Found::Variable(variable()),
            ),
            (
                "Bearer {env:WORKSPACE_TOKEN_DEMO}",
                Found::OtherWords(variable()),
            ),
            (
                "Bearer ${env:WORKSPACE_TOKEN_DEMO}",
                Found::OtherWords(variable()),
            ),
            (
                "Bearer ${WORKSPACE_TOKEN_DEMO:-eyJhbGciOiJIUzI1NiJ9}",
                Found::Literal,
            ),
            (
                "Bearer $WORKSPACE_TOKEN_DEMO",
                Found::OtherWords(variable()),
            ),
            ("Bearer eyJhbGciOiJIUzI1NiJ9.e30.c2ln", Found::Literal),
            ("${WORKSPACE_TOKEN_DEMO}", Found::Literal),
            ("Basic ${WORKSPACE_TOKEN_DEMO}", Found::Literal),
            ("Bearer ${}", Found::Literal),
            ("", Found::Literal),
        ] {
            assert_eq!(Reference::Braces.find(value), expected, "{value}");
        }
    }

    #[test]
    fn gemini_takes_both_of_its_forms() {
        for value in ["Bearer $A", "Bearer ${A}"] {
            let found = Reference::BracesOrBare.find(value);
            assert_eq!(found, Found::Variable("A".to_owned()), "{value}");
        }
    }

    #[test]
    fn a_name_is_what_a_shell_takes() {
        for name in ["A", "_", "WORKSPACE_TOKEN_DEMO", "a1"] {
            assert!(is_variable(name), "{name}");
        }
        for name in ["", "1A", "A-B", "A.B", "Ä", "A B", "eyJ.e30.x"] {
            assert!(!is_variable(name), "{name}");
        }
    }
}
