//! How a connection is made, and the task that carries it.
//!
//! All connections live in the runtime that the store was opened in, whoever asks for one.

use std::{fmt, future::poll_fn, pin::Pin, sync::Arc};

use deadpool_postgres::Connect;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    runtime::Handle,
    sync::Notify,
    task::JoinHandle,
};
use tokio_postgres::{AsyncMessage, Client, Config, Connection, Error, NoTls};

use crate::address::Address;

/// Makes connections; cheap to clone.
#[derive(Clone)]
pub(crate) struct Connector {
    address: Arc<Address>,
    runtime: Handle,
}

/// A connection of one's own, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) client: Client,
    /// Rung when a notification has come, and when the connection has ended.
    pub(crate) rung: Arc<Notify>,
    driver: JoinHandle<()>,
}

impl Connector {
    pub(crate) fn new(address: Address, runtime: Handle) -> Self {
        Self {
            address: Arc::new(address),
            runtime,
        }
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    pub(crate) async fn line(&self) -> Result<Line, Error> {
        let rung = Arc::new(Notify::new());
        let (client, driver) = self.open(Arc::clone(&rung)).await?;
        Ok(Line {
            client,
            rung,
            driver,
        })
    }

    async fn open(&self, rung: Arc<Notify>) -> Result<(Client, JoinHandle<()>), Error> {
        let (address, runtime) = (Arc::clone(&self.address), self.runtime.clone());
        let mut opening = AbortOnDrop(self.runtime.spawn(async move {
            match &address.tls {
                None => {
                    let (client, connection) = address.config.connect(NoTls).await?;
                    Ok((client, runtime.spawn(drive(connection, rung))))
                }
                Some(tls) => {
                    let (client, connection) = address.config.connect(tls.clone()).await?;
                    Ok((client, runtime.spawn(drive(connection, rung))))
                }
            }
        }));
        match (&mut opening.0).await {
            Ok(opened) => opened,
            // The runtime of the store is gone, and no error of the driver can be made here: whoever waits has a timeout.
            Err(_) => std::future::pending().await,
        }
    }
}

/// For the pool.
impl Connect for Connector {
    fn connect(
        &self,
        _config: &Config,
    ) -> Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), Error>> + Send + '_>> {
        Box::pin(self.open(Arc::new(Notify::new())))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Carries a connection until it ends. What the server says besides is not logged: it may quote a statement.
async fn drive<S, T>(mut connection: Connection<S, T>, rung: Arc<Notify>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        match poll_fn(|cx| connection.poll_message(cx)).await {
            Some(Ok(AsyncMessage::Notification(_))) => rung.notify_one(),
            Some(Ok(_)) => {}
            Some(Err(_)) | None => break,
        }
    }
    rung.notify_one();
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}
