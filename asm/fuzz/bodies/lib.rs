//! What the fuzz targets do with arbitrary bytes. Reaching the end is passing: nothing may panic, hang, or allocate more than
//! its input explains.
//!
//! Input: bytes, from a fuzzer or from `../tests/campaign.rs`, which runs the same bodies on stable Rust in every CI run.
//! Output: nothing. Next: `decode.rs`, `text.rs`, `btf.rs`, `elf.rs`.

#![forbid(unsafe_code)]

mod btf;
mod decode;
mod elf;
mod text;

/// Bytes as instructions: decoded, printed, read again.
pub fn decode(bytes: &[u8]) {
    decode::decode(bytes);
}

/// Bytes as assembly text, in both languages, as a snippet and as a file. What is not UTF-8 is replaced.
pub fn text(bytes: &[u8]) {
    text::text(&String::from_utf8_lossy(bytes));
}

/// Bytes as `.BTF`, and as `.BTF.ext`.
pub fn btf(bytes: &[u8]) {
    btf::btf(bytes);
    btf::ext(bytes);
}

/// Bytes as an object file: read by the loader, and written as text.
pub fn elf(bytes: &[u8]) {
    elf::elf(bytes);
}
