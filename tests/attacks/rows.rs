//! Rows in an attacker's hand: moved, put back, changed, brought to life again, minted anew.

use tower_workspace_token::{
    id::{Generation, Revision},
    store::TokenRecord,
    token::SealedToken,
};

use crate::{
    common::{
        JTI, SEALING, SIGNING, World, acme, bearer,
        oracle::{self, WORKSPACE, claims, encode, header, kid, mac_key, sign},
        primary, slot,
    },
    table::{Attempt, Case, Expected},
};

const FAMILY: &str = "stored rows";

pub(crate) async fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(moved().await);
    cases.extend(put_back().await);
    cases.extend(changed().await);
    cases.extend(minted_anew().await);
    cases
}

/// A check of `token` by a process that knows nothing yet and finds `row`.
fn attempt(world: &World, row: Option<TokenRecord>, token: &str) -> Attempt {
    let fresh = World::over(world.store.clone());
    let app = match row {
        None => fresh.by_path(),
        Some(row) => {
            let tampered = World::over(crate::common::spies::SpyStore::new(None));
            tampered.store.force(row);
            tampered.by_path()
        }
    };
    Attempt::request(&app, bearer(token.as_bytes()), &[token])
}

fn case(world: &World, name: &str, row: TokenRecord, token: &str, expected: Expected) -> Case {
    Case {
        family: FAMILY,
        name: name.to_owned(),
        attack: attempt(world, Some(row), token),
        expected,
        control: attempt(world, None, &world.token),
    }
}

/// Sealed tokens under a row that is not theirs: the context of the seal refuses to open.
async fn moved() -> Vec<Case> {
    let world = World::new().await;
    let second = world.issue("acme", "second").await;
    world.issue("other", "primary").await;
    let own = world.row("acme", "primary").await;
    let mut cases = Vec::new();
    for (name, workspace, slot_name) in [
        ("the sealed token of another slot", "acme", "second"),
        ("the sealed token of another workspace", "other", "primary"),
    ] {
        let mut row = own.clone();
        row.sealed = world.row(workspace, slot_name).await.sealed;
        cases.push(case(&world, name, row, &world.token, Expected::Unavailable));
    }
    let mut row = world.row("acme", "second").await;
    row.key = own.key;
    cases.push(case(
        &world,
        "the whole row of another slot",
        row.clone(),
        &world.token,
        Expected::InvalidToken,
    ));
    cases.push(case(
        &world,
        "the whole row of another slot, with the token of that slot",
        row,
        &second,
        Expected::InvalidToken,
    ));
    let mut row = world.row("other", "primary").await;
    row.key = own.key;
    cases.push(case(
        &world,
        "the whole row of another workspace",
        row,
        &world.token,
        Expected::InvalidToken,
    ));
    let mut row = own.clone();
    row.token_id = oracle::token_id("x");
    cases.push(case(
        &world,
        "the row under another token id",
        row,
        &world.token,
        Expected::InvalidToken,
    ));
    let mut row = own;
    row.generation = Generation::from_number(2).unwrap();
    cases.push(case(
        &world,
        "the row under the next generation",
        row,
        &world.token,
        Expected::InvalidToken,
    ));
    cases
}

