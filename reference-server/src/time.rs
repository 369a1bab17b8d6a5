//! Times of the server's own rows: milliseconds since 1970 in the database, RFC 3339 for readers.

use tower_workspace_token::clock::{Clock as _, SystemClock, Timestamp};

/// Returns the time as a column holds it.
pub(crate) fn now() -> i64 {
    millis(SystemClock.now())
}

/// Returns `timestamp` as readers see it.
pub(crate) fn show(timestamp: Timestamp) -> String {
    rfc3339(millis(timestamp))
}

/// Returns `timestamp` as a column holds it.
pub(crate) fn column(timestamp: Timestamp) -> i64 {
    millis(timestamp)
}

/// Returns a column's time as readers see it.
pub(crate) fn rfc3339(millis: i64) -> String {
    jiff::Timestamp::from_millisecond(millis)
        // What no calendar holds is shown as the last day that one does.
        .unwrap_or(jiff::Timestamp::MAX)
        .to_string()
}

/// Reads a time that a reader has written, to the millisecond.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let timestamp: jiff::Timestamp = text.parse().ok()?;
    Some(timestamp.as_millisecond())
}

/// Reads the time of a `Date` header (RFC 9110 §5.6.7), in the form that servers write.
pub(crate) fn parse_http_date(text: &str) -> Option<i64> {
    let timestamp = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text);
    Some(timestamp.ok()?.as_millisecond())
}

/// Returns the time as a part of a file's name.
pub(crate) fn file_stamp() -> String {
    let now = rfc3339(now() / 1000 * 1000);
    now.replace(['-', ':'], "")
}

fn millis(timestamp: Timestamp) -> i64 {
    i64::try_from(timestamp.as_millis()).unwrap_or(i64::MAX)
}
