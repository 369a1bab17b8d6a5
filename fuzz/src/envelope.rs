//! Sealed rows: what is taken for an envelope, what opens, and that both ways of writing one agree.

use aes_gcm::{Aes256Gcm as Aead, KeyInit as _, aead::AeadInOut as _};
use hkdf::Hkdf;
use secrecy::ExposeSecret as _;
use sha2::Sha256;
use tower_workspace_token::{
    cipher::{Aes256Gcm, Cipher as _, envelope::Envelope},
    token::SealedToken,
};

use crate::{
    SEALING,
    world::{World, context, keys},
};

/// What stands before ciphertext and tag.
const PREFIX: usize = 11 + 12 + 32;

/// The first byte says what the rest is: an envelope, a plaintext to seal, or what to change in an envelope.
pub fn check(case: &[u8]) {
    // Never dropped: libFuzzer calls once more while the thread ends.
    thread_local!(static WORLD: &'static World = Box::leak(Box::new(World::new())));
    let Some((kind, rest)) = case.split_first() else {
        return;
    };
    WORLD.with(|world| match kind % 3 {
        0 => refuse(world, rest),
        1 => seal_and_open(world, rest),
        _ => change(world, rest),
    });
}

fn cipher() -> Aes256Gcm {
    Aes256Gcm::new(keys().sealing)
}

fn open(world: &World, bytes: &[u8]) -> Option<Vec<u8>> {
    let sealed = SealedToken::from_bytes(bytes.to_vec());
    let opened = world.block_on(cipher().open(&context(), &sealed)).ok()?;
    Some(opened.expose_secret().to_vec())
}

/// Bytes that nobody sealed never open, and are an envelope exactly if the table of the format says so.
fn refuse(world: &World, bytes: &[u8]) {
    let read = Envelope::parse(bytes).map(|envelope| envelope.key_id().to_string());
    assert_eq!(read, key_id(bytes));
    assert_eq!(open(world, bytes), independently_opened(bytes));
}

/// States which key seals an envelope; `None` if it is none.
fn key_id(bytes: &[u8]) -> Option<String> {
    let is_envelope =
        bytes.len() >= PREFIX + 16 && bytes[..2] == [1, 1] && matches!(bytes[10], 1 | 2);
    let id = std::str::from_utf8(bytes.get(2..10)?).ok()?;
    let is_base32 = id
        .chars()
        .all(|digit| matches!(digit, 'a'..='z' | '2'..='7'));
    (is_envelope && is_base32).then(|| id.to_owned())
}

/// What is sealed is written as the table says, and opens to what it was, here and independently.
fn seal_and_open(world: &World, plaintext: &[u8]) {
    let sealed = world.block_on(cipher().seal(&context(), plaintext));
    let sealed = sealed.expect("the system gives randomness");
    let bytes = sealed.as_bytes();
    assert_eq!(bytes.len(), PREFIX + plaintext.len() + 16);
    assert_eq!(key_id(bytes), Some(cipher().primary_key().to_string()));
    assert_eq!(bytes[10], profile(plaintext));
    assert_eq!(open(world, bytes).as_deref(), Some(plaintext));
    assert_eq!(independently_opened(bytes).as_deref(), Some(plaintext));
}

/// An envelope that was written independently opens, and does not once anything in it was changed.
fn change(world: &World, change: &[u8]) {
    let (edits, plaintext) = change.split_at(change.len().min(4));
    let written = independently_sealed(plaintext);
    assert_eq!(open(world, &written).as_deref(), Some(plaintext));
    let mut changed = written.clone();
    if let [high, low, difference, cut] = edits {
        let position = usize::from(u16::from_be_bytes([*high, *low])) % changed.len();
        changed[position] ^= difference;
        changed.truncate(changed.len() - usize::from(*cut).min(changed.len()));
    }
    assert_eq!(open(world, &changed).is_some(), changed == written);
}

/// The row key, the commitment and what both are bound to, as `docs/token-format.md` says.
fn row_key(header: &[u8]) -> ([u8; 64], Vec<u8>) {
    let context = context();
    let mut bound = header.to_vec();
    for text in [
        context.key.workspace.as_str(),
        context.key.name.as_str(),
        context.token_id.as_str(),
    ] {
        bound.push(text.len() as u8);
        bound.extend_from_slice(text.as_bytes());
    }
    bound.extend_from_slice(&context.generation.number().to_be_bytes());
    let info = [b"tower-workspace-token v1 row".as_slice(), &bound].concat();
    let mut derived = [0; 64];
    let derivation = Hkdf::<Sha256>::new(None, &SEALING).expand(&info, &mut derived);
    derivation.expect("64 bytes can be derived");
    (derived, bound)
}

/// Returns what is sealed: 2 is a digest, which no token begins as, 1 a token.
fn profile(plaintext: &[u8]) -> u8 {
    if plaintext.first() == Some(&2) { 2 } else { 1 }
}

fn independently_sealed(plaintext: &[u8]) -> Vec<u8> {
    let id = cipher().primary_key().to_string();
    let header = [&[1, 1], id.as_bytes(), &[profile(plaintext)]].concat();
    let (derived, bound) = row_key(&header);
    let nonce = [7; 12];
    let aead = Aead::new_from_slice(&derived[..32]).expect("32 bytes");
    let mut ciphertext = plaintext.to_vec();
    let encrypted = aead.encrypt_in_place(&nonce.into(), &bound, &mut ciphertext);
    encrypted.expect("a short text");
    [&header, &nonce[..], &derived[32..], &ciphertext].concat()
}

fn independently_opened(bytes: &[u8]) -> Option<Vec<u8>> {
    if key_id(bytes)? != cipher().primary_key().to_string() {
        return None;
    }
    let (derived, bound) = row_key(&bytes[..11]);
    let nonce: [u8; 12] = bytes[11..23].try_into().expect("twelve bytes");
    let aead = Aead::new_from_slice(&derived[..32]).expect("32 bytes");
    let mut plaintext = bytes[PREFIX..].to_vec();
    let opened = aead.decrypt_in_place(&nonce.into(), &bound, &mut plaintext);
    (opened.is_ok() && derived[32..] == bytes[23..PREFIX]).then_some(plaintext)
}