/// Rows of the past, put back behind a process that knows better.
async fn put_back() -> Vec<Case> {
    let mut cases = Vec::new();
    let put_back =
        async |name: &str, end: &str, change: fn(TokenRecord, TokenRecord) -> TokenRecord| {
            let world = World::new().await;
            let old_row = world.row("acme", "primary").await;
            if end == "rotate" {
                world.rotate("acme", "primary").await;
            } else {
                world.authority.revoke(&acme(), &primary()).await.unwrap();
            }
            let new_row = world.row("acme", "primary").await;
            let right = World::new().await;
            world.store.force(change(old_row, new_row));
            Case {
                family: FAMILY,
                name: name.to_owned(),
                attack: Attempt::request(
                    &world.by_path(),
                    bearer(world.token.as_bytes()),
                    &[&world.token],
                ),
                expected: Expected::InvalidToken,
                control: Attempt::request(
                    &right.by_path(),
                    bearer(right.token.as_bytes()),
                    &[&right.token],
                ),
            }
        };
    cases.push(
        put_back(
            "the row of before a rotation, put back",
            "rotate",
            |old, _| old,
        )
        .await,
    );
    cases.push(
        put_back(
            "the row of before a revocation, put back",
            "revoke",
            |old, _| old,
        )
        .await,
    );
    cases.push(
        put_back(
            "the row of before a rotation, put back with a higher revision",
            "rotate",
            |mut old, new| {
                old.revision = new.revision.next().unwrap();
                old
            },
        )
        .await,
    );
    cases.push(
        put_back(
            "a tombstone with the old sealed token",
            "revoke",
            |old, mut new| {
                new.sealed = old.sealed;
                new
            },
        )
        .await,
    );
    cases.push(
        put_back(
            "the next generation's row with the old sealed token",
            "rotate",
            |old, mut new| {
                new.sealed = old.sealed;
                new
            },
        )
        .await,
    );
    cases.push(
        put_back(
            "the next generation's row with the old id and sealed token",
            "rotate",
            |old, mut new| {
                new.sealed = old.sealed;
                new.token_id = old.token_id;
                new
            },
        )
        .await,
    );
    cases
}

/// Each field of the envelope changed, cut, doubled, and taken from another row; the table of `cipher::envelope` says what is where.
async fn changed() -> Vec<Case> {
    let world = World::new().await;
    let row = world.row("acme", "primary").await;
    let bytes = row.sealed.clone().unwrap().as_bytes().to_vec();
    let mut cases = Vec::new();
    let end = bytes.len();
    let fields = [
        ("version", 0..1),
        ("algorithm", 1..2),
        ("key id", 2..10),
        ("profile", 10..11),
        ("nonce", 11..23),
        ("key commitment", 23..55),
        ("ciphertext", 55..end - 16),
        ("tag", end - 16..end),
    ];
    let sealed = |bytes: Vec<u8>| {
        let mut row = row.clone();
        row.sealed = Some(SealedToken::from_bytes(bytes));
        row
    };
    let row_of = async |workspace: &str, name: &str| {
        let row = world.row(workspace, name).await;
        row.sealed.unwrap().as_bytes().to_vec()
    };
    // As long as ours, so that each field fits.
    world.issue("acmf", "primary").await;
    world.issue("acme", "primarz").await;
    let former = {
        let world = World::new().await;
        world
            .row("acme", "primary")
            .await
            .sealed
            .unwrap()
            .as_bytes()
            .to_vec()
    };
    let others = [
        ("another workspace", row_of("acmf", "primary").await),
        ("another slot", row_of("acme", "primarz").await),
        ("another life of the slot", former),
    ];
    for (field, range) in fields {
        let mut push = |name: String, changed: Vec<u8>| {
            let row = sealed(changed);
            let expected = Expected::Unavailable;
            cases.push(case(&world, &name, row, &world.token, expected));
        };
        for (place, offset) in [("first", range.start), ("last", range.end - 1)] {
            for bit in [0, 3, 7] {
                let mut changed = bytes.clone();
                changed[offset] ^= 1 << bit;
                if range.len() > 1 || place == "first" {
                    push(
                        format!("bit {bit} of the {place} byte of the {field} flipped"),
                        changed,
                    );
                }
            }
        }
        for byte in [0, 0xff] {
            let mut changed = bytes.clone();
            changed[range.clone()].fill(byte);
            push(
                format!("nothing but bytes of {byte} in the {field}"),
                changed,
            );
        }
        push(
            format!("a sealed token that ends before its {field}"),
            bytes[..range.start].to_vec(),
        );
        let without = [&bytes[..range.start], &bytes[range.end..]].concat();
        push(format!("a sealed token without its {field}"), without);
        let twice = [&bytes[..range.end], &bytes[range.start..]].concat();
        push(format!("a sealed token with its {field} twice"), twice);
        for (whose, other) in &others {
            assert_eq!(other.len(), bytes.len());
            let mut spliced = bytes.clone();
            spliced[range.clone()].copy_from_slice(&other[range.clone()]);
            // What all rows begin with is the same in each.
            if range.start >= 11 {
                push(format!("the {field} of {whose}"), spliced);
            }
        }
    }
    let cut = bytes[..bytes.len() - 1].to_vec();
    let longer = [&bytes[..], b"\0"].concat();
    for (name, bytes) in [
        ("a sealed token that is cut", cut),
        ("a sealed token with a byte behind", longer),
        ("an empty sealed token", Vec::new()),
        (
            "the token unsealed in its row",
            world.token.clone().into_bytes(),
        ),
    ] {
        cases.push(case(
            &world,
            name,
            sealed(bytes),
            &world.token,
            Expected::Unavailable,
        ));
    }
    let mut tombstone = row.clone();
    tombstone.sealed = None;
    cases.push(case(
        &world,
        "a row without its sealed token",
        tombstone,
        &world.token,
        Expected::InvalidToken,
    ));
    cases
}

