//! Whether a client is still there to read the answer of a call, on the connection it was made on.
//!
//! A client that disconnects has not given the call up (MCP 2025-11-25, Transports, "Sending Messages to
//! the Server"): handlers run on, unless they ask.

use std::{fmt, sync::Arc};

use tokio::sync::Semaphore;

/// Tells a tool whether anybody still reads the response of its call, on the connection it was made on. A
/// client that resumes the stream on another one counts as gone.
///
/// For tools that hand something out once: they had better not hand it to a client that is gone.
#[derive(Clone)]
pub struct ClientPresence {
    /// Has no permits, so that there is nothing to wait for but its end.
    here: Arc<Semaphore>,
}

/// The client, as long as its response is not dropped.
pub(crate) struct Here(Arc<Semaphore>);

impl ClientPresence {
    pub(crate) fn new() -> (Here, Self) {
        let here = Arc::new(Semaphore::new(0));
        (Here(Arc::clone(&here)), Self { here })
    }

    /// Waits until the client is gone: its connection has ended, or it has had all of its answer.
    pub async fn gone(&self) {
        let _ = self.here.acquire().await;
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl fmt::Debug for ClientPresence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientPresence")
            .field("is_gone", &self.here.is_closed())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::McpBody;

    #[tokio::test]
    async fn a_client_is_there_until_its_response_is_dropped() {
        let (here, presence) = ClientPresence::new();
        let body = McpBody::text(bytes::Bytes::new()).read_by(here, None);
        assert!(!presence.here.is_closed());
        drop(body);
        presence.gone().await;
    }
}
