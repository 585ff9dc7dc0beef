//! libFuzzer's door to [`corelane_fuzz::reply`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| corelane_fuzz::reply::check(bytes));
