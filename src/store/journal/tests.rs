//! The journal alone, and under an authority.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::*;
use crate::{
    authority::{Keys, TokenAuthority},
    error::ErrorKind,
    id::{TokenId, TokenName},
    rejection::{RejectionKind, TokenProblem},
    store::{MemoryStore, conformance},
    token::{IssuedToken, PresentedToken},
};

/// A folder of its own, gone when this is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("wst-journal-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn journal(&self) -> PathBuf {
        self.0.join("floors.journal")
    }

    fn create(&self) -> RollbackJournal {
        RollbackJournal::create(self.journal()).unwrap()
    }

    fn open(&self) -> RollbackJournal {
        RollbackJournal::open(self.journal()).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _left_behind = fs::remove_dir_all(&self.0);
    }
}

fn key(workspace: &str, name: &str) -> SlotKey {
    SlotKey::new(workspace.parse().unwrap(), name.parse().unwrap())
}

fn floor(workspace: &str, name: &str, generation: u64) -> SlotReached {
    let generation = Generation::from_number(generation).unwrap();
    let token_id = TokenId::from_digest(
        &(generation.number() as u128).to_be_bytes()[6..]
            .try_into()
            .unwrap(),
    );
    SlotReached::new(key(workspace, name), generation, token_id)
}

fn floors(journal: &mut RollbackJournal) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    journal
        .for_each(|slot| found.push((slot.key.name.to_string(), slot.generation.number())))
        .unwrap();
    found.sort();
    found
}

/// Writes batches of one slot each, with the generations 1 to `last`.
fn fill(journal: &mut RollbackJournal, last: u64) {
    for generation in 1..=last {
        journal
            .compare(floor("acme", "primary", generation))
            .unwrap();
        journal.catch_up().unwrap();
    }
}

/// A copy of every row of a store, as a snapshot of its disk would be.
async fn copy(store: &MemoryStore, workspaces: &[&str]) -> MemoryStore {
    let copied = MemoryStore::new();
    for workspace in workspaces {
        for record in store.list(&workspace.parse().unwrap()).await.unwrap() {
            let key = record.key;
            copied
                .compare_and_swap(&key, None, record, None)
                .await
                .unwrap();
        }
    }
    copied
}

/// Opens the journal over `store`, as a process does that starts on it.
async fn start(
    folder: &Folder,
    store: &MemoryStore,
    workspaces: &[&str],
) -> JournaledStore<MemoryStore> {
    let mut journal = match folder.journal().exists() {
        true => folder.open(),
        false => folder.create(),
    };
    for workspace in workspaces {
        for record in store.list(&workspace.parse().unwrap()).await.unwrap() {
            journal.compare(row_of(&record)).unwrap();
        }
    }
    JournaledStore::new(store.clone(), journal).unwrap()
}

fn authority(store: &JournaledStore<MemoryStore>, keys: &Keys) -> TokenAuthority {
    TokenAuthority::builder(store.clone(), keys.clone())
        .build()
        .unwrap()
}

async fn admits(authority: &TokenAuthority, workspace: &str, token: &str) -> bool {
    let presented = PresentedToken::new(token.as_bytes());
    authority
        .verify(&workspace.parse().unwrap(), presented)
        .await
        .is_ok()
}

#[test]
fn keeps_the_highest_generation_of_each_slot() {
    let folder = Folder::new();
    let mut journal = folder.create();
    let id = journal.id().to_owned();
    fill(&mut journal, 3);
    journal.compare(floor("acme", "second", 7)).unwrap();
    journal.compare(floor("acme", "primary", 2)).unwrap();
    journal.catch_up().unwrap();
    drop(journal);
    let mut journal = folder.open();
    assert_eq!(journal.id(), id);
    let expected = [("primary".to_owned(), 3), ("second".to_owned(), 7)];
    assert_eq!(floors(&mut journal), expected);
    assert_eq!(
        journal.floor(&key("acme", "primary")),
        Some(floor("acme", "primary", 3))
    );
    assert_eq!(journal.floor(&key("acme", "other")), None);
}

