//! [`Probes`]: how a request of `wst doctor` reached this server, if it did.
//!
//! Doctor gets a random word over the control socket and sends it to the public URL with a question for
//! `/livez`. Whoever answers there is this server if the word arrives here, and what the proxies in front made of
//! the request is known. Strangers who send words find out nothing, and nothing of theirs is kept.

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use http::{Extensions, HeaderMap, header::FORWARDED, header::HOST};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tower_workspace_token::{
    clock::{Clock as _, Moment, SystemClock},
    serve::Peer,
};

use crate::{db::ids, http::client_address::Arrival};

/// The header with the word.
pub(crate) const HEADER: &str = "x-wst-probe";

/// The words that are waited for.
#[derive(Debug, Default)]
pub(crate) struct Probes {
    waiting: Mutex<VecDeque<Probe>>,
}

#[derive(Debug)]
struct Probe {
    word: String,
    begun: Moment,
    arrived: Option<Arrived>,
}

/// How a request reached the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Arrived {
    /// The other end of the connection.
    pub(crate) peer: Option<String>,
    /// The client, as far as proxies are believed.
    pub(crate) client: Option<String>,
    /// Whether the client spoke https, as far as proxies are believed.
    pub(crate) is_https: bool,
    /// Whether pages and the API answer a request like this.
    pub(crate) is_private: bool,
    pub(crate) host: Option<String>,
    /// Whether there was an `X-Forwarded-For` or `X-Forwarded-Proto`.
    pub(crate) has_x_forwarded: bool,
    /// Whether there was a `Forwarded`.
    pub(crate) has_forwarded: bool,
}

impl Probes {
    /// Waits for a new word from here on.
    pub(crate) fn begin(&self) -> anyhow::Result<String> {
        let word = ids::random_id()?;
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.truncate(MOST - 1);
        waiting.push_front(Probe {
            word: word.clone(),
            begun: SystemClock.moment(),
            arrived: None,
        });
        Ok(word)
    }

    /// Notes a request, if it brings a word that is waited for.
    pub(crate) fn note(&self, headers: &HeaderMap, extensions: &Extensions) {
        let Some(word) = headers.get(HEADER).and_then(|word| word.to_str().ok()) else {
            return;
        };
        let now = SystemClock.moment();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|probe| now.saturating_since(probe.begun) < HOLDS_FOR);
        if let Some(probe) = waiting.iter_mut().find(|probe| probe.word == word) {
            probe.arrived = Some(Arrived::of(headers, extensions));
        }
    }

    /// Returns how the request with this word arrived, if it did.
    pub(crate) fn arrived(&self, word: &str) -> Option<Arrived> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let probe = waiting.iter().find(|probe| probe.word == word)?;
        probe.arrived.clone()
    }
}

impl Arrived {
    fn of(headers: &HeaderMap, extensions: &Extensions) -> Self {
        let peer = extensions.get::<Peer<SocketAddr>>();
        let text = |address: IpAddr| address.to_string();
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        Self {
            peer: peer.map(|Peer(peer)| text(peer.ip().to_canonical())),
            client: Arrival::address(extensions).map(text),
            is_https: Arrival::is_https(extensions),
            is_private: Arrival::is_private(extensions),
            host: host.map(str::to_owned),
            has_x_forwarded: ["x-forwarded-for", "x-forwarded-proto"]
                .iter()
                .any(|name| headers.contains_key(*name)),
            has_forwarded: headers.contains_key(FORWARDED),
        }
    }
}

/// As many as administrators look at a time.
const MOST: usize = 16;

/// As long as a request may take to get here.
const HOLDS_FOR: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_that_are_waited_for_are_noted_and_few_at_a_time() {
        let probes = Probes::default();
        let word = probes.begin().unwrap();
        let extensions = Extensions::new();
        let headers = |word: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, word.parse().unwrap());
            headers.insert(HOST, "e.com".parse().unwrap());
            headers
        };
        probes.note(&headers("another"), &extensions);
        assert_eq!(probes.arrived("another"), None);
        assert_eq!(probes.arrived(&word), None);
        probes.note(&headers(&word), &extensions);
        let arrived = probes.arrived(&word).unwrap();
        assert_eq!(arrived.host.as_deref(), Some("e.com"));
        assert!(!arrived.is_https && !arrived.has_forwarded);
        for _ in 0..MOST {
            probes.begin().unwrap();
        }
        assert_eq!(probes.arrived(&word), None);
        assert_eq!(probes.waiting.lock().unwrap().len(), MOST);
    }
}
