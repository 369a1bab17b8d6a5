//! Algorithms, headers and signatures. Each token is planted: the row seals it, byte for byte, and but
//! for the signature cases its MAC is right, so nothing but the exact-bytes rule is there to refuse it.

use std::collections::HashSet;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use crate::{
    common::{
        App, SEALING, SIGNING, World, bearer,
        oracle::{self, SESSION, WORKSPACE, claims, encode, header, kid, mac, mac_key, sign},
    },
    json::Object,
    table::{Attempt, Case, Expected},
};

pub(crate) async fn cases() -> Vec<Case> {
    let planter = Planter::new().await;
    let mut cases = Vec::new();
    let mut headers: Vec<_> = headers()
        .into_iter()
        .map(|(name, json)| (name, json.into_bytes()))
        .collect();
    add_new(&mut headers, object().wrong(|_, _| false));
    for (name, json) in headers {
        let token = sign(WORKSPACE, &json, claims());
        cases.push(planter.case("algorithms and headers", &name, token).await);
    }
    let signatures = signatures()
        .into_iter()
        .map(|(name, token)| (name.to_owned(), token.into_bytes()));
    let spellings = spellings().into_iter();
    let spellings = spellings.map(|(name, token)| (name, token.into_bytes()));
    let mut tokens: Vec<_> = signatures.collect();
    add_new(&mut tokens, spellings.collect());
    for (name, token) in tokens {
        let token = String::from_utf8(token).unwrap();
        cases.push(planter.case("signatures and shapes", &name, token).await);
    }
    cases
}

/// Makes cases of tokens that the store holds; the control of each is the one that is right.
pub(crate) struct Planter {
    right: App,
    control: String,
}

impl Planter {
    pub(crate) async fn new() -> Self {
        let control = sign(WORKSPACE, header(WORKSPACE), claims());
        Self {
            right: World::planted(&control).await.by_path(),
            control,
        }
    }

    pub(crate) async fn case(&self, family: &'static str, name: &str, token: String) -> Case {
        let control = self.control.as_str();
        assert_ne!(token, control, "{name} changes nothing");
        let app = World::planted(&token).await.by_path();
        Case {
            family,
            name: name.to_owned(),
            attack: Attempt::request(&app, bearer(token.as_bytes()), &[&token]),
            expected: Expected::InvalidToken,
            control: Attempt::request(&self.right, bearer(control.as_bytes()), &[control]),
        }
    }
}

/// Adds to `cases` those of `more` that no case has yet.
pub(crate) fn add_new(cases: &mut Vec<(String, Vec<u8>)>, more: Vec<(String, Vec<u8>)>) {
    let known: HashSet<_> = cases.iter().map(|(_, bytes)| bytes.clone()).collect();
    let more = more.into_iter().filter(|(_, bytes)| !known.contains(bytes));
    cases.extend(more);
}

/// Every algorithm that has a name (IANA, "JSON Web Signature and Encryption Algorithms"), and misspellings.
const ALGORITHMS: [&str; 66] = [
    "nOnE",
    "none ",
    " none",
    "none\\u0000",
    "None\\n",
    "HS256 ",
    " HS256",
    "Hs256",
    "HS-256",
    "HS256\\u0000",
    "HS1",
    "HS256/64",
    "HS224",
    "hs384",
    "hs512",
    "Hs384",
    "HS512/256",
    "HMAC",
    "HmacSHA256",
    "SHA256",
    "RS1",
    "RS384",
    "RS512",
    "rs256",
    "PS256",
    "PS384",
    "PS512",
    "ps256",
    "ES256K",
    "ES384",
    "ES512",
    "es256",
    "ESB256",
    "ES256-K",
    "EdDSA ",
    "eddsa",
    "Ed25519",
    "Ed448",
    "ML-DSA-44",
    "ML-DSA-65",
    "ML-DSA-87",
    "SM2",
    "RSA1_5",
    "RSA-OAEP",
    "RSA-OAEP-256",
    "A128KW",
    "A192KW",
    "A256KW",
    "A128GCMKW",
    "A256GCMKW",
    "ECDH-ES",
    "ECDH-ES+A128KW",
    "ECDH-ES+A256KW",
    "PBES2-HS256+A128KW",
    "PBES2-HS512+A256KW",
    "A128GCM",
    "A256GCM",
    "A128CBC-HS256",
    "A256CTR",
    "HPKE-0",
    "BLAKE2B",
    "md5",
    "plain",
    "null",
    "undefined",
    "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256",
];

