//! The places of a credential: one per request, wherever it stands and however its name is spelled.

use crate::{
    common::{App, World, bearer, get},
    table::{Attempt, Case, Expected},
};

const FAMILY: &str = "credential places";

pub(crate) async fn cases() -> Vec<Case> {
    let world = World::new().await;
    let other = world.issue("acme", "second").await;
    let token = world.token.as_str();
    let mut cases = Vec::new();
    let query = world.by_query();
    for (name, target, headers, expected) in requests(token, &other) {
        let headers: Vec<_> = headers
            .iter()
            .map(|value| ("authorization", value.as_bytes()))
            .collect();
        cases.push(Case {
            family: FAMILY,
            name: name.to_owned(),
            attack: Attempt::request(&query, get(&target, &headers), &[token, &other]),
            expected,
            control: control(&query, token),
        });
    }
    for (name, target, headers) in on_the_wire(token) {
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n{headers}Connection: close\r\n\r\n");
        cases.push(Case {
            family: FAMILY,
            name: format!("{name}, through a socket"),
            attack: Attempt::bytes(&query, request, &[token]),
            expected: Expected::BadPlace,
            control: control(&query, token),
        });
    }
    let path = world.by_path();
    let target = format!("/mcp/acme?token={token}");
    cases.push(Case {
        family: FAMILY,
        name: String::from("a query token where none was switched on"),
        attack: Attempt::request(&path, get(&target, &[]), &[token]),
        expected: Expected::NoCredential,
        control: Attempt::request(&path, bearer(token.as_bytes()), &[token]),
    });
    let mut form = get(
        "/mcp/acme",
        &[("content-type", b"application/x-www-form-urlencoded")],
    );
    *form.method_mut() = http::Method::POST;
    *form.body_mut() = format!("token={token}&access_token={token}").into();
    cases.push(Case {
        family: FAMILY,
        name: String::from("the token in the body of a form"),
        attack: Attempt::request(&query, form, &[token]),
        expected: Expected::NoCredential,
        control: control(&query, token),
    });
    cases
}

fn control(app: &App, token: &str) -> Attempt {
    Attempt::request(app, get(&format!("/mcp/acme?token={token}"), &[]), &[token])
}

