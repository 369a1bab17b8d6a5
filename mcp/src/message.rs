//! What is read of a JSON-RPC message before rmcp reads it: the id to answer to, the method and the era.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use rmcp::model::{ProtocolVersion, RequestId};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::body::NotRead;

/// The header that names the protocol version of a request.
pub(crate) const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// What a request body was found to be.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    /// The body has not been read: the method is not POST, or the content is not declared as JSON.
    Unread,
    /// It could not be read.
    NotRead(NotRead),
    /// It is no JSON.
    NotJson,
    /// It is JSON, but no single JSON-RPC message.
    NotJsonRpc,
    /// It is an object with the outward form of a JSON-RPC message.
    Envelope(Envelope),
}

/// The outside of a JSON-RPC message.
#[derive(Clone, Debug)]
pub(crate) struct Envelope {
    /// The id that an answer carries; only requests have one.
    pub(crate) id: Option<RequestId>,
    pub(crate) method: Option<String>,
    /// The name that the client gives itself in `initialize`, or, from 2026-07-28 on, in `_meta`.
    pub(crate) client_name: Option<String>,
    pub(crate) client_version: Option<String>,
    /// The version that `_meta` names, which the clients of 2026-07-28 send with every request.
    meta_version: Option<String>,
}

impl Message {
    pub(crate) fn read(body: &Bytes) -> Self {
        // An array would pass for a struct whose fields it lists in order.
        let is_object = body.trim_ascii_start().starts_with(b"{");
        let wire = is_object.then(|| serde_json::from_slice::<Wire<'_>>(body));
        match wire {
            Some(Ok(wire)) => Self::Envelope(wire.into()),
            _ if serde_json::from_slice::<&RawValue>(body).is_ok() => Self::NotJsonRpc,
            _ => Self::NotJson,
        }
    }

    pub(crate) fn envelope(&self) -> Option<&Envelope> {
        match self {
            Self::Envelope(envelope) => Some(envelope),
            Self::Unread | Self::NotRead(_) | Self::NotJson | Self::NotJsonRpc => None,
        }
    }

    /// Returns the id that an answer to this carries.
    pub(crate) fn id(&self) -> Option<&RequestId> {
        self.envelope()?.id.as_ref()
    }

    /// Returns the version of a message that belongs to the era without sessions, 2026-07-28 and later.
    pub(crate) fn modern_version(&self, headers: &HeaderMap) -> Option<ProtocolVersion> {
        let envelope = self.envelope();
        if envelope.is_some_and(|envelope| envelope.is("initialize")) {
            return None;
        }
        let from_header = headers
            .get(PROTOCOL_VERSION)
            .and_then(|version| version.to_str().ok());
        let named = envelope
            .and_then(|envelope| envelope.meta_version.as_deref())
            .or(from_header);
        let is_discovery = envelope.is_some_and(|envelope| envelope.is("server/discover"));
        match named.and_then(parse_version) {
            Some(version) if !version.has_initialize() => Some(version),
            _ if is_discovery => Some(ProtocolVersion::LATEST),
            _ => None,
        }
    }
}

impl Envelope {
    pub(crate) fn is(&self, method: &str) -> bool {
        self.method.as_deref() == Some(method)
    }

    pub(crate) fn is_listen(&self) -> bool {
        self.is("subscriptions/listen")
    }
}

/// A struct and no `Value`: a field that is there twice is an error, and not whichever a parser prefers.
#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(rename = "jsonrpc", borrow, default)]
    _version: Option<&'a RawValue>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(rename = "result", borrow, default)]
    _result: Option<&'a RawValue>,
    #[serde(rename = "error", borrow, default)]
    _error: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Params<'a> {
    #[serde(rename = "_meta", borrow, default)]
    meta: Option<Meta<'a>>,
    #[serde(rename = "clientInfo", borrow, default)]
    client_info: Option<ClientInfo<'a>>,
}

#[derive(Deserialize)]
struct Meta<'a> {
    #[serde(rename = "io.modelcontextprotocol/protocolVersion", borrow, default)]
    protocol_version: Option<Cow<'a, str>>,
    #[serde(rename = "io.modelcontextprotocol/clientInfo", borrow, default)]
    client_info: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct ClientInfo<'a> {
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    version: Option<Cow<'a, str>>,
}

