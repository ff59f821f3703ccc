//! What rustc says of kernel programs that the verifier would refuse, as the author reads it.
//!
//! Input: `ui/*.rs`, a page a promise. Output: `ui/*.stderr`; `TRYBUILD=overwrite cargo test -p asm --test ui` rewrites them, for the
//! toolchain that this repository is developed with. Read next: `dsl.rs`, what the language can say.

#[test]
fn unsafe_programs_do_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
