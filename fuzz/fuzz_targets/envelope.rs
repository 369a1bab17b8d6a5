//! Runs `envelope::check` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| workspace_token_fuzz::envelope::check(data));
