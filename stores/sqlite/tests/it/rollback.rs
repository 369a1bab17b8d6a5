//! Under a rollback journal: a thousand old copies of the file revive no token.

use std::{collections::BTreeMap, path::Path};

use tower_workspace_token::{
    Keys, TokenAuthority,
    id::{SlotKey, TokenId},
    store::journal::{JournaledStore, RollbackJournal},
    token::PresentedToken,
};
use tower_workspace_token_sqlite::{Options, SqliteStore, for_each_slot};

use crate::support::{Directory, slot};

type Live = BTreeMap<SlotKey, (TokenId, String)>;

fn open(database: &Path, journal: &Path) -> JournaledStore<SqliteStore> {
    let store = Options::new(database).exclusive().open().unwrap();
    let mut journal = match journal.exists() {
        true => RollbackJournal::open(journal).unwrap(),
        false => RollbackJournal::create(journal).unwrap(),
    };
    let show = |row| Ok::<_, Box<dyn std::error::Error>>(journal.compare(row)?);
    for_each_slot(&store.connection().unwrap(), show).unwrap();
    JournaledStore::new(store, journal).unwrap()
}

#[tokio::test]
async fn a_thousand_old_copies_of_the_file_revive_no_token() {
    for seed in 1..=4 {
        check_old_copies(seed).await;
    }
}

/// Rotates and revokes at random, with a copy of the file before each step, and puts all of them back.
async fn check_old_copies(seed: u64) {
    let directory = Directory::new();
    let (database, journal) = (directory.database(), directory.path().join("floors"));
    let keys = Keys::generate().unwrap();
    let acme = "acme".parse().unwrap();
    let slots = ["primary", "second", "third"].map(slot);
    let guarded = open(&database, &journal);
    let authority = TokenAuthority::builder(guarded, keys.clone())
        .build()
        .unwrap();
    let source = SqliteStore::open(&database).unwrap().connection().unwrap();
    let mut random = 0x2545_F491_4F6C_DD1D_u64 ^ seed;
    let mut live = Live::new();
    let mut copies = Vec::new();
    for number in 0..250 {
        let copy = directory.path().join(format!("{number}.db"));
        source
            .execute("VACUUM INTO ?1", [copy.to_str().unwrap()])
            .unwrap();
        copies.push((copy, live.clone()));
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let slot = slots[(random % 3) as usize];
        let issued = match (live.remove(&slot), random >> 32 & 3) {
            (None, _) => authority.issue(&acme, &slot.name).await.unwrap(),
            (Some(_), 0) => {
                authority.revoke(&acme, &slot.name).await.unwrap();
                continue;
            }
            (Some(_), _) => authority.rotate(&acme, &slot.name).await.unwrap().token,
        };
        live.insert(slot, (issued.id(), issued.expose_secret().to_owned()));
    }
    drop(authority);

    let mut refused = 0;
    for (copy, then) in &copies {
        let guarded = open(copy, &journal);
        // The rows of one workspace: whichever has gone on since locks all of them.
        assert_eq!(guarded.is_locked(&acme), *then != live);
        let authority = TokenAuthority::builder(guarded, keys.clone())
            .build()
            .unwrap();
        for (_, token) in then.values() {
            let presented = PresentedToken::new(token.as_bytes());
            let is_admitted = authority.verify(&acme, presented).await.is_ok();
            assert_eq!(is_admitted, *then == live);
            refused += usize::from(!is_admitted);
        }
    }
    assert!(refused > 250, "{refused}");
}
