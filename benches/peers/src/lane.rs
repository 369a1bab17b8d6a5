//! A lane of the race: one candidate around the trivial service, and how its time is taken.

use std::{
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use http::Request;
use peers_report::results::Group;
use tower::Service;
use tower_workspace_token::{TokenAuthority, WorkspaceId, token::PresentedToken};

use crate::{
    inner::Answer,
    request::{self, Body},
    token::forge,
};

/// How many requests are timed at once: enough for the clock not to count, few enough for the cache.
/// Where every token is to be verified, each has another one.
pub const BATCH: usize = 64;

/// A lane and what a table says about it.
#[expect(missing_debug_implementations, reason = "a lane holds closures")]
pub struct Entry {
    /// Its name on the command line, by which others name it as their base.
    pub id: String,
    /// What kind of work it does.
    pub group: Group,
    /// What it is called in a table.
    pub label: String,
    /// What has to be known beside the number.
    pub note: &'static str,
    /// Whether it is this library.
    pub ours: bool,
    /// The lane whose time is taken off, round by round; it gets requests of the same kind.
    pub base: Option<String>,
    /// How many requests are timed at once.
    pub batch: usize,
    /// Whether its requests are to reach the handler.
    pub admits: bool,
    /// Whether it looks at tokens.
    pub is_protected: bool,
    /// The candidate.
    pub lane: Box<dyn Lane>,
}

/// What runs.
pub trait Lane {
    /// Gets ready for `count` requests, untimed.
    fn prepare(&mut self, count: usize);

    /// Serves the requests that were prepared.
    fn run(&mut self) -> Sample;

    /// Shows that the candidate does its work: it admits a good token, the second time too, and neither a
    /// forged one nor `foreign`, a good one for another audience.
    ///
    /// # Errors
    /// What it did wrong.
    fn check_admission(&mut self, foreign: &str) -> Result<(), String>;
}

/// What one run came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// How long it took.
    pub elapsed: Duration,
    /// How many requests the handler answered.
    pub admitted: usize,
    /// How many requests were answered with 400 to 499.
    pub refused: usize,
}

/// Makes a service and that many requests, untimed.
pub type Make<S> = Box<dyn FnMut(usize) -> (S, Vec<Request<Body>>)>;

/// A lane that is a tower service: `ready`, `call` and `poll`, and the drop of the response, are in the time.
#[expect(missing_debug_implementations, reason = "it holds closures")]
pub struct ServiceLane<S> {
    make: Make<S>,
    prepared: Option<(S, Vec<Request<Body>>)>,
}

/// A lane that asks the authority alone, without a layer.
#[derive(Debug)]
pub struct CheckLane {
    authority: TokenAuthority,
    workspace: WorkspaceId,
    token: Vec<u8>,
    count: usize,
}

impl Entry {
    /// Makes an entry for a lane that admits its requests and is compared with nothing.
    pub fn new(id: &str, group: Group, label: &str, lane: impl Lane + 'static) -> Self {
        Self {
            id: id.to_owned(),
            group,
            label: label.to_owned(),
            note: "",
            ours: false,
            base: None,
            batch: BATCH,
            admits: true,
            is_protected: true,
            lane: Box::new(lane),
        }
    }

    /// Takes the time of the lane `base` off.
    pub fn against(mut self, base: &str) -> Self {
        self.base = Some(base.to_owned());
        self
    }

    /// Takes no other lane's time off: it does no more than the check.
    pub fn alone(mut self) -> Self {
        self.base = None;
        self
    }

    /// Times `batch` requests at once.
    pub fn in_batches_of(mut self, batch: usize) -> Self {
        self.batch = batch;
        self
    }

    /// Says what has to be known beside the number.
    pub fn noting(mut self, note: &'static str) -> Self {
        self.note = note;
        self
    }

    /// Is this library.
    pub fn of_ours(mut self) -> Self {
        self.ours = true;
        self
    }

    /// Lets everybody in, on purpose.
    pub fn unprotected(mut self) -> Self {
        self.is_protected = false;
        self
    }

    /// Refuses all of its requests.
    pub fn refusing(mut self) -> Self {
        self.admits = false;
        self
    }

    /// Looks whether the candidate does what it is raced for.
    ///
    /// # Errors
    /// What it did wrong.
    pub fn check(&mut self, foreign: &str) -> Result<(), String> {
        self.lane.prepare(2);
        let sample = self.lane.run();
        if !self.is_sound(&sample, 2) {
            return Err(format!("of its own two requests: {sample:?}"));
        }
        if self.admits && self.is_protected {
            self.lane.check_admission(foreign)?;
        }
        Ok(())
    }

    /// Returns whether each of `count` requests was answered as it has to be.
    pub fn is_sound(&self, sample: &Sample, count: usize) -> bool {
        let (admitted, refused) = if self.admits { (count, 0) } else { (0, count) };
        sample.admitted == admitted && sample.refused == refused
    }
}

