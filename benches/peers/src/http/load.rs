//! Load from one thread that never sleeps, over connections that stay open.
//!
//! In the closed loop a connection sends its next request when it has its answer. In the open loop requests
//! are due at even intervals, whatever the server does, and a latency counts from the moment a request was due,
//! so that a server that stalls is not spared (as in wrk2 and in oha with its correction for latency).

use std::{
    collections::VecDeque,
    io::{ErrorKind, Read as _, Write as _},
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use mio::{Events, Interest, Poll, Token, net::TcpStream};

const ANSWER: &[u8] = b"HTTP/1.1 200 ";

/// Connections to one server that wait for work.
#[derive(Debug)]
pub struct Connections {
    poll: Poll,
    events: Events,
    list: Vec<Connection>,
    request: Vec<u8>,
    /// Every answer is as long: it is the same but for the time in `Date`.
    answer_length: usize,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    received: usize,
    /// When the request that it waits for was due.
    due: Instant,
}

/// Sends `request` and returns the status and the whole answer.
///
/// # Errors
/// The connection breaks, or the answer is not understood.
pub fn ask(address: SocketAddr, request: &[u8]) -> anyhow::Result<(u16, Vec<u8>)> {
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(request)?;
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let length = stream.read(&mut piece)?;
        ensure!(length > 0, "the connection was closed");
        answer.extend_from_slice(&piece[..length]);
        if let Some(expected) = length_of(&answer)? {
            ensure!(answer.len() == expected, "there is more than the answer");
            let status = std::str::from_utf8(&answer[9..12])?.parse()?;
            return Ok((status, answer));
        }
    }
}

impl Connections {
    /// Opens `count` connections, after it was seen that `request` is answered with 200.
    ///
    /// # Errors
    /// It is not.
    pub fn open(address: SocketAddr, request: &[u8], count: usize) -> anyhow::Result<Self> {
        let (status, answer) = ask(address, request)?;
        ensure!(status == 200, "the answer is {status}");
        let poll = Poll::new()?;
        let mut list = Vec::with_capacity(count);
        for number in 0..count {
            let stream = std::net::TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry()
                .register(&mut stream, Token(number), Interest::READABLE)?;
            list.push(Connection {
                stream,
                received: 0,
                due: Instant::now(),
            });
        }
        Ok(Self {
            poll,
            events: Events::with_capacity(count),
            list,
            request: request.to_vec(),
            answer_length: answer.len(),
        })
    }

    /// Keeps every connection busy for `time` and returns how many answers there were in how long.
    ///
    /// # Errors
    /// A connection breaks, or an answer is not the expected one.
    pub fn closed_loop(&mut self, time: Duration) -> anyhow::Result<(u64, Duration)> {
        let started = Instant::now();
        for connection in &mut self.list {
            connection.send(&self.request, started)?;
        }
        let (mut answers, mut in_flight) = (0, self.list.len());
        while in_flight > 0 {
            self.poll.poll(&mut self.events, Some(Duration::ZERO))?;
            let now = Instant::now();
            for event in &self.events {
                let connection = &mut self.list[event.token().0];
                if connection.receive(self.answer_length)? {
                    answers += 1;
                    if now - started < time {
                        connection.send(&self.request, now)?;
                    } else {
                        in_flight -= 1;
                    }
                }
            }
            ensure!(
                now - started < time + PATIENCE,
                "the server has stopped answering"
            );
        }
        Ok((answers, started.elapsed()))
    }

    /// Sends `rate` requests for a second for `time` and returns the latencies in microseconds.
    ///
    /// # Errors
    /// A connection breaks, or an answer is not the expected one.
    pub fn open_loop(&mut self, rate: f64, time: Duration) -> anyhow::Result<Vec<f64>> {
        let total = (rate * time.as_secs_f64()) as u32;
        let interval = Duration::from_secs_f64(1.0 / rate);
        let mut latencies = Vec::with_capacity(total as usize);
        let mut idle: VecDeque<usize> = (0..self.list.len()).collect();
        let started = Instant::now();
        let due = |number| started + interval * number;
        let mut sent = 0;
        let mut now = started;
        while latencies.len() < total as usize && now - started < time + PATIENCE {
            while sent < total && due(sent) <= now {
                // Without an idle connection it is late, and stays due.
                let Some(place) = idle.pop_front() else { break };
                self.list[place].send(&self.request, due(sent))?;
                sent += 1;
            }
            self.poll.poll(&mut self.events, Some(Duration::ZERO))?;
            for event in &self.events {
                let place = event.token().0;
                let connection = &mut self.list[place];
                if connection.receive(self.answer_length)? {
                    latencies.push(micros(connection.due.elapsed()));
                    idle.push_back(place);
                }
            }
            now = Instant::now();
        }
        ensure!(!latencies.is_empty(), "the server does not answer");
        // What was never answered took at least until now.
        let waiting = (0..self.list.len()).filter(|place| !idle.contains(place));
        let unanswered = waiting.map(|place| self.list[place].due);
        let unanswered = unanswered.chain((sent..total).map(due));
        latencies.extend(unanswered.map(|due| micros(now.saturating_duration_since(due))));
        Ok(latencies)
    }
}

/// How long an answer may be overdue.
const PATIENCE: Duration = Duration::from_secs(5);

impl Connection {
    fn send(&mut self, request: &[u8], due: Instant) -> anyhow::Result<()> {
        self.received = 0;
        self.due = due;
        // Some hundred bytes into an empty buffer: they fit.
        let written = self.stream.write(request).context("sending")?;
        ensure!(written == request.len(), "the request was not taken whole");
        Ok(())
    }

    /// Reads what is there and returns whether the answer is complete.
    fn receive(&mut self, length: usize) -> anyhow::Result<bool> {
        let mut piece = [0; 4096];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => bail!("the connection was closed"),
                Ok(read) => {
                    let is_start = self.received == 0;
                    ensure!(
                        !is_start || piece.starts_with(ANSWER),
                        "the answer is not 200"
                    );
                    self.received += read;
                    ensure!(self.received <= length, "the answer is longer than before");
                    if self.received == length {
                        return Ok(true);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error).context("receiving"),
            }
        }
    }
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// Returns how long the answer is that begins with `start`, once its head is there.
fn length_of(start: &[u8]) -> anyhow::Result<Option<usize>> {
    let text = String::from_utf8_lossy(start);
    let Some((head, _)) = text.split_once("\r\n\r\n") else {
        return Ok(None);
    };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>())
    });
    let length = length.context("the answer has no length")??;
    let whole = head.len() + 4 + length;
    Ok((start.len() >= whole).then_some(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_how_long_an_answer_is_when_all_of_it_is_there() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        assert_eq!(length_of(answer).unwrap(), Some(answer.len()));
        for cut in [10, 37, answer.len() - 1] {
            assert_eq!(length_of(&answer[..cut]).unwrap(), None, "{cut}");
        }
        assert!(length_of(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
