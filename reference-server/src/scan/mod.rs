//! Finding tokens that have leaked: in files, in the history of a git repository, in what is about to be
//! committed.
//!
//! What a token looks like is said by the library's [`TokenLook`](tower_workspace_token::jwt::TokenLook)
//! alone; [`finder`] reads streams for it and [`rules`] writes it for other programs. A token that was found
//! is never printed, nor is it sent anywhere but to the server whose data directory is at hand.

mod finder;
mod git;
mod inventory;
pub(crate) mod rules;
mod tree;

pub(crate) use finder::Finder;
pub(crate) use git::{History, HistoryRead, staged};
pub(crate) use inventory::{Found, Inventory, Place, PlaceKind, Unreadable};
pub(crate) use tree::walk;
