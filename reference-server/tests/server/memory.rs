//! Rules 17 and 18: what is left of tokens and keys in the memory of a server, all of it, once their
//! connections are closed.
//!
//! The kernel shows the memory of a process that switched dumps off to root alone; to others this is skipped.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io::{Read, Write},
    os::unix::{fs::FileExt as _, net::UnixStream},
    thread,
    time::Duration,
};

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use hkdf::Hkdf;
use rustix::process::Signal;
use serde_json::Value;
use sha2::{Sha256, block_api::compress256};

use crate::{
    common::{Home, Server, Workspace, text},
    listening::{Tls, wait_until},
    secrets::keys,
};

/// What is looked for, by any 12 bytes of it.
struct Wanted {
    names: Vec<String>,
    pieces: HashMap<[u8; PIECE], usize>,
    /// A bit for each hash of 8 bytes that a piece begins with: most of memory is passed over by it.
    begins: Vec<u64>,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            pieces: HashMap::new(),
            begins: vec![0; 1 << (HASH_BITS - 6)],
        }
    }
}

/// What was found: each thing and where.
#[derive(Default)]
struct Found {
    places: BTreeMap<String, Vec<String>>,
    scanned: u64,
    /// Mappings that not even root may read.
    closed: Vec<String>,
}

const PIECE: usize = 12;
const HASH_BITS: u32 = 24;
const CHUNK: usize = 1 << 20;

impl Wanted {
    fn add(&mut self, name: &str, secret: &[u8]) {
        for piece in secret.windows(PIECE) {
            let piece = <[u8; PIECE]>::try_from(piece).unwrap();
            let hash = hash(u64::from_le_bytes(*piece.first_chunk().unwrap()));
            self.begins[hash >> 6] |= 1 << (hash & 63);
            self.pieces.insert(piece, self.names.len());
        }
        self.names.push(name.to_owned());
    }

    /// Its payload and signature as they are sent, the signature's bytes, and the secret in the payload.
    fn add_token(&mut self, name: &str, token: &str) {
        let segments: Vec<_> = token.split('.').collect();
        let decoded = |segment: &str| BASE64_URL_SAFE_NO_PAD.decode(segment).unwrap();
        self.add(&format!("payload of {name}"), segments[1].as_bytes());
        self.add(&format!("signature of {name}"), segments[2].as_bytes());
        self.add(&format!("MAC of {name}"), &decoded(segments[2]));
        let claims: Value = serde_json::from_slice(&decoded(segments[1])).unwrap();
        // A session token has none: its session's id is what the server knows it by.
        if let Some(secret) = claims["jti"].as_str() {
            self.add(&format!("secret of {name}"), secret.as_bytes());
        }
    }

    /// The keys of the file, and what is as good as they are: what HKDF extracts of them, MAC keys, and the
    /// states of SHA-256 that HMAC begins with under each.
    fn add_keys(&mut self, home: &Home, token: &str) {
        let kinds = ["workspace+jwt", "mcp-session+jwt"];
        for (ring, key) in ["signing", "sealing"].iter().zip(keys(home)) {
            self.add(&format!("text of the {ring} key"), key.as_bytes());
            let key: [u8; 32] = BASE64_STANDARD.decode(key).unwrap().try_into().unwrap();
            self.add(&format!("{ring} key"), &key);
            let (extracted, hkdf) = Hkdf::<Sha256>::extract(None, &key);
            self.add_hmac_key(&format!("extract of the {ring} key"), &extracted.into());
            if *ring == "sealing" {
                continue;
            }
            for kind in kinds {
                let mut mac_key = [0; 32];
                let label = format!("tower-workspace-token v1 mac {kind}");
                hkdf.expand(label.as_bytes(), &mut mac_key).unwrap();
                self.add_hmac_key(&format!("MAC key of {kind}"), &mac_key);
                assert_eq!(signs(&mac_key, token), kind == kinds[0], "the right key");
            }
        }
    }

    fn add_hmac_key(&mut self, name: &str, key: &[u8; 32]) {
        self.add(name, key);
        for (padding, side) in [(0x36, "inner"), (0x5c, "outer")] {
            let mut block = [padding; 64];
            for (byte, key) in block.iter_mut().zip(key) {
                *byte ^= key;
            }
            let mut state = SHA256_STATE;
            compress256(&mut state, &[block]);
            let state: Vec<u8> = state.iter().flat_map(|word| word.to_ne_bytes()).collect();
            self.add(&format!("{side} state of the {name}"), &state);
        }
    }

