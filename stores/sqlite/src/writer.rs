//! The thread that writes: whatever waits is committed together, and answered after the commit.

use std::{
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::oneshot;
use tower_workspace_token::{
    clock::Timestamp,
    id::SlotKey,
    store::{ChangeObserver, Observers, StoreError, StoreErrorKind},
};

use crate::{
    error::{before_commit, file_is_gone, in_commit},
    file::DatabaseFile,
    queries::{self, Change, Swap, Swapped},
    thread,
};

/// The way to the thread that writes; it ends, with all that waits written, when this is dropped.
#[derive(Debug)]
pub(crate) struct Writer {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

/// Something to be written.
#[derive(Debug)]
pub(crate) enum Write {
    Swap(Box<Swap>),
    Touch(Vec<(SlotKey, Timestamp)>),
}

#[derive(Debug)]
struct Job {
    write: Write,
    answer: oneshot::Sender<Result<(), StoreError>>,
}

impl Writer {
    pub(crate) fn start(
        connection: Connection,
        file: Arc<DatabaseFile>,
        observers: Arc<Observers>,
    ) -> std::io::Result<Self> {
        let (jobs, waiting) = mpsc::channel();
        let mut thread = WriterThread {
            connection,
            file,
            observers,
        };
        let thread = thread::start("wst-sqlite-writer", move || thread.run(&waiting))?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Hands `write` over at once, and waits until it is committed or refused.
    ///
    /// Dropping the future takes nothing back.
    pub(crate) async fn write(&self, write: Write) -> Result<(), StoreError> {
        let (answer, answered) = oneshot::channel();
        let handed_over = self
            .jobs
            .as_ref()
            .map(|jobs| jobs.send(Job { write, answer }));
        if !matches!(handed_over, Some(Ok(()))) {
            return Err(StoreError::with_source(
                StoreErrorKind::Unavailable,
                "the thread that writes has ended",
            ));
        }
        // No answer: the thread died with the job in hand, and nobody knows how far it came.
        answered
            .await
            .unwrap_or_else(|lost| Err(StoreError::with_source(StoreErrorKind::Ambiguous, lost)))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            thread::join(thread);
        }
    }
}

/// Why a batch was not committed.
enum Failure {
    /// The database is to blame, or it is not known what was written: another attempt is no use.
    OfAll(StoreError),
    /// It may be that a single write of the batch is to blame, and nothing was written.
    OfOne(StoreError),
}

impl Failure {
    fn of_commit(error: StoreError) -> Self {
        match error.kind() {
            // What does not fit together may fit one by one.
            StoreErrorKind::Full => Self::OfOne(error),
            _ => Self::OfAll(error),
        }
    }
}

struct WriterThread {
    connection: Connection,
    file: Arc<DatabaseFile>,
    observers: Arc<Observers>,
}

impl WriterThread {
    fn run(&mut self, waiting: &mpsc::Receiver<Job>) {
        while let Ok(first) = waiting.recv() {
            let mut batch = vec![first];
            batch.extend(waiting.try_iter().take(LARGEST_BATCH - 1));
            self.work_off(batch);
        }
    }

    fn work_off(&mut self, batch: Vec<Job>) {
        if !self.file.is_in_place() {
            return answer_all(batch, file_is_gone);
        }
        match self.commit(&batch) {
            Ok(outcomes) => self.acknowledge(batch, &outcomes),
            // One write that can't be done must not fail those that came with it.
            Err(Failure::OfOne(_)) if batch.len() > 1 => {
                for job in batch {
                    self.work_off(vec![job]);
                }
            }
            Err(Failure::OfAll(error) | Failure::OfOne(error)) => self.refuse(batch, error),
        }
    }

    /// Writes the whole batch in one transaction, or nothing of it.
    fn commit(&mut self, batch: &[Job]) -> Result<Vec<Swapped>, Failure> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|error| Failure::OfAll(before_commit(error)))?;
        // A conflict writes nothing, so there is nothing to take back to a savepoint; any other
        // error gives up the transaction, which some of SQLite's errors have done already.
        let outcomes = batch
            .iter()
            .map(|job| write(&transaction, &job.write))
            .collect::<Result<_, _>>()
            .map_err(|error| Failure::OfOne(before_commit(error)))?;
        transaction
            .commit()
            .map_err(in_commit)
            .map_err(Failure::of_commit)?;
        Ok(outcomes)
    }

    /// Reports what was committed, and only then answers.
    fn acknowledge(&self, batch: Vec<Job>, outcomes: &[Swapped]) {
        let written = batch.iter().zip(outcomes).filter_map(|(job, outcome)| {
            let Write::Swap(swap) = &job.write else {
                return None;
            };
            let change = Change {
                key: swap.key,
                generation: swap.next.generation,
            };
            (*outcome == Swapped::Written).then_some(change)
        });
        let written: Vec<Change> = written.collect();
        self.observers
            .report(|observer| written.iter().for_each(|change| change.tell(observer)));
        for (job, outcome) in batch.into_iter().zip(outcomes) {
            answer(
                job,
                match outcome {
                    Swapped::Conflict => Err(StoreError::new(StoreErrorKind::Conflict)),
                    Swapped::Written => Ok(()),
                },
            );
        }
    }

    fn refuse(&self, mut batch: Vec<Job>, error: StoreError) {
        let kind = error.kind();
        if kind == StoreErrorKind::Ambiguous {
            self.observers.report(ChangeObserver::resync);
        }
        // The cause can't be cloned: the last job gets it, the others its kind.
        if let Some(last) = batch.pop() {
            answer_all(batch, || StoreError::new(kind));
            answer(last, Err(error));
        }
    }
}

