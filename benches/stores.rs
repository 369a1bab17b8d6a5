//! What stores cost: point reads, rotations that are durable when they return, and checks under a lease.
//!
//! ```sh
//! cargo bench -p tower-workspace-token-sqlite --bench stores
//! ```
//!
//! A target of the SQLite crate, which the library cannot depend on. The database lies in the target
//! directory: what a commit costs is what that disk takes to sync. `bare transaction` is the same two
//! writes on the same disk by `rusqlite` alone; a rotation is to be measured against it.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::Runtime;
use tower_workspace_token::{
    Keys, MemoryStore, TokenAuthority, TokenName, TokenStore, WorkspaceId, id::SlotKey,
    token::PresentedToken,
};
use tower_workspace_token_sqlite::{Options, SqliteStore, rusqlite};

/// As many slots as are rotated at the same time: their commits share one sync.
const TOGETHER: usize = 32;

fn stores(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let folder = Folder::new();
    reads(criterion, &runtime, &folder);
    rotations(criterion, &runtime, &folder);
    leases(criterion, &runtime, &folder);
}

fn reads(criterion: &mut Criterion, runtime: &Runtime, folder: &Folder) {
    let sqlite = folder.exclusive();
    let memory = MemoryStore::new();
    for store in [authority(sqlite.clone()), authority(memory.clone())] {
        runtime.block_on(issue(&store, 1000));
    }
    let key = SlotKey::new(workspace(500), TokenName::primary());
    let mut group = criterion.benchmark_group("point read");
    group.bench_function("memory", |bencher| {
        bencher.iter(|| runtime.block_on(TokenStore::get(&memory, &key)));
    });
    group.bench_function("sqlite", |bencher| {
        bencher.iter(|| runtime.block_on(TokenStore::get(&sqlite, &key)));
    });
    group.finish();
}

fn rotations(criterion: &mut Criterion, runtime: &Runtime, folder: &Folder) {
    let authority = authority(folder.exclusive());
    runtime.block_on(issue(&authority, TOGETHER));
    let mut group = criterion.benchmark_group("rotation, durable");
    group.sample_size(20);
    bare_transaction(&mut group, folder);
    let name = TokenName::primary();
    group.bench_function("one after the other", |bencher| {
        let workspace = workspace(0);
        bencher.iter(|| {
            let rotation = authority.rotate(&workspace, &name);
            runtime.block_on(rotation).expect("a live token")
        });
    });
    group.throughput(Throughput::Elements(TOGETHER as u64));
    group.bench_function(format!("{TOGETHER} at once"), |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                let rotations = (0..TOGETHER).map(|number| {
                    let (authority, name) = (authority.clone(), name);
                    tokio::spawn(async move { authority.rotate(&workspace(number), &name).await })
                });
                for rotation in rotations.collect::<Vec<_>>() {
                    rotation.await.expect("no panic").expect("a live token");
                }
            });
        });
    });
    group.finish();
}

/// One row replaced and one added, synced, as a rotation does.
fn bare_transaction(
    group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>,
    folder: &Folder,
) {
    let mut connection = rusqlite::Connection::open(folder.file()).expect("a database");
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE slots (id INTEGER PRIMARY KEY, revision INTEGER, sealed BLOB) STRICT;
             CREATE TABLE history (slot INTEGER, revision INTEGER, kind TEXT) STRICT;
             INSERT INTO slots VALUES (1, 0, x'');",
        )
        .expect("two tables");
    let sealed = vec![7_u8; 400];
    let mut revision = 0_i64;
    group.bench_function("bare transaction", |bencher| {
        bencher.iter(|| {
            revision += 1;
            let transaction = connection.transaction().expect("a transaction");
            let replaced = transaction.execute(
                "UPDATE slots SET revision = ?1, sealed = ?2 WHERE id = 1 AND revision = ?1 - 1",
                rusqlite::params![revision, sealed],
            );
            assert_eq!(replaced.expect("a row"), 1);
            transaction
                .execute("INSERT INTO history VALUES (1, ?1, 'rotated')", [revision])
                .expect("a row");
            transaction.commit().expect("room on the disk");
        });
    });
}

/// A check from memory needs a look at the clock where other processes may rotate.
fn leases(criterion: &mut Criterion, runtime: &Runtime, folder: &Folder) {
    let shared = SqliteStore::open(folder.file()).expect("a database");
    let mut group = criterion.benchmark_group("check, warm");
    for (name, authority) in [
        ("memory", authority(MemoryStore::new())),
        ("sqlite, used alone", authority(folder.exclusive())),
        ("sqlite, shared", authority(shared)),
    ] {
        let name_of_slot = TokenName::primary();
        let issued = runtime.block_on(authority.issue(&workspace(0), &name_of_slot));
        let token = issued.expect("a free slot").expose_secret().to_owned();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let presented = PresentedToken::new(token.as_bytes());
                runtime
                    .block_on(authority.verify(&workspace(0), presented))
                    .expect("the current token")
            });
        });
    }
    group.finish();
}

fn authority(store: impl TokenStore) -> TokenAuthority {
    let keys = Keys::generate().expect("randomness");
    TokenAuthority::builder(store, keys)
        .build()
        .expect("randomness")
}

async fn issue(authority: &TokenAuthority, slots: usize) {
    for number in 0..slots {
        let (workspace, name) = (workspace(number), TokenName::primary());
        let issued = authority.issue(&workspace, &name);
        issued.await.expect("a free slot");
    }
}

fn workspace(number: usize) -> WorkspaceId {
    format!("w{number}").parse().expect("an id")
}

/// A folder of this run, on the disk that the target directory is on.
struct Folder {
    path: PathBuf,
    files: AtomicUsize,
}

impl Folder {
    fn new() -> Self {
        let name = format!("stores-{}", std::process::id());
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).expect("a target directory that can be written");
        Self {
            path,
            files: AtomicUsize::new(0),
        }
    }

    fn file(&self) -> PathBuf {
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        self.path.join(format!("{number}.db"))
    }

    /// A store that nobody shares, whose rotations wait for nobody's lease.
    fn exclusive(&self) -> SqliteStore {
        let options = Options::new(self.file()).exclusive();
        options.open().expect("a database")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

criterion_group!(benches, stores);
criterion_main!(benches);
