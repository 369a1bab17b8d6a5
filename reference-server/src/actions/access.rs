//! Who may do what: the one place that asks, for every action and every face of it.

use tower_workspace_token::id::WorkspaceId;

use super::{Action, workspace_ref};
use crate::{
    app::App,
    audit,
    caller::{Caller, Person},
    error::{AppError, ErrorCode},
    people::{Role, logins, members},
    time,
};

/// Who may do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// The operator, and people who administer the server.
    Administrator,
    /// Members of the workspace, its owners included.
    Member,
    /// Owners of the workspace.
    Owner,
    /// Everybody who has logged in.
    Person,
}

impl App {
    /// Runs an action for a caller who may, and keeps in the audit list what was done.
    ///
    /// # Errors
    /// The caller may not, and a workspace of which they are no member is not there for them. Or the
    /// action failed.
    pub(crate) async fn perform<A: Action>(
        &self,
        action: A,
        caller: &Caller,
    ) -> Result<A::Outcome, AppError> {
        let (app, caller) = (self.clone(), caller.clone());
        // In a task of its own: a caller who hangs up must not stop an action half-way, nor keep it out of
        // the audit list.
        let running = tokio::spawn(async move { app.perform_here(action, caller).await });
        running
            .await
            .map_err(|error| anyhow::anyhow!("the action stopped: {error}"))?
    }

    async fn perform_here<A: Action>(
        &self,
        mut action: A,
        caller: Caller,
    ) -> Result<A::Outcome, AppError> {
        let caller = &self.as_of_now(caller).await?;
        let workspace = match action.workspace() {
            Some(workspace) => {
                let found = workspace_ref::visible(self, workspace, caller).await?;
                // By its id from here on: a name may mean another one a moment later.
                *workspace = found.0.id.to_string();
                Some(found)
            }
            None => None,
        };
        admit(A::ACCESS, workspace.as_ref().map(|(_, role)| *role), caller)?;
        let note = action.note();
        let outcome = action.run(self, caller).await?;
        if let Some(note) = note {
            let workspace = workspace.map(|(workspace, _)| workspace.id);
            audit::record(self, caller, workspace, note).await;
        }
        Ok(outcome)
    }

    /// Looks again whether a person's login holds and what they may: the body of a request may come long
    /// after its head, and much may have happened since.
    pub(crate) async fn as_of_now(&self, caller: Caller) -> Result<Caller, AppError> {
        let Caller::Person(person) = caller else {
            return Ok(caller);
        };
        let (id, login) = (person.user.id.clone(), person.login.clone());
        let user = self
            .database()
            .read(move |snapshot| logins::user_of(snapshot, &id, login.as_deref(), time::now()))
            .await?;
        match user {
            Some(user) => Ok(Caller::Person(Person { user, ..person })),
            None => Err(AppError::new(
                ErrorCode::Unauthenticated,
                "the login is over: log in again",
            )),
        }
    }

    /// Returns what `caller` may do in a workspace; `None` if it is not there for them.
    pub(crate) async fn role(
        &self,
        workspace: &WorkspaceId,
        caller: &Caller,
    ) -> Result<Option<Role>, AppError> {
        let person = match caller {
            Caller::CommandLine => return Ok(Some(Role::Owner)),
            Caller::Person(person) if person.user.is_administrator => return Ok(Some(Role::Owner)),
            Caller::Person(person) => person.user.id.clone(),
        };
        let workspace = *workspace;
        let role = self
            .database()
            .read(move |snapshot| members::role(snapshot, &workspace, &person))
            .await?;
        Ok(role)
    }
}

pub(crate) fn admit(access: Access, role: Option<Role>, caller: &Caller) -> Result<(), AppError> {
    let Caller::Person(person) = caller else {
        return Ok(());
    };
    let (is_allowed, refusal) = match access {
        Access::Administrator => (
            person.user.is_administrator,
            "only an administrator of the server may do this",
        ),
        Access::Member => (role.is_some(), "only members of the workspace may do this"),
        Access::Owner => (
            role == Some(Role::Owner),
            "only owners of the workspace may do this",
        ),
        Access::Person => (true, ""),
    };
    match is_allowed {
        true => Ok(()),
        false => Err(AppError::new(ErrorCode::Forbidden, refusal)),
    }
}
