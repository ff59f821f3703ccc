//! What the fuzz target of objects does. Input: bytes, as a file that somebody hands to the loader. Next: `../tests/campaign.rs`.

use loader::Spec;

/// Reads an object, prints what it says, and writes it as assembly text. That text need not assemble (an object may have names that
/// no text has), but its mistakes are reported like anybody's.
pub(crate) fn elf(bytes: &[u8]) {
    let spec = match Spec::parse(bytes) {
        Ok(spec) => spec,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let insns: usize = spec.funcs.iter().map(|func| func.insns.len()).sum();
    let contents: usize = spec.maps.iter().filter_map(|map| map.contents.as_ref()).map(Vec::len).sum();
    assert!(insns * 8 <= bytes.len(), "{insns} slots of {} bytes", bytes.len());
    assert!(contents <= bytes.len().max(1 << 16), "{contents} bytes of data of {} bytes", bytes.len());
    assert!(!spec.to_string().is_empty());
    super::text::text(&loader::disasm::disasm(&spec, true));
}
