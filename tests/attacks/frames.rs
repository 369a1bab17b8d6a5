//! Frames of HTTP/2 that no client library sends: pseudo-header fields, fields of connections, lengths,
//! and blocks that are no header blocks (RFC 9113 §8, RFC 7541).

use crate::{
    common::{
        App, World,
        frames::{CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PADDED, block, frame},
    },
    table::{Attempt, Case, Expected},
};

const HOST: &[u8] = b"acme.mcp.test";

pub(crate) async fn cases() -> Vec<Case> {
    let world = World::new().await;
    world.issue("other", "primary").await;
    let app = world.by_host();
    let token = world.token.as_str();
    let good = Fields::good(token);
    let mut cases = Vec::new();
    for (name, fields, expected) in wrong_fields(&good) {
        cases.push(case(&app, token, name, fields.request(), expected));
    }
    for (name, frames) in wrong_frames(&good) {
        cases.push(case(&app, token, name, frames, Expected::Malformed));
    }
    cases
}

fn case(app: &App, token: &str, name: &str, frames: Vec<u8>, expected: Expected) -> Case {
    Case {
        family: "frames of HTTP/2",
        name: name.to_owned(),
        attack: Attempt::frames(app, frames, &[token]),
        expected,
        control: Attempt::frames(app, Fields::good(token).request(), &[token]),
    }
}

/// The fields of a request, in order.
#[derive(Clone)]
struct Fields(Vec<(Vec<u8>, Vec<u8>)>);

impl Fields {
    fn good(token: &str) -> Self {
        let authorization = format!("Bearer {token}").into_bytes();
        let fields: [(&str, &[u8]); 5] = [
            (":method", b"GET"),
            (":scheme", b"http"),
            (":authority", HOST),
            (":path", b"/mcp"),
            ("authorization", &authorization),
        ];
        let fields = fields.map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec()));
        Self(fields.to_vec())
    }

    fn without(&self, name: &str) -> Self {
        let others = self.0.iter().filter(|(known, _)| known != name.as_bytes());
        Self(others.cloned().collect())
    }

    fn set(&self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let mut fields = self.clone();
        for field in &mut fields.0 {
            if field.0 == name.as_bytes() {
                field.1 = value.as_ref().to_vec();
            }
        }
        fields
    }

    fn first(&self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        let mut fields = self.clone();
        let field = (name.as_ref().to_vec(), value.as_ref().to_vec());
        fields.0.insert(0, field);
        fields
    }

    fn last(&self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        let mut fields = self.clone();
        fields
            .0
            .push((name.as_ref().to_vec(), value.as_ref().to_vec()));
        fields
    }

    fn block(&self) -> Vec<u8> {
        let fields = self.0.iter().map(|(name, value)| (&name[..], &value[..]));
        block(&fields.collect::<Vec<_>>())
    }

    /// The one frame of a request without a body.
    fn request(&self) -> Vec<u8> {
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &self.block())
    }
}

