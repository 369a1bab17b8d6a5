//! The control socket: how commands reach the server that holds the data directory.
//!
//! It serves the [API](crate::api) to the owner of the directory and to root, by the rights of the
//! file (0600 in a directory of 0700) and by the identity that the kernel vouches for.

mod client;
mod server;

pub(crate) use client::ControlClient;
pub(crate) use server::ControlSocket;
