//! Claims with a right MAC, in a token that the store holds: only their strict reading refuses them.

use crate::{
    common::{
        JTI, NOW, World, bearer,
        oracle::{WORKSPACE, claims, header, sign},
    },
    headers::{Planter, add_new},
    json::Object,
    table::{Attempt, Case, Expected},
};

pub(crate) async fn cases() -> Vec<Case> {
    let planter = Planter::new().await;
    let mut cases = Vec::new();
    for (name, json) in wrong_claims() {
        let token = sign(WORKSPACE, header(WORKSPACE), json);
        cases.push(planter.case("claims", &name, token).await);
    }
    cases.push(foreign_workspace().await);
    cases
}

/// A token that is current and valid, in another workspace.
async fn foreign_workspace() -> Case {
    let world = World::new().await;
    let other = world.issue("other", "primary").await;
    let app = world.by_path();
    let attempt = |token: &str| Attempt::request(&app, bearer(token.as_bytes()), &[token]);
    Case {
        family: "claims",
        name: String::from("the live token of another workspace"),
        attack: attempt(&other),
        expected: Expected::InvalidToken,
        control: attempt(&world.token),
    }
}

fn wrong_claims() -> Vec<(String, Vec<u8>)> {
    let good = claims();
    let members = [
        ("aud", String::from(r#""acme""#)),
        ("gen", String::from("1")),
        ("iat", NOW.to_string()),
        ("jti", format!("\"{JTI}\"")),
        ("sub", String::from(r#""primary""#)),
    ];
    let set = |name: &str, value: &str| {
        let (_, right) = members.iter().find(|(known, _)| *known == name).unwrap();
        good.replace(
            &format!("\"{name}\":{right}"),
            &format!("\"{name}\":{value}"),
        )
    };
    let with = |member: &str| good.replacen('{', &format!("{{{member},"), 1);
    let others = [
        ("an empty aud", set("aud", r#""""#)),
        (
            "an aud of two workspaces",
            set("aud", r#"["acme","other"]"#),
        ),
        ("an empty list of audiences", set("aud", "[]")),
        (
            "an aud of another workspace over the row of this one",
            set("aud", r#""other""#),
        ),
        (
            "an aud that begins as the workspace does",
            set("aud", r#""acme2""#),
        ),
        (
            "an aud that the workspace begins as",
            set("aud", r#""acm""#),
        ),
        ("an aud in capitals", set("aud", r#""ACME""#)),
        ("an aud with a space", set("aud", r#""acme ""#)),
        ("an aud with an escape", set("aud", r#""\u0061cme""#)),
        ("an aud with a NUL", set("aud", r#""acme\u0000""#)),
        ("an aud that is a star", set("aud", r#""*""#)),
        ("an aud that is a number", set("aud", "1")),
        ("generation 0", set("gen", "0")),
        ("generation -1", set("gen", "-1")),
        ("generation -0", set("gen", "-0")),
        ("generation 1.0", set("gen", "1.0")),
        ("generation 1e0", set("gen", "1e0")),
        ("generation 01", set("gen", "01")),
        ("a generation as text", set("gen", r#""1""#)),
        ("the next generation", set("gen", "2")),
        (
            "a generation past 63 bits",
            set("gen", "9223372036854775808"),
        ),
        (
            "a generation past 64 bits, that is 1 in 64",
            set("gen", "18446744073709551617"),
        ),
        ("a fractional iat", set("iat", "1800000000.5")),
        ("a negative iat", set("iat", "-1")),
        ("an iat as text", set("iat", r#""1800000000""#)),
        ("an iat past 64 bits", set("iat", "99999999999999999999")),
        ("an empty jti", set("jti", r#""""#)),
        (
            "a jti of another secret",
            set("jti", r#""AAAAAAAAAAAAAAAAAAAAAA""#),
        ),
        (
            "a jti that is cut",
            set("jti", &format!("\"{}\"", &JTI[..21])),
        ),
        (
            "a jti with one character more",
            set("jti", &format!("\"{JTI}A\"")),
        ),
        ("a jti that is a number", set("jti", "7")),
        ("an empty slot name", set("sub", r#""""#)),
        ("a slot that does not exist", set("sub", r#""second""#)),
        ("a slot name in capitals", set("sub", r#""PRIMARY""#)),
        ("a slot name that climbs", set("sub", r#""../primary""#)),
        (
            "a slot name of 64 characters",
            set("sub", &format!("\"{}\"", "a".repeat(64))),
        ),
        (
            "an exp in the future smuggled in",
            with(&format!("\"exp\":{}", NOW + 60)),
        ),
        ("an exp as text smuggled in", with(r#""exp":"never""#)),
        ("an nbf smuggled in", with(r#""nbf":0"#)),
        ("an iss smuggled in", with(r#""iss":"""#)),
        ("a scope smuggled in", with(r#""scope":"admin""#)),
        ("an empty member name", with(r#""":1"#)),
        ("__proto__ smuggled in", with(r#""__proto__":{}"#)),
        ("something behind the claims", format!("{good}{{}}")),
        ("the claims in a list", format!("[{good}]")),
        (
            "the values alone, as a list in the order of the members",
            format!(r#"["acme",1,{NOW},"{JTI}","primary"]"#),
        ),
        ("the claims as text", format!("{good:?}")),
        ("a comma too many", good.replace('}', ",}")),
        ("a comment", good.replace('}', "/**/}")),
        ("single quotes", good.replace('"', "'")),
        ("a NUL behind the claims", format!("{good}\0")),
        (
            "claims that are no UTF-8 in disguise",
            good.replace("primary", r"\ud800"),
        ),
        ("null", String::from("null")),
        ("an empty object", String::from("{}")),
        ("a million brackets' beginning", "[".repeat(2000)),
    ];
    let mut cases = Vec::from(others.map(|(name, json)| (name.to_owned(), json.into_bytes())));
    // When it was issued is compared with no clock: any moment will do, written as we do.
    let is_right = |name: &str, value: &str| name == "iat" && moment(value).is_some();
    let object = Object::new(
        &members
            .each_ref()
            .map(|(name, value)| (*name, value.as_str())),
    );
    assert_eq!(object.to_json(), good);
    add_new(&mut cases, object.wrong(is_right));
    cases
}

/// Reads a number that is written as the library writes moments, and is one.
pub(crate) fn moment(value: &str) -> Option<u64> {
    let seconds: u64 = value.parse().ok()?;
    let is_ours = seconds.to_string() == value && seconds <= u64::MAX / 1000;
    is_ours.then_some(seconds)
}
