//! What the fuzz target of BTF does with arbitrary bytes; `asm/tests/btf.rs` runs the same. Next: `elf.rs`.

use std::sync::Arc;

use asm::btf::{Btf, BtfBuilder, BtfExt};

/// Reads bytes as `.BTF`, asks everything there is to ask, and writes it again: what can be read must survive that.
pub(crate) fn btf(bytes: &[u8]) {
    let Ok(btf) = Btf::parse(bytes) else { return };
    let _ = btf.check();
    ask(&btf);
    let mut b = BtfBuilder::new();
    let mut whole = true;
    for ty in btf.types() {
        match ty {
            Ok((_, ty)) => drop(b.push(ty)),
            Err(_) => whole = false,
        }
    }
    if let (true, Ok(bytes)) = (whole, b.encode()) {
        let again = Btf::parse(&bytes).expect("what was written can be read");
        assert!(again.types().eq(btf.types()), "written and read again, types differ");
    }
    if let Ok(split) = Btf::parse_split(bytes, Arc::new(btf.clone())) {
        ask(&split);
        assert!(btf.ids().all(|id| split.get(id) == btf.get(id)), "a base is the same from above");
    }
}

/// Every question, for every type.
fn ask(btf: &Btf<'_>) {
    for id in btf.ids() {
        let _ = btf.get(id);
        let _ = btf.size_of(id);
        let Ok(name) = btf.name(id).map(str::to_owned) else { continue };
        assert!(name.is_empty() || btf.find_name(&name).any(|found| found == id), "{id} is not found by its name");
    }
    let mut text = String::new();
    let _ = std::fmt::Write::write_fmt(&mut text, format_args!("{btf}"));
}

/// Reads bytes as `.BTF.ext` and writes them again.
pub(crate) fn ext(bytes: &[u8]) {
    let Ok(ext) = BtfExt::parse(bytes) else { return };
    let bytes = ext.encode().expect("what was read can be written");
    assert_eq!(BtfExt::parse(&bytes).as_ref(), Ok(&ext));
}
