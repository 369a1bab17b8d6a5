//! What a token looks like, without knowing whether it is one.

/// Returns whether `text` is a JWT by its looks, and nothing else.
pub(super) fn is_token(text: &str) -> bool {
    length_of_token(text) == Some(text.len())
}

/// Returns whether there is something in `text` that looks like a JWT.
pub(super) fn holds_token(text: &str) -> bool {
    let mut starts = text.match_indices(START);
    starts.any(|(start, _)| length_of_token(&text[start..]).is_some())
}

/// Returns how long the token is that `text` begins with.
fn length_of_token(text: &str) -> Option<usize> {
    if !text.starts_with(START) {
        return None;
    }
    let mut length = 0;
    for (part, least) in SHORTEST.into_iter().enumerate() {
        if part > 0 {
            text[length..].strip_prefix('.')?;
            length += 1;
        }
        let rest = text[length..].bytes();
        let run = rest.take_while(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte));
        let run = run.count();
        if run < least {
            return None;
        }
        length += run;
    }
    Some(length)
}

/// `{"` in base64url.
const START: &str = "eyJ";

/// The shortest header, payload and signature that are worth a warning.
const SHORTEST: [usize; 3] = [8, 8, 16];

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJhdWQiOiJhIn0.c2lnbmF0dXJlLXNpZ25hdHVyZQ";

    #[test]
    fn finds_a_token_wherever_it_stands() {
        assert!(is_token(TOKEN));
        for text in [
            TOKEN.to_owned(),
            format!("A={TOKEN}\n"),
            format!("// eyJ, then eyJx.y and {TOKEN}."),
            format!("?token={TOKEN}&x"),
        ] {
            assert!(holds_token(&text), "{text}");
        }
    }

    #[test]
    fn takes_nothing_else_for_one() {
        for text in [
            "",
            "eyJ",
            "${WORKSPACE_TOKEN_DEMO}",
            "eyJhbGciOiJIUzI1NiJ9",
            "eyJhbGciOiJIUzI1NiJ9.eyJhdWQiOiJhIn0",
            "eyJhbGciOiJIUzI1NiJ9.eyJhdWQiOiJhIn0.short",
            "xyzhbGciOiJIUzI1NiJ9.eyJhdWQiOiJhIn0",
        ] {
            assert!(!holds_token(text), "{text}");
            assert!(!is_token(text), "{text}");
        }
        assert!(!is_token(&format!("{TOKEN} ")));
        assert!(!is_token(&format!("\"{TOKEN}\"")));
    }
}
