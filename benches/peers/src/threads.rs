//! Two threads against one: what a candidate loses by what its threads share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use http::Request;
use peers_report::results::ThreadRow;
use tower::Service;

use crate::{
    affinity::{self, Core},
    inner::{Answer, Handler},
    lane::serve,
    lanes::{
        cached::{self, Remembered},
        gate::Gate,
        ours,
    },
    request::{self, Body},
    stats::median,
    token::{Claims, Resident, WORKSPACE, World, authority},
};

/// How many tokens there are where there is not one.
const MANY: usize = 10_000;

/// How many requests a thread serves in one go: enough for a common start not to count.
const BATCH: usize = 512;

const WARM_UP: usize = 64;

/// How often each token is presented beforehand, on average.
const SIGHTINGS: usize = 12;

/// A candidate, and how it does in one round.
struct Contender {
    label: &'static str,
    ours: bool,
    tokens: usize,
    round: Box<dyn Fn([Core; 2]) -> f64>,
    ratios: Vec<f64>,
}

type Requests = Arc<dyn Fn() -> Request<Body> + Send + Sync>;

/// Measures for `time`; nothing on a machine with a single core.
pub fn measure(world: &World, time: Duration) -> Vec<ThreadRow> {
    let &[one, other, ..] = &affinity::cores()[..] else {
        return Vec::new();
    };
    let mut contenders = contenders(world);
    let started = Instant::now();
    while contenders[0].ratios.is_empty() || started.elapsed() < time {
        fastrand::shuffle(&mut contenders);
        for contender in &mut contenders {
            contender.ratios.push((contender.round)([one, other]));
        }
    }
    contenders.sort_by_key(|contender| (contender.tokens, !contender.ours, contender.label));
    let row = |contender: Contender| ThreadRow {
        label: contender.label.to_owned(),
        ours: contender.ours,
        tokens: contender.tokens,
        ratio: median(contender.ratios),
    };
    contenders.into_iter().map(row).collect()
}

fn contenders(world: &World) -> Vec<Contender> {
    let behind = Handler::behind::<Arc<Claims>>();
    let key = &world.peer_key;
    let same = world.tokens.good.clone();
    let same: Requests = Arc::new(move || request::bearer(WORKSPACE, &same));
    let tokens = world.tokens_of_one_workspace(MANY);
    let many: Requests =
        Arc::new(move || request::bearer(WORKSPACE, &tokens[fastrand::usize(..MANY)]));

    let checker = authority(Default::default(), &world.keys);
    let residents = world.tokens_of_many(&checker, MANY);
    let by_host = ours::by_host(&checker, ours::handler());
    ours::warm_up(world, &by_host, &residents);
    let of_many: Requests =
        Arc::new(move || Resident::request(&residents[fastrand::usize(..MANY)]));

    let mut contenders = vec![
        contender(
            "Bearer, one workspace",
            1,
            ours::fixed(world, ours::handler()),
            &same,
        )
        .of_ours(),
        contender("Bearer, workspace by host", MANY, by_host, &of_many).of_ours(),
    ];
    for (tokens, requests) in [(1, &same), (MANY, &many)] {
        contenders.extend([
            contender("no layer", tokens, Handler::open(), requests),
            contender(
                "jsonwebtoken + moka 0.12",
                tokens,
                Gate::new(behind, Remembered::new(cached::moka(), key)),
                requests,
            ),
            contender(
                "jsonwebtoken + dashmap 6",
                tokens,
                Gate::new(behind, Remembered::new(dashmap::DashMap::new(), key)),
                requests,
            ),
            contender(
                "jsonwebtoken + `RwLock<HashMap>`",
                tokens,
                Gate::new(behind, Remembered::new(cached::locked(), key)),
                requests,
            ),
        ]);
    }
    contenders
}

fn contender<S>(label: &'static str, tokens: usize, service: S, requests: &Requests) -> Contender
where
    S: Service<Request<Body>, Response: Answer> + Clone + Send + Sync + 'static,
{
    let requests = Arc::clone(requests);
    // Until whoever remembers tokens has most likely seen each of them.
    for _ in 0..SIGHTINGS {
        serve(
            &mut service.clone(),
            (0..tokens).map(|_| requests()).collect(),
        );
    }
    Contender {
        label,
        ours: false,
        tokens,
        round: Box::new(move |cores| scaling(&service, &requests, cores)),
        ratios: Vec::new(),
    }
}

impl Contender {
    fn of_ours(mut self) -> Self {
        self.ours = true;
        self
    }
}

/// Returns the throughput of two threads as a multiple of that of one.
fn scaling<S>(service: &S, requests: &Requests, cores: [Core; 2]) -> f64
where
    S: Service<Request<Body>, Response: Answer> + Clone + Send + Sync,
{
    // Each core by itself first: they need not be alike.
    let alone = cores.map(|core| throughput(service, requests, &[core]));
    let together = throughput(service, requests, &cores);
    together / (alone.iter().sum::<f64>() / 2.0)
}

/// Returns the requests for a nanosecond of one thread on each of `cores`, all at once.
fn throughput<S>(service: &S, requests: &Requests, cores: &[Core]) -> f64
where
    S: Service<Request<Body>, Response: Answer> + Clone + Send + Sync,
{
    let waiting = AtomicUsize::new(cores.len());
    let serve_on = |core: Core| {
        affinity::pin(core);
        let mut service = service.clone();
        let batch = |count| (0..count).map(|_| requests()).collect();
        serve(&mut service, batch(WARM_UP));
        let prepared = batch(BATCH);
        waiting.fetch_sub(1, Ordering::AcqRel);
        while waiting.load(Ordering::Acquire) > 0 {
            std::hint::spin_loop();
        }
        let sample = serve(&mut service, prepared);
        assert_eq!(sample.admitted, BATCH);
        BATCH as f64 / sample.elapsed.as_nanos() as f64
    };
    let serve_on = &serve_on;
    thread::scope(|scope| {
        let threads: Vec<_> = cores
            .iter()
            .map(|&core| scope.spawn(move || serve_on(core)))
            .collect();
        let rates = threads
            .into_iter()
            .map(|thread| thread.join().expect("it has not panicked"));
        rates.sum()
    })
}
