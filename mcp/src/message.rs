//! What is read of a JSON-RPC message before rmcp reads it: the id to answer to, the method and the era.

use std::{fmt, marker::PhantomData};

use http::{HeaderMap, HeaderName};
use rmcp::model::{ProtocolVersion, RequestId};
use serde::{
    Deserialize, Deserializer,
    de::{
        IgnoredAny, IntoDeserializer as _, MapAccess, Visitor,
        value::{self, MapAccessDeserializer, StrDeserializer},
    },
};
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
    /// `params` is an object without `protocolVersion`. One of another form may hold it by its place.
    lacks_version: bool,
}

impl Message {
    pub(crate) fn read(body: &[u8]) -> Self {
        let Ok(body) = str::from_utf8(body) else {
            return Self::NotJson;
        };
        match Envelope::read(body) {
            Some(envelope) => Self::Envelope(envelope),
            None if serde_json::from_str::<&RawValue>(body).is_ok() => Self::NotJsonRpc,
            None => Self::NotJson,
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
        if envelope.is_some_and(Envelope::opens_session) {
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
    fn read(body: &str) -> Option<Self> {
        // What has the form that it should have is read at one go.
        if let Ok(Object(mut wire)) = serde_json::from_str::<Object<Wire<'_, KnownParams>>>(body) {
            let params = wire.params.take();
            return Some(Self::of(wire, params.map(|Object(params)| params)));
        }
        let Object(mut wire): Object<Wire<'_, &RawValue>> = serde_json::from_str(body).ok()?;
        // Params of another form are rmcp's to refuse.
        let params = wire.params.take().and_then(params_of_any_form);
        Some(Self::of(wire, params))
    }

    pub(crate) fn is(&self, method: &str) -> bool {
        self.method.as_deref() == Some(method)
    }

    /// Whether rmcp may open a session for this: without a version of its own it is no `initialize` of the
    /// older revisions, and the newer ones have none.
    pub(crate) fn opens_session(&self) -> bool {
        self.is("initialize") && !self.lacks_version
    }

    pub(crate) fn is_listen(&self) -> bool {
        self.is("subscriptions/listen")
    }

    fn of<P>(wire: Wire<'_, P>, params: Option<Params<Object<ClientInfo>>>) -> Self {
        let lacks_version = (params.as_ref()).is_some_and(|params| params.version.is_none());
        let params = params.unwrap_or_default();
        let (meta_version, of_meta) = match params.meta {
            None => (None, None),
            Some(Object(meta)) => (meta.protocol_version, meta.client_info),
        };
        let client = params.client_info.or(of_meta);
        let Object(client) = client.unwrap_or_default();
        Self {
            // An answer of the client's carries an id too, which is not one to answer to.
            id: wire
                .method
                .as_ref()
                .and(wire.id)
                .and_then(|id| serde_json::from_str(id.get()).ok()),
            method: wire.method,
            client_name: client.name,
            client_version: client.version,
            meta_version,
            lacks_version,
        }
    }
}

/// A struct and no `Value`: a field that is there twice is an error, and not whichever a parser prefers.
#[derive(Deserialize)]
#[serde(bound(deserialize = "P: Deserialize<'de>"))]
struct Wire<'a, P> {
    #[serde(rename = "jsonrpc")]
    _version: Option<IgnoredAny>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: Option<String>,
    params: Option<P>,
    #[serde(rename = "result")]
    _result: Option<IgnoredAny>,
    #[serde(rename = "error")]
    _error: Option<IgnoredAny>,
}

type KnownParams = Object<Params<Object<ClientInfo>>>;

#[derive(Deserialize)]
struct Params<C> {
    #[serde(rename = "_meta")]
    meta: Option<Object<Meta<C>>>,
    #[serde(rename = "clientInfo")]
    client_info: Option<C>,
    #[serde(rename = "protocolVersion")]
    version: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Meta<C> {
    #[serde(rename = "io.modelcontextprotocol/protocolVersion")]
    protocol_version: Option<String>,
    #[serde(rename = "io.modelcontextprotocol/clientInfo")]
    client_info: Option<C>,
}

#[derive(Default, Deserialize)]
struct ClientInfo {
    name: Option<String>,
    version: Option<String>,
}

/// Reads params whose description of the client is of another form, which hides nothing beside it.
fn params_of_any_form(params: &RawValue) -> Option<Params<Object<ClientInfo>>> {
    let Object(params): Object<Params<Box<RawValue>>> = serde_json::from_str(params.get()).ok()?;
    let read = |client: Box<RawValue>| serde_json::from_str(client.get()).ok();
    Some(Params {
        meta: params.meta.map(|Object(meta)| {
            Object(Meta {
                protocol_version: meta.protocol_version,
                client_info: meta.client_info.and_then(read),
            })
        }),
        client_info: params.client_info.and_then(read),
        version: params.version,
    })
}

impl<C> Default for Params<C> {
    fn default() -> Self {
        Self {
            meta: None,
            client_info: None,
            version: None,
        }
    }
}

/// A struct that is written as an object. An array that lists its fields in order would pass for it too.
#[derive(Default)]
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfMap<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for OfMap<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(OfMap(PhantomData))
    }
}