fn write(transaction: &Transaction<'_>, write: &Write) -> rusqlite::Result<Swapped> {
    match write {
        Write::Swap(swap) => queries::swap(transaction, swap),
        Write::Touch(used) => queries::touch(transaction, used).map(|()| Swapped::Written),
    }
}

fn answer_all(batch: Vec<Job>, error: impl Fn() -> StoreError) {
    for job in batch {
        answer(job, Err(error()));
    }
}

fn answer(job: Job, result: Result<(), StoreError>) {
    // Whoever dropped the future does not want to know.
    let _unheard = job.answer.send(result);
}

/// What one `fsync` serves at most: beyond this, the first in the batch waits longer than the last saves.
const LARGEST_BATCH: usize = 128;

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, time::Duration};

    use tower_workspace_token::{
        id::{Generation, Revision},
        store::{HistoryEvent, HistoryEventKind, TokenRecord},
        token::SealedToken,
    };

    use super::*;
    use crate::{connection, schema};

    /// A writer without its thread, so that a test says what is in a batch.
    struct Bench {
        writer: WriterThread,
        directory: PathBuf,
    }

    impl Bench {
        fn new(name: &str) -> Self {
            let name = format!("wst-sqlite-writer-{}-{name}", std::process::id());
            let directory = std::env::temp_dir().join(name);
            std::fs::create_dir_all(&directory).unwrap();
            let file = DatabaseFile::find_or_create(&directory.join("tokens.db")).unwrap();
            let mut connection = connection::open(file.path(), Duration::ZERO).unwrap();
            schema::prepare(&mut connection).unwrap();
            let writer = WriterThread {
                connection,
                file: Arc::new(file),
                observers: Arc::default(),
            };
            Self { writer, directory }
        }

        /// Lets the database grow by `pages` and no more: a full disk, as far as SQLite sees.
        fn leave_room_for(&self, pages: u32) {
            let connection = &self.writer.connection;
            let used: u32 = connection
                .query_row("PRAGMA page_count", [], |row| row.get(0))
                .unwrap();
            connection
                .pragma_update(None, "max_page_count", used + pages)
                .unwrap();
        }

        /// Writes a batch; returns what was answered to each.
        fn write(&mut self, batch: Vec<Write>) -> Vec<Result<(), StoreErrorKind>> {
            let (jobs, answers): (Vec<_>, Vec<_>) = batch.into_iter().map(job).unzip();
            self.writer.work_off(jobs);
            let kinds = answers.into_iter().map(|mut answer| {
                let answer = answer.try_recv().expect("every job is answered");
                answer.map_err(|error| error.kind())
            });
            kinds.collect()
        }

        /// Counts rows and events.
        fn stored(&self) -> (i64, i64) {
            let count = |table| {
                let sql = format!("SELECT count(*) FROM {table}");
                let connection = &self.writer.connection;
                connection.query_row(&sql, [], |row| row.get(0)).unwrap()
            };
            (count("wst_slots"), count("wst_history"))
        }
    }

    impl Drop for Bench {
        fn drop(&mut self) {
            let _left_behind = std::fs::remove_dir_all(&self.directory);
        }
    }

    fn job(write: Write) -> (Job, oneshot::Receiver<Result<(), StoreError>>) {
        let (answer, answered) = oneshot::channel();
        (Job { write, answer }, answered)
    }

    /// Issues a token of `size` bytes in the slot `name`, with a reason as long.
    fn issue(name: &str, size: usize) -> Write {
        let key = SlotKey::new("acme".parse().unwrap(), name.parse().unwrap());
        let token_id = "mzxw6ytbmzxw6ytb".parse().unwrap();
        let at = Timestamp::from_secs(1);
        let sealed = SealedToken::from_bytes(vec![1; size]);
        let next = TokenRecord::live(
            key,
            Revision::FIRST,
            Generation::FIRST,
            token_id,
            sealed,
            at,
        );
        let kind = HistoryEventKind::Issued;
        let mut event = HistoryEvent::new(kind, Generation::FIRST, token_id, at);
        event.reason = Some("r".repeat(size));
        Write::Swap(Box::new(Swap {
            key,
            expected: None,
            next,
            event: Some(event),
        }))
    }

    const CONFLICT: Result<(), StoreErrorKind> = Err(StoreErrorKind::Conflict);
    const FULL: Result<(), StoreErrorKind> = Err(StoreErrorKind::Full);
    const UNAVAILABLE: Result<(), StoreErrorKind> = Err(StoreErrorKind::Unavailable);

    #[test]
    fn a_conflict_does_not_fail_those_in_the_same_batch() {
        let mut bench = Bench::new("conflict");
        let answers = bench.write(vec![issue("a", 1), issue("a", 1), issue("b", 1)]);
        assert_eq!(answers, [Ok(()), CONFLICT, Ok(())]);
        assert_eq!(bench.stored(), (2, 2));
    }

    #[test]
    fn a_write_that_does_not_fit_does_not_fail_those_in_the_same_batch() {
        let mut bench = Bench::new("too-large");
        bench.leave_room_for(4);
        let answers = bench.write(vec![issue("a", 1), issue("b", 100_000), issue("c", 1)]);
        assert_eq!(answers, [Ok(()), FULL, Ok(())]);
        assert_eq!(bench.stored(), (2, 2));
    }

    #[test]
    fn a_full_database_keeps_nothing_of_a_write_it_refuses() {
        let mut bench = Bench::new("full");
        // The row fits, its event doesn't.
        bench.leave_room_for(3);
        assert_eq!(bench.write(vec![issue("a", 10_000)]), [FULL]);
        assert_eq!(bench.stored(), (0, 0));
        bench.leave_room_for(1000);
        assert_eq!(bench.write(vec![issue("a", 10_000)]), [Ok(())]);
        assert_eq!(bench.stored(), (1, 1));
    }

    #[test]
    fn a_database_that_others_keep_locked_is_unavailable() {
        let mut bench = Bench::new("locked");
        let other = connection::open(bench.writer.file.path(), Duration::ZERO).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let answers = bench.write(vec![issue("a", 1), issue("b", 1)]);
        assert_eq!(answers, [UNAVAILABLE, UNAVAILABLE]);
        other.execute_batch("ROLLBACK").unwrap();
        assert_eq!(bench.stored(), (0, 0));
        assert_eq!(bench.write(vec![issue("a", 1)]), [Ok(())]);
    }

    #[test]
    fn a_batch_is_one_commit() {
        let mut bench = Bench::new("batch");
        let log = bench.directory.join("tokens.db-wal");
        let length = || std::fs::metadata(&log).unwrap().len();
        bench.write(vec![issue("first", 1)]);
        let before = length();
        bench.write(
            (0..100)
                .map(|number| issue(&number.to_string(), 1))
                .collect(),
        );
        // One by one they would take four pages each: two of a table, one each of the index and the history.
        assert!(length() - before < 100 * 4096, "{}", length() - before);
        assert_eq!(bench.stored(), (101, 101));
    }

    #[test]
    fn a_file_that_was_replaced_takes_no_writes() {
        let mut bench = Bench::new("replaced");
        let path = bench.writer.file.path().to_owned();
        std::fs::rename(&path, path.with_extension("old")).unwrap();
        std::fs::write(&path, "").unwrap();
        assert_eq!(bench.write(vec![issue("a", 1)]), [UNAVAILABLE]);
    }
}
