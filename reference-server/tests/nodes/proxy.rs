//! [`Proxy`]: the network between a node and the database, which the test can break.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::Duration,
};

use crate::sleep;

/// What becomes of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    /// They arrive.
    Well,
    /// Connections are broken, and new ones too.
    Cut,
    /// They arrive later, each time.
    Slow(Duration),
    /// They arrive over connections that are there, and new ones are broken: a database that has as many as it takes.
    Full,
    /// They wait until it is over, as those do that are sent again: a packet filter that drops everything for a while.
    Held,
    /// They are lost, and so is the connection, without a word to anybody: a machine between that has forgotten it.
    Swallowed,
}

pub(crate) struct Proxy {
    port: u16,
    state: Arc<State>,
}

struct State {
    network: Mutex<Network>,
    changed: Condvar,
}

impl Proxy {
    pub(crate) fn to(database: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            network: Mutex::new(Network::Well),
            changed: Condvar::new(),
        });
        let accepting = Arc::clone(&state);
        // It goes with the process of the test.
        thread::spawn(move || {
            for from in listener.incoming().flatten() {
                accepting.connect(from, database);
            }
        });
        Self { port, state }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Has the network be so from here on: when this returns, no byte passes any longer as it did before.
    pub(crate) fn set(&self, network: Network) {
        *self
            .state
            .network
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = network;
        self.state.changed.notify_all();
    }
}

impl State {
    fn connect(self: &Arc<Self>, from: TcpStream, database: u16) {
        if matches!(self.now(), Network::Cut | Network::Full) {
            return;
        }
        let Ok(to) = TcpStream::connect(("127.0.0.1", database)) else {
            return;
        };
        for stream in [&from, &to] {
            stream.set_nodelay(true).unwrap();
        }
        for (from, to) in [(&from, &to), (&to, &from)] {
            let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            let state = Arc::clone(self);
            thread::spawn(move || state.carry(from, to));
        }
        let (state, streams) = (Arc::clone(self), [from, to]);
        thread::spawn(move || state.break_when_cut(&streams));
    }

    fn now(&self) -> Network {
        *self.network.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries bytes one way until either end closes.
    fn carry(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut bytes = vec![0; 64 * 1024];
        let mut is_lost = false;
        while let Ok(length) = from.read(&mut bytes) {
            if length == 0 {
                break;
            }
            if let Network::Slow(delay) = self.now() {
                sleep(delay);
            }
            let mut network = self.network.lock().unwrap_or_else(PoisonError::into_inner);
            while *network == Network::Held {
                network = self
                    .changed
                    .wait(network)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            is_lost |= *network == Network::Swallowed;
            // Under the lock, so that nothing passes after it was said that nothing does.
            if !is_lost && to.write_all(&bytes[..length]).is_err() {
                break;
            }
        }
        for stream in [&from, &to] {
            let _closed = stream.shutdown(Shutdown::Both);
        }
    }

    fn break_when_cut(&self, streams: &[TcpStream; 2]) {
        loop {
            let network = self.network.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = self.changed.wait_timeout(network, Duration::from_secs(1));
            let (network, _) = waited.unwrap_or_else(PoisonError::into_inner);
            let is_over = streams[0].peer_addr().is_err() || streams[1].peer_addr().is_err();
            if *network == Network::Cut || is_over {
                break;
            }
        }
        for stream in streams {
            let _closed = stream.shutdown(Shutdown::Both);
        }
    }
}
