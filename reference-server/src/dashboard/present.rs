//! Who is there with a token, as pages tell it: a client with five sessions at one address is one line.

use crate::actions::ConnectionLine;

/// The connections of one client at one address.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Present {
    /// `Claude Code 2.1.330 at 10.0.0.5`.
    pub(super) words: String,
    pub(super) live: usize,
    pub(super) idle: usize,
    /// When the last of the idle ones was seen last, in RFC 3339.
    pub(super) idle_since: String,
    client_name: String,
    address: Option<String>,
}

impl Present {
    /// Groups connections, which come oldest first.
    pub(super) fn group(connections: &[ConnectionLine]) -> Vec<Self> {
        let mut groups: Vec<Self> = Vec::new();
        for connection in connections {
            let known = groups.iter_mut().find(|group| {
                group.client_name == connection.client_name && group.address == connection.address
            });
            match known {
                Some(group) => group.add(connection),
                None => {
                    let mut group = Self::of(connection);
                    group.add(connection);
                    groups.push(group);
                }
            }
        }
        groups
    }

    fn of(connection: &ConnectionLine) -> Self {
        Self {
            words: String::new(),
            live: 0,
            idle: 0,
            idle_since: String::new(),
            client_name: connection.client_name.clone(),
            address: connection.address.clone(),
        }
    }

    fn add(&mut self, connection: &ConnectionLine) {
        // The version is that of the latest.
        self.words.clone_from(&connection.words);
        if connection.is_live {
            self.live += 1;
        } else {
            self.idle += 1;
            // Both are of one format, in which a later time is a greater text.
            let since = connection.last_seen_at.clone();
            self.idle_since = std::mem::take(&mut self.idle_since).max(since);
        }
    }

    /// Says how many there are, as in `2 live, 3 idle`; nothing if it is one alone.
    pub(super) fn count(&self) -> Option<String> {
        match (self.live, self.idle) {
            (live, 0) if live > 1 => Some(format!("{live} connections")),
            (0, idle) if idle > 1 => Some(format!("{idle} sessions")),
            (live, idle) if live > 0 && idle > 0 => Some(format!("{live} live, {idle} idle")),
            _ => None,
        }
    }
}

/// Says how many there are of each kind, as in `2 live connections, 3 idle sessions`; empty for none.
pub(super) fn counts(groups: &[Present]) -> String {
    let live: usize = groups.iter().map(|group| group.live).sum();
    let idle: usize = groups.iter().map(|group| group.idle).sum();
    let plural = |count| if count == 1 { "" } else { "s" };
    let live = (live > 0).then(|| format!("{live} live connection{}", plural(live)));
    let idle = (idle > 0).then(|| format!("{idle} idle session{}", plural(idle)));
    let counts: Vec<String> = live.into_iter().chain(idle).collect();
    counts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(client: &str, is_live: bool, minute: u32) -> ConnectionLine {
        ConnectionLine {
            id: String::new(),
            client: client.to_owned(),
            client_name: client.to_owned(),
            version: minute.to_string(),
            era: "legacy".to_owned(),
            token: "primary".to_owned(),
            token_id: String::new(),
            generation: 1,
            address: None,
            since: String::new(),
            last_seen_at: format!("2026-07-28T12:{minute:02}:00Z"),
            calls: 0,
            running: 0,
            streams: 0,
            is_live,
            words: format!("{client} {minute}"),
        }
    }

    #[test]
    fn a_client_at_an_address_is_one_line_and_idle_sessions_are_no_live_ones() {
        let groups = Present::group(&[
            line("a", false, 8),
            line("a", true, 4),
            line("b", true, 5),
            line("a", false, 7),
        ]);
        let shown: Vec<_> = groups
            .iter()
            .map(|group| (&*group.words, group.count()))
            .collect();
        assert_eq!(
            shown,
            [("a 7", Some("1 live, 2 idle".to_owned())), ("b 5", None)]
        );
        assert_eq!(groups[0].idle_since, "2026-07-28T12:08:00Z");
        assert_eq!(counts(&groups), "2 live connections, 2 idle sessions");
        assert_eq!(
            counts(&Present::group(&[line("a", false, 1)])),
            "1 idle session"
        );
        assert_eq!(counts(&[]), "");
    }
}
