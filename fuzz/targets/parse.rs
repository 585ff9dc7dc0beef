//! libFuzzer's door to [`corelane_fuzz::parse`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| corelane_fuzz::parse::check(bytes));
