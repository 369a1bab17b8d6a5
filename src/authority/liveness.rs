//! Live cells: the one number per slot that decides whether a generation still holds.
//!
//! Everything that outlives a check (a running call, an open stream, a session) keeps a [`Hold`] and
//! asks the cell again. Rotation raises the cell's generation and wakes whoever waits on an older one.
//! This file uses nothing but `crate::sync` and the standard library: the loom models include it as it is.

use std::{
    collections::BTreeMap,
    fmt,
    task::{Context, Poll, Waker},
};

use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering, PoisonError};

/// The generation that a slot has reached, and those who want to know when it rises.
///
/// Cells are never freed, so that a [`Hold`] is a plain copy: counting the owners of a hot cell would
/// make all threads write to one cache line. A cell whose slot is gone may begin a new life for another.
pub(crate) struct Cell {
    generation: AtomicU64,
    /// How many lives ended before this one: no hold of an earlier life is ever live again.
    life: AtomicU64,
    waiters: Mutex<Option<Box<Waiters>>>,
}

/// One generation of a cell, in somebody's hand.
#[derive(Clone, Copy)]
pub(crate) struct Hold {
    cell: &'static Cell,
    life: u64,
    generation: u64,
}

/// What waits on a cell, told apart for the receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// A call whose response has not begun.
    Call,
    /// A response body that is still open.
    Stream,
    /// Somebody who only listens: never waited for, never counted.
    Watch,
    /// Work in a task of its own, on behalf of a call or stream that is counted.
    Work,
}

/// How many calls, streams and pieces of work were cut off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Severed {
    pub(crate) calls: usize,
    pub(crate) streams: usize,
    pub(crate) work: usize,
}

/// A place among the waiters of a cell; left when dropped.
pub(crate) struct Registration {
    cell: &'static Cell,
    id: u64,
}

#[derive(Default)]
struct Waiters {
    next_id: u64,
    entries: BTreeMap<u64, Waiter>,
    drains: Vec<Drain>,
}

/// Somebody who waits until nothing of a generation below theirs is open.
struct Drain {
    generation: u64,
    /// How many they wait for: whoever counts is not woken for each of a thousand streams to count again.
    open: usize,
    waker: Waker,
}

struct Waiter {
    generation: u64,
    used_for: Use,
    waker: Waker,
}

impl Cell {
    /// Makes a cell of a slot of which nothing is known: no generation holds yet.
    pub(crate) fn new() -> Self {
        Self {
            generation: AtomicU64::new(0),
            life: AtomicU64::new(0),
            waiters: Mutex::new(None),
        }
    }

    /// Ends every hold there is and stands at no generation, as a cell that was just made. The caller sees
    /// to it that nobody else observes or waits on the cell.
    pub(crate) fn begin_new_life(&self) {
        // First of all: with the old life and a generation of the new one, a hold could come true again.
        self.life.fetch_add(1, Ordering::SeqCst);
        self.generation.store(0, Ordering::SeqCst);
    }

    #[inline]
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// Learns that the slot has reached `generation`: raises the cell, never lowers it, and wakes
    /// whoever waits on an older one.
    pub(crate) fn observe(&self, generation: u64) -> Severed {
        // `fetch_max`, since reports come in any order. Sequentially consistent with the poll
        // counters: either a poll sees this, or the rotation sees the poll.
        if self.generation.fetch_max(generation, Ordering::SeqCst) >= generation {
            return Severed::default();
        }
        let waiters = self.waiters();
        let Some(known) = &*waiters else {
            return Severed::default();
        };
        let severed = known.open_below(generation);
        let wakers = known.wakers_below(generation);
        drop(waiters);
        // Woken without the lock: a waker may run the very task that drops its registration.
        wakers.into_iter().for_each(Waker::wake);
        severed
    }

    /// Takes hold of `generation`.
    #[inline]
    pub(crate) fn hold(&'static self, generation: u64) -> Hold {
        Hold {
            cell: self,
            life: self.life.load(Ordering::Acquire),
            generation,
        }
    }

    /// Completes when no call, no stream and no work of a generation below `generation` is left.
    pub(crate) fn poll_drained(&self, generation: u64, cx: &mut Context<'_>) -> Poll<()> {
        let mut waiters = self.waiters();
        match &mut *waiters {
            Some(waiters) => waiters.poll_drained(generation, cx),
            None => Poll::Ready(()),
        }
    }