type Row = (&'static str, String, Vec<String>, Expected);

fn requests(token: &str, other: &str) -> Vec<Row> {
    use Expected::{BadPlace, InvalidToken, InvalidVariable, NoCredential};
    let header = |name, values: &[&str], expected| -> Row {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        (name, String::from("/mcp/acme"), values, expected)
    };
    let query = |name, query: &str, expected| -> Row {
        (name, format!("/mcp/acme?{query}"), Vec::new(), expected)
    };
    let good = format!("Bearer {token}");
    let (t, o) = (token, other);
    let too_long = format!("Bearer ${{{}}}", "N".repeat(65));
    let longest = format!("Bearer ${{{}}}", "N".repeat(64));
    let both = |name, parameter: &str, value: &str| -> Row {
        (
            name,
            format!("/mcp/acme?{parameter}={value}"),
            vec![good.clone()],
            BadPlace,
        )
    };
    vec![
        header("the header twice, equal", &[&good, &good], BadPlace),
        header(
            "the header twice, different",
            &[&good, &format!("Bearer {o}")],
            BadPlace,
        ),
        header("the header twice, the second empty", &[&good, ""], BadPlace),
        header(
            "the header twice, the second of another scheme",
            &[&good, "Basic eDp5"],
            BadPlace,
        ),
        header(
            "the header twice, the first of another scheme",
            &["Basic eDp5", &good],
            BadPlace,
        ),
        header("the header three times", &[&good, &good, &good], BadPlace),
        query(
            "the parameter twice, equal",
            &format!("token={t}&token={t}"),
            BadPlace,
        ),
        query(
            "the parameter twice, different",
            &format!("token={t}&token={o}"),
            BadPlace,
        ),
        query(
            "the parameter twice, the first empty",
            &format!("token=&token={t}"),
            BadPlace,
        ),
        query(
            "the parameter twice, the second without a value",
            &format!("token={t}&token"),
            BadPlace,
        ),
        query(
            "the parameter twice, far apart",
            &format!("a=1&token={t}&b=2&c=3&token={t}&d"),
            BadPlace,
        ),
        query(
            "the parameter twice, once escaped",
            &format!("token={t}&%74oken={t}"),
            BadPlace,
        ),
        query(
            "the parameter twice, both escaped",
            &format!("%74oken={t}&toke%6E={t}"),
            BadPlace,
        ),
        query(
            "the parameter twice, wholly escaped",
            &format!("token={t}&%74%6f%6b%65%6e=x"),
            BadPlace,
        ),
        both("header and parameter, equal", "token", t),
        both("header and parameter, different", "token", o),
        both("header and an escaped parameter", "%74oken", t),
        both("header and an empty parameter", "token", ""),
        query(
            "a broken escape in a name before",
            &format!("%zz=1&token={t}"),
            BadPlace,
        ),
        query(
            "a broken escape in a name behind",
            &format!("token={t}&%zz=1"),
            BadPlace,
        ),
        query(
            "half an escape in a name",
            &format!("token={t}&a%4=1"),
            BadPlace,
        ),
        query(
            "an escape that ends the query",
            &format!("token={t}&%"),
            BadPlace,
        ),
        query(
            "a name that is no UTF-8",
            &format!("token={t}&%ff=1"),
            BadPlace,
        ),
        query(
            "an overlong spelling in a name",
            &format!("token={t}&%c0%af=1"),
            BadPlace,
        ),
        query(
            "a surrogate in a name",
            &format!("token={t}&%ed%a0%80=1"),
            BadPlace,
        ),
        query(
            "a broken escape in the value",
            &format!("token={t}%"),
            BadPlace,
        ),
        query(
            "half an escape in the value",
            &format!("token={t}%4"),
            BadPlace,
        ),
        query(
            "a value that is no UTF-8",
            &format!("token={t}%ff"),
            BadPlace,
        ),
        query(
            "a signed escape in the value",
            &format!("token={t}%+1"),
            BadPlace,
        ),
        header("Bearer without a token", &["Bearer"], InvalidVariable),
        header("Bearer and spaces", &["Bearer   "], InvalidVariable),
        query("an empty parameter", "token=", InvalidVariable),
        query("a parameter without a value", "token", InvalidVariable),
        header(
            "a variable that is not set",
            &["Bearer ${WORKSPACE_TOKEN_ACME}"],
            InvalidVariable,
        ),
        header("a variable of 64 characters", &[&longest], InvalidVariable),
        query("a variable in the query", "token=${TOKEN}", InvalidVariable),
        query(
            "an escaped variable in the query",
            "token=%24%7BTOKEN%7D",
            InvalidVariable,
        ),
        header("a variable of 65 characters", &[&too_long], InvalidToken),
        header("a variable without a name", &["Bearer ${}"], InvalidToken),
        header(
            "a variable that begins with a digit",
            &["Bearer ${1TOKEN}"],
            InvalidToken,
        ),
        header(
            "a variable with a minus",
            &["Bearer ${TO-KEN}"],
            InvalidToken,
        ),
        header(
            "a variable with a default",
            &["Bearer ${TOKEN:-x}"],
            InvalidToken,
        ),
        header(
            "a variable with a letter that is not ASCII",
            &["Bearer ${T\u{d6}KEN}"],
            InvalidToken,
        ),
        header(
            "a variable with a quote that would end the challenge",
            &["Bearer ${A\", error=\"x}"],
            InvalidToken,
        ),
        header(
            "a variable with another inside",
            &["Bearer ${A${B}}"],
            InvalidToken,
        ),
        header(
            "a variable with something behind",
            &["Bearer ${TOKEN}x"],
            InvalidToken,
        ),
        header(
            "a brace that is never closed",
            &["Bearer ${TOKEN"],
            InvalidToken,
        ),
        header(
            "the scheme glued to the token by a tab",
            &[&format!("Bearer\t{t}")],
            InvalidToken,
        ),
        header(
            "the scheme glued to the token by a comma",
            &[&format!("Bearer,{t}")],
            InvalidToken,
        ),
        header(
            "the scheme glued to the token by a colon",
            &[&format!("Bearer: {t}")],
            InvalidToken,
        ),
        header("no credential", &[], NoCredential),
        header("the token without a scheme", &[t], NoCredential),
        header(
            "the scheme glued to the token",
            &[&format!("Bearer{t}")],
            NoCredential,
        ),
        header("the token as Basic", &[&format!("Basic {t}")], NoCredential),
        header("the token as Token", &[&format!("Token {t}")], NoCredential),
        header("the token as DPoP", &[&format!("DPoP {t}")], NoCredential),
        header(
            "the token as Negotiate",
            &[&format!("Negotiate {t}")],
            NoCredential,
        ),
        header("an empty header", &[""], NoCredential),
        query(
            "the parameter in capitals",
            &format!("TOKEN={t}"),
            NoCredential,
        ),
        query(
            "the parameter of RFC 6750",
            &format!("access_token={t}"),
            NoCredential,
        ),
        query(
            "the parameter as a list",
            &format!("token[]={t}"),
            NoCredential,
        ),
        query(
            "the parameter with a space",
            &format!("token+={t}"),
            NoCredential,
        ),
        query(
            "the parameter behind a semicolon",
            &format!("a=1;token={t}"),
            NoCredential,
        ),
        query(
            "the parameter escaped twice",
            &format!("%2574oken={t}"),
            NoCredential,
        ),
        query(
            "the parameter behind an escaped ampersand",
            &format!("a=1%26token={t}"),
            NoCredential,
        ),
    ]
}

fn on_the_wire(token: &str) -> Vec<(&'static str, String, String)> {
    let path = "/mcp/acme";
    let header = format!("Authorization: Bearer {token}\r\n");
    vec![
        (
            "the header twice",
            path.to_owned(),
            format!("{header}{header}"),
        ),
        (
            "the header twice, in another case",
            path.to_owned(),
            format!("{header}{}", header.to_uppercase()),
        ),
        (
            "header and parameter",
            format!("{path}?token={token}"),
            header.clone(),
        ),
        (
            "the parameter twice, once escaped",
            format!("{path}?%74oken={token}&token={token}"),
            String::new(),
        ),
        (
            "a broken escape",
            format!("{path}?token={token}&%g1=1"),
            String::new(),
        ),
        (
            "an absolute target with the parameter twice",
            format!("http://a.test{path}?token={token}&token={token}"),
            String::new(),
        ),
    ]
}
