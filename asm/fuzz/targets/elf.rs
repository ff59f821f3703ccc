//! Fuzz target: arbitrary bytes as an object file. The body is `../bodies/elf.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| asm_fuzz::elf(bytes));
