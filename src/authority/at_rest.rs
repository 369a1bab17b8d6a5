//! What a row keeps of its token, and how a presented token is compared with it.

use zeroize::Zeroizing;

use super::Inner;
use crate::{
    cipher::{Profile, equal_in_constant_time, profile::DIGEST_MARK},
    id::KeyId,
    jwt::{TokenTag, signature_digest},
    token::IssuedToken,
};

/// Where the digest begins in what profile 2 seals.
const DIGEST_AT: usize = 1 + KeyId::LENGTH;

/// In the place of a signing key's id, where the ring does not hold the key: such a token is refused.
const NO_KEY: &str = "--------";

impl Inner {
    /// Returns what is sealed of a token that was just minted.
    pub(super) fn plaintext(&self, issued: &IssuedToken) -> Zeroizing<Vec<u8>> {
        self.at_rest(issued.expose_secret().as_bytes())
    }

    /// Returns what is to be sealed in place of `opened`, which the store has; it may be the same.
    pub(super) fn to_be_sealed(&self, opened: &[u8]) -> Zeroizing<Vec<u8>> {
        match Profile::of(opened) {
            Profile::Token => self.at_rest(opened),
            // The token cannot be told from it.
            Profile::SignatureDigest => Zeroizing::new(opened.to_vec()),
        }
    }

    fn at_rest(&self, token: &[u8]) -> Zeroizing<Vec<u8>> {
        if self.profile == Profile::Token {
            return Zeroizing::new(token.to_vec());
        }
        let signed_by = self.workspace_tokens.key_id_of(token);
        let signed_by = signed_by.as_ref().map_or(NO_KEY, KeyId::as_str);
        let mut plaintext = Zeroizing::new(Vec::with_capacity(DIGEST_AT + 32));
        plaintext.push(DIGEST_MARK);
        plaintext.extend_from_slice(signed_by.as_bytes());
        plaintext.extend_from_slice(&signature_digest(token));
        plaintext
    }

    /// Returns whether a token whose MAC is right is the one that `opened` was sealed of; takes as long wherever they
    /// differ.
    pub(super) fn is_token_of(&self, opened: &[u8], presented: &[u8]) -> bool {
        match Profile::of(opened) {
            Profile::Token => equal_in_constant_time(opened, presented),
            // Two tokens with one MAC would be a collision of HMAC-SHA256.
            Profile::SignatureDigest => opened
                .get(DIGEST_AT..)
                .is_some_and(|digest| equal_in_constant_time(digest, &signature_digest(presented))),
        }
    }

    /// Returns the tag of the token that `opened` was sealed of, if that is the token itself.
    pub(super) fn tag_of_opened(&self, opened: &[u8]) -> Option<TokenTag> {
        match Profile::of(opened) {
            Profile::Token => self.memory.tag_key.tag(opened),
            Profile::SignatureDigest => None,
        }
    }

    /// Returns the SHA-256 of the signature of the token that `opened` was sealed of.
    pub(super) fn signature_digest_of(&self, opened: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
        match Profile::of(opened) {
            Profile::Token => Some(Zeroizing::new(signature_digest(opened))),
            Profile::SignatureDigest => {
                let digest = <&[u8; 32]>::try_from(opened.get(DIGEST_AT..)?).ok()?;
                Some(Zeroizing::new(*digest))
            }
        }
    }

