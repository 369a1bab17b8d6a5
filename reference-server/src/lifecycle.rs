//! What keeps tokens out of workspaces that are to have none, whichever server of the database gives or ends them.
//!
//! Whoever ends the tokens of a workspace writes down why first: that it is archived, or changes hands. Whoever
//! gives it a token looks after the commit whether it may have one still. So either that look sees what was
//! written down, or the token was there already when those that are to end were looked for.
//!
//! Within one process a lock makes the one wait for the other, so that hardly anybody is refused so late.
//! What a server leaves behind that has died in the midst of it is finished by the others.

use std::time::Duration;

use tower_workspace_token::{
    authority::{EndedUses, RotationReceipt, TokenAuthority, TokenState},
    error::ErrorKind,
    id::WorkspaceId,
    token::IssuedToken,
};

use crate::{
    actions::{Access, admit, workspace_ref},
    app::App,
    caller::Caller,
    db::{DatabaseError, Transaction},
    error::{AppError, ErrorCode},
    people::transfers::{self, Claim},
    time, workspaces,
};

/// What holds a new token.
pub(crate) trait Given {
    fn token(&self) -> &IssuedToken;
}

impl Given for IssuedToken {
    fn token(&self) -> &IssuedToken {
        self
    }
}

impl Given for RotationReceipt {
    fn token(&self) -> &IssuedToken {
        &self.token
    }
}

/// Does `giving`, which gives a workspace a token on behalf of `caller`. The one way to do so, but for
/// [`TransferAccept`](crate::actions::TransferAccept).
///
/// # Errors
/// The workspace may have no new token, or not from this caller, be it since before or since a moment ago:
/// then the token is taken back, and nobody sees its secret. Or `giving` failed.
pub(crate) async fn give<T: Given>(
    app: &App,
    caller: &Caller,
    id: &WorkspaceId,
    giving: impl Future<Output = Result<T, AppError>>,
) -> Result<T, AppError> {
    let _not_archived_meanwhile = app.lifecycle().read().await;
    check(app, caller, id).await?;
    let given = giving.await?;
    // For the same again may have been done by another server.
    match check_patiently(app, caller, id).await {
        Ok(()) => Ok(given),
        // Nobody knows, and the token that was replaced is dead: the new one is kept for whoever may see it.
        Err(unknown) if unknown.status().is_server_error() => {
            tracing::error!(workspace = %id, "a token was given, and it could not be seen whether it still may be: {unknown}");
            Ok(given)
        }
        Err(refused) => {
            take_back(app, caller, id, given.token()).await;
            Err(refused)
        }
    }
}

/// Looks again for a while if the database is out of reach for a moment.
async fn check_patiently(app: &App, caller: &Caller, id: &WorkspaceId) -> Result<(), AppError> {
    for _ in 0..LOOKS {
        match check(app, caller, id).await {
            Err(error) if error.status().is_server_error() => tokio::time::sleep(PAUSE).await,
            known => return known,
        }
    }
    check(app, caller, id).await
}

const LOOKS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);

/// Looks whether the workspace may have a new token that `caller` sees.
pub(crate) async fn check(app: &App, caller: &Caller, id: &WorkspaceId) -> Result<(), AppError> {
    let wanted = *id;
    let (found, changes_hands) = app
        .database()
        .read(move |snapshot| {
            let found = workspaces::find(snapshot, &wanted)?;
            Ok::<_, DatabaseError>((found, transfers::changes_hands(snapshot, &wanted)?))
        })
        .await?;
    workspace_ref::check_active(found)?;
    let caller = app.as_of_now(caller.clone()).await?;
    admit(Access::Owner, app.role(id, &caller).await?, &caller)?;
    match changes_hands {
        false => Ok(()),
        true => Err(AppError::new(
            ErrorCode::Conflict,
            "the workspace is changing hands: look at its tokens in a few minutes",
        )),
    }
}

/// Ends a token that nobody has seen.
async fn take_back(app: &App, caller: &Caller, id: &WorkspaceId, token: &IssuedToken) {
    let (name, generation) = (token.name(), token.generation());
    let authority = app.authority_of(caller, None);
    match authority.revoke_generation(id, name, generation).await {
        Ok(_) => tracing::info!(workspace = %id, token = %name, "a token was taken back"),
        // Whoever ends the tokens of the workspace was faster.
        Err(error) if is_ended(error.kind()) => {}
        Err(error) => {
            tracing::error!(workspace = %id, token = %name, "a token that nobody has seen was not taken back: {error}");
        }
    }
}

fn is_ended(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Conflict | ErrorKind::NotFound)
}

/// Ends the tokens of a workspace that is archived, or was deleted; none if it was taken back meanwhile.
pub(crate) async fn end_of_archived(
    app: &App,
    authority: &TokenAuthority,
    id: &WorkspaceId,
) -> Result<EndedUses, AppError> {
    let id = *id;
    end_tokens(app, authority, &id, move |snapshot| {
        let found = workspaces::find(snapshot, &id)?;
        Ok(found.is_none_or(|workspace| workspace.archived))
    })
    .await
}

