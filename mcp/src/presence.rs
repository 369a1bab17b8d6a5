//! Whether a client is still there to read the answer of a call, on the connection it was made on.
//!
//! A client that disconnects has not given the call up (MCP 2025-11-25, Transports, "Sending Messages to
//! the Server"): handlers run on, unless they ask.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::sync::watch;

use crate::{McpBody, observer::Observation};

/// Tells a tool whether anybody still reads the response of its call, on the connection it was made on. A
/// client that resumes the stream on another one counts as gone.
///
/// For tools that hand something out once: they had better not hand it to a client that is gone.
#[derive(Clone)]
pub struct ClientPresence {
    here: watch::Receiver<()>,
}

/// The client, as long as its response is not dropped.
pub(crate) struct Here {
    _gone_when_dropped: watch::Sender<()>,
}

/// A response body that keeps its client present.
struct Read {
    body: McpBody,
    _here: Here,
    _observation: Option<Observation>,
}

impl ClientPresence {
    pub(crate) fn new() -> (Here, Self) {
        let (sender, here) = watch::channel(());
        let client = Here {
            _gone_when_dropped: sender,
        };
        (client, Self { here })
    }

    /// Waits until the client is gone: its connection has ended, or it has had all of its answer.
    pub async fn gone(&self) {
        // There is nothing to wait for but the end of the sender.
        let _ = self.here.clone().wait_for(|()| false).await;
    }
}

impl Here {
    pub(crate) fn reads(self, body: McpBody, observation: Option<Observation>) -> McpBody {
        let read = Read {
            body,
            _here: self,
            _observation: observation,
        };
        read.boxed()
    }
}

impl Body for Read {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl fmt::Debug for ClientPresence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_gone = self.here.has_changed().is_err();
        f.debug_struct("ClientPresence")
            .field("is_gone", &is_gone)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_is_there_until_its_response_is_dropped() {
        let (here, presence) = ClientPresence::new();
        let body = here.reads(http_body_util::Empty::new().boxed(), None);
        assert!(presence.here.has_changed().is_ok());
        drop(body);
        presence.gone().await;
    }
}
