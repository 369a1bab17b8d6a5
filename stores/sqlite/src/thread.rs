//! Threads that end with the store.

use std::{
    io,
    thread::{self, JoinHandle},
};

/// Starts a thread that shows up as `name` in a debugger.
pub(crate) fn start(
    name: &str,
    body: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(body)
}

/// Waits for a thread that was told to end.
pub(crate) fn join(thread: JoinHandle<()>) {
    // An observer may hold the last clone of the store, so that the store is dropped on one of its
    // own threads: that one ends by itself.
    if thread.thread().id() != thread::current().id() {
        // A thread that panicked has nothing left to say: the panic hook said it.
        let _ended = thread.join();
    }
}
