//! libFuzzer's door to [`corelane_fuzz::engine`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| corelane_fuzz::engine::check(bytes));
