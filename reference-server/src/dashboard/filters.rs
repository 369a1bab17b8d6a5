//! How values look in templates.

#![expect(
    unreachable_pub,
    reason = "the macro makes public types of private functions"
)]

use askama::{Values, filters::Safe};

/// A time in RFC 3339, in UTC; a script shows it in the reader's own zone.
#[askama::filter_fn]
pub(super) fn when(at: &str, _: &dyn Values) -> askama::Result<Safe<String>> {
    let shown: String = at.chars().take(16).collect();
    let shown = shown.replace('T', " ");
    let is_plain = |c: char| c.is_ascii_digit() || "-:.TZ+ ".contains(c);
    // From our own database; anything else is shown as nothing rather than trusted.
    if !at.chars().all(is_plain) {
        return Ok(Safe(String::new()));
    }
    Ok(Safe(format!("<time datetime=\"{at}\">{shown} UTC</time>")))
}

/// What agents and people wrote, as safe HTML.
#[askama::filter_fn]
pub(super) fn prose(text: &str, _: &dyn Values) -> askama::Result<Safe<String>> {
    Ok(Safe(super::markdown::render(text)))
}
