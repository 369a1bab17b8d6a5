//! Runs the server's `check_config` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| workspace_token_server::fuzzing::check_config(data));
