//! What is open on one node ends when its token is rotated on another.

use std::{
    io::Read as _,
    net::TcpStream,
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::json;

use crate::{
    LEASE, after,
    node::{Node, World},
    now,
    proxy::Network,
    sleep, turn,
};

#[test]
fn open_streams_and_waiting_calls_on_other_nodes_end() {
    let _turn = turn();
    let Some(mut world) = World::start(2, &[]) else {
        return;
    };
    println!("ended on the other node, from the return of rotate on, in ms");
    for fault in ["nothing", "the feed's connection ended", "the network held"] {
        let there = &world.nodes[1];
        let open = Open::on(there, &world);
        let mut healed = Duration::ZERO;
        let new = thread::scope(|scope| {
            match fault {
                "nothing" => {}
                "the network held" => {
                    there.proxy().set(Network::Held);
                    scope.spawn(|| {
                        sleep(LEASE * 2);
                        there.proxy().set(Network::Well);
                        healed = now();
                    });
                }
                _ => assert!(world.admin().cut(&there.name, true) > 0),
            }
            let rotate = ["token", "rotate", "--json", "--workspace", &world.workspace];
            let rotated = world.nodes[0].run(&rotate);
            let returned = now();
            (rotated["secret"].as_str().unwrap().to_owned(), returned)
        });
        let (new, returned) = (new.0, new.1.max(healed));
        let (stream, call) = open.ended();
        println!(
            "  {fault:28} stream {:8.1}  call {:8.1}",
            after(stream, returned),
            after(call, returned)
        );
        // As soon as the node hears of it: at once, or within a lease of when it can.
        assert!(stream <= returned + LEASE && call <= returned + LEASE);
        world.token = new;
        world.until_all_accept(&world.token);
    }
}

/// A stream and a call that wait, each for as long as it lasts.
struct Open {
    stream: JoinHandle<Duration>,
    call: JoinHandle<Duration>,
}

impl Open {
    fn on(node: &Node, world: &World) -> Self {
        let mut agent = node.agent(&world.workspace, &world.token);
        let session = agent.open_session();
        let mut stream = agent.listen(&session);
        let mut waiting = node.agent(&world.workspace, &world.token).patient();
        let open = Self {
            stream: thread::spawn(move || until_end(&mut stream)),
            call: thread::spawn(move || {
                let params = json!({ "name": "getTask", "arguments": { "waitSeconds": 50 } });
                let reply = waiting.request("tools/call", Some("getTask"), params);
                let ended = now();
                let reply = reply.unwrap();
                assert!(reply.body.contains("-32001"), "{reply:?}");
                ended
            }),
        };
        sleep(Duration::from_millis(300));
        assert!(!open.stream.is_finished() && !open.call.is_finished());
        open
    }

    /// Returns when each of them ended.
    fn ended(self) -> (Duration, Duration) {
        (self.stream.join().unwrap(), self.call.join().unwrap())
    }
}

fn until_end(stream: &mut TcpStream) -> Duration {
    let mut read = Vec::new();
    let mut bytes = [0; 1024];
    while !read.ends_with(b"0\r\n\r\n") {
        let length = stream.read(&mut bytes).unwrap();
        assert!(length > 0, "a clean end");
        read.extend_from_slice(&bytes[..length]);
    }
    now()
}
