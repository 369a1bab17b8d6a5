//! What one check of a token costs: from memory, by MAC alone (wrong signature), and for garbage.
//!
//! Run with
//! ```text
//! cargo bench --bench validation --features axum
//! ```
//! Absolute numbers belong to the machine; `jsonwebtoken::decode` of the same token stands beside them.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use tower_workspace_token::{Keys, MemoryStore, TokenAuthority, TokenName, token::PresentedToken};

fn validation(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let workspace = "acme".parse().expect("a workspace id");
    let keys = Keys::generate().expect("randomness");
    let authority = TokenAuthority::builder(MemoryStore::new(), keys)
        .build()
        .expect("randomness");
    let issued = runtime
        .block_on(authority.issue(&workspace, &TokenName::primary()))
        .expect("a free slot");
    let token = issued.expose_secret().as_bytes().to_vec();
    let mut forged = token.clone();
    let last = forged.len() - 20;
    forged[last] = if forged[last] == b'A' { b'B' } else { b'A' };

    let check = |token: &[u8]| {
        runtime
            .block_on(authority.verify(&workspace, PresentedToken::new(black_box(token))))
            .is_ok()
    };
    assert!(check(&token) && !check(&forged));

    let mut group = criterion.benchmark_group("verify");
    group.bench_function("warm", |bencher| bencher.iter(|| check(&token)));
    group.bench_function("wrong signature", |bencher| bencher.iter(|| check(&forged)));
    group.bench_function("garbage", |bencher| bencher.iter(|| check(&[b'x'; 275])));
    group.finish();

    decode(criterion, &token);
}

#[derive(Deserialize)]
struct Claims {
    #[expect(dead_code, reason = "read by nobody, parsed all the same")]
    jti: String,
}

/// The baseline. Its key is another one, so that it does all the work and then says no; its own verdict is not asked for.
#[expect(clippy::disallowed_methods, reason = "it is the baseline")]
fn decode(criterion: &mut Criterion, token: &[u8]) {
    let _ = jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER.install_default();
    let key = DecodingKey::from_secret(&[1; 32]);
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_audience(&["acme"]);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    criterion.bench_function(
        "jsonwebtoken::decode, to the refused signature",
        |bencher| {
            bencher.iter(|| {
                jsonwebtoken::decode::<Claims>(black_box(token), &key, &validation).is_ok()
            });
        },
    );
}

criterion_group!(benches, validation);
criterion_main!(benches);
