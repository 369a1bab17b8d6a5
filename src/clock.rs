//! The only place that asks for the time.
//!
//! Wall-clock time ([`Timestamp`]) is for claims and records; leases and freshness use a monotonic
//! [`Moment`], so that a clock that is set back neither revives nor kills anything.

use std::{fmt, sync::Arc, time::Duration};

/// A source of time.
///
/// [`SystemClock`] is the default; tests move `ManualClock` (feature `test-util`) by hand.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Returns the wall-clock time.
    fn now(&self) -> Timestamp;

    /// Returns the monotonic time, which never goes back.
    fn moment(&self) -> Moment;

    /// Returns the wall-clock time at `moment`, which has just been asked for, where that is faster than
    /// [`now`](Self::now); it may be as of some milliseconds before.
    ///
    /// For what is checked on every request and measured in seconds: within a second of the end of what
    /// it measures, this library asks for the exact time.
    fn recent(&self, moment: Moment) -> Timestamp {
        let _ = moment;
        self.now()
    }
}

/// A wall-clock time: milliseconds since 1970-01-01T00:00:00Z, never before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

/// A point in monotonic time; means something only beside another one of the same process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

/// The clock of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Timestamp {
    /// Returns the time `milliseconds` after 1970-01-01T00:00:00Z.
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(milliseconds)
    }

    /// Returns the time `seconds` after 1970-01-01T00:00:00Z; the end of time where that overflows.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Returns the milliseconds since 1970-01-01T00:00:00Z.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Returns the whole seconds since 1970-01-01T00:00:00Z: the NumericDate of RFC 7519 §2.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// Returns the time `duration` later; the end of time where that overflows.
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(duration.as_millis().try_into().unwrap_or(u64::MAX)),
        )
    }
}

impl Moment {
    /// Returns the moment `since_start` after the clock's own start.
    pub const fn from_start(since_start: Duration) -> Self {
        Self(since_start)
    }

    /// Returns the time since the clock's own start.
    pub const fn since_start(self) -> Duration {
        self.0
    }

    pub(crate) fn as_millis(self) -> u64 {
        self.0.as_millis().try_into().unwrap_or(u64::MAX)
    }

    pub(crate) fn as_nanos(self) -> u64 {
        self.0.as_nanos().try_into().unwrap_or(u64::MAX)
    }

    /// Returns the moment `duration` later.
    pub const fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }

    /// Returns how long `earlier` is ago, or zero if it is later than `self`.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

mod system {
    use super::{Clock, Moment, SystemClock, Timestamp};
    use std::{
        sync::{
            OnceLock,
            atomic::{AtomicU64, Ordering},
        },
        time::{Instant, SystemTime, UNIX_EPOCH},
    };

    /// For how many milliseconds the two clocks are taken to go together.
    const STEADY: u64 = 10;

    /// How far the wall clock was ahead of the monotonic one when they were compared last, in milliseconds.
    static AHEAD: AtomicU64 = AtomicU64::new(0);
    /// When that was, in milliseconds of the monotonic clock; at first, never.
    static COMPARED: AtomicU64 = AtomicU64::new(u64::MAX / 2);

    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks")]
    impl Clock for SystemClock {
        fn now(&self) -> Timestamp {
            // A clock before 1970 is broken; the epoch then serves as well as any time.
            let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
            let since_epoch = since_epoch.unwrap_or_default().as_millis();
            Timestamp(since_epoch.try_into().unwrap_or(u64::MAX))
        }

        fn moment(&self) -> Moment {
            static START: OnceLock<Instant> = OnceLock::new();
            Moment(Instant::now().saturating_duration_since(*START.get_or_init(Instant::now)))
        }

