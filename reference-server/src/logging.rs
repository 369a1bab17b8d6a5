//! Logs, to standard error: our own lines at whatever level, others' from INFO up, rmcp's from ERROR.
//!
//! What a filter may show is bounded here and not by the filter: libraries log what they like at
//! DEBUG and TRACE, messages and headers with credentials among it, and their next version may log
//! more. So no filter lets the details of any crate but ours through.

use std::io::{self, IsTerminal as _};

use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, Layer as _,
    filter::{FilterExt as _, filter_fn},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::error::AppError;

/// The crates whose log lines are known to hold no credential.
const OURS: &[&str] = &["workspace_token_server", "wst", "tower_workspace_token"];

/// Starts to log what `filter` lets through.
pub(crate) fn start(filter: &str) -> Result<(), AppError> {
    let filter = EnvFilter::builder()
        .parse(filter)
        .map_err(|error| AppError::usage(format!("not a log filter: {error}")))?;
    // One filter, of one layer: of two that stand apart, what either of them refuses for good is asked for
    // again each time, and libraries say a lot that is not shown.
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_filter(filter.and(filter_fn(is_fit)));
    // Fails only if the process logs already.
    let _ = tracing_subscriber::registry().with(lines).try_init();
    Ok(())
}

fn is_fit(metadata: &Metadata<'_>) -> bool {
    is_ours(metadata.target()) || *metadata.level() <= bound(metadata.target())
}

/// rmcp logs whole notifications at INFO, with the headers of their request and what an agent asks for, and
/// at WARN each call that is answered with an error: what clients do wrong, as often as they like, and one
/// line for each of a thousand calls that a rotation ends.
fn bound(target: &str) -> Level {
    let name = target.split("::").next().unwrap_or(target);
    if name == "rmcp" {
        Level::ERROR
    } else {
        Level::INFO
    }
}

/// Whole names only, and those that go on with `::` or, for the library's own crates, with `_`.
fn is_ours(target: &str) -> bool {
    let name = target.split("::").next().unwrap_or(target);
    OURS.contains(&name) || name.starts_with("tower_workspace_token_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rmcp_is_bounded_lower_than_the_rest() {
        assert_eq!(bound("rmcp::service"), Level::ERROR);
        assert_eq!(bound("tower_http::trace"), Level::INFO);
    }

    #[test]
    fn only_our_crates_are_ours() {
        for target in [
            "wst",
            "workspace_token_server::http",
            "tower_workspace_token_mcp::service",
        ] {
            assert!(is_ours(target), "{target}");
        }
        for target in [
            "hyper",
            "h2::codec",
            "rmcp::service",
            "tower_http::trace",
            "wst_evil",
            "",
        ] {
            assert!(!is_ours(target), "{target}");
        }
    }
}
