//! Runs the server's `check_key_file` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| workspace_token_server::fuzzing::check_key_file(data));