        fn recent(&self, moment: Moment) -> Timestamp {
            let moment = moment.as_millis();
            if moment.wrapping_sub(COMPARED.load(Ordering::Acquire)) < STEADY {
                return Timestamp(moment.wrapping_add(AHEAD.load(Ordering::Relaxed)));
            }
            let now = self.now();
            AHEAD.store(now.0.wrapping_sub(moment), Ordering::Relaxed);
            // Last, so that whoever sees it sees what was found then, or later.
            COMPARED.store(moment, Ordering::Release);
            now
        }
    }
}

impl<C: Clock> Clock for Arc<C> {
    fn now(&self) -> Timestamp {
        C::now(self)
    }

    fn moment(&self) -> Moment {
        C::moment(self)
    }

    fn recent(&self, moment: Moment) -> Timestamp {
        C::recent(self, moment)
    }
}

#[cfg(any(test, feature = "test-util"))]
pub use manual::ManualClock;

#[cfg(any(test, feature = "test-util"))]
mod manual {
    use super::{Clock, Duration, Moment, Timestamp};
    use std::sync::atomic::{AtomicU64, Ordering};

    /// A clock that stands still until a test moves it.
    #[derive(Debug)]
    pub struct ManualClock {
        wall_millis: AtomicU64,
        monotonic_millis: AtomicU64,
        lag_millis: AtomicU64,
    }

    impl ManualClock {
        /// Starts a clock that stands at `now`.
        pub fn new(now: Timestamp) -> Self {
            Self {
                wall_millis: now.as_millis().into(),
                monotonic_millis: 0.into(),
                lag_millis: 0.into(),
            }
        }

        /// Lets [`recent`](Clock::recent) be this far behind.
        pub fn set_lag(&self, lag: Duration) {
            let lag = lag.as_millis() as u64;
            self.lag_millis.store(lag, Ordering::SeqCst);
        }

        /// Moves both the wall-clock and the monotonic time forward.
        pub fn advance(&self, duration: Duration) {
            let millis = duration.as_millis() as u64;
            self.wall_millis.fetch_add(millis, Ordering::SeqCst);
            self.monotonic_millis.fetch_add(millis, Ordering::SeqCst);
        }

        /// Sets the wall clock alone, as an administrator or NTP does; it may go back.
        pub fn set(&self, now: Timestamp) {
            self.wall_millis.store(now.as_millis(), Ordering::SeqCst);
        }
    }

    impl Clock for ManualClock {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(self.wall_millis.load(Ordering::SeqCst))
        }

        fn moment(&self) -> Moment {
            Moment::from_start(Duration::from_millis(
                self.monotonic_millis.load(Ordering::SeqCst),
            ))
        }

        fn recent(&self, _moment: Moment) -> Timestamp {
            let lag = self.lag_millis.load(Ordering::SeqCst);
            Timestamp::from_millis(self.now().as_millis().saturating_sub(lag))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monotonic_clock_does_not_go_back() {
        let earlier = SystemClock.moment();
        assert!(SystemClock.moment() >= earlier);
    }

    /// Asked twice, so that it is once told from what the first found out.
    #[test]
    fn recently_is_just_before_now() {
        for _ in 0..2 {
            let recent = SystemClock.recent(SystemClock.moment());
            let now = SystemClock.now();
            let second = Duration::from_secs(1);
            // The wall clock may be set meanwhile, but hardly by more than that.
            assert!(recent <= now.saturating_add(second) && now <= recent.saturating_add(second));
        }
    }

    /// Moments that are far apart: what was found at one says nothing of another.
    #[test]
    fn what_was_found_out_holds_for_a_moment() {
        let hour = Duration::from_secs(3600);
        let moment = SystemClock.moment();
        let now = SystemClock.recent(moment);
        assert!(SystemClock.recent(moment.saturating_add(hour)) < now.saturating_add(hour / 2));
    }

    #[test]
    fn the_end_of_time_does_not_overflow() {
        let end = Timestamp::from_secs(u64::MAX);
        assert_eq!(
            end.saturating_add(Duration::MAX),
            Timestamp::from_millis(u64::MAX)
        );
    }
}
