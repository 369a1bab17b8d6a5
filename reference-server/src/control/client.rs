//! A command's end of the control socket.

use std::{fs, os::unix::fs::MetadataExt as _};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustix::process::geteuid;
use serde::de::DeserializeOwned;
use tokio::{net::UnixStream, sync::Mutex};

use crate::{
    actions::Action,
    api::{self, ApiCall},
    data_dir::DataDir,
    error::{AppError, ErrorBody, ErrorCode},
};

/// A connection to the server.
#[derive(Debug)]
pub(crate) struct ControlClient {
    sender: Mutex<SendRequest<Full<Bytes>>>,
}

impl ControlClient {
    /// Connects to the server that holds the directory.
    pub(crate) async fn connect(data_dir: &DataDir) -> anyhow::Result<Self> {
        let stream = UnixStream::connect(data_dir.control_socket()).await?;
        let peer = stream.peer_cred()?.uid();
        let owner = fs::metadata(data_dir.path())?.uid();
        if !is_trusted(peer, geteuid().as_raw(), owner) {
            bail!("the control socket is another user's");
        }
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Its end shows in the call that it was for.
        tokio::spawn(connection);
        Ok(Self {
            sender: Mutex::new(sender),
        })
    }

    /// Has the server run `action`.
    pub(crate) async fn call<A: Action<Outcome: DeserializeOwned>>(
        &self,
        action: &A,
    ) -> Result<A::Outcome, AppError> {
        let call = api::encode(action)?;
        let (status, body) = self.send(call).await.map_err(|error| {
            // It may have happened all the same.
            AppError::new(
                ErrorCode::Unknown,
                format!(
                    "the server went away in the middle: look before you try again ({error:#})"
                ),
            )
        })?;
        if status.is_success() {
            let outcome = serde_json::from_slice(&body);
            return Ok(outcome.context("the server answered in another version's words")?);
        }
        match serde_json::from_slice::<ErrorBody>(&body) {
            Ok(body) => Err(body.error.into()),
            Err(_) => Err(AppError::new(
                ErrorCode::Failed,
                format!("the server answered {status}"),
            )),
        }
    }

    async fn send(&self, call: ApiCall) -> anyhow::Result<(StatusCode, Bytes)> {
        let request = Request::builder()
            .method(call.method)
            .uri(call.target)
            .header(header::HOST, "control.sock")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(call.body))?;
        let response = self.sender.lock().await.send_request(request).await?;
        let status = response.status();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }
}

/// Returns whether tokens may go to a server of the user `peer`: to one's own, to root's, and, if this is
/// root, to the one of whoever owns the data directory.
fn is_trusted(peer: u32, me: u32, owner: u32) -> bool {
    peer == me || peer == 0 || (me == 0 && peer == owner)
}

#[cfg(test)]
mod tests {
    use super::is_trusted;

    #[test]
    fn no_strangers_server_is_talked_to() {
        for (peer, me, owner, expected) in [
            (7, 7, 7, true),
            (0, 7, 7, true),
            (8, 7, 8, false),
            (8, 7, 7, false),
            (7, 0, 7, true),
            (7, 0, 8, false),
        ] {
            assert_eq!(is_trusted(peer, me, owner), expected, "{peer} {me} {owner}");
        }
    }
}