    fn look_at(&self, bytes: &[u8], mut seen: impl FnMut(usize, &str)) {
        let (mut last, mut begin) = (None, 0);
        // By the byte, with as little as can be done for each: this is not optimized, and there are many.
        for (end, byte) in bytes.iter().enumerate() {
            begin = begin >> 8 | u64::from(*byte) << 56;
            let hash = hash(begin);
            if self.begins[hash >> 6] >> (hash & 63) & 1 == 0 {
                continue;
            }
            let Some(at) = end.checked_sub(7) else {
                continue;
            };
            let Some(piece) = bytes.get(at..at + PIECE) else {
                continue;
            };
            if let Some(wanted) = self.pieces.get(piece) {
                // Once for all the pieces of one copy.
                if last != Some((*wanted, at.wrapping_sub(1))) {
                    seen(at, &self.names[*wanted]);
                }
                last = Some((*wanted, at));
            }
        }
    }

    /// Reads all that is mapped in the process, which stands still meanwhile; `None` if this process may not.
    fn scan(&self, server: &Server) -> Option<Found> {
        server.signal(Signal::STOP);
        let found = self.read(server);
        server.signal(Signal::CONT);
        found
    }

    fn read(&self, server: &Server) -> Option<Found> {
        let process = format!("/proc/{}", server.pid());
        let memory = File::open(format!("{process}/mem")).ok()?;
        let mut found = Found::default();
        let mut chunk = vec![0; CHUNK + PIECE - 1];
        for line in fs::read_to_string(format!("{process}/maps")).ok()?.lines() {
            let (range, rest) = line.split_once(' ').unwrap();
            let (start, end) = range.split_once('-').unwrap();
            let number = |text| u64::from_str_radix(text, 16).unwrap();
            let (start, end) = (number(start), number(end));
            // Permissions, offset, device, inode, and the name if there is one.
            let name = rest.split_ascii_whitespace().nth(4).unwrap_or("no file");
            if !rest.starts_with('r') || name == "[vsyscall]" {
                continue;
            }
            for at in (start..end).step_by(CHUNK) {
                // With the beginning of the next chunk, so that what lies across is seen.
                let length = chunk.len().min((end - at) as usize);
                let bytes = &mut chunk[..length];
                if memory.read_exact_at(bytes, at).is_err() {
                    found.closed.push(format!("{name} {}", end - at));
                    continue;
                }
                found.scanned += length as u64;
                for (page, begins) in bytes.chunks(PAGE).zip((0..).step_by(PAGE)) {
                    if page.iter().all(|byte| *byte == 0) {
                        continue;
                    }
                    let until = length.min(begins + PAGE + PIECE - 1);
                    self.look_at(&bytes[begins..until], |offset, wanted| {
                        let place = format!("{name} {:#x}", at + (begins + offset) as u64);
                        let places = found.places.entry(wanted.to_owned()).or_default();
                        places.push(place);
                    });
                }
            }
        }
        Some(found)
    }
}

fn hash(begin: u64) -> usize {
    (begin.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - HASH_BITS)) as usize
}

fn signs(mac_key: &[u8; 32], token: &str) -> bool {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let (text, signature) = token.rsplit_once('.').unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(mac_key).unwrap();
    mac.update(text.as_bytes());
    mac.verify_slice(&BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap())
        .is_ok()
}

const PAGE: usize = 4096;

/// FIPS 180-4 §5.3.3.
const SHA256_STATE: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// A connection to the server, in the clear or over TLS.
pub(crate) trait Wire: Read + Write {}
impl<T: Read + Write> Wire for T {}

/// Connects by the protocol that it is told.
pub(crate) type Connect<'a> = dyn Fn(&str) -> Box<dyn Wire> + 'a;

/// How the tokens of a run are used.
pub(crate) struct Users<'a> {
    pub(crate) connect: Box<Connect<'a>>,
    pub(crate) host: &'a str,
    pub(crate) workspace: &'a Workspace,
}