#[test]
fn what_a_power_failure_leaves_of_the_last_batch_is_cut_off() {
    let folder = Folder::new();
    let mut journal = folder.create();
    fill(&mut journal, 2);
    let before = fs::read(folder.journal()).unwrap();
    fill(&mut journal, 3);
    drop(journal);
    let after = fs::read(folder.journal()).unwrap();
    let last = before.len()..after.len();
    assert!(last.len() > 60, "there is a batch to be torn");
    // Cut anywhere; any stretch of it never written; any byte of it another.
    let cuts = last.clone().map(|end| after[..end].to_vec());
    let holes = last.clone().step_by(7).map(|begin| {
        let mut torn = after.clone();
        torn[begin..(begin + 16).min(after.len())].fill(0);
        torn
    });
    let flips = last.clone().map(|at| {
        let mut torn = after.clone();
        torn[at] ^= 1;
        torn
    });
    for torn in cuts.chain(holes).chain(flips) {
        fs::write(folder.journal(), &torn).unwrap();
        let mut journal = folder.open();
        assert_eq!(floors(&mut journal), [("primary".to_owned(), 2)]);
        // And it goes on from there.
        fill(&mut journal, 4);
        drop(journal);
        assert_eq!(floors(&mut folder.open()), [("primary".to_owned(), 4)]);
    }
}

#[test]
fn a_journal_that_was_changed_is_refused_and_left_as_it_is() {
    let folder = Folder::new();
    let mut journal = folder.create();
    fill(&mut journal, 4);
    drop(journal);
    let sound = fs::read_to_string(folder.journal()).unwrap();
    let lines: Vec<&str> = sound.split_inclusive('\n').collect();
    let without = |skipped: &[usize]| -> String {
        let kept = lines
            .iter()
            .enumerate()
            .filter(|(index, _)| !skipped.contains(index));
        kept.map(|(_, line)| *line).collect()
    };
    for (name, text) in [
        (
            "a lower generation",
            sound.replace("primary 3 ", "primary 1 "),
        ),
        ("a batch taken out", without(&[3, 4])),
        ("a line taken out", without(&[3])),
        ("an end taken out", without(&[2])),
        (
            "a line of something else",
            sound.replacen("slot ", "note ", 1),
        ),
        (
            "a batch twice",
            format!(
                "{}{}{}",
                lines[..3].concat(),
                lines[1..3].concat(),
                lines[3..].concat()
            ),
        ),
    ] {
        fs::write(folder.journal(), &text).unwrap();
        let error = RollbackJournal::open(folder.journal()).unwrap_err();
        assert_eq!(error.kind(), JournalErrorKind::Damaged, "{name}");
        assert_eq!(
            fs::read_to_string(folder.journal()).unwrap(),
            text,
            "{name}"
        );
    }
}

#[test]
fn what_is_no_journal_is_refused() {
    let folder = Folder::new();
    let kind = |result: Result<RollbackJournal, JournalError>| result.unwrap_err().kind();
    assert_eq!(
        kind(RollbackJournal::open(folder.journal())),
        JournalErrorKind::Missing
    );
    let other = folder.0.join("other");
    let id = "0".repeat(32);
    for text in [
        String::new(),
        "workspace-token rollback journal 1".to_owned(),
        format!("workspace-token rollback journal 2 {id}\n"),
        format!("workspace-token rollback journal 1 {}\n", "g".repeat(32)),
        format!("SQLite format 3\0{}", "\0".repeat(100)),
    ] {
        fs::write(&other, text).unwrap();
        assert_eq!(
            kind(RollbackJournal::open(&other)),
            JournalErrorKind::NotAJournal
        );
    }
    let journal = folder.create();
    assert_eq!(
        kind(RollbackJournal::open(folder.journal())),
        JournalErrorKind::InUse
    );
    drop(journal);
    assert_eq!(
        kind(RollbackJournal::create(folder.journal())),
        JournalErrorKind::AlreadyExists
    );
    folder.open();
}

