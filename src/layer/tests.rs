//! The layer, driven without a socket.
