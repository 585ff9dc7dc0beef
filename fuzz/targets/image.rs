//! libFuzzer's door to [`corelane_fuzz::image`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| corelane_fuzz::image::check(bytes));