impl Users<'_> {
    /// Uses a token in one of four ways; returns the session token, if there was one.
    pub(crate) fn use_token(&self, number: usize, token: &str) -> Option<String> {
        let path = format!("/mcp/{}", self.workspace.id);
        let bearer = format!("authorization: Bearer {token}\r\n");
        match number % 4 {
            0 => {
                let hello = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"memory","version":"1"}}}"#;
                let answer = self.post(&path, &bearer, hello);
                let (_, session) = answer.split_once("mcp-session-id: ").unwrap();
                let session = session.lines().next().unwrap().to_owned();
                let headers = format!(
                    "{bearer}mcp-session-id: {session}\r\nmcp-protocol-version: 2025-11-25\r\n"
                );
                let call = r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"getWorkspace","arguments":{}}}"#;
                self.post(&path, &headers, call);
                Some(session)
            }
            1 => {
                self.post(&path, &format!("{bearer}{MODERN}"), MODERN_CALL);
                None
            }
            2 => {
                self.post(&format!("{path}?token={token}"), MODERN, MODERN_CALL);
                None
            }
            _ => {
                self.post_by_http_2(&path, token);
                None
            }
        }
    }

    fn head(&self, path: &str, headers: &str, body: &str) -> String {
        format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\n{headers}accept: application/json, text/event-stream\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            self.host,
            body.len()
        )
    }

    fn post(&self, path: &str, headers: &str, body: &str) -> String {
        let mut stream = (self.connect)("http/1.1");
        let request = self.head(path, headers, body) + body;
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        // Over TLS the server may close without a word.
        let _ = stream.read_to_string(&mut answer);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        answer
    }

    /// The frames of one request, fields spelled out; reads until the answer's head has come.
    fn post_by_http_2(&self, path: &str, token: &str) {
        let mut stream = (self.connect)("h2");
        let mut fields = Vec::new();
        let bearer = format!("Bearer {token}");
        let scheme = if self.workspace.mcp_url.starts_with("https") {
            "https"
        } else {
            "http"
        };
        for (name, value) in [
            (":method", "POST"),
            (":scheme", scheme),
            (":authority", self.host),
            (":path", path),
            ("authorization", &bearer),
            ("accept", "application/json, text/event-stream"),
            ("content-type", "application/json"),
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "tools/call"),
            ("mcp-name", "getWorkspace"),
        ] {
            fields.push(0);
            for text in [name, value] {
                hpack_length(&mut fields, text.len());
                fields.extend(text.as_bytes());
            }
        }
        let mut request = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        request.extend(frame(4, 0, 0, b""));
        request.extend(frame(1, 4, 1, &fields));
        request.extend(frame(0, 1, 1, MODERN_CALL.as_bytes()));
        stream.write_all(&request).unwrap();
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).unwrap();
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            stream.read_exact(&mut payload).unwrap();
            assert!(
                ![3, 7].contains(&head[3]),
                "the stream is reset: {payload:?}"
            );
            if head[3] == 1 {
                // `:status: 200` of the static table (RFC 7541, appendix A), first of all fields.
                assert!(payload.contains(&0x88), "{payload:?}");
            }
            if head[3] <= 1 && head[4] & 1 == 1 {
                return;
            }
        }
    }
}

const MODERN: &str =
    "mcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\nmcp-name: getWorkspace\r\n";
const MODERN_CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"getWorkspace","arguments":{},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;

/// A frame of HTTP/2 (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags];
    [&head, &stream.to_be_bytes()[..], payload].concat()
}

/// The length of a text that is not compressed (RFC 7541 §5.1, §5.2).
fn hpack_length(fields: &mut Vec<u8>, length: usize) {
    if length < 127 {
        fields.push(length as u8);
        return;
    }
    fields.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        fields.push(rest as u8 | 128);
        rest >>= 7;
    }
    fields.push(rest as u8);
}