/// What a thief of the database and of the signing key can make of them.
async fn minted_anew() -> Vec<Case> {
    let world = World::new().await;
    let row = world.row("acme", "primary").await;
    let iat = row.changed_at.as_secs();
    let with_jti = |jti: &str| {
        let payload = format!(
            r#"{{"aud":"acme","gen":{},"iat":{iat},"jti":"{jti}","sub":"primary"}}"#,
            row.generation
        );
        sign(WORKSPACE, header(WORKSPACE), payload)
    };
    let padded_id = format!("{:A<22}", row.token_id);
    let from_row = encode(&row.sealed.clone().unwrap().as_bytes()[..16]);
    let mut cases = Vec::new();
    for (name, token) in [
        (
            "a token minted from row and signing key, with a random secret",
            with_jti("dGhpcy1pcy1hLXJhbmRvbQ"),
        ),
        (
            "a token minted from row and signing key, with the id as secret",
            with_jti(&padded_id),
        ),
        (
            "a token minted from row and signing key, with bytes of the row as secret",
            with_jti(&from_row),
        ),
        (
            "a token minted from row and signing key, of zeros",
            with_jti("AAAAAAAAAAAAAAAAAAAAAA"),
        ),
        (
            "the sealed token itself",
            encode(row.sealed.clone().unwrap().as_bytes()),
        ),
        (
            "a token signed by the seal key",
            oracle::sign_text(
                &mac_key(&SEALING, WORKSPACE),
                encode(header(WORKSPACE).replace(&kid(&SIGNING), &kid(&SEALING))),
                encode(oracle::payload(&world.token)),
            ),
        ),
        (
            "the live token minted again for another time",
            sign(
                WORKSPACE,
                header(WORKSPACE),
                oracle::payload(&world.token).replace(&iat.to_string(), &(iat + 1).to_string()),
            ),
        ),
    ] {
        let app = world.by_path();
        cases.push(Case {
            family: FAMILY,
            name: name.to_owned(),
            attack: Attempt::request(&app, bearer(token.as_bytes()), &[&world.token]),
            expected: Expected::InvalidToken,
            control: Attempt::request(&app, bearer(world.token.as_bytes()), &[&world.token]),
        });
    }
    // Somebody who also holds the seal key, but cannot write the row in whose place theirs would stand.
    let planted = sign(WORKSPACE, header(WORKSPACE), claims());
    let mut row = world
        .seal_row(&slot("acme", "primary"), 1, oracle::token_id(JTI), &planted)
        .await;
    row.revision = Revision::FIRST;
    assert_ne!(row.token_id, world.row("acme", "primary").await.token_id);
    cases.push(Case {
        family: FAMILY,
        name: String::from("a well signed token that no row seals"),
        attack: Attempt::request(&world.by_path(), bearer(planted.as_bytes()), &[&planted]),
        expected: Expected::InvalidToken,
        control: attempt(&world, Some(row), &planted),
    });
    cases
}