fn wrong_fields(good: &Fields) -> Vec<(&'static str, Fields, Expected)> {
    use Expected::{BadAddress, Malformed};
    let authorization = good.0[4].1.clone();
    vec![
        ("no method", good.without(":method"), Malformed),
        ("no scheme", good.without(":scheme"), Malformed),
        ("no path", good.without(":path"), Malformed),
        ("an empty path", good.set(":path", ""), Malformed),
        (
            "a path without a slash",
            good.set(":path", "mcp"),
            Malformed,
        ),
        (
            "a path that is a whole address",
            good.set(":path", "http://other.mcp.test/mcp"),
            Malformed,
        ),
        (
            "a space in the path",
            good.set(":path", "/mcp HTTP/1.1"),
            Malformed,
        ),
        ("a NUL in the path", good.set(":path", "/mcp\0"), Malformed),
        (
            "a request in the path",
            good.set(":path", "/mcp HTTP/1.1\r\nHost: other.mcp.test\r\n\r\n"),
            Malformed,
        ),
        ("the method twice", good.first(":method", "GET"), Malformed),
        ("two methods", good.first(":method", "POST"), Malformed),
        ("the path twice", good.first(":path", "/mcp"), Malformed),
        ("two paths", good.first(":path", "/other"), Malformed),
        ("the scheme twice", good.first(":scheme", "http"), Malformed),
        (
            "the authority twice",
            good.first(":authority", HOST),
            Malformed,
        ),
        (
            "two authorities, the right one last",
            good.first(":authority", "other.mcp.test"),
            Malformed,
        ),
        (
            "the authority behind the other fields",
            good.without(":authority").last(":authority", HOST),
            Malformed,
        ),
        (
            "a second authority behind the other fields",
            good.last(":authority", "other.mcp.test"),
            Malformed,
        ),
        (
            "a pseudo-header field of nobody",
            good.first(":host", HOST),
            Malformed,
        ),
        (
            "the status of an answer",
            good.first(":status", "200"),
            Malformed,
        ),
        (
            "no authority and no Host",
            good.without(":authority"),
            BadAddress,
        ),
        ("an empty authority", good.set(":authority", ""), Malformed),
        (
            "an authority with userinfo",
            good.set(":authority", "user@acme.mcp.test"),
            BadAddress,
        ),
        (
            "an authority that is userinfo",
            good.set(":authority", "acme.mcp.test@evil.test"),
            BadAddress,
        ),
        (
            "a list of authorities",
            good.set(":authority", "acme.mcp.test, other.mcp.test"),
            Malformed,
        ),
        (
            "a path behind the authority",
            good.set(":authority", "acme.mcp.test/x"),
            Malformed,
        ),
        (
            "a space in the authority",
            good.set(":authority", "acme.mcp.test evil.test"),
            Malformed,
        ),
        (
            "a NUL in the authority",
            good.set(":authority", "acme\0.mcp.test"),
            Malformed,
        ),
        (
            "a line break in the authority",
            good.set(":authority", "acme.mcp.test\r\nhost: other.mcp.test"),
            Malformed,
        ),
        (
            "an authority that is not ASCII",
            good.set(":authority", b"acme.mcp.t\xe9st"),
            Malformed,
        ),
        (
            "a dot behind the authority",
            good.set(":authority", "acme.mcp.test."),
            BadAddress,
        ),
        (
            "a host of another name",
            good.last("host", "other.mcp.test"),
            BadAddress,
        ),
        ("an empty host", good.last("host", ""), BadAddress),
        (
            "the host twice",
            good.last("host", HOST).last("host", HOST),
            BadAddress,
        ),
        (
            "a name in capitals",
            good.without("authorization")
                .last("Authorization", &authorization),
            Malformed,
        ),
        ("a Host in capitals", good.last("Host", HOST), Malformed),
        (
            "a name with a colon",
            good.last("host:", "other.mcp.test"),
            Malformed,
        ),
        ("a name with a space", good.last("x y", "1"), Malformed),
        ("a name with a NUL", good.last("x\0", "1"), Malformed),
        (
            "a name with a line break",
            good.last("x\r\nhost", "other.mcp.test"),
            Malformed,
        ),
        ("an empty name", good.last("", "1"), Malformed),
        (
            "a name that is not ASCII",
            good.last(b"\xe4", "1"),
            Malformed,
        ),
        ("a value with a NUL", good.last("x", "1\0"), Malformed),
        (
            "a value with a line break",
            good.last("x", "1\r\nhost: other.mcp.test"),
            Malformed,
        ),
        (
            "a value with a line feed",
            good.last("x", "1\nhost: x"),
            Malformed,
        ),
        (
            "a line break in the credential",
            good.set("authorization", [&authorization[..], b"\r\nx: y"].concat()),
            Malformed,
        ),
        (
            "Connection",
            good.last("connection", "keep-alive"),
            Malformed,
        ),
        (
            "Connection that names the credential",
            good.last("connection", "authorization"),
            Malformed,
        ),
        ("Keep-Alive", good.last("keep-alive", "1"), Malformed),
        (
            "Proxy-Connection",
            good.last("proxy-connection", "keep-alive"),
            Malformed,
        ),
        (
            "Transfer-Encoding",
            good.last("transfer-encoding", "chunked"),
            Malformed,
        ),
        ("Upgrade", good.last("upgrade", "h2c"), Malformed),
        (
            "TE with more than trailers",
            good.last("te", "gzip"),
            Malformed,
        ),
        (
            "a length of a body that does not come",
            good.last("content-length", "5"),
            Malformed,
        ),
        (
            "a negative length",
            good.last("content-length", "-1"),
            Malformed,
        ),
        (
            "a length that is no number",
            good.last("content-length", "x"),
            Malformed,
        ),
    ]
}

