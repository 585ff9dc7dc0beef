//! libFuzzer's door to [`corelane_fuzz::round_trip`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| corelane_fuzz::round_trip::check(bytes));
