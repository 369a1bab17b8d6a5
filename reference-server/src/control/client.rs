//! A command's end of the control socket.

use anyhow::Context as _;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
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
