//! Several nodes on one database: what a check costs with more of them, and what each costs the database.

use std::{process::Stdio, sync::Arc, time::Duration};

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::sleep,
};

use crate::{
    child::NODE,
    database::{self, Scratch, settle},
    fill::{Sample, fill},
    meter::rounded,
    place::{Kind, Place},
    proxy::{self, Counted, Counts},
};

struct Node {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    counts: Arc<Counts>,
}

pub(crate) async fn measure(url: &str) -> anyhow::Result<Vec<Value>> {
    Scratch::with(Kind::Postgres, url, async |place| {
        let sample = fill(place, WORKSPACES).await?;
        settle(place).await?;
        let mut rows = Vec::new();
        for nodes in [1, 2, 3, 6] {
            rows.push(with(nodes, place, &sample).await?);
        }
        Ok(rows)
    })
    .await
}

async fn with(number: usize, place: &Place, sample: &Sample) -> anyhow::Result<Value> {
    let mut nodes = Vec::new();
    for _ in 0..number {
        nodes.push(Node::start(place, sample).await?);
    }
    for node in &mut nodes {
        node.tell("see").await?;
        node.answer().await?;
    }
    // Until the notes of these uses are written.
    sleep(Duration::from_secs(7)).await;
    let mut row = json!({"nodes": number, "load": crate::report::load()});
    idle(&mut nodes, &mut row).await?;
    checks(&mut nodes, &mut row).await?;
    for writers in [1, 8] {
        rotations(&mut nodes, writers, &mut row).await?;
    }
    for node in nodes {
        node.stop().await?;
    }
    Ok(row)
}

async fn idle(nodes: &mut [Node], row: &mut Value) -> anyhow::Result<()> {
    let before = counted(nodes);
    let seconds = IDLE.as_secs_f64();
    sleep(IDLE).await;
    let spent = total(nodes, &before);
    let each = |number: u64| rounded(number as f64 / seconds / nodes.len() as f64);
    row["idle_statements_per_s_and_node"] = json!(each(spent.statements));
    row["idle_round_trips_per_s_and_node"] = json!(each(spent.round_trips));
    row["idle_bytes_per_s_and_node"] = json!(each(spent.bytes));
    Ok(())
}

/// All nodes check what they know, at the same time.
async fn checks(nodes: &mut [Node], row: &mut Value) -> anyhow::Result<()> {
    let before = counted(nodes);
    for node in nodes.iter_mut() {
        node.tell(&format!("check {}", CHECKS.as_millis())).await?;
    }
    let (mut done, mut asked, mut own, mut rate, mut resident) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for node in nodes.iter_mut() {
        let answer = node.answer().await?;
        let number = |name: &str| answer[name].as_f64().unwrap_or(0.0);
        done += number("done");
        asked += number("asked_store");
        own += number("own_seconds");
        rate += number("done") / number("seconds");
        resident += number("resident");
    }
    let spent = total(nodes, &before);
    row["checks"] = json!(done);
    row["checks_that_asked_the_store"] = json!(asked);
    row["checks_per_s"] = json!(rounded(rate));
    row["checks_per_cpu_s"] = json!(rounded(done / own));
    row["statements_per_s_and_node_meanwhile"] = json!(rounded(
        spent.statements as f64 / CHECKS.as_secs_f64() / nodes.len() as f64
    ));
    row["resident_bytes_each"] = json!(rounded(resident / nodes.len() as f64));
    Ok(())
}

/// The first node rotates; the others hear of it.
async fn rotations(nodes: &mut [Node], writers: usize, row: &mut Value) -> anyhow::Result<()> {
    let before = counted(nodes);
    nodes[0]
        .tell(&format!("rotate {writers} {}", ROTATIONS.as_millis()))
        .await?;
    let answer = nodes[0].answer().await?;
    let after = counted(nodes);
    let done = answer["done"].as_f64().context("a number")?;
    let seconds = answer["seconds"].as_f64().context("a number")?;
    let rotator = after[0].since(before[0]);
    let mut others = Counted::default();
    for (after, before) in after.iter().zip(&before).skip(1) {
        others.statements += after.since(*before).statements;
        others.bytes += after.since(*before).bytes;
    }
    let other_nodes = (nodes.len() - 1).max(1) as f64;
    row[format!("rotate_{writers}")] = json!({
        "per_s": rounded(done / seconds),
        "statements_of_rotator": rounded(rotator.statements as f64 / done),
        "bytes_of_rotator": rounded(rotator.bytes as f64 / done),
        "statements_of_each_other": rounded(others.statements as f64 / done / other_nodes),
        "bytes_of_each_other": rounded(others.bytes as f64 / done / other_nodes),
    });
    Ok(())
}

fn counted(nodes: &[Node]) -> Vec<Counted> {
    nodes.iter().map(|node| node.counts.now()).collect()
}

fn total(nodes: &[Node], before: &[Counted]) -> Counted {
    let mut total = Counted::default();
    for (after, before) in counted(nodes).iter().zip(before) {
        let spent = after.since(*before);
        total.statements += spent.statements;
        total.round_trips += spent.round_trips;
        total.bytes += spent.bytes;
    }
    total
}

impl Node {
    async fn start(place: &Place, sample: &Sample) -> anyhow::Result<Self> {
        let server = database::server(&place.database.parse()?)?;
        let (port, counts) = proxy::open(server).await?;
        let place = Place {
            database: database::at(&place.database, Some(port), None)?,
            ..place.clone()
        };
        let mut child = Command::new(std::env::current_exe()?)
            .args([NODE, &place.to_word()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = format!("{WORKSPACES}\n");
        for (number, token) in sample {
            lines += &format!("{number} {token}\n");
        }
        lines += "\n";
        let mut input = child.stdin.take().context("a pipe")?;
        input.write_all(lines.as_bytes()).await?;
        let output = BufReader::new(child.stdout.take().context("a pipe")?).lines();
        Ok(Self {
            child,
            input,
            output,
            counts,
        })
    }

    async fn tell(&mut self, line: &str) -> anyhow::Result<()> {
        Ok(self.input.write_all(format!("{line}\n").as_bytes()).await?)
    }

    async fn answer(&mut self) -> anyhow::Result<Value> {
        let line = self.output.next_line().await?.context("a node has ended")?;
        Ok(serde_json::from_str(&line)?)
    }

    async fn stop(mut self) -> anyhow::Result<()> {
        drop(self.input);
        self.child.wait().await?;
        Ok(())
    }
}

const WORKSPACES: usize = 5_000;

const IDLE: Duration = Duration::from_secs(10);
const CHECKS: Duration = Duration::from_secs(3);
const ROTATIONS: Duration = Duration::from_secs(2);
