//! `wst doctor`.