    /// Returns what is open of a generation below `generation`.
    pub(crate) fn open_below(&self, generation: u64) -> Severed {
        let waiters = self.waiters();
        waiters
            .as_ref()
            .map_or_else(Severed::default, |waiters| waiters.open_below(generation))
    }

    /// Gives up on what a generation below `generation` has left open, and returns how much that is.
    ///
    /// It is no longer waited for or counted, and learns by [`Registration::is_dismissed`] that it
    /// comes too late to say anything.
    pub(crate) fn dismiss_below(&self, generation: u64) -> Severed {
        let mut waiters = self.waiters();
        let Some(known) = &mut *waiters else {
            return Severed::default();
        };
        let open = known.open_below(generation);
        let (dismissed, kept): (BTreeMap<_, _>, _) = std::mem::take(&mut known.entries)
            .into_iter()
            .partition(|(_, waiter)| {
                waiter.generation < generation && waiter.used_for != Use::Watch
            });
        known.entries = kept;
        let left = dismissed.values();
        let drained: Vec<Waker> = left.flat_map(|waiter| known.left(waiter)).collect();
        drop(waiters);
        // Both outside of the lock, as in `Registration::drop`.
        drop(dismissed);
        drained.into_iter().for_each(Waker::wake);
        open
    }

    /// Returns whether anything waits on the cell.
    pub(crate) fn is_watched(&self) -> bool {
        let waiters = self.waiters();
        waiters
            .as_ref()
            .is_some_and(|waiters| !waiters.entries.is_empty())
    }

    /// Returns those who wait; there is no room for any before the first one.
    fn waiters(&self) -> MutexGuard<'_, Option<Box<Waiters>>> {
        // Nothing panics while the lock is held with the entries half-changed.
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Cell {
    fn default() -> Self {
        Self::new()
    }
}

impl Hold {
    /// Returns whether the cell still stands at this generation.
    #[inline]
    pub(crate) fn is_live(&self) -> bool {
        // The life second: whoever reads a generation of a later life then reads that life too.
        self.cell.generation() == self.generation
            && self.cell.life.load(Ordering::Acquire) == self.life
    }

    /// Joins the waiters, to be woken when the generation ends. The caller checks
    /// [`is_live`](Self::is_live) afterwards: it may have ended just before.
    pub(crate) fn register(&self, used_for: Use, waker: Waker) -> Registration {
        let mut waiters = self.cell.waiters();
        let known = waiters.get_or_insert_default();
        let id = known.join(Waiter {
            generation: self.generation,
            used_for,
            waker,
        });
        drop(waiters);
        Registration {
            cell: self.cell,
            id,
        }
    }
}

impl Registration {
    /// Wakes the task of `waker` from now on.
    pub(crate) fn rewake(&self, waker: &Waker) {
        let mut waiters = self.cell.waiters();
        let entry = waiters
            .as_mut()
            .and_then(|waiters| waiters.entries.get_mut(&self.id));
        let replaced = match entry {
            Some(waiter) if !waiter.waker.will_wake(waker) => {
                Some(std::mem::replace(&mut waiter.waker, waker.clone()))
            }
            _ => None,
        };
        drop(waiters);
        // Outside of the lock: a waker may be the last owner of a task that owns a registration.
        drop(replaced);
    }

    /// Returns whether a rotation has given up on this and returned, or is about to.
    pub(crate) fn is_dismissed(&self) -> bool {
        let waiters = self.cell.waiters();
        waiters
            .as_ref()
            .is_none_or(|waiters| !waiters.entries.contains_key(&self.id))
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut waiters = self.cell.waiters();
        let Some(known) = &mut *waiters else { return };
        let left = known.entries.remove(&self.id);
        let drained = left.as_ref().map(|left| known.left(left));
        drop(waiters);
        // Both outside of the lock: a waker may be the last owner of a task that owns a registration.
        drop(left);
        drained.into_iter().flatten().for_each(Waker::wake);
    }
}

impl Waiters {
    fn join(&mut self, waiter: Waiter) -> u64 {
        self.drains_of(&waiter).for_each(|drain| drain.open += 1);
        let id = self.next_id;
        self.next_id += 1;
        self.entries.insert(id, waiter);
        id
    }

    /// Returns whom to wake now that `waiter` has left: those who waited for it and for nothing else.
    fn left(&mut self, waiter: &Waiter) -> Vec<Waker> {
        self.drains_of(waiter).for_each(|drain| drain.open -= 1);
        let drained = self.drains.extract_if(.., |drain| drain.open == 0);
        drained.map(|drain| drain.waker).collect()
    }

