//! Stopping: soon, cleanly, and with nothing left undone.

use std::{io::Write as _, time::Duration};

use rustix::process::Signal;

use crate::common::Home;

#[test]
fn stops_on_either_signal_at_once_if_nothing_is_open() {
    for signal in [Signal::TERM, Signal::INT] {
        let home = Home::new();
        let (code, took) = home.serve().stop(signal);
        assert_eq!(code, Some(0));
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
}

#[test]
fn stops_within_five_seconds_whatever_clients_do() {
    let home = Home::new();
    let server = home.serve();
    let workspace = home.create_workspace("acme");
    let silent = server.connect();
    let mut half_sent = server.connect();
    half_sent.write_all(b"POST /mcp HTTP/1.1\r\nho").unwrap();
    let mut idle = server.connect();
    let request = format!("GET /livez HTTP/1.1\r\nhost: {}\r\n\r\n", server.address());
    idle.write_all(request.as_bytes()).unwrap();
    let mut without_its_body = server.connect();
    let request = format!(
        "POST /mcp/{} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{{",
        workspace.id,
        server.address(),
        workspace.secret
    );
    without_its_body.write_all(request.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let (code, took) = server.stop(Signal::TERM);
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(5), "{took:?}");
    drop((silent, half_sent, idle, without_its_body));
    // The directory is free again.
    drop(home.serve());
}
