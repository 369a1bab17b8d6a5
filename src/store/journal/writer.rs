//! The thread that writes: whatever waits is one batch, and is answered once it is on the disk.
//!
//! What could not be written is kept, and comes first in the next batch: it is true, and somebody may have been told.

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
};

use tokio::sync::oneshot;

use super::{
    error::{JournalError, JournalErrorKind},
    file::{JournalFile, LARGEST_BATCH},
    floors::{Floors, SlotReached},
};

/// The way to the thread that writes; it ends, with all that waits written, when this is dropped.
#[derive(Debug)]
pub(super) struct Writer {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    health: Arc<Health>,
}

#[derive(Debug, Default)]
struct Health {
    /// The last batch could not be written.
    is_failing: AtomicBool,
    /// A disk without room, for tests.
    #[cfg(test)]
    is_full: AtomicBool,
}

#[derive(Debug)]
struct Job {
    /// `None` asks for what is left over alone.
    slot: Option<SlotReached>,
    answer: oneshot::Sender<Result<(), JournalError>>,
}

impl Writer {
    pub(super) fn start(
        file: JournalFile,
        floors: Arc<RwLock<Floors>>,
    ) -> Result<Self, JournalError> {
        let (jobs, waiting) = mpsc::channel();
        let health = Arc::new(Health::default());
        let mut thread = WriterThread {
            file,
            floors,
            health: Arc::clone(&health),
            left_over: Vec::new(),
        };
        let thread = thread::Builder::new()
            .name("rollback-journal".to_owned())
            .spawn(move || thread.run(&waiting))?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
            health,
        })
    }

    /// Writes that a slot has come to a generation, and waits until it is on the disk.
    ///
    /// Dropping the future takes nothing back.
    pub(super) async fn append(&self, slot: SlotReached) -> Result<(), JournalError> {
        self.ask(Some(slot)).await
    }

    /// Writes what could not be written before, if there is any.
    pub(super) async fn catch_up(&self) -> Result<(), JournalError> {
        match self.health.is_failing.load(Ordering::SeqCst) {
            true => self.ask(None).await,
            false => Ok(()),
        }
    }

    async fn ask(&self, slot: Option<SlotReached>) -> Result<(), JournalError> {
        let (answer, answered) = oneshot::channel();
        let job = Job { slot, answer };
        let is_handed_over = self
            .jobs
            .as_ref()
            .is_some_and(|jobs| jobs.send(job).is_ok());
        let gone = || JournalError::new(JournalErrorKind::Io);
        if !is_handed_over {
            return Err(gone());
        }
        answered.await.unwrap_or_else(|_| Err(gone()))
    }

    #[cfg(test)]
    pub(super) fn set_full(&self, is_full: bool) {
        self.health.is_full.store(is_full, Ordering::SeqCst);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has answered nobody, and they know.
            let _ = thread.join();
        }
    }
}

struct WriterThread {
    file: JournalFile,
    floors: Arc<RwLock<Floors>>,
    health: Arc<Health>,
    left_over: Vec<SlotReached>,
}

impl WriterThread {
    fn run(&mut self, waiting: &mpsc::Receiver<Job>) {
        while let Ok(first) = waiting.recv() {
            let mut batch = vec![first];
            batch.extend(waiting.try_iter().take(LARGEST_BATCH - 1));
            self.work_off(batch);
        }
        if self.left_over.is_empty() {
            // A journal that is not closed is a sound one too.
            let _ = self.file.close();
        }
    }

    fn work_off(&mut self, batch: Vec<Job>) {
        let mut slots = std::mem::take(&mut self.left_over);
        slots.extend(batch.iter().filter_map(|job| job.slot));
        let written = self.write(&slots);
        self.health
            .is_failing
            .store(written.is_err(), Ordering::SeqCst);
        if written.is_err() {
            self.left_over = slots;
        }
        for job in batch {
            // Whoever dropped the future does not want to know.
            let _unheard = job.answer.send(written.clone());
        }
    }

    fn write(&mut self, slots: &[SlotReached]) -> Result<(), JournalError> {
        #[cfg(test)]
        if self.health.is_full.load(Ordering::SeqCst) {
            return Err(std::io::Error::from(std::io::ErrorKind::StorageFull).into());
        }
        // Several may have seen one row at once.
        let mut new: Vec<SlotReached> = Vec::with_capacity(slots.len());
        let floors = self.floors.read().unwrap_or_else(PoisonError::into_inner);
        for slot in slots {
            if floors.is_below(slot) && !new.contains(slot) {
                new.push(*slot);
            }
        }
        drop(floors);
        self.file.append(&new)?;
        let mut floors = self.floors.write().unwrap_or_else(PoisonError::into_inner);
        new.iter().for_each(|slot| floors.raise(slot));
        Ok(())
    }
}