#[test]
fn a_long_journal_is_written_anew_without_what_later_lines_replace() {
    let folder = Folder::new();
    let mut journal = folder.create();
    for generation in 1..=5000 {
        journal
            .compare(floor("acme", "primary", generation))
            .unwrap();
    }
    journal.compare(floor("acme", "second", 1)).unwrap();
    journal.catch_up().unwrap();
    let id = journal.id().to_owned();
    let long = fs::metadata(folder.journal()).unwrap().len();
    drop(JournaledStore::new(MemoryStore::new(), journal).unwrap());
    assert!(fs::metadata(folder.journal()).unwrap().len() < long / 100);
    let mut journal = folder.open();
    assert_eq!(journal.id(), id);
    let expected = [("primary".to_owned(), 5000), ("second".to_owned(), 1)];
    assert_eq!(floors(&mut journal), expected);
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract_of_a_store() {
    let folders = std::cell::RefCell::new(Vec::new());
    conformance::run(|| async {
        let folder = Folder::new();
        let store = JournaledStore::new(MemoryStore::new(), folder.create()).unwrap();
        folders.borrow_mut().push(folder);
        store
    })
    .await;
}

#[tokio::test]
async fn what_was_acknowledged_is_in_the_journal() {
    let folder = Folder::new();
    let keys = Keys::generate().unwrap();
    let authority = authority(&start(&folder, &MemoryStore::new(), &[]).await, &keys);
    let (acme, primary) = ("acme".parse().unwrap(), TokenName::primary());
    let on_disk = |line: &str| fs::read_to_string(folder.journal()).unwrap().contains(line);
    authority.issue(&acme, &primary).await.unwrap();
    assert!(on_disk("slot acme primary 1 "));
    authority.rotate(&acme, &primary).await.unwrap();
    assert!(on_disk("slot acme primary 2 "));
    authority.revoke(&acme, &primary).await.unwrap();
    assert!(on_disk("slot acme primary 3 "));
}

#[tokio::test]
async fn an_old_copy_locks_its_workspace_and_no_other() {
    let folder = Folder::new();
    let (keys, store) = (Keys::generate().unwrap(), MemoryStore::new());
    let workspaces = ["acme", "other"];
    let before = authority(&start(&folder, &store, &[]).await, &keys);
    let (acme, primary) = ("acme".parse().unwrap(), TokenName::primary());
    let second: TokenName = "second".parse().unwrap();
    let old = before.issue(&acme, &primary).await.unwrap();
    let beside = before.issue(&acme, &second).await.unwrap();
    let elsewhere = before
        .issue(&"other".parse().unwrap(), &primary)
        .await
        .unwrap();
    let snapshot = copy(&store, &workspaces).await;
    let new = before.rotate(&acme, &primary).await.unwrap().token;
    drop(before);

    let guarded = start(&folder, &snapshot, &workspaces).await;
    assert_eq!(guarded.locked(), [acme]);
    let after = authority(&guarded, &keys);
    for token in [&old, &new, &beside] {
        let presented = PresentedToken::new(token.expose_secret().as_bytes());
        let rejection = after.verify(&acme, presented).await.unwrap_err();
        assert_eq!(
            *rejection.kind(),
            RejectionKind::InvalidToken(TokenProblem::Locked)
        );
        assert_eq!(rejection.status(), http::StatusCode::UNAUTHORIZED);
    }
    assert!(admits(&after, "other", elsewhere.expose_secret()).await);
    for outcome in [
        after.rotate(&acme, &second).await.map(drop),
        after.revoke(&acme, &primary).await.map(drop),
        after
            .issue(&acme, &"third".parse().unwrap())
            .await
            .map(drop),
    ] {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Locked);
    }
    drop((after, guarded));

    // The right one is put back: nothing has been lost.
    let right = start(&folder, &store, &workspaces).await;
    assert!(right.locked().is_empty());
    let right = authority(&right, &keys);
    assert!(admits(&right, "acme", new.expose_secret()).await);
    assert!(admits(&right, "acme", beside.expose_secret()).await);
    assert!(!admits(&right, "acme", old.expose_secret()).await);
}

