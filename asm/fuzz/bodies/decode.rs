//! What the fuzz target of instructions does. Input: bytes, eight a slot. Next: `text.rs`.

use asm::insn::{Code, Insn, Op};
use asm::text::{assemble, print};

/// Every slot means something, even if only itself; what it means is written as these bytes, and as text that is read back.
pub(crate) fn decode(bytes: &[u8]) {
    let insns: Vec<Insn> = bytes.as_chunks::<8>().0.iter().map(|slot| Insn::from_bytes(*slot)).collect();
    let mut rest = &insns[..];
    while let Some((op, slots)) = Op::decode_lenient(rest) {
        assert_eq!(&*op.encode(), &rest[..slots], "{op} is written as other bytes");
        match Op::decode(rest) {
            Ok(strict) => assert_eq!((strict, op.row().is_some()), ((op, slots), true)),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        rest = &rest[slots..];
    }
    let code = Code { insns, ..Code::default() };
    let text = print(&code);
    let again = assemble(&text).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(again.insns, code.insns, "{text}");
}
