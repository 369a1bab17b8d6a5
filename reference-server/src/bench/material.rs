//! What is checked: issued tokens, forged ones and garbage, and the authority that has seen the first.

use std::{
    ops::Range,
    path::Path,
    pin::pin,
    task::{Context, Poll, Waker},
};

use anyhow::{Context as _, anyhow, ensure};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::{
    runtime::{Handle, Runtime},
    task::JoinSet,
};
use tower_workspace_token::{
    authority::{Keys, TokenAuthority, VerifiedToken},
    id::{TokenName, WorkspaceId},
    rejection::{Rejection, RejectionKind},
    token::PresentedToken,
};
use tower_workspace_token_sqlite::{Options, SqliteStore};

use super::{Plan, baseline::Baseline, interrupt::Interrupt};
use crate::{db::ids::ID_LENGTH, error::AppError};

/// All that is measured with.
pub(super) struct Material {
    keys: Keys,
    store: SqliteStore,
    /// The authority that knows the first `known` of the tokens, and nothing else.
    warm: TokenAuthority,
    known: usize,
    credentials: Vec<Credential>,
    /// The first ones, each with another signature.
    forged: Vec<SecretString>,
    /// A JWT of somebody else, as long as ours.
    garbage: String,
    baseline: Baseline,
    runtime: Handle,
}

/// A token of a workspace of its own, as each workspace of the server has one.
struct Credential {
    workspace: WorkspaceId,
    token: SecretString,
}

impl Material {
    /// Issues the tokens into a new database.
    pub(super) fn prepare(
        plan: Plan,
        database: &Path,
        runtime: &Runtime,
        interrupt: &Interrupt,
        done: &mut dyn FnMut(u64, u64),
    ) -> Result<Self, AppError> {
        // Exclusive, as the server opens its own.
        let store = Options::new(database).exclusive().open();
        let store = store.context("cannot make a database")?;
        let keys = Keys::generate().context("there is no randomness")?;
        let baseline = Baseline::new(keys.signing.primary())?;
        let warm = authority(&store, &keys)?;
        let issuer = Issuer {
            authority: authority(&store, &keys)?,
            warm: warm.clone(),
            known: plan.tokens,
        };
        let credentials = issuer.issue(tokens(plan), runtime, interrupt, done)?;
        let known = &credentials[..plan.tokens];
        let forged = known.iter().take(MOST_FORGED).map(Credential::forged);
        let material = Self {
            forged: forged.collect(),
            garbage: garbage(credentials[0].token.expose_secret().len()),
            known: plan.tokens,
            runtime: runtime.handle().clone(),
            keys,
            store,
            warm,
            credentials,
            baseline,
        };
        material.check_answers()?;
        Ok(material)
    }

    /// Returns another authority over the same tokens, which has seen none of them.
    pub(super) fn fresh_authority(&self) -> anyhow::Result<TokenAuthority> {
        authority(&self.store, &self.keys)
    }

    /// Returns how many tokens there are.
    pub(super) fn issued(&self) -> usize {
        self.credentials.len()
    }

    /// Returns how many of them were seen before.
    pub(super) fn known(&self) -> usize {
        self.known
    }

    pub(super) fn forged(&self) -> usize {
        self.forged.len()
    }

    /// Returns where what the authorities do beside is done.
    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Checks a token that was seen before; returns whether the answer is right, as all of these do.
    pub(super) fn check_known(&self, pick: usize) -> bool {
        self.check_unseen(&self.warm, pick)
    }

    /// Checks a token that `authority` has not seen before.
    pub(super) fn check_unseen(&self, authority: &TokenAuthority, pick: usize) -> bool {
        let credential = &self.credentials[pick];
        let token = credential.token.expose_secret();
        self.verify(authority, &credential.workspace, token).is_ok()
    }

    pub(super) fn check_forged(&self, pick: usize) -> bool {
        let workspace = &self.credentials[pick].workspace;
        let token = self.forged[pick].expose_secret();
        is_refused(self.verify(&self.warm, workspace, token))
    }

    pub(super) fn check_garbage(&self, pick: usize) -> bool {
        let workspace = &self.credentials[pick].workspace;
        is_refused(self.verify(&self.warm, workspace, &self.garbage))
    }

    pub(super) fn decode(&self, pick: usize) -> bool {
        let credential = &self.credentials[pick];
        let token = credential.token.expose_secret();
        let token = std::hint::black_box(token.as_bytes());
        self.baseline.accepts(&credential.workspace, token)
    }

    fn verify(
        &self,
        authority: &TokenAuthority,
        workspace: &WorkspaceId,
        token: &str,
    ) -> Result<VerifiedToken, Rejection> {
        let presented = PresentedToken::new(std::hint::black_box(token.as_bytes()));
        let mut check = pin!(authority.verify(workspace, presented));
        // Without a runtime's own cost: what SQLite and memory answer is there at the first look.
        match check.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(verdict) => verdict,
            Poll::Pending => self.runtime.block_on(check),
        }
    }

    /// Takes all tokens out of the database.
    #[cfg(test)]
    pub(super) fn empty_store(&self) {
        let connection = self.store.connection().unwrap();
        let emptied = connection.execute_batch("PRAGMA foreign_keys = OFF; DELETE FROM wst_slots");
        emptied.unwrap();
    }

    /// Sees to it that what is measured is what its name says.
    fn check_answers(&self) -> anyhow::Result<()> {
        ensure!(self.check_known(0), "a token that was issued is refused");
        ensure!(self.check_forged(0), "a forged token is not refused");
        ensure!(self.check_garbage(0), "garbage is not refused");
        ensure!(self.decode(0), "jsonwebtoken refuses a token");
        Ok(())
    }
}