#[tokio::test]
async fn unlocking_ends_what_was_put_back_and_nothing_else() {
    let folder = Folder::new();
    let (keys, store) = (Keys::generate().unwrap(), MemoryStore::new());
    let before = authority(&start(&folder, &store, &[]).await, &keys);
    let (acme, primary) = ("acme".parse().unwrap(), TokenName::primary());
    let (second, late): (TokenName, TokenName) =
        ("second".parse().unwrap(), "late".parse().unwrap());
    let old = before.issue(&acme, &primary).await.unwrap();
    let beside = before.issue(&acme, &second).await.unwrap();
    let snapshot = copy(&store, &["acme"]).await;
    let new = before.rotate(&acme, &primary).await.unwrap().token;
    // A slot that the snapshot knows nothing of.
    let unknown = before.issue(&acme, &late).await.unwrap();
    drop(before);

    let guarded = start(&folder, &snapshot, &["acme"]).await;
    let after = authority(&guarded, &keys);
    assert!(guarded.is_locked(&acme));
    let unlocked = guarded
        .unlock(&acme, Timestamp::from_secs(5), Some("operator"))
        .await;
    assert_eq!(unlocked.unwrap(), 2);
    assert!(!guarded.is_locked(&acme));
    assert!(admits(&after, "acme", beside.expose_secret()).await);
    for dead in [&old, &new, &unknown] {
        assert!(!admits(&after, "acme", dead.expose_secret()).await);
    }
    let history = after.history(&acme, &primary).await.unwrap();
    let last = history.last().unwrap();
    assert_eq!(
        (last.kind, last.generation.number()),
        (HistoryEventKind::Revoked, 3)
    );
    assert_eq!(last.actor.as_deref(), Some("operator"));
    for name in [&primary, &late] {
        let next = after.issue(&acme, name).await.unwrap();
        assert!(admits(&after, "acme", next.expose_secret()).await);
    }
    drop((after, guarded));
    // And so it is for whoever starts next.
    assert!(
        start(&folder, &snapshot, &["acme"])
            .await
            .locked()
            .is_empty()
    );
}

#[tokio::test]
async fn a_row_that_is_put_back_under_a_running_process_is_noticed() {
    let folder = Folder::new();
    let (keys, store) = (Keys::generate().unwrap(), MemoryStore::new());
    let (acme, primary) = ("acme".parse().unwrap(), TokenName::primary());
    let before = authority(&start(&folder, &store, &[]).await, &keys);
    let old = before.issue(&acme, &primary).await.unwrap();
    before.rotate(&acme, &primary).await.unwrap();
    drop(before);
    // A process that has not dealt with the slot yet, and somebody who writes the file behind its back.
    let guarded = start(&folder, &store, &["acme"]).await;
    let after = authority(&guarded, &keys);
    let slot = SlotKey::new(acme, primary);
    let current = store.get(&slot).await.unwrap().unwrap();
    let mut next = current.clone();
    next.generation = Generation::FIRST;
    next.token_id = old.id();
    next.revision = current.revision.next().unwrap();
    store
        .compare_and_swap(&slot, Some(current.revision), next, None)
        .await
        .unwrap();
    assert!(!admits(&after, "acme", old.expose_secret()).await);
    assert!(guarded.is_locked(&acme));
}

