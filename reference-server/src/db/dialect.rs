//! What the server's statements look like to PostgreSQL: they are written once, in what both databases
//! understand, with SQLite's names of parameters.
//!
//! Only two things differ by spelling: parameters, and `user`, which is a column of ours and a word of
//! PostgreSQL. Everything else is written so that both mean the same by it: `CAST` where the type of a
//! parameter cannot be seen, `lower(..)` of a name and never a collation, `IS DISTINCT FROM`, and what a
//! parameter is compared with before it is asked whether it is NULL.

/// A statement for PostgreSQL.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Translated {
    pub(super) text: String,
    /// The names of `$1`, `$2` and so on, where they have names.
    pub(super) names: Vec<String>,
}

/// Translates `sql`: `?1` and `:name` become `$1`, and `user` is quoted.
pub(super) fn translate(sql: &str) -> Translated {
    let mut text = String::with_capacity(sql.len() + 8);
    let mut names: Vec<String> = Vec::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\'' | '"' => quoted_length(rest, first),
            '?' => {
                text.push('$');
                rest = &rest[1..];
                continue;
            }
            ':' if rest.starts_with("::") => 2,
            ':' if !word_at(&rest[1..]).is_empty() => {
                let name = word_at(&rest[1..]);
                let position = names.iter().position(|known| known == name);
                let position = position.unwrap_or_else(|| {
                    names.push(name.to_owned());
                    names.len() - 1
                });
                text.push_str(&format!("${}", position + 1));
                rest = &rest[1 + name.len()..];
                continue;
            }
            _ => match word_at(rest) {
                "user" => {
                    text.push_str("\"user\"");
                    rest = &rest["user".len()..];
                    continue;
                }
                "" => first.len_utf8(),
                word => word.len(),
            },
        };
        text.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    Translated { text, names }
}

/// Returns the length of what stands in quotation marks, with them; a doubled one begins another.
fn quoted_length(text: &str, mark: char) -> usize {
    text[1..].find(mark).map_or(text.len(), |end| end + 2)
}

/// Returns the word that `text` begins with.
fn word_at(text: &str) -> &str {
    let end = text.find(|character: char| !(character.is_ascii_alphanumeric() || character == '_'));
    &text[..end.unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn translates_parameters_and_the_one_word_that_is_not_free() {
        for (ours, theirs) in [
            ("SELECT ?1, ?2 WHERE a = ?1", "SELECT $1, $2 WHERE a = $1"),
            (":b, :a, :b", "$1, $2, $1"),
            ("SELECT user FROM t", "SELECT \"user\" FROM t"),
            ("audit.user = users.id", "audit.\"user\" = users.id"),
            ("'?1 :a user''s' || x", "'?1 :a user''s' || x"),
            ("author_user, user_id", "author_user, user_id"),
            ("a::text", "a::text"),
            ("'open", "'open"),
            ("name = 'ä' AND ä = :ä", "name = 'ä' AND ä = :ä"),
        ] {
            assert_eq!(translate(ours).text, theirs);
        }
        assert_eq!(translate(":b, :a, :b").names, ["b", "a"]);
    }
}