/// Keys that are not ours, and texts that would do harm in what looks keys up.
const KEY_IDS: [&str; 24] = [
    "/dev/null",
    "/proc/self/environ",
    "..\\..\\windows\\win.ini",
    "file:///dev/null",
    "keys/../../../etc/passwd",
    ".",
    "'",
    "\"",
    "' OR 1=1 --",
    "x' UNION SELECT 'key' --",
    "'; DROP TABLE keys; --",
    "| whoami",
    "$(whoami)",
    "`id`",
    "{{7*7}}",
    "%00",
    "%2e%2e%2f",
    "0",
    "-1",
    "null",
    "undefined",
    "default",
    "primary",
    "*",
];

/// Types of other tokens, and spellings of ours.
const TYPES: [&str; 26] = [
    "jwt",
    "JOSE",
    "JOSE+JSON",
    "at+jwt",
    "application/at+jwt",
    "dpop+jwt",
    "secevent+jwt",
    "logout+jwt",
    "token-introspection+jwt",
    "vc+jwt",
    "sd-jwt",
    "kb+jwt",
    "oauth-authz-req+jwt",
    "wimse-id+jwt",
    "workspace",
    "workspace+JWT",
    "Workspace+jwt",
    "workspace-access+jwt",
    "workspace jwt",
    "workspace+jwt;v=1",
    "workspace+jwt ",
    " workspace+jwt",
    "workspace%2Bjwt",
    "mcp-session+jwt",
    "text/workspace+jwt",
    "workspace+jwt, mcp-session+jwt",
];

/// The right header.
fn object() -> Object {
    let kid = format!("\"{}\"", kid(&SIGNING));
    let members = [
        ("alg", "\"HS256\""),
        ("kid", &kid),
        ("typ", "\"workspace+jwt\""),
    ];
    let object = Object::new(&members);
    assert_eq!(object.to_json(), header(WORKSPACE));
    object
}

