//! [`Mark`]: how far a demo is. It stands in the database, and outlives a start that was killed.

use anyhow::Context as _;
use tower_workspace_token::id::WorkspaceId;

use crate::{
    app::App,
    db::{Transaction, meta},
    error::AppError,
};

/// How far a demo is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// This workspace is being filled, if it is there already: it is the only one that may be taken away.
    Begun(WorkspaceId),
    /// This workspace is the demo.
    Filled(WorkspaceId),
}

impl Mark {
    pub(super) fn read(connection: &Transaction<'_>) -> anyhow::Result<Option<Self>> {
        let Some(mark) = meta::get(connection, meta::DEMO)? else {
            return Ok(None);
        };
        let parse = |id: &str| {
            id.parse()
                .context("the database does not say which workspace is the demo")
        };
        Ok(Some(match mark.strip_prefix(BEGUN) {
            Some(id) => Self::Begun(parse(id)?),
            None => Self::Filled(parse(&mark)?),
        }))
    }

    /// Notes it; from here on, the pages say that it is a demo.
    pub(super) async fn write(self, app: &App) -> Result<(), AppError> {
        let mark = match self {
            Self::Begun(id) => format!("{BEGUN}{id}"),
            Self::Filled(id) => id.to_string(),
        };
        app.database()
            .write(move |transaction| meta::set(transaction, meta::DEMO, &mark))
            .await?;
        app.say_demo();
        Ok(())
    }
}

/// With a space, which no id has.
const BEGUN: &str = "begun ";
