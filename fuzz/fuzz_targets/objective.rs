#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kleym_fuzz::quickly(data, kleym_fuzz::objective));
