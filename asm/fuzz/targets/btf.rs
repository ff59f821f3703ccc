//! Fuzz target: arbitrary bytes as `.BTF` and `.BTF.ext`. The body is `../bodies/btf.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| asm_fuzz::btf(bytes));
