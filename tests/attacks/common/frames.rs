//! HTTP/2 frame by frame (RFC 9113), for what no client library would send.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;

/// A frame of `kind`.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A header block: each field a literal, with its own name and without Huffman's code (RFC 7541 §6.2.2).
pub(crate) fn block(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            length(&mut block, text.len());
            block.extend(*text);
        }
    }
    block
}

/// An integer of a seven-bit prefix (RFC 7541 §5.1).
fn length(block: &mut Vec<u8>, length: usize) {
    if length < 127 {
        block.push(length as u8);
        return;
    }
    block.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        block.push(rest as u8 | 128);
        rest /= 128;
    }
    block.push(rest as u8);
}

/// Writes `frames` behind a preface and returns the status of the first answer; `None` if there is none,
/// since the stream was reset or the connection closed.
pub(crate) async fn status(address: SocketAddr, frames: &[u8]) -> Option<u16> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let opening = [PREFACE, &frame(SETTINGS, 0, 0, b""), frames].concat();
    // What closes while it is written to has refused.
    let _ = stream.write_all(&opening).await;
    timeout(Duration::from_secs(20), first_status(&mut stream))
        .await
        .expect("an answer, a reset or an end in time")
}

async fn first_status(stream: &mut TcpStream) -> Option<u16> {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await.ok()?;
        match head[3] {
            RST_STREAM | GOAWAY => return None,
            HEADERS => return Some(status_of(&payload)),
            _ => {}
        }
    }
}

/// Reads `:status`, the first field of every answer, of those that the static table has (RFC 7541, appendix A).
fn status_of(block: &[u8]) -> u16 {
    match *block {
        [0x88, ..] => 200,
        [0x8c, ..] => 400,
        [0x8d, ..] => 404,
        [0x8e, ..] => 500,
        _ => panic!("another status: {block:02x?}"),
    }
}