#[tokio::test]
async fn a_journal_that_a_crash_left_behind_catches_up() {
    let folder = Folder::new();
    let (keys, store) = (Keys::generate().unwrap(), MemoryStore::new());
    let (acme, primary) = ("acme".parse().unwrap(), TokenName::primary());
    drop(start(&folder, &store, &[]).await);
    // Committed without the journal.
    let bare = TokenAuthority::builder(store.clone(), keys.clone())
        .build()
        .unwrap();
    let old = bare.issue(&acme, &primary).await.unwrap();
    let snapshot = copy(&store, &["acme"]).await;
    let new = bare.rotate(&acme, &primary).await.unwrap().token;

    let guarded = start(&folder, &store, &["acme"]).await;
    assert!(guarded.locked().is_empty());
    assert!(admits(&authority(&guarded, &keys), "acme", new.expose_secret()).await);
    drop(guarded);
    let guarded = start(&folder, &snapshot, &["acme"]).await;
    assert_eq!(guarded.locked(), [acme]);
    assert!(!admits(&authority(&guarded, &keys), "acme", old.expose_secret()).await);
    drop(guarded);

    // The same while it runs: whoever looks at the row first writes it down.
    let running = start(&folder, &store, &["acme"]).await;
    let newest = bare.rotate(&acme, &primary).await.unwrap().token;
    assert!(admits(&authority(&running, &keys), "acme", newest.expose_secret()).await);
    let text = fs::read_to_string(folder.journal()).unwrap();
    assert!(text.contains("slot acme primary 3 "), "{text}");
}

#[tokio::test]
async fn a_journal_that_cannot_be_written_fails_the_rotation_and_never_lets_the_old_token_in() {
    let folder = Folder::new();
    let (keys, store) = (Keys::generate().unwrap(), MemoryStore::new());
    let (acme, primary) = ("acme".parse().unwrap(), TokenName::primary());
    let guarded = start(&folder, &store, &[]).await;
    let authority = authority(&guarded, &keys);
    let old = authority.issue(&acme, &primary).await.unwrap();
    let acme_second: TokenName = "second".parse().unwrap();
    let beside = authority.issue(&acme, &acme_second).await.unwrap();
    guarded.inner.writer.set_full(true);
    let error = authority.rotate(&acme, &primary).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Ambiguous);
    assert!(!admits(&authority, "acme", old.expose_secret()).await);
    // What comes after it is refused before anything is changed, and nobody is told of what has happened.
    let error = authority.rotate(&acme, &acme_second).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store);
    assert!(admits(&authority, "acme", beside.expose_secret()).await);
    assert_eq!(
        authority.list(&acme).await.unwrap_err().kind(),
        ErrorKind::Store
    );
    guarded.inner.writer.set_full(false);
    authority.list(&acme).await.unwrap();
    let text = fs::read_to_string(folder.journal()).unwrap();
    assert!(text.contains("slot acme primary 2 "), "{text}");
    // There is room again: nobody knows the token of the rotation that failed, and the next one works.
    let new = authority.rotate(&acme, &primary).await.unwrap().token;
    assert!(admits(&authority, "acme", new.expose_secret()).await);
    assert!(!admits(&authority, "acme", old.expose_secret()).await);
    assert_eq!(new.generation().number(), 3);
}

#[tokio::test]
async fn a_thousand_old_copies_revive_no_token() {
    for seed in 1..=4 {
        check_old_copies(seed).await;
    }
}

/// Takes 250 snapshots at random moments of random work: none of what ended later comes back with one.
async fn check_old_copies(seed: u64) {
    const WORKSPACES: [&str; 5] = ["a", "b", "c", "d", "e"];
    let folder = Folder::new();
    let (keys, store) = (Keys::generate().unwrap(), MemoryStore::new());
    let names: [TokenName; 2] = ["primary", "second"].map(|name| name.parse().unwrap());
    let working = authority(&start(&folder, &store, &WORKSPACES).await, &keys);
    let mut random = 0x2545_F491_4F6C_DD1D_u64 ^ seed;
    let mut next = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let mut current: BTreeMap<SlotKey, Arc<IssuedToken>> = BTreeMap::new();
    let mut snapshots = Vec::new();
    for _ in 0..250 {
        let workspace: WorkspaceId = WORKSPACES[next(5) as usize].parse().unwrap();
        let slot = SlotKey::new(workspace, names[next(2) as usize]);
        let issued = match (current.remove(&slot), next(4)) {
            (None, _) => Some(working.issue(&workspace, &slot.name).await.unwrap()),
            (Some(_), 0) => {
                working.revoke(&workspace, &slot.name).await.unwrap();
                None
            }
            (Some(_), _) => Some(working.rotate(&workspace, &slot.name).await.unwrap().token),
        };
        current.extend(issued.map(|token| (slot, Arc::new(token))));
        snapshots.push((copy(&store, &WORKSPACES).await, current.clone()));
    }
    drop(working);

    let (mut refused, mut admitted) = (0, 0);
    for (snapshot, live) in &snapshots {
        let guarded = start(&folder, snapshot, &WORKSPACES).await;
        let restarted = authority(&guarded, &keys);
        for (slot, token) in live {
            let workspace = slot.workspace.as_str();
            let is_admitted = admits(&restarted, workspace, token.expose_secret()).await;
            let is_current = current.get(slot).is_some_and(|now| now.id() == token.id());
            assert!(is_current || !is_admitted, "a token was revived");
            // One that is current is refused for its locked workspace alone.
            assert_eq!(is_admitted, !guarded.is_locked(&slot.workspace));
            admitted += usize::from(is_admitted);
            refused += usize::from(!is_current);
        }
    }
    assert!(
        refused > 1000 && admitted > 5,
        "{refused} refused, {admitted} admitted"
    );
}