fn parse_version(version: &str) -> Option<ProtocolVersion> {
    let mut known = ProtocolVersion::KNOWN_VERSIONS.iter();
    if let Some(known) = known.rfind(|known| known.as_str() == version) {
        return Some(known.clone());
    }
    let version: StrDeserializer<'_, value::Error> = version.into_deserializer();
    ProtocolVersion::deserialize(version).ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(body: &str) -> Message {
        Message::read(body.as_bytes())
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
    fn initialize_without_a_version_opens_no_session() {
        let initialize = |params: &str| {
            let body = format!(r#"{{"id":1,"method":"initialize","params":{params}}}"#);
            read(&body).envelope().unwrap().opens_session()
        };
        let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#;
        assert!(!initialize(&format!("{{{meta}}}")));
        assert!(!initialize(&format!(r#"{{{meta},"clientInfo":7}}"#)));
        let with_version = format!(r#"{{{meta},"protocolVersion":"2026-07-28"}}"#);
        assert!(initialize(&with_version));
        // What rmcp might yet read as one is taken for one.
        for params in [
            r#"[null,"2026-07-28",{},{"name":"x","version":"1"}]"#,
            r#"{"protocolVersion":null,"protocolVersion":"2026-07-28"}"#,
            r#"{"protocol\u0056ersion":"2026-07-28"}"#,
        ] {
            assert!(initialize(params), "{params}");
        }
    }

    #[test]
    fn a_client_of_another_form_hides_nothing_beside_it() {
        let meta = |client: &str| {
            format!(
                r#"{{"id":1,"method":"tools/list","params":{{"_meta":{{"io.modelcontextprotocol/clientInfo":{client},"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}}}}"#
            )
        };
        for (client, expected) in [
            (r#"{"name":"x","more":{}}"#, Some("x")),
            ("{}", None),
            ("7", None),
            (r#"["x","1"]"#, None),
            (r#"{"name":7}"#, None),
            (r#"{"name":"x","name":"y"}"#, None),
        ] {
            let body = meta(client);
            assert_eq!(
                modern(&body, None).as_deref(),
                Some("2026-07-28"),
                "{client}"
            );
            let message = read(&body);
            let envelope = message.envelope().unwrap();
            assert_eq!(envelope.client_name.as_deref(), expected, "{client}");
        }
        let beside = r#"{"id":1,"method":"tools/list","params":{"clientInfo":7,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
        assert_eq!(modern(beside, None).as_deref(), Some("2026-07-28"));
        let array = r#"{"id":1,"method":"tools/list","params":{"_meta":["2026-07-28",null]}}"#;
        assert_eq!(modern(array, None), None);
        for params in ["7", "[]", r#"{"_meta":7}"#, r#"{"_meta":{},"_meta":{}}"#] {
            let body = format!(r#"{{"id":1,"method":"tools/list","params":{params}}}"#);
            assert_eq!(read(&body).id(), Some(&RequestId::Number(1)), "{params}");
        }
        assert!(matches!(
            Message::read(b"{\"method\":\"\xff\"}"),
            Message::NotJson
        ));
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
