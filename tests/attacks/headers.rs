//! Algorithms, headers and signatures. Each token is planted: the row seals it, byte for byte, and but
//! for the signature cases its MAC is right, so nothing but the exact-bytes rule is there to refuse it.

use crate::{
    common::{
        SEALING, SIGNING, World, bearer,
        oracle::{self, SESSION, WORKSPACE, claims, encode, header, kid, mac, mac_key, sign},
    },
    table::{Attempt, Case, Expected},
};

pub(crate) async fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, json) in headers() {
        let token = sign(WORKSPACE, &json, claims());
        cases.push(planted("algorithms and headers", name, token).await);
    }
    for (name, token) in signatures() {
        cases.push(planted("signatures and shapes", name, token).await);
    }
    cases
}

/// An attack with a token that the store holds, and, as its control, the one that is right.
pub(crate) async fn planted(family: &'static str, name: &str, token: String) -> Case {
    let control = sign(WORKSPACE, header(WORKSPACE), claims());
    assert_ne!(token, control, "{name} changes nothing");
    let attempt = async |token: &str| {
        let app = World::planted(token).await.by_path();
        Attempt::request(&app, bearer(token.as_bytes()), &[token])
    };
    Case {
        family,
        name: name.to_owned(),
        attack: attempt(&token).await,
        expected: Expected::InvalidToken,
        control: attempt(&control).await,
    }
}

fn headers() -> Vec<(&'static str, String)> {
    let good = header(WORKSPACE);
    let kid = kid(&SIGNING);
    let with = |member: &str| good.replacen('{', &format!("{{{member},"), 1);
    let alg = |alg: &str| good.replace(r#""HS256""#, alg);
    let key = |other: &str| good.replace(&format!(r#""{kid}""#), other);
    let typ = |other: &str| good.replace(r#""workspace+jwt""#, other);
    vec![
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
    ]
}

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
