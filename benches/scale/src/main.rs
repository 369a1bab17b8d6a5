//! What stores cost with up to a million workspaces, what a commit costs with a notification, and what nodes cost
//! their database; `docs/scaling.md` has the figures.
//!
//! ```sh
//! benches/scale/run --store sqlite
//! benches/scale/run --store postgres [--url postgres://…]
//! benches/scale/run --commits [--url postgres://…]     # PostgreSQL alone, by statements like the store's
//! benches/scale/run --nodes [--url postgres://…]
//! ```
//!
//! `--json` prints one line of JSON in place of a table; `--workspaces N` bounds the sizes, 1,000,000 by default.
//! The database is one of its own, in the temporary directory or on the server of `--url`, and is dropped at the end.
//! What is measured runs in processes of its own, which this program starts from itself, so that the memory of
//! one size is not that of the last.

mod child;
mod commits;
mod database;
mod fill;
mod meter;
mod node;
mod nodes;
mod place;
mod proxy;
mod report;
mod sizes;

use anyhow::{Context as _, bail};
use lexopt::prelude::*;
use serde_json::json;

use place::Kind;

#[derive(Debug)]
struct Arguments {
    task: Task,
    url: String,
    workspaces: usize,
    is_json: bool,
}

#[derive(Debug)]
enum Task {
    Commits,
    Nodes,
    Sizes(Kind),
}

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let mut words = std::env::args().skip(1);
    match (words.next().as_deref(), words.next()) {
        (Some(child::MEASURE), Some(place)) => return runtime.block_on(child::run(&place)),
        (Some(child::NODE), Some(place)) => return node::run(&runtime, &place),
        _ => {}
    }
    let arguments = read()?;
    let figures = runtime.block_on(async {
        match arguments.task {
            Task::Commits => commits::measure(&arguments.url).await,
            Task::Nodes => nodes::measure(&arguments.url).await,
            Task::Sizes(kind) => sizes::measure(kind, &arguments.url, arguments.workspaces).await,
        }
    })?;
    if arguments.is_json {
        println!("{}", json!({"machine": report::machine(), "rows": figures}));
    } else {
        println!("{}", report::machine());
        report::print(&figures);
    }
    Ok(())
}

fn read() -> anyhow::Result<Arguments> {
    let mut parser = lexopt::Parser::from_env();
    let (mut task, mut workspaces, mut is_json) = (None, 1_000_000, false);
    let mut url = "postgres://postgres@127.0.0.1:5432/postgres".to_owned();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("commits") => task = Some(Task::Commits),
            Long("json") => is_json = true,
            Long("nodes") => task = Some(Task::Nodes),
            Long("store") => {
                let store = parser.value()?.string()?;
                task = Some(Task::Sizes(match store.as_str() {
                    "postgres" => Kind::Postgres,
                    "sqlite" => Kind::Sqlite,
                    _ => bail!("--store is `postgres` or `sqlite`"),
                }));
            }
            Long("url") => url = parser.value()?.string()?,
            Long("workspaces") => workspaces = parser.value()?.parse()?,
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Arguments {
        task: task.context("say --store sqlite, --store postgres, --commits or --nodes")?,
        url,
        workspaces,
        is_json,
    })
}