impl From<Wire<'_>> for Envelope {
    fn from(wire: Wire<'_>) -> Self {
        let method = wire.method.map(Cow::into_owned);
        // Params of another form are rmcp's to refuse.
        let params = wire
            .params
            .and_then(|params| serde_json::from_str::<Params<'_>>(params.get()).ok())
            .unwrap_or_default();
        // Read by itself: of another form, it must not hide the version beside it.
        let of_meta = params.meta.as_ref().and_then(|meta| meta.client_info);
        let of_meta = of_meta.and_then(|client| serde_json::from_str(client.get()).ok());
        let client = params.client_info.or(of_meta).unwrap_or_default();
        Self {
            // An answer of the client's carries an id too, which is not one to answer to.
            id: method
                .as_ref()
                .and(wire.id)
                .and_then(|id| serde_json::from_str(id.get()).ok()),
            method,
            client_name: client.name.map(Cow::into_owned),
            client_version: client.version.map(Cow::into_owned),
            meta_version: params
                .meta
                .and_then(|meta| meta.protocol_version)
                .map(Cow::into_owned),
        }
    }
}

fn parse_version(version: &str) -> Option<ProtocolVersion> {
    serde_json::from_value(serde_json::Value::String(version.to_owned())).ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(body: &str) -> Message {
        Message::read(&Bytes::copy_from_slice(body.as_bytes()))
    }

    fn modern(body: &str, header: Option<&'static str>) -> Option<String> {
        let mut headers = HeaderMap::new();
        if let Some(version) = header {
            headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(version));
        }
        read(body)
            .modern_version(&headers)
            .map(|version| version.to_string())
    }

    #[test]
    fn tells_what_is_no_json_from_what_is_no_message() {
        assert!(matches!(read("{"), Message::NotJson));
        assert!(matches!(read(""), Message::NotJson));
        assert!(matches!(read("[]"), Message::NotJsonRpc));
        assert!(matches!(read("7"), Message::NotJsonRpc));
        assert!(matches!(
            read(r#"{"id":1,"id":2,"method":"ping"}"#),
            Message::NotJsonRpc
        ));
        assert!(matches!(read("{}"), Message::Envelope(_)));
    }

    #[test]
    fn remembers_the_id_of_a_request_and_of_nothing_else() {
        let id = |body: &str| read(body).id().cloned();
        assert_eq!(
            id(r#"{"id":7,"method":"ping"}"#),
            Some(RequestId::Number(7))
        );
        assert_eq!(
            id(r#"{"id":"a","method":"ping"}"#),
            Some(RequestId::String("a".into()))
        );
        assert_eq!(id(r#"{"id":7,"result":{}}"#), None);
        assert_eq!(id(r#"{"id":null,"method":"ping"}"#), None);
        assert_eq!(id(r#"{"id":{},"method":"ping"}"#), None);
        assert_eq!(id(r#"{"method":"notifications/initialized"}"#), None);
    }

    #[test]
    fn initialize_is_legacy_whatever_it_names() {
        let body = r#"{"id":1,"method":"initialize","params":{"protocolVersion":"2026-07-28","clientInfo":{"name":"x"}}}"#;
        assert_eq!(modern(body, Some("2026-07-28")), None);
        assert_eq!(
            read(body).envelope().unwrap().client_name.as_deref(),
            Some("x")
        );
    }

    #[test]
    fn the_era_is_that_of_the_version() {
        let call = r#"{"id":1,"method":"tools/list"}"#;
        assert_eq!(modern(call, None), None);
        assert_eq!(modern(call, Some("2025-11-25")), None);
        assert_eq!(
            modern(call, Some("2026-07-28")).as_deref(),
            Some("2026-07-28")
        );
        let with_meta = r#"{"id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
        assert_eq!(modern(with_meta, None).as_deref(), Some("2026-07-28"));
        let discovery = r#"{"id":1,"method":"server/discover"}"#;
        assert_eq!(modern(discovery, None).as_deref(), Some("2026-07-28"));
    }
}
