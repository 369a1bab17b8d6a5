//! The comparison: every server under load once in every round, in an order drawn anew.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use peers_report::results::{HttpResults, HttpRow, NotRaced};

use super::{
    child::Running,
    load::{Connections, ask},
    servers::{BARE, SERVERS, Server},
    wrk::Wrk,
};
use crate::{
    affinity::{self, Core},
    provenance,
    request::wire,
    stats::{median, quantile},
};

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How many rounds.
    pub rounds: usize,
    /// How long a server is under load in the closed loop, and as long again in the open one.
    pub time: Duration,
    /// How many connections stay open.
    pub connections: usize,
    /// Whether wrk makes the load of the closed loop where it is installed.
    pub with_wrk: bool,
}

/// Before each measurement, so that every server begins it alike.
const WARM_UP: Duration = Duration::from_millis(100);

/// How often the bare server is measured to find the rate of the open loop.
const CALIBRATIONS: usize = 3;

struct Contender {
    server: &'static Server,
    running: Running,
    rounds: Vec<Round>,
}

/// What one server came to in one round.
#[derive(Clone, Copy)]
struct Round {
    rate: f64,
    /// Processor time of the server for a request, in nanoseconds.
    cpu: f64,
    /// In microseconds.
    p99: f64,
}

/// Measures.
///
/// # Errors
/// There is one core only, or a server goes away.
pub fn compare(settings: Settings) -> anyhow::Result<HttpResults> {
    let provenance = provenance::provenance();
    let cores = affinity::cores();
    ensure!(cores.len() > 1, "server and load need a core each");
    let (server_core, load_core) = (cores[0], cores[1]);
    // wrk inherits it.
    affinity::pin(load_core);
    let wrk = settings.with_wrk.then(Wrk::find).flatten();
    let (mut contenders, not_raced) = start(server_core)?;

    let bare = place_of(&contenders, BARE).context("the bare server does not answer")?;
    let mut peaks = Vec::new();
    for _ in 0..CALIBRATIONS {
        peaks.push(closed_loop(&mut contenders[bare], settings, wrk.as_ref())?.0);
    }
    let open_loop_rate = median(peaks).median / 2.0;

    let mut order: Vec<usize> = (0..contenders.len()).collect();
    for round in 1..=settings.rounds {
        fastrand::shuffle(&mut order);
        for &place in &order {
            let contender = &mut contenders[place];
            let (rate, cpu) = closed_loop(contender, settings, wrk.as_ref())
                .with_context(|| contender.server.id)?;
            let p99 = open_loop(contender, settings, open_loop_rate)
                .with_context(|| contender.server.id)?;
            contender.rounds.push(Round { rate, cpu, p99 });
        }
        eprintln!("round {round} of {}", settings.rounds);
    }
    let rows = contenders
        .iter()
        .map(|contender| row(contender, &contenders));
    Ok(HttpResults {
        provenance,
        rounds: settings.rounds,
        load: wrk
            .as_ref()
            .map_or("this package's own loop", Wrk::version)
            .to_owned(),
        connections: settings.connections,
        open_loop_rate,
        rows: rows.collect::<anyhow::Result<_>>()?,
        not_raced,
    })
}

/// Starts every server and looks whether it does its work.
fn start(core: Core) -> anyhow::Result<(Vec<Contender>, Vec<NotRaced>)> {
    let (mut contenders, mut not_raced) = (Vec::new(), Vec::new());
    for server in SERVERS {
        let running = Running::start(server.id, core)?;
        match check(server, &running) {
            Ok(()) => contenders.push(Contender {
                server,
                running,
                rounds: Vec::new(),
            }),
            Err(error) => not_raced.push(NotRaced {
                label: server.label.to_owned(),
                reason: format!("{error:#}"),
            }),
        }
    }
    contenders.retain(|contender| {
        let is_there = |failed: &NotRaced| failed.label != contender.server.label;
        not_raced.iter().all(is_there)
    });
    Ok((contenders, not_raced))
}

fn check(server: &Server, running: &Running) -> anyhow::Result<()> {
    let greeting = &running.greeting;
    let address = greeting.address();
    let tokens = [
        ("a good token", &greeting.good, true),
        ("the same again", &greeting.good, true),
        ("a forged token", &greeting.forged, !server.is_protected),
        (
            "one for another audience",
            &greeting.foreign,
            !server.is_protected,
        ),
    ];
    for (what, token, is_admitted) in tokens {
        let (status, _) = ask(address, &wire(&address.to_string(), token))?;
        let is_right = if is_admitted {
            status == 200
        } else {
            (400..500).contains(&status)
        };
        ensure!(is_right, "{what} is answered with {status}");
    }
    Ok(())
}

/// Returns requests for a second, and nanoseconds of the server's processor time for one.
fn closed_loop(
    contender: &mut Contender,
    settings: Settings,
    wrk: Option<&Wrk>,
) -> anyhow::Result<(f64, f64)> {
    let greeting = contender.running.greeting.clone();
    let address = greeting.address();
    let mut connections = connect(contender, settings)?;
    connections.closed_loop(WARM_UP)?;
    let before = contender.running.processor_time()?;
    let (answers, time) = match wrk {
        None => connections.closed_loop(settings.time)?,
        Some(wrk) => {
            wrk.closed_loop(address, &greeting.good, settings.connections, settings.time)?
        }
    };
    let used = contender.running.processor_time()? - before;
    let answers = answers as f64;
    Ok((
        answers / time.as_secs_f64(),
        used.as_nanos() as f64 / answers,
    ))
}

/// Returns the 99th percentile of the latencies, in microseconds.
fn open_loop(contender: &Contender, settings: Settings, rate: f64) -> anyhow::Result<f64> {
    let mut connections = connect(contender, settings)?;
    connections.open_loop(rate, WARM_UP)?;
    let mut latencies = connections.open_loop(rate, settings.time)?;
    Ok(quantile(&mut latencies, 0.99))
}

fn connect(contender: &Contender, settings: Settings) -> anyhow::Result<Connections> {
    let greeting = &contender.running.greeting;
    let address = greeting.address();
    let request = wire(&address.to_string(), &greeting.good);
    Connections::open(address, &request, settings.connections)
}

fn row(contender: &Contender, contenders: &[Contender]) -> anyhow::Result<HttpRow> {
    let Server {
        id,
        label,
        ours,
        base,
        ..
    } = *contender.server;
    let place = place_of(contenders, base).with_context(|| format!("`{base}` was not raced"))?;
    let pairs = || contender.rounds.iter().zip(&contenders[place].rounds);
    let against =
        |value: fn(&Round) -> f64| median(pairs().map(|(a, b)| value(a) / value(b)).collect());
    let plain = |value: fn(&Round) -> f64| median(contender.rounds.iter().map(value).collect());
    Ok(HttpRow {
        id: id.to_owned(),
        label: label.to_owned(),
        ours,
        base: base.to_owned(),
        requests_per_second: plain(|round| round.rate),
        throughput: against(|round| round.rate),
        cpu: against(|round| round.cpu),
        p99_us: plain(|round| round.p99),
        p99: against(|round| round.p99),
    })
}

fn place_of(contenders: &[Contender], id: &str) -> Option<usize> {
    contenders
        .iter()
        .position(|contender| contender.server.id == id)
}
