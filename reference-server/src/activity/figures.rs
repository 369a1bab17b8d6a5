//! The figures for `/metrics`: totals, with labels of few values. Never a workspace, a token or a client.

use metrics::{counter, describe_counter, describe_gauge, gauge};
use tower_workspace_token::authority::EndedUses;

/// Describes the figures to the recorder that was installed.
pub(crate) fn describe() {
    for (name, text) in [
        (
            "wst_mcp_requests_total",
            "Requests at the MCP endpoint, by what became of them",
        ),
        (
            "wst_sessions_opened_total",
            "Sessions that clients have opened",
        ),
        ("wst_sessions_ended_total", "Sessions that are over"),
        (
            "wst_tokens_superseded_total",
            "Tokens that were regenerated or revoked",
        ),
        (
            "wst_streams_severed_total",
            "Open streams that ended with their token",
        ),
        (
            "wst_calls_severed_total",
            "Running calls that ended with their token",
        ),
    ] {
        describe_counter!(name, text);
    }
    describe_gauge!(
        "wst_live_connections",
        "Live connections, by era; without idle sessions"
    );
}

/// Counts a request that the token layer let in, by the status of its answer.
pub(super) fn answered(status: http::StatusCode) {
    match status.as_u16() {
        500.. => counter!("wst_mcp_requests_total", "outcome" => "server_error").increment(1),
        400.. => counter!("wst_mcp_requests_total", "outcome" => "client_error").increment(1),
        _ => counter!("wst_mcp_requests_total", "outcome" => "ok").increment(1),
    }
}

/// Counts a request that was turned away; why is counted where its answer goes out.
pub(super) fn rejected() {
    counter!("wst_mcp_requests_total", "outcome" => "rejected").increment(1);
}

pub(super) fn session_opened() {
    counter!("wst_sessions_opened_total").increment(1);
}

pub(super) fn session_ended() {
    counter!("wst_sessions_ended_total").increment(1);
}

/// Tells how many connections there are.
pub(super) fn connections(sessions: usize, modern: usize) {
    #[expect(clippy::cast_precision_loss, reason = "there are fewer than 2^52")]
    for (era, connections) in [("legacy", sessions as f64), ("modern", modern as f64)] {
        gauge!("wst_live_connections", "era" => era).set(connections);
    }
}

/// Counts a token that was regenerated, or, without a successor, revoked.
pub(super) fn superseded(is_revoked: bool, ended: &EndedUses) {
    let kind = if is_revoked { "revoked" } else { "rotated" };
    counter!("wst_tokens_superseded_total", "kind" => kind).increment(1);
    counter!("wst_streams_severed_total").increment(ended.streams as u64);
    counter!("wst_calls_severed_total").increment(ended.calls as u64);
}
