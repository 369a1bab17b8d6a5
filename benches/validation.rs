//! What one check of a token costs, without HTTP: from memory, at first sight, and for what is no token.
//!
//! ```sh
//! cargo bench --bench validation --features full
//! ```
//!
//! Absolute numbers belong to the machine; `jsonwebtoken::decode` of the same token stands beside them.

mod common;

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use tower_workspace_token::{
    Keys, MemoryStore, TokenAuthority, TokenName, cipher::KeyRing, cipher::secrecy::SecretBox,
    jwt::SigningKey, token::PresentedToken,
};

use common::Fixture;

fn validation(criterion: &mut Criterion) {
    let fixture = Fixture::new();
    let _runtime = fixture.runtime.enter();
    let (forged, garbage) = (fixture.forged(), fixture.garbage());
    assert!(fixture.check(&fixture.token).is_ok());
    assert!(fixture.check(&forged).is_err() && fixture.check(&garbage).is_err());

    let mut group = criterion.benchmark_group("verify");
    group.bench_function("warm", |bencher| {
        bencher.iter(|| fixture.check(&fixture.token));
    });
    group.bench_function("wrong signature", |bencher| {
        bencher.iter(|| fixture.check(&forged));
    });
    group.bench_function("garbage", |bencher| {
        bencher.iter(|| fixture.check(&garbage))
    });
    let long = "x".repeat(64 * 1024);
    group.bench_function("64 KiB", |bencher| bencher.iter(|| fixture.check(&long)));
    group.bench_function("cold, record in memory", |bencher| {
        let fresh = || fixture.rotate();
        bencher.iter_batched(
            fresh,
            |token| fixture.check(&token),
            BatchSize::NumIterations(1),
        );
    });
    group.finish();

    from_the_store(criterion);
    decode(criterion);
}

/// The first sight of a token that another process has issued: the row is read and opened.
fn from_the_store(criterion: &mut Criterion) {
    let store = MemoryStore::new();
    let signing = || SigningKey::from_bytes(SecretBox::init_with(|| [1; 32]));
    let mut keys = Keys::generate().expect("randomness");
    keys.signing = KeyRing::new(signing());
    let authority = || {
        TokenAuthority::builder(store.clone(), keys.clone())
            .build()
            .expect("randomness")
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let _runtime = runtime.enter();
    let workspace = common::WORKSPACE.parse().expect("an id");
    let issued = runtime
        .block_on(authority().issue(&workspace, &TokenName::primary()))
        .expect("a free slot");
    criterion.bench_function("verify/cold, row in the store", |bencher| {
        bencher.iter_batched(
            authority,
            |restarted| {
                let presented = PresentedToken::new(issued.expose_secret().as_bytes());
                let verified = {
                    let check = std::pin::pin!(restarted.verify(&workspace, presented));
                    common::at_once(check).is_ok()
                };
                assert!(verified);
                // Not within the time.
                restarted
            },
            BatchSize::NumIterations(1),
        );
    });
}

/// The baseline, of a token that it accepts.
#[expect(clippy::disallowed_methods, reason = "it is the baseline")]
fn decode(criterion: &mut Criterion) {
    let _ = jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER.install_default();
    let claims = serde_json::json!({
        "aud": common::WORKSPACE,
        "gen": 1,
        "iat": 1_700_000_000,
        "jti": "AAAAAAAAAAAAAAAAAAAAAA",
        "sub": "primary",
    });
    let header = jsonwebtoken::Header {
        kid: Some(String::from("aaaaaaaa")),
        typ: Some(String::from("workspace+jwt")),
        ..jsonwebtoken::Header::new(Algorithm::HS256)
    };
    let secret = [1; 32];
    let key = jsonwebtoken::EncodingKey::from_secret(&secret);
    let token = jsonwebtoken::encode(&header, &claims, &key).expect("claims");
    let key = DecodingKey::from_secret(&secret);
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_audience(&[common::WORKSPACE]);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    let decode = || {
        jsonwebtoken::decode::<serde_json::Value>(black_box(token.as_bytes()), &key, &validation)
    };
    assert!(decode().is_ok());
    criterion.bench_function("jsonwebtoken::decode", |bencher| bencher.iter(decode));
}

criterion_group!(benches, validation);
criterion_main!(benches);