fn wrong_frames(good: &Fields) -> Vec<(&'static str, Vec<u8>)> {
    const WHOLE: u8 = END_HEADERS | END_STREAM;
    let headers = good.block();
    let headers_then = |more: &[u8]| [&headers[..], more].concat();
    let split = headers.len() / 2;
    let flood: Vec<u8> = (0..2000)
        .flat_map(|_| frame(CONTINUATION, 0, 1, b"\0\x01x\x01y"))
        .collect();
    vec![
        ("a request on stream 0", frame(HEADERS, WHOLE, 0, &headers)),
        (
            "a request on a stream of the server",
            frame(HEADERS, WHOLE, 2, &headers),
        ),
        (
            "a continuation of nothing",
            frame(CONTINUATION, END_HEADERS, 1, &headers),
        ),
        ("a body of nothing", frame(DATA, END_STREAM, 1, b"x")),
        (
            "another frame inside of a header block",
            [
                frame(HEADERS, END_STREAM, 1, &headers[..split]),
                frame(DATA, 0, 1, b""),
                frame(CONTINUATION, END_HEADERS, 1, &headers[split..]),
            ]
            .concat(),
        ),
        (
            "a header block that goes on in another stream",
            [
                frame(HEADERS, END_STREAM, 1, &headers[..split]),
                frame(CONTINUATION, END_HEADERS, 3, &headers[split..]),
            ]
            .concat(),
        ),
        (
            "more padding than there is",
            frame(
                HEADERS,
                WHOLE | PADDED,
                1,
                &[b"\xff", &headers[..]].concat(),
            ),
        ),
        (
            "a header block that is cut",
            frame(HEADERS, WHOLE, 1, &headers[..headers.len() - 3]),
        ),
        ("index 0", frame(HEADERS, WHOLE, 1, &headers_then(b"\x80"))),
        (
            "an index that is not there",
            frame(HEADERS, WHOLE, 1, &headers_then(b"\xff\x7f")),
        ),
        (
            "an index without an end",
            frame(HEADERS, WHOLE, 1, &headers_then(&[0xff; 32])),
        ),
        (
            "a table of 4 GiB",
            frame(
                HEADERS,
                WHOLE,
                1,
                &[b"\x3f\xe1\xff\xff\xff\x0f", &headers[..]].concat(),
            ),
        ),
        (
            "a code of Huffman's that ends nowhere",
            frame(
                HEADERS,
                WHOLE,
                1,
                &headers_then(b"\0\x01x\x84\xff\xff\xff\xff"),
            ),
        ),
        (
            "a text longer than its block",
            frame(HEADERS, WHOLE, 1, &headers_then(b"\0\x01x\x7f\xff\x7f")),
        ),
        (
            "a header block of 2,000 frames",
            [frame(HEADERS, END_STREAM, 1, &headers), flood].concat(),
        ),
        (
            "a body that is shorter than its length",
            [
                frame(
                    HEADERS,
                    END_HEADERS,
                    1,
                    &good
                        .set(":method", "POST")
                        .last("content-length", "5")
                        .block(),
                ),
                frame(DATA, END_STREAM, 1, b"x"),
            ]
            .concat(),
        ),
        (
            "HTTP/1.1 behind the preface",
            b"GET /mcp HTTP/1.1\r\nHost: acme.mcp.test\r\n\r\n".to_vec(),
        ),
    ]
}
