//! The manual: what the pages of single items do not say, a chapter each.
//!
//! - [`threats`]: who is kept from what, and where the promises end.
//! - [`keys`]: making, storing and changing them.
//! - [`rotation`]: what happens when a token is rotated, and what an application does about it.
//! - [`query_tokens`]: tokens in the address, and how to live with them.
//! - [`defaults`]: every default, and why it is not the other thing.
//! - [`testing`]: testing an application that has the layer.

#[doc = include_str!("defaults.md")]
pub mod defaults {}

#[doc = include_str!("keys.md")]
pub mod keys {}

#[doc = include_str!("query_tokens.md")]
pub mod query_tokens {}

#[doc = include_str!("rotation.md")]
pub mod rotation {}

#[doc = include_str!("testing.md")]
pub mod testing {}

#[doc = include_str!("threats.md")]
pub mod threats {}
