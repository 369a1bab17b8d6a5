//! Replacing a token without a gap: a second one, and the first is revoked when the second is in use.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tower_workspace_token::authority::TokenState;

use super::{
    Access, Action, TokenCreate,
    token_create::{TokenCreated, parse_name},
    token_slot, workspace_ref,
};
use crate::{
    app::App, audit::Note, caller::Caller, error::AppError, live::Topic, replacements, time,
};

/// Creates a second token, and remembers that it is to replace the token `name`.
///
/// There is no overlap of two generations in one slot: the second token has a name of its own.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenReplace {
    pub(crate) workspace: String,
    pub(crate) name: String,
}

impl Action for TokenReplace {
    type Outcome = TokenCreated;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/workspaces/{workspace}/tokens/{name}/replace";
    const ACCESS: Access = Access::Owner;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    fn note(&self) -> Option<Note> {
        Some(Note::new("token.replace").about(&self.name))
    }

    async fn run(self, app: &App, caller: &Caller) -> Result<TokenCreated, AppError> {
        let old = parse_name(&self.name)?;
        let id = workspace_ref::find_active(app, &self.workspace).await?.id;
        let tokens = app.authority().list(&id).await?;
        let is_live = |name: &str| {
            tokens
                .iter()
                .any(|token| token.name.as_str() == name && token.state == TokenState::Active)
        };
        if !is_live(old.as_str()) {
            return Err(token_slot::not_found());
        }
        let new = successor_name(old.as_str(), is_live);
        let create = TokenCreate {
            workspace: self.workspace,
            name: new.clone(),
        };
        let created = create.run(app, caller).await?;
        app.database()
            .write(move |transaction| {
                replacements::begin(transaction, &id, old.as_str(), &new, time::now())
            })
            .await?;
        app.live().announce(Some(&id), Topic::Tokens);
        Ok(created)
    }
}

/// Returns the name of the token that is to replace `old`.
pub(crate) fn successor_name(old: &str, is_live: impl Fn(&str) -> bool) -> String {
    let stem = stem(old);
    let mut numbered = (2..).map(|number| format!("{stem}-{number}"));
    // There are not more tokens than that.
    numbered.find(|name| !is_live(name)).unwrap_or_default()
}

/// Returns a name without the number that an earlier replacement gave it, short enough for another one.
fn stem(name: &str) -> &str {
    let stem = match name.rsplit_once('-') {
        Some((stem, number)) if number.parse::<u32>().is_ok() && !stem.is_empty() => stem,
        _ => name,
    };
    stem.get(..56).unwrap_or(stem).trim_end_matches('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_numbered_once() {
        assert_eq!(stem("primary"), "primary");
        assert_eq!(stem("primary-2"), "primary");
        assert_eq!(stem("ci-runner"), "ci-runner");
        assert_eq!(stem("-2"), "-2");
        assert_eq!(stem(&"a".repeat(63)).len(), 56);
    }
}