/// What was closed in good order is whole, or was changed by somebody: its end too.
#[test]
fn a_journal_that_was_closed_misses_no_batch() {
    let folder = Folder::new();
    let mut journal = folder.create();
    fill(&mut journal, 3);
    drop(JournaledStore::new(MemoryStore::new(), journal).unwrap());
    let closed = fs::read_to_string(folder.journal()).unwrap();
    assert!(closed.lines().last().unwrap().starts_with("closed "));
    let last = closed.rfind("slot ").unwrap();
    let end = closed.rfind("closed ").unwrap();
    // But for the end of the last line, without which the two lines at the end are one, and cut off.
    for at in last..end - 1 {
        let mut changed = closed.clone().into_bytes();
        changed[at] ^= 1;
        fs::write(folder.journal(), &changed).unwrap();
        let error = RollbackJournal::open(folder.journal()).unwrap_err();
        assert_eq!(error.kind(), JournalErrorKind::Damaged, "{at}");
    }
    fs::write(folder.journal(), [&closed[..last], &closed[end..]].concat()).unwrap();
    let error = RollbackJournal::open(folder.journal()).unwrap_err();
    assert_eq!(error.kind(), JournalErrorKind::Damaged);
    // It goes on behind its end, and only what is cut off is told.
    fs::write(folder.journal(), &closed).unwrap();
    let mut journal = folder.open();
    assert_eq!(journal.cut_off(), 0);
    fill(&mut journal, 4);
    drop(journal);
    assert_eq!(floors(&mut folder.open()), [("primary".to_owned(), 4)]);
    let longer = fs::read(folder.journal()).unwrap();
    fs::write(folder.journal(), [&longer[..], b"slot ac"].concat()).unwrap();
    assert_eq!(folder.open().cut_off(), 7);
}

#[tokio::test]
async fn a_lock_that_is_found_later_holds_for_what_is_remembered_too() {
    let folder = Folder::new();
    let (keys, store) = (Keys::generate().unwrap(), MemoryStore::new());
    let (acme, primary) = ("acme".parse().unwrap(), TokenName::primary());
    let second: TokenName = "second".parse().unwrap();
    let guarded = start(&folder, &store, &[]).await;
    let authority = authority(&guarded, &keys);
    authority.issue(&acme, &primary).await.unwrap();
    authority.rotate(&acme, &primary).await.unwrap();
    let beside = authority.issue(&acme, &second).await.unwrap();
    assert!(admits(&authority, "acme", beside.expose_secret()).await);
    let slot = SlotKey::new(acme, primary);
    let mut row = store.get(&slot).await.unwrap().unwrap();
    let expected = Some(row.revision);
    row.revision = row.revision.next().unwrap();
    row.generation = Generation::FIRST;
    store
        .compare_and_swap(&slot, expected, row, None)
        .await
        .unwrap();
    assert!(guarded.get(&slot).await.is_err());
    assert!(!admits(&authority, "acme", beside.expose_secret()).await);
}