    /// Returns the key that the token was signed with that `opened` was sealed of, if the ring holds it.
    pub(super) fn signing_key_of(&self, opened: &[u8]) -> Option<KeyId> {
        match Profile::of(opened) {
            Profile::Token => self.workspace_tokens.key_id_of(opened),
            Profile::SignatureDigest => {
                let id = std::str::from_utf8(opened.get(1..DIGEST_AT)?).ok()?;
                let id: KeyId = id.parse().ok()?;
                self.workspace_tokens.key_ids().contains(&id).then_some(id)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use crate::{
        authority::{Keys, Rewrapped, TokenAuthority},
        cipher::{Aes256Gcm, Cipher as _, Profile, RingKey as _, SealContext, envelope::Envelope},
        id::{SlotKey, TokenName},
        store::{MemoryStore, TokenRecord, TokenStore},
        token::{PresentedToken, SealedToken},
    };

    fn authority(store: &MemoryStore, keys: &Keys, profile: Profile) -> TokenAuthority {
        let builder = TokenAuthority::builder(store.clone(), keys.clone());
        builder.profile(profile).build().unwrap()
    }

    fn slot() -> SlotKey {
        SlotKey::new("acme".parse().unwrap(), TokenName::primary())
    }

    async fn admits(authority: &TokenAuthority, token: &str) -> bool {
        let presented = PresentedToken::new(token.as_bytes());
        authority.verify(&slot().workspace, presented).await.is_ok()
    }

    async fn row(store: &MemoryStore) -> TokenRecord {
        TokenStore::get(store, &slot()).await.unwrap().unwrap()
    }

    fn profile_of(sealed: Option<&SealedToken>) -> Profile {
        Envelope::parse(sealed.unwrap().as_bytes())
            .unwrap()
            .profile()
    }

    /// Opens a row as somebody does who has stolen database and keys.
    async fn opened(record: &TokenRecord, keys: &Keys) -> Vec<u8> {
        let context = SealContext {
            key: record.key,
            token_id: record.token_id,
            generation: record.generation,
        };
        let cipher = Aes256Gcm::new(keys.sealing.clone());
        let opened = cipher.open(&context, record.sealed.as_ref().unwrap()).await;
        opened.unwrap().expose_secret().to_vec()
    }

    #[tokio::test]
    async fn a_token_whose_digest_is_sealed_is_accepted_and_in_no_row() {
        let (store, keys) = (MemoryStore::new(), Keys::generate().unwrap());
        let digests = || authority(&store, &keys, Profile::SignatureDigest);
        let slot = slot();
        let token = digests().issue(&slot.workspace, &slot.name).await.unwrap();
        let token = token.expose_secret();
        let record = row(&store).await;
        assert_eq!(profile_of(record.sealed.as_ref()), Profile::SignatureDigest);
        let opened = opened(&record, &keys).await;
        assert_eq!(opened.len(), 41);
        for piece in token.as_bytes().windows(12) {
            assert!(!opened.windows(12).any(|window| window == piece));
        }
        // By processes that see it for the first time, whatever they seal themselves.
        assert!(admits(&digests(), token).await);
        assert!(admits(&authority(&store, &keys, Profile::Token), token).await);
        let signing = digests()
            .token_keys(&slot.workspace, &slot.name)
            .await
            .unwrap();
        assert_eq!(signing.unwrap().signing, Some(keys.signing.primary().id()));
        let next = digests()
            .rotate(&slot.workspace, &slot.name)
            .await
            .unwrap()
            .token;
        assert!(!admits(&digests(), token).await);
        assert!(admits(&digests(), next.expose_secret()).await);
    }

    /// A row that names the token, with the digest of another: what is compared is the whole of it.
    #[tokio::test]
    async fn a_token_is_compared_with_the_digest_to_its_last_bit() {
        let (store, keys) = (MemoryStore::new(), Keys::generate().unwrap());
        let slot = slot();
        let digests = || authority(&store, &keys, Profile::SignatureDigest);
        let token = digests().issue(&slot.workspace, &slot.name).await.unwrap();
        let record = row(&store).await;
        let right = opened(&record, &keys).await;
        let context = SealContext {
            key: record.key,
            token_id: record.token_id,
            generation: record.generation,
        };
        let cipher = Aes256Gcm::new(keys.sealing.clone());
        let mut planted = vec![
            right[..40].to_vec(),
            right[..9].to_vec(),
            [&right[..], b"0"].concat(),
        ];
        planted.extend((9 * 8..41 * 8).map(|bit| {
            let mut changed = right.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            changed
        }));
        let mut before = record;
        for plaintext in planted.iter().chain([&right]) {
            let mut next = before.clone();
            next.revision = before.revision.next().unwrap();
            next.sealed = Some(cipher.seal(&context, plaintext).await.unwrap());
            let expected = Some(before.revision);
            store
                .compare_and_swap(&slot, expected, next.clone(), None)
                .await
                .unwrap();
            before = next;
            let is_admitted = admits(&digests(), token.expose_secret()).await;
            assert_eq!(is_admitted, *plaintext == right);
        }
    }

    #[tokio::test]
    async fn a_rewrap_takes_the_token_out_of_the_row_and_there_is_no_way_back() {
        let (store, keys) = (MemoryStore::new(), Keys::generate().unwrap());
        let tokens = authority(&store, &keys, Profile::Token);
        let slot = slot();
        let token = tokens.issue(&slot.workspace, &slot.name).await.unwrap();
        let token = token.expose_secret();
        let digests = authority(&store, &keys, Profile::SignatureDigest);
        assert!(admits(&digests, token).await);
        for outcome in [Rewrapped::Rewrapped, Rewrapped::AlreadyCurrent] {
            let rewrapped = digests.rewrap(&slot.workspace, &slot.name).await;
            assert_eq!(rewrapped.unwrap(), outcome);
        }
        assert_eq!(
            profile_of(row(&store).await.sealed.as_ref()),
            Profile::SignatureDigest
        );
        let rewrapped = tokens.rewrap(&slot.workspace, &slot.name).await;
        assert_eq!(rewrapped.unwrap(), Rewrapped::AlreadyCurrent);
        for authority in [&tokens, &digests, &authority(&store, &keys, Profile::Token)] {
            assert!(admits(authority, token).await);
        }
        // Under other keys, what is sealed stays a digest.
        let new = Keys {
            sealing: Keys::generate()
                .unwrap()
                .sealing
                .with_retired(keys.sealing.primary().clone())
                .unwrap(),
            ..keys.clone()
        };
        tokens.replace_keys(new.clone());
        let rewrapped = tokens.rewrap(&slot.workspace, &slot.name).await;
        assert_eq!(rewrapped.unwrap(), Rewrapped::Rewrapped);
        assert_eq!(opened(&row(&store).await, &new).await.len(), 41);
        assert!(admits(&authority(&store, &new, Profile::Token), token).await);
    }
}
