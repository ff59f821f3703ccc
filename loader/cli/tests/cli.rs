//! The command line without a kernel: help, wrong usage, broken manifests, dry runs, as text.
//!
//! One file a topic in `cmd/`; rewrite them with `TRYCMD=overwrite cargo test -p loader-cli --test cli`, and read the diff.

#[test]
fn command_line() {
    trycmd::TestCases::new().case("tests/cmd/*.trycmd");
}
