//! The server's end of the control socket.

use std::{fs, future::Future, io, os::unix::fs::PermissionsExt as _};

use anyhow::Context as _;
use axum::Router;
use tokio::net::{UnixListener, UnixStream, unix::UCred};
use tower_workspace_token::serve::{Listener, serve};

use crate::data_dir::DataDir;

/// A bound control socket.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    listener: OwnersOnly,
}

impl ControlSocket {
    /// Binds the socket in a data directory that this process holds.
    pub(crate) fn bind(data_dir: &DataDir) -> anyhow::Result<Self> {
        let bind = || -> anyhow::Result<UnixListener> {
            let path = data_dir.control_socket();
            // The lock is ours, so what is there belongs to a server that is gone.
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
            let listener = UnixListener::bind(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
            Ok(listener)
        };
        let listener = bind().with_context(|| {
            let directory = data_dir.path().display();
            format!("cannot make the control socket in {directory}")
        })?;
        let owner = data_dir.owner()?;
        Ok(Self {
            listener: OwnersOnly { listener, owner },
        })
    }

    /// Serves `router` until `stop` completes and the calls that are under way are answered.
    pub(crate) async fn serve(
        self,
        router: Router,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        serve(self.listener, router)
            .with_graceful_shutdown(stop)
            .await
    }
}

/// Accepts connections of the owner and of root; closes others without a word.
#[derive(Debug)]
struct OwnersOnly {
    listener: UnixListener,
    owner: u32,
}

impl OwnersOnly {
    fn admits(&self, peer: &UCred) -> bool {
        peer.uid() == 0 || peer.uid() == self.owner
    }
}

impl Listener for OwnersOnly {
    type Io = UnixStream;
    type Peer = UCred;

    async fn accept(&mut self) -> io::Result<(UnixStream, UCred)> {
        loop {
            let (stream, peer) = Listener::accept(&mut self.listener).await?;
            if self.admits(&peer) {
                return Ok((stream, peer));
            }
            tracing::warn!(uid = peer.uid(), "refused a caller on the control socket");
        }
    }
}