/// Issues tokens, and shows the first of them to the authority that is to know them.
struct Issuer {
    authority: TokenAuthority,
    warm: TokenAuthority,
    known: usize,
}

impl Issuer {
    fn issue(
        &self,
        tokens: usize,
        runtime: &Runtime,
        interrupt: &Interrupt,
        done: &mut dyn FnMut(u64, u64),
    ) -> Result<Vec<Credential>, AppError> {
        let mut credentials = Vec::with_capacity(tokens);
        while credentials.len() < tokens {
            interrupt.check()?;
            let begin = credentials.len();
            let (is_known, boundary) = match begin < self.known {
                true => (true, self.known),
                false => (false, tokens),
            };
            let end = boundary.min(begin + AT_ONCE);
            let issued = runtime.block_on(self.issue_at_once(begin..end, is_known));
            credentials.extend(issued?);
            done(credentials.len() as u64, tokens as u64);
        }
        Ok(credentials)
    }

    /// Issues tokens side by side, which the store then commits together.
    async fn issue_at_once(
        &self,
        numbers: Range<usize>,
        is_known: bool,
    ) -> anyhow::Result<Vec<Credential>> {
        let mut issuing = JoinSet::new();
        for number in numbers {
            let (authority, warm) = (self.authority.clone(), self.warm.clone());
            issuing.spawn(async move {
                let credential = Credential::issue(&authority, number).await?;
                if is_known {
                    credential.show(&warm).await?;
                }
                Ok(credential)
            });
        }
        issuing.join_all().await.into_iter().collect()
    }
}

impl Credential {
    async fn issue(authority: &TokenAuthority, number: usize) -> anyhow::Result<Self> {
        // As long as the ids of the server, so that the tokens are as long too.
        let workspace = format!("b{number:0width$}", width = ID_LENGTH - 1);
        let workspace = workspace.parse().context("there are too many")?;
        let issued = authority.issue(&workspace, &TokenName::primary()).await;
        let issued = issued.context("cannot issue a token")?;
        Ok(Self {
            workspace,
            token: issued.expose_secret().into(),
        })
    }

    /// Has `authority` see the token.
    async fn show(&self, authority: &TokenAuthority) -> anyhow::Result<()> {
        let presented = PresentedToken::new(self.token.expose_secret().as_bytes());
        let seen = authority.verify(&self.workspace, presented).await;
        seen.map_err(|rejection| anyhow!("a token that was just issued is refused: {rejection}"))?;
        Ok(())
    }

    /// Returns the token with one character of its signature changed.
    fn forged(&self) -> SecretString {
        let token = self.token.expose_secret();
        let (before, after) = token.split_at(token.len() - FORGED_FROM_END);
        let other = if after.starts_with('A') { "B" } else { "A" };
        [before, other, &after[1..]].concat().into()
    }
}

fn authority(store: &SqliteStore, keys: &Keys) -> anyhow::Result<TokenAuthority> {
    let authority = TokenAuthority::builder(store.clone(), keys.clone()).build();
    authority.context("there is no randomness")
}

/// Returns how many tokens are issued: enough for each thread to see new ones for a while.
fn tokens(plan: Plan) -> usize {
    let unseen = (plan.threads * UNSEEN_PER_THREAD).clamp(FEWEST_UNSEEN, MOST_UNSEEN);
    plan.tokens.max(unseen)
}

/// Returns a JWT as others issue them, in `length` characters.
fn garbage(length: usize) -> String {
    let (head, signature) = (FOREIGN_HEAD, "x".repeat(FOREIGN_SIGNATURE));
    let claims = length.saturating_sub(head.len() + 1 + signature.len());
    [head, &"x".repeat(claims), ".", &signature].concat()
}

fn is_refused(verdict: Result<VerifiedToken, Rejection>) -> bool {
    let refused = |rejection: Rejection| matches!(rejection.kind(), RejectionKind::InvalidToken(_));
    verdict.is_err_and(refused)
}

/// How many tokens are issued side by side.
const AT_ONCE: usize = 512;

const UNSEEN_PER_THREAD: usize = 512;
/// One for each of the most threads.
const FEWEST_UNSEEN: usize = 1024;
const MOST_UNSEEN: usize = 16 * 1024;

const MOST_FORGED: usize = 4096;
/// Within the 43 characters of the signature.
const FORGED_FROM_END: usize = 20;

/// `{"alg":"HS256","typ":"JWT"}`, as most libraries write it.
const FOREIGN_HEAD: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.";
const FOREIGN_SIGNATURE: usize = 43;
