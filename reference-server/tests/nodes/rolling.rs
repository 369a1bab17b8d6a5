//! Two nodes behind nginx, with the configuration that is shipped: restarted one after the other, and killed.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    agent::{Agent, Ask},
    cluster::free_port,
    node::World,
    now, number, sleep, turn, until,
};

#[test]
fn a_rolling_restart_fails_no_request() {
    let _turn = turn();
    let Some((world, nginx)) = start() else {
        return;
    };
    for round in 1..=number("WST_NODES_RESTARTS", 1) {
        let is_over = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let agent = nginx.agent(&world);
                let is_over = Arc::clone(&is_over);
                thread::spawn(move || load(agent, &is_over))
            })
            .collect();
        sleep(Duration::from_millis(500));
        let mut took = Vec::new();
        for node in &world.nodes {
            let began = now();
            node.stop();
            let stopped = now() - began;
            assert!(stopped < Duration::from_secs(5), "{stopped:?}");
            took.push(stopped);
            node.serve();
            // Longer than nginx leaves a node out.
            sleep(Duration::from_millis(2500));
        }
        is_over.store(true, Ordering::SeqCst);
        let loads = clients.into_iter().map(|client| client.join().unwrap());
        let (sent, failed) = loads.fold((0, Vec::new()), |(sent, mut all), (one, failed)| {
            all.extend(failed);
            (sent + one, all)
        });
        println!(
            "rolling restart {round}: {sent} requests, {failed:?} failed, stops took {took:?}"
        );
        assert!(sent > 100);
        assert!(failed.is_empty(), "{failed:?}\n{}", nginx.log());
    }
}

#[test]
fn a_session_whose_node_was_killed_is_opened_again_on_the_other() {
    let _turn = turn();
    let Some((world, nginx)) = start() else {
        return;
    };
    let mut agent = nginx.agent(&world);
    let session = agent.open_session();
    let ping = json!({ "jsonrpc": "2.0", "id": 7, "method": "ping" }).to_string();
    for _ in 0..20 {
        assert_eq!(agent.in_session(&session, &ping).unwrap().status, 200);
    }
    let homes: Vec<usize> = (0..2)
        .filter(|&node| {
            let mut direct = world.nodes[node].agent(&world.workspace, &world.token);
            direct = direct.with_host(&nginx.address);
            direct.in_session(&session, &ping).unwrap().status == 200
        })
        .collect();
    assert_eq!(homes.len(), 1, "a session lives on one node");
    world.nodes[homes[0]].kill();
    let answered = agent.in_session(&session, &ping).unwrap();
    assert_eq!(answered.status, 404, "{answered:?}");
    let session = agent.open_session();
    assert_eq!(agent.in_session(&session, &ping).unwrap().status, 200);
    // Clients without sessions notice nothing.
    for ask in [Ask::List, Ask::Tool] {
        assert_eq!(agent.ask(ask).unwrap().status, 200);
    }
}

/// Asks at a bounded rate until it is over; returns how many requests were sent, and what became of those that failed.
fn load(mut agent: Agent, is_over: &AtomicBool) -> (usize, Vec<String>) {
    let (mut sent, mut failed) = (0, Vec::new());
    while !is_over.load(Ordering::SeqCst) {
        let ask = if sent % 4 == 0 { Ask::Tool } else { Ask::List };
        match agent.ask(ask) {
            Ok(reply) if reply.status == 200 && reply.body.contains("\"result\"") => {}
            Ok(reply) => failed.push(format!("{} {}", reply.status, reply.body)),
            Err(error) => failed.push(error.to_string()),
        }
        sent += 1;
        sleep(BETWEEN + crate::random(BETWEEN));
    }
    (sent, failed)
}

fn start() -> Option<(World, Nginx)> {
    let port = free_port();
    let Some(program) = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"]
        .into_iter()
        .find(|program| Path::new(program).is_file())
    else {
        println!("skipped: nginx is not installed (Debian's nginx-light will do)");
        return None;
    };
    let url = format!("--public-url=http://127.0.0.1:{port}");
    let world = World::start(2, &[&url, "--trusted-proxy=127.0.0.1"])?;
    let nginx = Nginx::start(program, port, &world);
    Some((world, nginx))
}

struct Nginx {
    directory: TempDir,
    address: String,
    server: Child,
}

impl Nginx {
    /// Starts nginx with the file as shipped, but for where things are on this machine, and without TLS.
    fn start(program: &str, port: u16, world: &World) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().display();
        let shipped = include_str!("../../deploy/nginx/wst-nodes.conf");
        let mut site = String::new();
        for line in shipped.lines() {
            match line.trim() {
                "listen 443 ssl http2;" => site.push_str(&format!("listen 127.0.0.1:{port};")),
                line if line.starts_with("listen ") && line.contains("80;") => {
                    site.push_str(&format!("listen unix:{at}/plain-{}.sock;", site.len()));
                }
                line if line.starts_with("listen ") || line.starts_with("ssl_") => {}
                line => site.push_str(line),
            }
            site.push('\n');
        }
        let mut site = site
            .replace("/var/log/nginx", &at.to_string())
            .replace("error.log emerg", "error.log info");
        for (placed, node) in ["10.0.0.11:8080", "10.0.0.12:8080"]
            .iter()
            .zip(&world.nodes)
        {
            site = site.replace(placed, &node.address);
        }
        let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("{kind}_temp_path {at}/{kind};\n"))
            .collect();
        let main = format!(
            "daemon off; pid {at}/pid; error_log {at}/main.log; worker_processes 2; user {};\nevents {{}}\nhttp {{\n{paths}{site}}}\n",
            if rustix::process::geteuid().is_root() {
                "root"
            } else {
                "nobody"
            }
        );
        let file = directory.path().join("nginx.conf");
        fs::write(&file, main).unwrap();
        let server = Command::new(program)
            .arg("-c")
            .arg(&file)
            .arg("-p")
            .arg(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let nginx = Self {
            directory,
            address: format!("127.0.0.1:{port}"),
            server,
        };
        until("nginx answers", Duration::from_secs(20), || {
            let mut agent = nginx.agent(world);
            agent.ask(Ask::Tool).is_ok_and(|reply| reply.status == 200)
        });
        nginx
    }

    fn agent(&self, world: &World) -> Agent {
        Agent::new(&self.address, &world.workspace, &world.token)
    }

    fn log(&self) -> String {
        ["main.log", "wst.error.log"]
            .iter()
            .map(|name| fs::read_to_string(self.directory.path().join(name)).unwrap_or_default())
            .collect()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Ends its workers too, which SIGKILL would leave behind.
        let _gone = kill_process(Pid::from_child(&self.server), Signal::TERM);
        let _ended = self.server.wait();
        if std::thread::panicking() {
            eprintln!("--- nginx\n{}", self.log());
        }
    }
}

const CLIENTS: usize = 4;

/// Some fifty requests a second, of all clients together.
const BETWEEN: Duration = Duration::from_millis(40);
