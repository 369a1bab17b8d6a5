//! [`Watch`]: asks every node all the time, with the old token and the new one, and keeps when and how each was answered.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{
    agent::{Agent, Ask},
    now, sleep,
};

/// One question and its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Check {
    pub(crate) node: usize,
    pub(crate) token: Token,
    /// Right before it was sent, so that the token was checked no earlier.
    pub(crate) sent: Duration,
    /// Right after it was answered.
    pub(crate) came: Duration,
    pub(crate) verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    New,
    Old,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accepted,
    /// 401.
    Refused,
    /// There was no answer.
    Silent,
    /// 503.
    Unavailable,
}

/// Clients at all nodes, until it is ended.
pub(crate) struct Watch {
    asking: Vec<JoinHandle<Vec<Check>>>,
    new: Arc<OnceLock<String>>,
    is_over: Arc<AtomicBool>,
}

impl Watch {
    /// Begins with the old token alone.
    pub(crate) fn begin(addresses: &[String], workspace: &str, old: &str) -> Self {
        let old_token = OnceLock::new();
        old_token.set(old.to_owned()).unwrap();
        let (old_token, new) = (Arc::new(old_token), Arc::new(OnceLock::new()));
        let is_over = Arc::new(AtomicBool::new(false));
        let mut asking = Vec::new();
        for (node, address) in addresses.iter().enumerate() {
            for (token, secret) in [(Token::Old, &old_token), (Token::New, &new)] {
                for (ask, pause) in [(Ask::List, OFTEN), (Ask::Tool, SOMETIMES)] {
                    let client = Client {
                        node,
                        address: address.clone(),
                        workspace: workspace.to_owned(),
                        token,
                        secret: Arc::clone(secret),
                        ask,
                        pause,
                        is_over: Arc::clone(&is_over),
                    };
                    asking.push(thread::spawn(move || client.ask()));
                }
            }
        }
        Self {
            asking,
            new,
            is_over,
        }
    }

    /// Asks with the new token too, from here on.
    pub(crate) fn show(&self, new: &str) {
        self.new.set(new.to_owned()).unwrap();
    }

    pub(crate) fn end(self) -> Vec<Check> {
        self.is_over.store(true, Ordering::SeqCst);
        let asked = self.asking.into_iter().map(|asking| asking.join().unwrap());
        asked.flatten().collect()
    }
}

struct Client {
    node: usize,
    address: String,
    workspace: String,
    token: Token,
    secret: Arc<OnceLock<String>>,
    ask: Ask,
    pause: Duration,
    is_over: Arc<AtomicBool>,
}

impl Client {
    fn ask(self) -> Vec<Check> {
        let mut checks = Vec::new();
        let secret = loop {
            if self.is_over.load(Ordering::SeqCst) {
                return checks;
            }
            match self.secret.get() {
                Some(secret) => break secret,
                None => sleep(OFTEN),
            }
        };
        let mut agent = Agent::new(&self.address, &self.workspace, secret);
        while !self.is_over.load(Ordering::SeqCst) {
            let sent = now();
            let replied = agent.ask(self.ask);
            let came = now();
            let verdict = match replied.map(|reply| reply.status) {
                Ok(200) => Verdict::Accepted,
                Ok(401) => Verdict::Refused,
                Ok(503) => Verdict::Unavailable,
                Ok(status) => panic!("node {}: {status}", self.node),
                Err(_) => Verdict::Silent,
            };
            checks.push(Check {
                node: self.node,
                token: self.token,
                sent,
                came,
                verdict,
            });
            sleep(self.pause);
        }
        checks
    }
}

/// Often enough to meet gaps of some milliseconds; without any pause, clients would leave two cores to nobody else.
const OFTEN: Duration = Duration::from_millis(2);

const SOMETIMES: Duration = Duration::from_millis(25);
