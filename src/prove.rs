//! What the conformance suites share: a case is a function named by the sentence it proves.

use std::{any::Any, future::Future};

/// Runs one case, and names it if it fails; `subject` is what breaks its contract then.
pub(crate) async fn prove_case(
    subject: &str,
    name: &str,
    case: impl Future<Output = ()> + Send + 'static,
) {
    // A task of its own is what catches the panic of the assertion.
    if let Err(failure) = tokio::spawn(case).await {
        let sentence = name.replace('_', " ");
        match failure.try_into_panic() {
            Ok(panic) => panic!(
                "the {subject} breaks its contract, {sentence}: {}",
                words(&*panic)
            ),
            Err(failure) => panic!("the suite was stopped at: {sentence}: {failure}"),
        }
    }
}

/// Returns what a panic said.
pub(crate) fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}
