//! How long a session of a client may live.

use std::time::Duration;

use http::{HeaderMap, header::USER_AGENT};

use crate::message::Envelope;

/// For clients that initialize again by themselves when their session is unknown.
const SHORT: Duration = Duration::from_secs(60 * 60);

/// For all others: they stay dead, so their sessions last as long as a working day.
const LONG: Duration = Duration::from_secs(12 * 60 * 60);

/// Clients that were seen to initialize again by themselves.
const REINITIALIZING: [&str; 2] = ["claude-code", "rmcp"];

/// Returns how long the session may live that the `initialize` in `envelope` asks for.
///
/// A client that claims another's name changes nothing but how soon its own session is over.
pub(crate) fn session_lifetime(envelope: &Envelope, headers: &HeaderMap) -> Duration {
    let agent = headers
        .get(USER_AGENT)
        .and_then(|agent| agent.to_str().ok());
    let names = [envelope.client_name.as_deref(), agent];
    let reinitializes = names.into_iter().flatten().any(|name| {
        let name = name.to_ascii_lowercase();
        REINITIALIZING.iter().any(|known| name.starts_with(known))
    });
    if reinitializes { SHORT } else { LONG }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::message::Message;

    fn lifetime(client: &str, agent: Option<&'static str>) -> Duration {
        let body = format!(
            r#"{{"id":1,"method":"initialize","params":{{"clientInfo":{{"name":"{client}"}}}}}}"#
        );
        let message = Message::read(body.as_bytes());
        let mut headers = HeaderMap::new();
        if let Some(agent) = agent {
            headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        }
        session_lifetime(message.envelope().unwrap(), &headers)
    }

    #[test]
    fn clients_that_initialize_again_get_short_sessions() {
        assert_eq!(lifetime("claude-code", None), SHORT);
        assert_eq!(lifetime("x", Some("claude-code/2.1.330 (cli)")), SHORT);
        assert_eq!(lifetime("rmcp", None), SHORT);
        assert_eq!(lifetime("mcp", Some("python-httpx/0.28")), LONG);
        assert_eq!(lifetime("not-claude-code", None), LONG);
    }
}