    fn poll_drained(&mut self, generation: u64, cx: &mut Context<'_>) -> Poll<()> {
        let open = self.open_below(generation).total();
        if open == 0 {
            return Poll::Ready(());
        }
        let waker = cx.waker();
        let is_known =
            |drain: &Drain| drain.generation == generation && drain.waker.will_wake(waker);
        if !self.drains.iter().any(is_known) {
            self.drains.push(Drain {
                generation,
                open,
                waker: waker.clone(),
            });
        }
        Poll::Pending
    }

    /// Returns those who wait for `waiter`.
    fn drains_of(&mut self, waiter: &Waiter) -> impl Iterator<Item = &mut Drain> {
        let (generation, is_open) = (waiter.generation, waiter.used_for != Use::Watch);
        let drains = self.drains.iter_mut();
        drains.filter(move |drain| is_open && drain.generation > generation)
    }

    fn below(&self, generation: u64) -> impl Iterator<Item = &Waiter> {
        self.entries
            .values()
            .filter(move |waiter| waiter.generation < generation)
    }

    /// Returns whom the end of the generations below `generation` wakes, in the order in which they are to run.
    ///
    /// Responses first: what a client reads of the old token ends with them. Clearing up after them is other
    /// tasks' part, takes longer, and would run in between.
    fn wakers_below(&self, generation: u64) -> Vec<Waker> {
        let (responses, others): (Vec<_>, Vec<_>) = self
            .below(generation)
            .partition(|waiter| matches!(waiter.used_for, Use::Call | Use::Stream));
        let in_order = responses.into_iter().chain(others);
        in_order.map(|waiter| waiter.waker.clone()).collect()
    }

    fn open_below(&self, generation: u64) -> Severed {
        let mut open = Severed::default();
        for waiter in self.below(generation) {
            match waiter.used_for {
                Use::Call => open.calls += 1,
                Use::Stream => open.streams += 1,
                Use::Watch => {}
                Use::Work => open.work += 1,
            }
        }
        open
    }
}

impl Severed {
    /// Returns how many these are together.
    pub(crate) fn total(self) -> usize {
        self.calls + self.streams + self.work
    }

