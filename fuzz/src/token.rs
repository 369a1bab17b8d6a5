//! Tokens, and texts that are signed as one: the library takes for ours exactly what the slow reading does.

use tower_workspace_token::{
    TokenAuthority,
    rejection::{RejectionKind, TokenProblem},
    token::PresentedToken,
};

use crate::{
    SIGNING,
    oracle::{self, WORKSPACE, encode, mac_key, sign, sign_text},
    reference,
    world::{World, acme, lines},
};

/// The first byte says what the rest is: a credential, claims, an encoded payload, or a header and claims.
pub fn check(case: &[u8]) {
    // Never dropped: libFuzzer calls once more while the thread ends.
    thread_local!(static WORLD: &'static World = Box::leak(Box::new(World::new())));
    let Some((kind, text)) = case.split_first() else {
        return;
    };
    WORLD.with(|world| {
        let token = match kind % 4 {
            0 => world.fill(text),
            1 => sign(WORKSPACE, oracle::header(WORKSPACE), text).into_bytes(),
            2 => {
                let payload = String::from_utf8_lossy(text);
                let header = encode(oracle::header(WORKSPACE));
                sign_text(&mac_key(&SIGNING, WORKSPACE), header, payload).into_bytes()
            }
            _ => {
                let mut lines = lines(text, 2);
                let header = lines.next().unwrap_or_default();
                sign(WORKSPACE, header, lines.next().unwrap_or_default()).into_bytes()
            }
        };
        compare(world, &token);
    });
}

fn compare(world: &World, token: &[u8]) {
    let expected = reference::workspace_token(token);
    let verified = world.block_on(verify(&world.authority, token));
    if token == world.token.as_bytes() {
        assert_eq!(verified, Ok(()), "the live token");
        return;
    }
    let problem = verified.expect_err("only the live token is accepted");
    match expected {
        None => assert_eq!(problem, TokenProblem::NotOurs),
        Some(claims) if claims.workspace != "acme" => {
            assert_eq!(problem, TokenProblem::WrongWorkspace, "{claims:?}");
        }
        Some(claims) => assert!(
            matches!(problem, TokenProblem::Superseded | TokenProblem::Unknown),
            "{problem:?}: {claims:?}"
        ),
    }
}

async fn verify(authority: &TokenAuthority, token: &[u8]) -> Result<(), TokenProblem> {
    let rejection = match authority.verify(&acme(), PresentedToken::new(token)).await {
        Ok(_) => return Ok(()),
        Err(rejection) => rejection,
    };
    let said = format!("{rejection} {rejection:?}");
    assert!(
        !holds(said.as_bytes(), token),
        "the rejection holds the token"
    );
    match rejection.kind() {
        RejectionKind::InvalidToken(problem) => Err(*problem),
        other => panic!("{other:?}"),
    }
}

/// Whether `text` holds what begins as a token does; words of the text itself may come as credentials too.
fn holds(text: &[u8], token: &[u8]) -> bool {
    token.starts_with(b"eyJ") && text.windows(token.len()).any(|here| here == token)
}
