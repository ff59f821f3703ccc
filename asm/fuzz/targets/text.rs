//! Fuzz target: arbitrary bytes as assembly text. The body is `../bodies/text.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| asm_fuzz::text(bytes));