/// Ends the tokens that a workspace has, if they are to end.
pub(crate) async fn end_tokens(
    app: &App,
    authority: &TokenAuthority,
    id: &WorkspaceId,
    are_to_end: impl Fn(&Transaction<'_>) -> Result<bool, DatabaseError> + Clone + Send + 'static,
) -> Result<EndedUses, AppError> {
    let mut ended = EndedUses::default();
    for _ in 0..ATTEMPTS {
        let mut live = authority.list(id).await?;
        live.retain(|token| token.state == TokenState::Active);
        // After the list: so none is in it that was given when the tokens were to end no longer. And each is
        // ended in the generation that it had then.
        if live.is_empty() || !app.database().read(are_to_end.clone()).await? {
            return Ok(ended);
        }
        let mut was_regenerated = false;
        for token in live {
            let (name, generation) = (&token.name, token.generation);
            match authority.revoke_generation(id, name, generation).await {
                Ok(receipt) => add(&mut ended, &receipt.ended),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) if error.kind() == ErrorKind::Conflict => was_regenerated = true,
                Err(error) => return Err(error.into()),
            }
        }
        if !was_regenerated {
            return Ok(ended);
        }
    }
    Err(AppError::new(
        ErrorCode::Conflict,
        "a token is regenerated again and again by somebody else: try again",
    ))
}

fn add(sum: &mut EndedUses, ended: &EndedUses) {
    sum.sessions += ended.sessions;
    sum.streams += ended.streams;
    sum.calls += ended.calls;
    sum.left_behind += ended.left_behind;
    sum.elapsed += ended.elapsed;
}

/// Finishes, now and then, what a server has left behind that died in the midst of it.
pub(crate) async fn keep_finishing(app: App) {
    loop {
        tokio::time::sleep(BETWEEN).await;
        if let Err(error) = app.finish_of_others().await {
            tracing::warn!("what another server has left behind was not finished: {error:#}");
        }
    }
}

impl App {
    /// Revokes what a crash in the middle of archiving left alive.
    pub(crate) async fn finish_archiving(&self) -> anyhow::Result<()> {
        self.finish_archiving_since(i64::MIN).await
    }

    async fn finish_archiving_since(&self, since: i64) -> anyhow::Result<()> {
        let archived = move |snapshot: &Transaction<'_>| workspaces::archived(snapshot, since);
        for id in self.database().read(archived).await? {
            // No token of a locked one is accepted, until it is unlocked and this is done then.
            if !self.is_locked(&id) {
                end_of_archived(self, self.authority(), &id).await?;
            }
        }
        Ok(())
    }

    /// Ends the tokens of workspaces that changed hands while a crash kept them from being regenerated:
    /// their former owner has seen them.
    ///
    /// At the start, when this process is at nothing itself. Where another server may be in the midst of it,
    /// that is given its time.
    pub(crate) async fn finish_transfers(&self) -> anyhow::Result<()> {
        let patience = match self.database().is_shared() {
            true => PATIENCE,
            false => 0,
        };
        self.finish_transfers_older_than(patience).await
    }

    async fn finish_transfers_older_than(&self, patience: i64) -> anyhow::Result<()> {
        let now = time::now();
        for (id, claim) in self.database().read(transfers::unfinished).await? {
            // One from the time to come was begun by a clock that was ahead.
            if claim.age(now).saturating_abs() >= patience && !self.is_locked(&id) {
                self.finish_transfer(&id, claim).await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn finish_of_others(&self) -> anyhow::Result<()> {
        self.finish_archiving_since(time::now() - LATELY).await?;
        self.finish_transfers_older_than(PATIENCE).await
    }

    /// Takes over from whoever is at it or was, and ends all tokens. Does nothing if they have done it, or
    /// somebody else has taken over.
    pub(crate) async fn finish_transfer(
        &self,
        id: &WorkspaceId,
        seen: Claim,
    ) -> Result<(), AppError> {
        let id = *id;
        let claim = self
            .database()
            .write(move |transaction| transfers::take_over(transaction, &id, seen, time::now()));
        let Some(claim) = claim.await? else {
            return Ok(());
        };
        end_tokens(self, self.authority(), &id, move |snapshot| {
            transfers::is_held(snapshot, &id, claim)
        })
        .await?;
        self.database()
            .write(move |transaction| transfers::finish(transaction, &id, claim))
            .await?;
        tracing::warn!(workspace = %id, "the tokens of a workspace that was changing hands were ended");
        Ok(())
    }

    /// Does for one workspace what could not be done while it was locked.
    pub(crate) async fn finish_what_was_begun(&self, id: &WorkspaceId) -> Result<(), AppError> {
        let wanted = *id;
        let (found, unfinished) = self
            .database()
            .read(move |snapshot| {
                let found = workspaces::find(snapshot, &wanted)?;
                Ok::<_, DatabaseError>((found, transfers::unfinished(snapshot)?))
            })
            .await?;
        if found.is_some_and(|workspace| workspace.archived) {
            end_of_archived(self, self.authority(), id).await?;
        }
        for (_, claim) in unfinished.iter().filter(|(other, _)| other == id) {
            self.finish_transfer(id, *claim).await?;
        }
        Ok(())
    }
}

/// How often somebody else may regenerate a token while it is to be ended.
const ATTEMPTS: usize = 8;

/// How long, in milliseconds, a server may take to regenerate the tokens of a workspace that changes hands,
/// and how far the clocks of servers may be apart. One that takes longer is told that it was too late.
const PATIENCE: i64 = 5 * 60 * 1000;

/// How often is looked for what others left behind.
const BETWEEN: Duration = Duration::from_secs(60);

/// Among workspaces that were archived before, in milliseconds, somebody has looked already.
const LATELY: i64 = 60 * 60 * 1000;
