//! Fuzz target: arbitrary bytes as instructions. The body is `../bodies/decode.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| asm_fuzz::decode(bytes));
