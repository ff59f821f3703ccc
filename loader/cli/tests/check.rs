//! `loader check` by a kernel's types: the committed BTF is what its text says. The answers are in `cmd/check.trycmd`.

use std::path::Path;

/// `UPDATE_BTF=1` writes the file anew.
#[test]
fn the_tiny_kernel_is_what_its_text_says() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cmd/check.in");
    let text = std::fs::read_to_string(dir.join("tiny.s")).expect("its text");
    let object = asm::text::parse("tiny.s", &text).expect("it assembles").object().write().expect("an object");
    let spec = loader::Spec::parse(&object).expect("it can be read");
    let btf = spec.btf.expect("types").as_bytes().to_vec();
    if std::env::var_os("UPDATE_BTF").is_some() {
        std::fs::write(dir.join("tiny.btf"), &btf).expect("written");
    }
    assert!(std::fs::read(dir.join("tiny.btf")).expect("tiny.btf") == btf, "tiny.btf is not the BTF of tiny.s");
}
