//! [`FailureLimit`]: answers 429 to a source whose tokens fail too often at one workspace.
//!
//! It is asked only after a token has failed, so that a valid one never meets it, whatever else comes from
//! the same address to the same workspace. It knows what [`TallyLayer`](crate::activity::TallyLayer)
//! tells it, which looks at the answers of the token layer.

use std::{
    net::IpAddr,
    num::{NonZeroU32, NonZeroUsize},
    sync::Arc,
    time::Duration,
};

use axum::body::Body;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_LENGTH, RETRY_AFTER, WWW_AUTHENTICATE},
};
use tower_workspace_token::{
    id::WorkspaceId,
    rejection::{RejectionKind, TokenProblem},
};

use crate::{
    metrics::{self, Limit},
    rate::{Rate, network, whole_seconds},
};

/// Counts tokens that failed. Cheap to clone; clones share the counts.
#[derive(Clone, Debug)]
pub(crate) struct FailureLimit {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    failures: Rate<(Option<IpAddr>, WorkspaceId)>,
    lines: Rate<IpAddr>,
}

impl FailureLimit {
    pub(super) fn new(per_minute: NonZeroU32) -> Self {
        let shared = Shared {
            failures: Rate::new(per_minute, MINUTE / per_minute.get(), CELLS),
            lines: Rate::new(NonZeroU32::MIN, MINUTE, CELLS),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Counts a rejection if it is that of a token. Returns how many seconds to wait if there were too many.
    pub(crate) fn count(
        &self,
        kind: &RejectionKind,
        source: Option<IpAddr>,
        workspace: &WorkspaceId,
    ) -> Option<u64> {
        if !is_failure(kind) {
            return None;
        }
        let source = source.map(network);
        let wait = self.shared.failures.count(&(source, *workspace)).err()?;
        metrics::limited(Limit::FailedTokens);
        if let Some(source) = source
            && self.shared.lines.count(&source).is_ok()
        {
            tracing::warn!(%source, "tokens from here fail too often: they are answered with 429");
        }
        Some(whole_seconds(wait))
    }
}

/// Returns whether somebody tried a token. None at all is not a try, and one that ended meanwhile was good; so was an
/// access token that has expired, as those of all clients behind one address do again and again.
fn is_failure(kind: &RejectionKind) -> bool {
    matches!(
        kind,
        RejectionKind::EmptyCredential
            | RejectionKind::InvalidToken(_)
            | RejectionKind::UnsetVariable(_)
    ) && !matches!(kind, RejectionKind::InvalidToken(TokenProblem::Expired))
}

/// Puts the answer to who tried too often in the place of `response`, whose rejection stays for the log.
pub(crate) fn too_often<B>(response: Response<B>, seconds: u64) -> Response<Body> {
    let (mut parts, _) = response.into_parts();
    parts.status = StatusCode::TOO_MANY_REQUESTS;
    parts.headers.remove(WWW_AUTHENTICATE);
    parts.headers.remove(CONTENT_LENGTH);
    parts
        .headers
        .insert(RETRY_AFTER, HeaderValue::from(seconds));
    let text = format!(
        r#"{{"jsonrpc":"2.0","id":null,"error":{{"code":-32001,"message":"Too many workspace tokens from this address were not valid here. Put the right one into your client's configuration, which is let in at once, or try again in {seconds} seconds."}}}}"#
    );
    Response::from_parts(parts, Body::from(text))
}

/// 128 KiB for both rows. Sources that share them lose a sentence about what is wrong with their token.
const CELLS: NonZeroUsize = NonZeroUsize::new(8192).expect("8,192 is not zero");

const MINUTE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use tower_workspace_token::rejection::AddressProblem;

    use super::*;

    fn limit() -> FailureLimit {
        FailureLimit::new(NonZeroU32::new(2).unwrap())
    }

    fn workspace(id: &str) -> WorkspaceId {
        id.parse().unwrap()
    }

    #[test]
    fn counts_each_source_at_each_workspace_by_itself() {
        let limit = limit();
        let failed = |source: &str, id: &str| {
            let source = source.parse().unwrap();
            limit.count(
                &RejectionKind::EmptyCredential,
                Some(source),
                &workspace(id),
            )
        };
        for _ in 0..2 {
            assert_eq!(failed("192.0.2.1", "acme"), None);
            assert_eq!(failed("2001:db8::1", "acme"), None);
        }
        assert_eq!(failed("192.0.2.1", "acme"), Some(30));
        // A network has all its addresses.
        assert!(failed("2001:db8::ffff:1", "acme").is_some());
        assert_eq!(failed("2001:db8:0:1::1", "acme"), None);
        assert_eq!(failed("192.0.2.2", "acme"), None);
        assert_eq!(failed("192.0.2.1", "other"), None);
    }

    #[test]
    fn what_is_no_failed_token_is_never_counted() {
        let limit = limit();
        for kind in [
            RejectionKind::Address(AddressProblem::ForeignHost),
            RejectionKind::ForeignOrigin,
            RejectionKind::AccessTokenEnded,
            RejectionKind::InvalidToken(TokenProblem::Expired),
            RejectionKind::MissingCredential,
            RejectionKind::MissingSession,
            RejectionKind::SessionLimit,
            RejectionKind::StoreUnavailable,
            RejectionKind::TokenEnded,
            RejectionKind::UnknownSession,
        ] {
            for _ in 0..10 {
                assert_eq!(
                    limit.count(&kind, None, &workspace("acme")),
                    None,
                    "{kind:?}"
                );
            }
        }
    }
}