/// Issues tokens over the control socket, all on one connection.
fn issue(home: &Home, workspace: &Workspace, count: usize) -> Vec<String> {
    let mut socket = UnixStream::connect(home.data_dir().join("control.sock")).unwrap();
    let mut received = Vec::new();
    let issued = (0..count).map(|number| {
        let body = format!(r#"{{"name":"t{number}"}}"#);
        let request = format!(
            "POST /api/v1/workspaces/{}/tokens HTTP/1.1\r\nhost: wst\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            workspace.id,
            body.len()
        );
        socket.write_all(request.as_bytes()).unwrap();
        received.clear();
        let mut buffer = [0; 4096];
        loop {
            let length = socket.read(&mut buffer).unwrap();
            assert_ne!(length, 0, "the control socket hung up");
            received.extend(&buffer[..length]);
            let text = String::from_utf8_lossy(&received);
            if let Some((_, body)) = text.split_once("\r\n\r\n")
                && let Ok(answer) = serde_json::from_str::<Value>(body)
            {
                return text_of(&answer);
            }
        }
    });
    issued.collect()
}

fn text_of(answer: &Value) -> String {
    assert!(answer["secret"].is_string(), "{}", answer["error"]);
    text(&answer["secret"])
}

fn is_idle(server: &Server) -> bool {
    let metrics = server.metrics();
    metrics.contains("wst_open_connections{listener=\"public\"} 0")
}

/// Issues tokens, uses each, closes everything, waits a second, and reads all of the server's memory.
fn nothing_is_left(home: &Home, server: &Server, users: &Users<'_>, count: usize) {
    let mut wanted = Wanted::default();
    if wanted.scan(server).is_none() {
        eprintln!("skipped: only root may read the memory of a server");
        return;
    }
    wanted.add_keys(home, &users.workspace.secret);
    let held = "the token that a connection still holds";
    wanted.add_token(held, &users.workspace.secret);
    let tokens = issue(home, users.workspace, count);
    let mut sessions = 0;
    for (number, token) in tokens.iter().enumerate() {
        wanted.add_token(&format!("token {number}"), token);
        if let Some(session) = users.use_token(number, token) {
            wanted.add_token(&format!("session {number}"), &session);
            sessions += 1;
        }
    }

    // The control: a head that has not ended lies in a buffer, token and all, until it is cut off.
    let bearer = format!("authorization: Bearer {}\r\n", users.workspace.secret);
    let head = users.head("/mcp/x", &bearer, "");
    let is_found = (0..5).any(|_| {
        let mut open = (users.connect)("http/1.1");
        open.write_all(&head.as_bytes()[..head.len() - 2]).unwrap();
        thread::sleep(Duration::from_millis(200));
        let places = wanted.scan(server).unwrap().places;
        let finds = |part| places.contains_key(&format!("{part} of {held}"));
        finds("payload") && finds("signature")
    });
    assert!(is_found, "the control");
    wait_until("all connections are closed", || is_idle(server));
    thread::sleep(Duration::from_secs(1));
    let mut found = wanted.scan(server).unwrap();
    let has_secret_pages = server.log().contains("no other process read");
    if !has_secret_pages {
        eprintln!(
            "skipped: keys are not looked for, since this kernel has no memfd_secret and they lie in locked pages"
        );
        found
            .places
            .retain(|name, _| name.contains(" of token ") || name.contains(" of session "));
    }
    eprintln!(
        "{count} tokens, {sessions} session tokens: {} kB scanned, {} things found, closed to root: {:?}",
        found.scanned / 1000,
        found.places.len(),
        found.closed
    );
    assert!(found.places.is_empty(), "{:#?}", found.places);
    let is_closed = found.closed.iter().any(|name| name.contains("secretmem"));
    assert_eq!(is_closed, has_secret_pages);
}

#[test]
fn a_second_after_the_last_connection_no_token_and_no_key_is_in_memory() {
    let home = Home::new();
    let server = home.serve_with(&["--admin-listen", "127.0.0.1:0"]);
    let workspace = home.create_workspace("acme");
    let users = Users {
        connect: Box::new(|_| Box::new(server.connect())),
        host: server.address(),
        workspace: &workspace,
    };
    nothing_is_left(&home, &server, &users, 1000);
}

#[test]
fn nor_is_one_left_by_tls() {
    let tls = Tls::new();
    let public = [
        "--admin-listen",
        "127.0.0.1:0",
        "--public-url",
        "https://wst.test",
    ];
    let server = tls.serve(&public);
    let workspace = tls.home.create_workspace("acme");
    let users = Users {
        connect: Box::new(|protocol| {
            Box::new(tls.connect(&server, "wst.test", &[protocol]).unwrap())
        }),
        host: "wst.test",
        workspace: &workspace,
    };
    nothing_is_left(&tls.home, &server, &users, 100);
}

#[test]
fn the_scan_finds_any_twelve_bytes_wherever_they_lie() {
    let mut wanted = Wanted::default();
    wanted.add("secret", b"0123456789abcdef");
    let found = |bytes: &[u8]| {
        let mut places = Vec::new();
        wanted.look_at(bytes, |at, _| places.push(at));
        places
    };
    assert_eq!(found(b"..0123456789abcdef.."), [2]);
    assert_eq!(found(b"456789abcdef"), [0]);
    assert_eq!(found(b"0123456789abcdef0123456789ab"), [0, 16]);
    assert!(found(b"0123456789a.bcdef").is_empty());
}
