//! Writes the list of all cases, `cases/README.md`.
//!
//! Input: `cases/`. Output: that file. Read next: `../src/index.rs`.
#![forbid(unsafe_code)]

use std::io;
use std::path::Path;

fn main() -> io::Result<()> {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    std::fs::write(cases.join("README.md"), verifier_tests::index(&cases)?)
}