    /// Returns the larger of each count.
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            calls: self.calls.max(other.calls),
            streams: self.streams.max(other.streams),
            work: self.work.max(other.work),
        }
    }
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cell")
            .field("generation", &self.generation())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold")
            .field("generation", &self.generation)
            .field("is_live", &self.is_live())
            .finish()
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("cell", &self.cell)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    fn new_cell() -> &'static Cell {
        Box::leak(Box::new(Cell::new()))
    }

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_generation_holds_until_a_higher_one_is_observed() {
        let cell = new_cell();
        cell.observe(1);
        let hold = cell.hold(1);
        assert!(hold.is_live());
        cell.observe(2);
        assert!(!hold.is_live());
    }

    #[test]
    fn responses_are_woken_before_what_clears_up_after_them() {
        struct Named(
            &'static str,
            std::sync::Arc<std::sync::Mutex<Vec<&'static str>>>,
        );
        impl Wake for Named {
            fn wake(self: std::sync::Arc<Self>) {
                self.1.lock().unwrap().push(self.0);
            }
        }
        let cell = new_cell();
        cell.observe(1);
        let hold = cell.hold(1);
        let woken = std::sync::Arc::default();
        let _registrations = [
            (Use::Work, "work"),
            (Use::Stream, "stream"),
            (Use::Watch, "watch"),
            (Use::Call, "call"),
        ]
        .map(|(used_for, name)| {
            let named = Named(name, std::sync::Arc::clone(&woken));
            hold.register(used_for, Waker::from(std::sync::Arc::new(named)))
        });
        cell.observe(2);
        assert_eq!(*woken.lock().unwrap(), ["stream", "call", "work", "watch"]);
    }

    #[test]
    fn an_older_report_that_comes_late_revives_nothing() {
        let cell = new_cell();
        cell.observe(2);
        cell.observe(1);
        assert_eq!(cell.generation(), 2);
    }

    #[test]
    fn wakes_and_counts_what_an_older_generation_left_open() {
        let cell = new_cell();
        cell.observe(1);
        let count = std::sync::Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let hold = cell.hold(1);
        let registrations = [Use::Call, Use::Stream, Use::Watch, Use::Work]
            .map(|kind| hold.register(kind, waker.clone()));
        assert_eq!(
            cell.observe(2),
            Severed {
                calls: 1,
                streams: 1,
                work: 1
            }
        );
        assert_eq!(count.0.load(Ordering::SeqCst), 4);
        assert_eq!(cell.open_below(2).total(), 3);
        let mut cx = Context::from_waker(&waker);
        assert!(cell.poll_drained(2, &mut cx).is_pending());
        drop(registrations);
        assert_eq!(cell.poll_drained(2, &mut cx), Poll::Ready(()));
        assert!(!cell.is_watched());
    }

    /// Counting a thousand streams whenever one of them leaves is what rotations spent their time on.
    #[test]
    fn who_waits_for_a_thousand_streams_is_woken_once() {
        let cell = new_cell();
        cell.observe(1);
        let hold = cell.hold(1);
        let watch = hold.register(Use::Watch, Waker::noop().clone());
        let mut streams: Vec<_> = (0..1000)
            .map(|_| hold.register(Use::Stream, Waker::noop().clone()))
            .collect();
        cell.observe(2);
        let count = std::sync::Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let mut cx = Context::from_waker(&waker);
        assert!(cell.poll_drained(2, &mut cx).is_pending());
        assert!(cell.poll_drained(2, &mut cx).is_pending());
        // A poll that was under way may yet join, and neither a listener nor who is of the new generation counts.
        streams.push(hold.register(Use::Work, Waker::noop().clone()));
        let newer = cell.hold(2).register(Use::Stream, Waker::noop().clone());
        drop(watch);
        let last = streams.pop();
        drop(streams);
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
        drop(last);
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert!(cell.poll_drained(2, &mut cx).is_ready());
        drop(newer);
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }

    /// Of two rotations at once, the later one may give up on what the earlier one waits for as well.
    #[test]
    fn who_waits_for_what_was_given_up_on_is_woken() {
        let cell = new_cell();
        cell.observe(1);
        let _stream = cell.hold(1).register(Use::Stream, Waker::noop().clone());
        cell.observe(2);
        let count = std::sync::Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        assert!(
            cell.poll_drained(2, &mut Context::from_waker(&waker))
                .is_pending()
        );
        cell.observe(3);
        cell.dismiss_below(3);
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn what_a_rotation_gave_up_on_is_not_waited_for_again() {
        let cell = new_cell();
        cell.observe(1);
        let hold = cell.hold(1);
        let [stream, watch] = [Use::Stream, Use::Watch]
            .map(|used_for| hold.register(used_for, Waker::noop().clone()));
        cell.observe(2);
        assert_eq!(cell.dismiss_below(2).streams, 1);
        assert!(stream.is_dismissed() && !watch.is_dismissed());
        assert_eq!(cell.observe(3).total(), 0);
    }

    /// As the textbook executors have it: the waker owns the task, the task what it waits with.
    #[test]
    fn a_waker_may_own_a_registration_of_the_same_cell() {
        struct Owner(#[expect(dead_code, reason = "dropped, which is all")] Registration);
        impl Wake for Owner {
            fn wake(self: std::sync::Arc<Self>) {}
        }
        let cell = new_cell();
        let hold = cell.hold(0);
        let owned = hold.register(Use::Watch, Waker::noop().clone());
        let owner = Waker::from(std::sync::Arc::new(Owner(owned)));
        let moved = hold.register(Use::Stream, owner);
        let (done, is_done) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            moved.rewake(Waker::noop());
            done.send(())
        });
        let patience = std::time::Duration::from_secs(10);
        is_done.recv_timeout(patience).expect("no deadlock");
    }

    #[test]
    fn a_registration_of_the_new_generation_is_not_waited_for() {
        let cell = new_cell();
        cell.observe(2);
        let _new = cell.hold(2).register(Use::Stream, Waker::noop().clone());
        assert_eq!(cell.open_below(2).total(), 0);
    }

    /// Otherwise whoever kept a hold of a slot that is gone would hold another one's token.
    #[test]
    fn no_hold_of_an_earlier_life_is_live_again() {
        let cell = new_cell();
        cell.observe(3);
        let earlier = cell.hold(3);
        cell.begin_new_life();
        assert!(!earlier.is_live());
        cell.observe(3);
        assert!(!earlier.is_live());
        assert!(cell.hold(3).is_live());
    }
}