impl<S> ServiceLane<S> {
    /// Makes a lane whose service is the same in every round.
    pub fn warm(service: S, mut request: impl FnMut() -> Request<Body> + 'static) -> Self
    where
        S: Clone + 'static,
    {
        Self::anew(move |count| (service.clone(), (0..count).map(|_| request()).collect()))
    }

    /// Makes a lane that sets everything up anew in every round.
    pub fn anew(make: impl FnMut(usize) -> (S, Vec<Request<Body>>) + 'static) -> Self {
        Self {
            make: Box::new(make),
            prepared: None,
        }
    }
}

impl<S: Service<Request<Body>, Response: Answer>> Lane for ServiceLane<S> {
    fn prepare(&mut self, count: usize) {
        self.prepared = Some((self.make)(count));
    }

    fn run(&mut self) -> Sample {
        let (mut service, requests) = self.prepared.take().expect("`prepare` comes first");
        serve(&mut service, requests)
    }

    fn check_admission(&mut self, foreign: &str) -> Result<(), String> {
        let (mut service, requests) = (self.make)(1);
        let good = &requests[0];
        let probes = [
            ("a good token", good.clone(), true),
            ("the same again", good.clone(), true),
            ("a forged token", request::with_token(good, forge), false),
            (
                "one for another audience",
                request::with_token(good, |_| foreign.to_owned()),
                false,
            ),
            ("a good token once more", good.clone(), true),
        ];
        for (what, probe, is_admitted) in probes {
            let sample = serve(&mut service, vec![probe]);
            if (sample.admitted, sample.refused) != (is_admitted.into(), (!is_admitted).into()) {
                return Err(format!("{what}: {sample:?}"));
            }
        }
        Ok(())
    }
}

/// Serves `requests` one after the other.
///
/// # Panics
/// A service is not ready, fails, or waits: every candidate has all it needs in memory.
// A function of its own, so that callgrind can be told to count here alone.
#[inline(never)]
pub fn serve<S>(service: &mut S, requests: Vec<Request<Body>>) -> Sample
where
    S: Service<Request<Body>, Response: Answer>,
{
    let mut context = Context::from_waker(Waker::noop());
    let mut sample = Sample::default();
    let started = Instant::now();
    for request in requests {
        assert!(
            service.poll_ready(&mut context).is_ready(),
            "it is not ready"
        );
        let Poll::Ready(answer) = pin!(service.call(request)).poll(&mut context) else {
            panic!("it waits");
        };
        let status = answer.ok().expect("it does not fail").status();
        sample.admitted += usize::from(status.is_success());
        sample.refused += usize::from(status.is_client_error());
    }
    sample.elapsed = started.elapsed();
    sample
}

impl CheckLane {
    /// Makes a lane that presents `token` for `workspace`.
    pub fn new(authority: TokenAuthority, workspace: WorkspaceId, token: &[u8]) -> Self {
        Self {
            authority,
            workspace,
            token: token.to_vec(),
            count: 0,
        }
    }
}

impl Lane for CheckLane {
    fn prepare(&mut self, count: usize) {
        self.count = count;
    }

    #[inline(never)]
    fn run(&mut self) -> Sample {
        let mut context = Context::from_waker(Waker::noop());
        let mut sample = Sample::default();
        let started = Instant::now();
        for _ in 0..self.count {
            let presented = PresentedToken::new(black_box(&self.token));
            let check = pin!(self.authority.verify(&self.workspace, presented));
            let Poll::Ready(verdict) = check.poll(&mut context) else {
                panic!("it waits");
            };
            sample.admitted += usize::from(verdict.is_ok());
            sample.refused += usize::from(verdict.is_err());
        }
        sample.elapsed = started.elapsed();
        sample
    }

    fn check_admission(&mut self, _foreign: &str) -> Result<(), String> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        inner::Handler,
        lanes::{gate::Gate, static_bearer::StaticBearer},
        token::WORKSPACE,
    };

    const GOOD: &str = "a-good-token-of-the-one-workspace";
    const FOREIGN: &str = "a-good-token-of-another-workspace";

    fn entry(service: impl Service<Request<Body>, Response: Answer> + Clone + 'static) -> Entry {
        let lane = ServiceLane::warm(service, || request::bearer(WORKSPACE, GOOD));
        Entry::new("candidate", Group::Remembered, "candidate", lane)
    }

    #[test]
    fn a_candidate_that_does_its_work_is_raced() {
        let gate = Gate::new(Handler::open(), StaticBearer::new(GOOD));
        assert_eq!(entry(gate).check(FOREIGN), Ok(()));
    }

    #[test]
    fn a_candidate_that_admits_everybody_is_not_raced() {
        let error = entry(Handler::open()).check(FOREIGN).unwrap_err();
        assert!(error.starts_with("a forged token"), "{error}");
    }

    #[test]
    fn a_candidate_that_refuses_everybody_is_not_raced() {
        let gate = Gate::new(Handler::open(), StaticBearer::new(FOREIGN));
        assert!(entry(gate).check(FOREIGN).is_err());
    }

    #[test]
    fn a_candidate_that_hands_no_identity_over_is_not_raced() {
        let gate = Gate::new(Handler::behind::<u8>(), StaticBearer::new(GOOD));
        assert!(entry(gate).check(FOREIGN).is_err());
    }

    #[test]
    fn a_lane_that_has_to_refuse_must_not_admit() {
        let gate = Gate::new(Handler::open(), StaticBearer::new(GOOD));
        assert!(entry(gate).refusing().check(FOREIGN).is_err());
    }
}
