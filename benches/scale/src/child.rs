//! The process that measures one size: it opens the store, and sees tokens for the first time.

use std::{
    io::{BufRead as _, Write as _},
    pin::pin,
    process::{Command, Stdio},
    sync::Arc,
    task::{Context as TaskContext, Poll, Waker},
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, ensure};
use serde_json::{Map, Value, json};
use tower_workspace_token::{
    TokenAuthority, TokenName, TokenStore, WorkspaceId,
    clock::{Clock as _, SystemClock},
    id::SlotKey,
    token::PresentedToken,
};

use crate::{
    meter::{Meter, resident, rounded, together},
    place::{Place, Store, workspace},
};

/// The word that makes this program such a process.
pub(crate) const MEASURE: &str = "child-measure";
/// The word that makes it a node.
pub(crate) const NODE: &str = "child-node";

/// A token and its workspace.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) workspace: WorkspaceId,
    pub(crate) token: String,
}

/// Measures `size` rows of `place` in a process of its own.
pub(crate) fn start(
    place: &Place,
    size: usize,
    sample: &[(usize, String)],
) -> anyhow::Result<Value> {
    let mut child = Command::new(std::env::current_exe()?)
        .args([MEASURE, &place.to_word()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = format!("{size}\n");
    for (number, token) in sample {
        lines += &format!("{number} {token}\n");
    }
    child
        .stdin
        .take()
        .context("a pipe")?
        .write_all(lines.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "the process that measures failed");
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Reads what [`start`] has written, up to the end or an empty line; the first [`ROTATED`] workspaces are left out.
pub(crate) fn read_sample() -> anyhow::Result<(usize, Vec<Known>)> {
    let mut lines = std::io::stdin().lock().lines();
    let size = lines.next().context("a size")??.parse()?;
    let mut sample = Vec::new();
    for line in lines {
        let line = line?;
        let Some((number, token)) = line.split_once(' ') else {
            break;
        };
        let number: usize = number.parse()?;
        if number >= ROTATED {
            sample.push(Known {
                workspace: workspace(number),
                token: token.to_owned(),
            });
        }
    }
    Ok((size, sample))
}

pub(crate) async fn verify(authority: &TokenAuthority, known: &Known) -> anyhow::Result<()> {
    let presented = PresentedToken::new(known.token.as_bytes());
    let verified = authority.verify(&known.workspace, presented).await;
    verified.map_err(|rejection| anyhow!("a live token is refused: {rejection}"))?;
    Ok(())
}

/// Checks a token that memory should know; returns whether it did.
pub(crate) fn verify_now(authority: &TokenAuthority, known: &Known) -> bool {
    let presented = PresentedToken::new(known.token.as_bytes());
    let check = pin!(authority.verify(&known.workspace, presented));
    let mut context = TaskContext::from_waker(Waker::noop());
    matches!(check.poll(&mut context), Poll::Ready(Ok(_)))
}

pub(crate) async fn run(place: &str) -> anyhow::Result<()> {
    let place = Place::from_word(place)?;
    let (size, sample) = read_sample()?;
    let mut figures = Map::new();
    figures.insert("workspaces".into(), json!(size));
    figures.insert("tokens_seen".into(), json!(sample.len()));
    let before = resident();
    let began = Instant::now();
    let store = place.open().await?;
    let authority = store.authority(place.keys()?)?;
    figures.insert(
        "open_ms".into(),
        json!(rounded(began.elapsed().as_secs_f64() * 1e3)),
    );
    verify(&authority, &sample[0]).await?;
    figures.insert(
        "first_check_ms".into(),
        json!(rounded(began.elapsed().as_secs_f64() * 1e3)),
    );
    let opened = resident();
    figures.insert("open_bytes".into(), json!(opened - before));
    for known in &sample {
        verify(&authority, known).await?;
    }
    let seen = resident().saturating_sub(opened) / sample.len() as u64;
    figures.insert("bytes_per_token".into(), json!(seen));
    let work = Work {
        place,
        store,
        authority,
        sample: Arc::new(sample),
        size,
    };
    figures.extend(work.measure().await?);
    println!("{}", Value::Object(figures));
    Ok(())
}

struct Work {
    place: Place,
    store: Store,
    authority: TokenAuthority,
    sample: Arc<Vec<Known>>,
    size: usize,
}

impl Work {
    async fn measure(&self) -> anyhow::Result<Map<String, Value>> {
        // All connections are there before the meter asks for them.
        self.rotate(64, SLICE).await?;
        let meter = Meter::of(&self.store).await?;
        let mut figures = Map::new();
        for threads in [1, 2] {
            let figure = meter.quietest(async || self.warm(threads).await).await?;
            figures.insert(format!("warm_{threads}"), figure);
        }
        let figure = meter.quietest(async || self.read().await).await?;
        figures.insert("read".into(), figure);
        for tasks in [1, 2, 16] {
            let figure = meter.quietest(async || self.cold(tasks).await).await?;
            figures.insert(format!("cold_{tasks}"), figure);
        }
        for writers in [1, 8, 64] {
            let figure = meter
                .quietest(async || self.rotate(writers, 3 * SLICE).await)
                .await?;
            figures.insert(format!("rotate_{writers}"), figure);
        }
        for tokens in [1_000, 10_000, 100_000] {
            if tokens <= self.size {
                figures.insert(format!("touch_{tokens}_ms"), self.touch(tokens).await);
            }
        }
        Ok(figures)
    }

    async fn warm(&self, threads: usize) -> anyhow::Result<u64> {
        let hot = &self.sample[..self.sample.len().min(HOT)];
        // What a slow machine has let the lease of.
        for known in hot {
            verify(&self.authority, known).await?;
        }
        let runtime = tokio::runtime::Handle::current();
        let work = |thread: usize| {
            let _entered = runtime.enter();
            let (until, mut done) = (Instant::now() + SLICE, 0);
            // A stride that is prime to most numbers, so that neighbours in memory don't follow each other.
            for turn in (thread..).step_by(threads) {
                done += u64::from(verify_now(&self.authority, &hot[turn * 7919 % hot.len()]));
                if done.is_multiple_of(64) && Instant::now() >= until {
                    return done;
                }
            }
            done
        };
        tokio::task::block_in_place(|| {
            std::thread::scope(|scope| {
                let started: Vec<_> = (0..threads)
                    .map(|thread| scope.spawn(move || work(thread)))
                    .collect();
                let done = started.into_iter().map(|thread| thread.join());
                done.sum::<Result<u64, _>>()
                    .map_err(|_| anyhow!("a thread panicked"))
            })
        })
    }

    async fn read(&self) -> anyhow::Result<u64> {
        let (store, size) = (self.store.clone(), self.size);
        together(1, SLICE, move |_, round| {
            let store = store.clone();
            Some(async move { store.get(round * 7919 % size).await.map(drop) })
        })
        .await
    }

    async fn cold(&self, tasks: usize) -> anyhow::Result<u64> {
        let authority = self.store.authority(self.place.keys()?)?;
        let sample = Arc::clone(&self.sample);
        together(tasks, SLICE, move |task, round| {
            let place = task + round * tasks;
            let (authority, sample) = (authority.clone(), Arc::clone(&sample));
            (place < sample.len())
                .then_some(async move { verify(&authority, &sample[place]).await })
        })
        .await
    }

    /// Notes a use of so many tokens at once; returns the error if that is refused.
    async fn touch(&self, tokens: usize) -> Value {
        let now = SystemClock.now();
        let key = |number| SlotKey::new(workspace(number), TokenName::primary());
        let used: Vec<_> = (0..tokens).map(|number| (key(number), now)).collect();
        let began = Instant::now();
        let touched = match &self.store {
            Store::Postgres(store) => TokenStore::touch(store, &used).await,
            Store::Sqlite(store) => TokenStore::touch(store, &used).await,
        };
        match touched {
            Ok(()) => json!(rounded(began.elapsed().as_secs_f64() * 1e3)),
            Err(error) => json!(format!("{error:?}")),
        }
    }

    async fn rotate(&self, writers: usize, length: Duration) -> anyhow::Result<u64> {
        rotate(&self.authority, writers, length).await
    }
}

/// Rotates the slots that are kept for it, each by one writer.
pub(crate) async fn rotate(
    authority: &TokenAuthority,
    writers: usize,
    length: Duration,
) -> anyhow::Result<u64> {
    let (authority, share) = (authority.clone(), ROTATED / writers);
    together(writers, length, move |writer, round| {
        let authority = authority.clone();
        let workspace = workspace(writer * share + round % share);
        Some(async move {
            authority.rotate(&workspace, &TokenName::primary()).await?;
            Ok(())
        })
    })
    .await
}

const SLICE: Duration = Duration::from_millis(400);

/// As many tokens are hot.
const HOT: usize = 10_000;

/// The workspaces whose tokens are rotated, and never checked.
pub(crate) const ROTATED: usize = 512;
