//! A server in a process of its own, and how the two processes talk.
//!
//! The child prints its port and its tokens on one line. For each line that it reads afterwards it prints
//! the processor time that it has used; at the end of its input it ends.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::servers;
use crate::{
    affinity::{self, Core},
    token::World,
};

/// A running server. It is stopped when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// Where it listens, and what opens it.
    pub greeting: Greeting,
}

/// What a server says when it listens.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Greeting {
    port: u16,
    /// A token that it takes.
    pub good: String,
    /// The same with another signature.
    pub forged: String,
    /// A good token of another workspace.
    pub foreign: String,
}

impl Greeting {
    /// Returns where the server listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }
}

impl Running {
    /// Starts the server `id` of this program on `core`.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start(id: &str, core: Core) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve", id, &core.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().context("its input is a pipe")?;
        let output = child.stdout.take().context("its output is a pipe")?;
        let mut output = BufReader::new(output);
        let line = read_line(&mut output).with_context(|| format!("starting `{id}`"))?;
        Ok(Self {
            greeting: serde_json::from_str(&line)?,
            child,
            input,
            output,
        })
    }

    /// Returns the processor time that the server has used so far.
    ///
    /// # Errors
    /// It has gone away.
    pub fn processor_time(&mut self) -> anyhow::Result<Duration> {
        writeln!(self.input)?;
        let line = read_line(&mut self.output)?;
        Ok(Duration::from_nanos(line.trim().parse()?))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; there is nothing to be done about either error.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Is the server `id`, on `core`, until the parent closes the pipe or is gone.
///
/// # Errors
/// There is no such server, or it cannot listen.
pub fn run(id: &str, core: Core) -> anyhow::Result<()> {
    let world = World::new()?;
    // A thread of its own, which waits in `read` unless it is asked.
    thread::spawn(answer);
    affinity::pin(core);
    servers::serve(&world, id, |address| {
        let greeting = Greeting {
            port: address.port(),
            good: world.tokens.good.clone(),
            forged: world.tokens.forged.clone(),
            foreign: world.tokens.foreign.clone(),
        };
        println!("{}", serde_json::json!(greeting));
    })
}

fn answer() {
    for _ in io::stdin().lock().lines().map_while(Result::ok) {
        let used = clock_gettime(ClockId::ProcessCPUTime);
        let nanoseconds = used.tv_sec as u64 * 1_000_000_000 + used.tv_nsec as u64;
        println!("{nanoseconds}");
    }
    std::process::exit(0);
}

fn read_line(from: &mut impl BufRead) -> anyhow::Result<String> {
    let mut line = String::new();
    let length = from.read_line(&mut line)?;
    anyhow::ensure!(length > 0, "it has ended");
    Ok(line)
}
