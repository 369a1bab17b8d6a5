//! The events of a response (`text/event-stream`), each a JSON-RPC message.

use anyhow::{Context as _, ensure};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;

/// The messages of a stream, as they come.
#[derive(Debug)]
pub(super) struct Events {
    body: Incoming,
    /// What has come of the next event.
    begun: Vec<u8>,
}

impl Events {
    pub(super) fn of(body: Incoming) -> Self {
        Self {
            body,
            begun: Vec::new(),
        }
    }

    /// Returns the next message; `None` is that the stream has ended.
    ///
    /// # Errors
    /// The connection broke, or what came is no such stream.
    pub(super) async fn next(&mut self) -> anyhow::Result<Option<Value>> {
        loop {
            while let Some(event) = self.take_event() {
                if let Some(message) = message(&event)? {
                    return Ok(Some(message));
                }
            }
            let Some(frame) = self.body.frame().await else {
                return Ok(None);
            };
            if let Ok(data) = frame.context("the stream broke")?.into_data() {
                self.begun.extend_from_slice(&data);
                ensure!(self.begun.len() <= MAX_EVENT, "an event is too long");
            }
        }
    }

    fn take_event(&mut self) -> Option<Vec<u8>> {
        let end = self.begun.windows(2).position(|pair| pair == b"\n\n")? + 2;
        let rest = self.begun.split_off(end);
        Some(std::mem::replace(&mut self.begun, rest))
    }
}

/// Returns the message of an event; there is none in those that keep the connection open.
fn message(event: &[u8]) -> anyhow::Result<Option<Value>> {
    let event = std::str::from_utf8(event).context("an event is no text")?;
    let mut lines = event.lines().filter_map(|line| line.strip_prefix("data:"));
    let Some(data) = lines.next().map(str::trim).filter(|data| !data.is_empty()) else {
        return Ok(None);
    };
    let message = serde_json::from_str(data).context("an event is no JSON")?;
    Ok(Some(message))
}

/// More than the server ever sends: what a person writes has at most 64 KiB.
const MAX_EVENT: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_the_data_of_an_event() {
        let read = |event: &str| message(event.as_bytes()).unwrap();
        assert_eq!(read("id: 1\ndata: {\"a\":1}\n\n"), Some(json!({ "a": 1 })));
        assert_eq!(read("data:{\"a\":1}\n\n"), Some(json!({ "a": 1 })));
        for empty in [": ping\n\n", "data: \n\n", "id: 0\nretry: 3000\n\n"] {
            assert_eq!(read(empty), None, "{empty:?}");
        }
    }

    #[test]
    fn refuses_what_is_no_message() {
        assert!(message(b"data: {\n\n").is_err());
        assert!(message(b"data: \xff\n\n").is_err());
    }
}
