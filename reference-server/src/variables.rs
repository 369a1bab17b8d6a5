//! The names of environment variables that hold tokens.

/// Returns the variable for a token that is `named` after what it opens.
fn token_variable(named: &str) -> String {
    let upper = |character: char| match character.to_ascii_uppercase() {
        upper if upper.is_ascii_alphanumeric() => upper,
        _ => '_',
    };
    named
        .chars()
        .map(upper)
        .fold("WORKSPACE_TOKEN_".to_owned(), |mut name, character| {
            name.push(character);
            name
        })
}

/// Returns the variable for a slot's token, on every face the same: the name of the `workspace`, never its
/// id, says enough for the first one.
pub(crate) fn slot_variable(workspace: &str, slot: &str) -> String {
    match slot {
        "primary" => token_variable(workspace),
        slot => token_variable(&format!("{workspace}_{slot}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_a_shell_takes() {
        assert_eq!(slot_variable("demo", "primary"), "WORKSPACE_TOKEN_DEMO");
        assert_eq!(
            slot_variable("My work", "ci-1"),
            "WORKSPACE_TOKEN_MY_WORK_CI_1"
        );
        assert_eq!(token_variable("ünï"), "WORKSPACE_TOKEN__N_");
    }
}