fn headers() -> Vec<(String, String)> {
    let good = header(WORKSPACE);
    let kid = kid(&SIGNING);
    let with = |member: &str| good.replacen('{', &format!("{{{member},"), 1);
    let alg = |alg: &str| good.replace(r#""HS256""#, alg);
    let key = |other: &str| good.replace(&format!(r#""{kid}""#), other);
    let typ = |other: &str| good.replace(r#""workspace+jwt""#, other);
    let mut headers: Vec<(&str, String)> = vec![
        ("alg none", alg(r#""none""#)),
        ("alg None", alg(r#""None""#)),
        ("alg NONE", alg(r#""NONE""#)),
        ("an empty alg", alg(r#""""#)),
        ("alg null", alg("null")),
        ("alg HS384 over a MAC of HS256", alg(r#""HS384""#)),
        ("alg HS512 over a MAC of HS256", alg(r#""HS512""#)),
        ("alg hs256 in lower case", alg(r#""hs256""#)),
        (
            "alg RS256, the public key as the HMAC key",
            alg(r#""RS256""#),
        ),
        ("alg ES256", alg(r#""ES256""#)),
        ("alg EdDSA", alg(r#""EdDSA""#)),
        ("alg dir", alg(r#""dir""#)),
        ("alg as a list", alg(r#"["HS256"]"#)),
        ("alg with an escape", alg(r#""\u0048S256""#)),
        ("no alg", good.replace(r#""alg":"HS256","#, "")),
        ("alg twice, none first", with(r#""alg":"none""#)),
        (
            "alg twice, none last",
            good.replace('}', r#","alg":"none"}"#),
        ),
        ("alg twice, equal", with(r#""alg":"HS256""#)),
        ("no kid", good.replace(&format!(r#""kid":"{kid}","#), "")),
        ("an empty kid", key(r#""""#)),
        ("kid null", key("null")),
        ("a kid of nobody", key(r#""aaaaaaaa""#)),
        ("a kid that is a path", key(r#""../../../../dev/null""#)),
        ("a kid that is SQL", key(r#""' UNION SELECT 'a' --""#)),
        ("a kid that is an address", key(r#""https://evil.test/k""#)),
        (
            "a kid in upper case",
            key(&format!("\"{}\"", kid.to_uppercase())),
        ),
        ("the kid with a space behind", key(&format!("\"{kid} \""))),
        (
            "the kid of another signing key",
            key(&format!("\"{}\"", oracle::kid(&[9; 32]))),
        ),
        ("the kid twice", with(&format!(r#""kid":"{kid}""#))),
        ("a critical extension", with(r#""crit":["exp"],"exp":1"#)),
        ("an empty crit", with(r#""crit":[]"#)),
        ("a critical b64", with(r#""b64":false,"crit":["b64"]"#)),
        ("b64 false", with(r#""b64":false"#)),
        ("b64 true", with(r#""b64":true"#)),
        ("zip DEF", with(r#""zip":"DEF""#)),
        ("cty JWT", with(r#""cty":"JWT""#)),
        ("enc", with(r#""enc":"A256GCM""#)),
        ("jku", with(r#""jku":"https://evil.test/jwks""#)),
        ("an embedded jwk", with(r#""jwk":{"k":"AA","kty":"oct"}"#)),
        ("x5u", with(r#""x5u":"https://evil.test/x""#)),
        ("x5c", with(r#""x5c":["AA"]"#)),
        ("an unknown member", with(r#""x":1"#)),
        ("typ JWT", typ(r#""JWT""#)),
        ("an empty typ", typ(r#""""#)),
        ("typ null", typ("null")),
        ("the typ in upper case", typ(r#""WORKSPACE+JWT""#)),
        (
            "the typ as a full media type",
            typ(r#""application/workspace+jwt""#),
        ),
        ("no typ", good.replace(r#","typ":"workspace+jwt""#, "")),
        ("typ twice", with(r#""typ":"JWT""#)),
        (
            "the members in another order",
            format!(r#"{{"typ":"workspace+jwt","kid":"{kid}","alg":"HS256"}}"#),
        ),
        ("a space in the header", good.replace(',', ", ")),
        ("a line feed behind the header", format!("{good}\n")),
        (
            "a byte order mark before the header",
            format!("\u{feff}{good}"),
        ),
        ("a NUL behind the header", format!("{good}\0")),
        ("two headers", format!("{good}{good}")),
        ("the header in a list", format!("[{good}]")),
        ("a header that is no JSON", String::from("HS256")),
        ("an empty header object", String::from("{}")),
    ];
    headers.extend(ALGORITHMS.map(|name| (name, alg(&format!("\"{name}\"")))));
    let mut headers: Vec<_> = headers
        .into_iter()
        .map(|(name, json)| (name.to_owned(), json))
        .collect();
    let ids = KEY_IDS.map(|id| (format!("the kid {id:?}"), key(&format!("{id:?}"))));
    headers.extend(ids);
    let types = TYPES.map(|other| (format!("the typ {other:?}"), typ(&format!("{other:?}"))));
    headers.extend(types);
    headers
}

/// Other spellings of header and payload, under a MAC of what is spelled: nothing but a strict reading of
/// base64url (RFC 7515 §2, RFC 4648 §3.5) is there to refuse them.
fn spellings() -> Vec<(String, String)> {
    let (head, payload) = (encode(header(WORKSPACE)), encode(claims()));
    let key = mac_key(&SIGNING, WORKSPACE);
    let mut spelled = Vec::new();
    for (part, text) in [("header", &head), ("payload", &payload)] {
        let half = text.len() / 2;
        let (before, behind) = text.split_at(half);
        let mut spellings = vec![
            ("with =", format!("{text}=")),
            ("with ==", format!("{text}==")),
            ("with ===", format!("{text}===")),
            ("with = before", format!("={text}")),
            ("with = inside", format!("{before}={behind}")),
            ("with == escaped", format!("{text}%3D%3D")),
            ("with a space inside", format!("{before} {behind}")),
            ("with a tab inside", format!("{before}\t{behind}")),
            ("with a space before", format!(" {text}")),
            ("with a star behind", format!("{text}*")),
            ("with a minus inside", format!("{before}-{behind}")),
            ("with an underscore inside", format!("{before}_{behind}")),
            ("with a plus inside", format!("{before}+{behind}")),
            ("with a slash inside", format!("{before}/{behind}")),
            ("with a tilde inside", format!("{before}~{behind}")),
            ("with a comma inside", format!("{before},{behind}")),
            ("with a byte of no ASCII", format!("{before}\u{e9}{behind}")),
            ("in lower case", text.to_lowercase()),
            (
                "in hexadecimal",
                text.bytes().map(|byte| format!("{byte:02x}")).collect(),
            ),
            ("encoded twice", encode(text)),
            ("one character short", text[..text.len() - 1].to_owned()),
            ("with one character more", format!("{text}A")),
            ("with four characters more", format!("{text}AAAA")),
            ("reversed", text.chars().rev().collect()),
            ("twice", format!("{text}{text}")),
            ("of no characters", String::new()),
        ];
        // The unused bits of the last character, where there are any.
        let unused = match text.len() % 4 {
            2 => 16,
            3 => 4,
            _ => 1,
        };
        let (rest, last) = text.split_at(text.len() - 1);
        let digit = ALPHABET
            .iter()
            .position(|known| last.as_bytes() == [*known])
            .unwrap();
        let bits = [
            "with the first unused bits",
            "with the second",
            "with the third",
        ];
        for (name, other) in bits.into_iter().zip(1..unused) {
            spellings.push((
                name,
                format!("{rest}{}", char::from(ALPHABET[digit ^ other])),
            ));
        }
        for (is, spelling) in spellings {
            let parts = if part == "header" {
                [&spelling, &payload]
            } else {
                [&head, &spelling]
            };
            spelled.push((
                format!("the {part} {is}"),
                oracle::sign_text(&key, parts[0], parts[1]),
            ));
        }
    }
    let good = oracle::sign_text(&key, &head, &payload);
    let (input, signature) = good.rsplit_once('.').unwrap();
    for segments in 0..=7 {
        // One is what a token has.
        if segments != 1 {
            let input = [vec![head.as_str()], vec![payload.as_str(); segments]].concat();
            let input = input.join(".");
            let name = format!("a MAC over a header and {segments} payloads");
            spelled.push((
                name,
                format!("{input}.{}", encode(mac(&key, input.as_bytes()))),
            ));
        }
    }
    for length in [0, 1, 8, 16, 20, 28, 31] {
        let cut = encode(&mac(&key, input.as_bytes())[..length]);
        spelled.push((
            format!("the first {length} bytes of the MAC"),
            format!("{input}.{cut}"),
        ));
    }
    let hex: String = mac(&key, input.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    for (name, signature) in [
        ("the MAC in hexadecimal", hex),
        ("the MAC with =", format!("{signature}=")),
        ("the MAC with == escaped", format!("{signature}%3D")),
        ("the MAC encoded twice", encode(signature)),
        (
            "the MAC with a space inside",
            format!("{} {}", &signature[..20], &signature[20..]),
        ),
        ("the MAC in lower case", signature.to_lowercase()),
        ("the MAC reversed", signature.chars().rev().collect()),
        (
            "the MAC of the MAC",
            encode(mac(&key, &mac(&key, input.as_bytes()))),
        ),
        (
            "the MAC of the header alone",
            encode(mac(&key, head.as_bytes())),
        ),
        (
            "the MAC of the payload alone",
            encode(mac(&key, payload.as_bytes())),
        ),
        (
            "the MAC of what is decoded",
            encode(mac(
                &key,
                [header(WORKSPACE), claims()].join(".").as_bytes(),
            )),
        ),
        (
            "the MAC of the input and a line feed",
            encode(mac(&key, format!("{input}\n").as_bytes())),
        ),
        (
            "the MAC of the input and a dot",
            encode(mac(&key, format!("{input}.").as_bytes())),
        ),
        ("SHA-256 of the input", encode(Sha256::digest(input))),
        (
            "SHA-256 of key and input",
            encode(Sha256::digest([&key[..], input.as_bytes()].concat())),
        ),
        (
            "HMAC-SHA384 under the right key",
            encode(hmac::<Hmac<Sha384>>(&key, input)),
        ),
        (
            "HMAC-SHA512 under the right key",
            encode(hmac::<Hmac<Sha512>>(&key, input)),
        ),
        (
            "HMAC-SHA512 cut to 256 bits",
            encode(&hmac::<Hmac<Sha512>>(&key, input)[..32]),
        ),
    ] {
        spelled.push((name.to_owned(), format!("{input}.{signature}")));
    }
    spelled
}

fn hmac<M: Mac + KeyInit>(key: &[u8], input: &str) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key).unwrap();
    mac.update(input.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn signatures() -> Vec<(&'static str, String)> {
    let good = sign(WORKSPACE, header(WORKSPACE), claims());
    let (input, signature) = good.rsplit_once('.').unwrap();
    let (head, payload) = input.split_once('.').unwrap();
    let signed_by = |key: &[u8]| oracle::sign_text(key, head, payload);
    let none = encode(r#"{"alg":"none"}"#);
    let short = encode(&mac(&mac_key(&SIGNING, WORKSPACE), input.as_bytes())[..16]);
    vec![
        ("no signature", format!("{input}.")),
        ("no signature and no dot", input.to_owned()),
        ("alg none and no signature", format!("{none}.{payload}.")),
        (
            "alg none and the right signature of another header",
            format!("{none}.{payload}.{signature}"),
        ),
        ("a MAC cut to 128 bits", format!("{input}.{short}")),
        ("a MAC of zeros", format!("{input}.{}", encode([0; 32]))),
        ("a MAC with something behind", format!("{good}AAAA")),
        ("the MAC twice", format!("{good}.{signature}")),
        ("a MAC by an empty key", signed_by(b"")),
        ("a MAC by the kid", signed_by(kid(&SIGNING).as_bytes())),
        (
            "a MAC by the signing key itself, underived",
            signed_by(&SIGNING),
        ),
        ("a MAC by the seal key", signed_by(&SEALING)),
        (
            "a MAC by the workspace key derived from the seal key",
            signed_by(&mac_key(&SEALING, WORKSPACE)),
        ),
        (
            "a MAC by the session key",
            signed_by(&mac_key(&SIGNING, SESSION)),
        ),
        (
            "a MAC by another signing key",
            signed_by(&mac_key(&[9; 32], WORKSPACE)),
        ),
        ("the signature of other claims", {
            let other = sign(
                WORKSPACE,
                header(WORKSPACE),
                claims().replace("acme", "acmf"),
            );
            format!("{input}.{}", other.rsplit('.').next().unwrap())
        }),
        (
            "a nested JWT",
            oracle::sign_text(&mac_key(&SIGNING, WORKSPACE), head, encode(&good)),
        ),
        (
            "a JWT as the payload as it is",
            oracle::sign_text(&mac_key(&SIGNING, WORKSPACE), head, &good),
        ),
        (
            "the five parts of a JWE",
            format!("{head}.AAAA.AAAAAAAAAAAAAAAA.{payload}.AAAAAAAAAAAAAAAAAAAAAA"),
        ),
        (
            "four parts",
            format!("{head}.{payload}.{payload}.{signature}"),
        ),
        (
            "the JSON serialization",
            format!(r#"{{"payload":"{payload}","protected":"{head}","signature":"{signature}"}}"#),
        ),
        ("the payload detached", format!("{head}..{signature}")),
        ("the header left out", format!(".{payload}.{signature}")),
        (
            "the parts in another order",
            format!("{payload}.{head}.{signature}"),
        ),
        (
            "a header with padding",
            oracle::sign_text(&mac_key(&SIGNING, WORKSPACE), format!("{head}="), payload),
        ),
        (
            "a payload with padding",
            oracle::sign_text(&mac_key(&SIGNING, WORKSPACE), head, format!("{payload}=")),
        ),
        (
            "an empty payload",
            oracle::sign_text(&mac_key(&SIGNING, WORKSPACE), head, ""),
        ),
        ("dots alone", String::from("..")),
        ("any text at all", String::from("let-me-in-please")),
    ]
}
