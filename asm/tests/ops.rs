//! Every operation, three ways: value, text, bytes. LLVM's opinion is asked in `llvm.rs`.

mod samples;

use asm::insn::{Insn, Op};
use asm::text::assemble;
use samples::samples;
use zerocopy::IntoBytes as _;

/// One operation a line of this table: text, bytes.
const GOLDEN: &[(&str, &str)] = &[
    ("r1 += 5", "07 01 00 00 05 00 00 00"),
    ("w1 += w2", "0c 21 00 00 00 00 00 00"),
    ("r1 s/= r2", "3f 21 01 00 00 00 00 00"),
    ("w3 s%= -4", "94 03 01 00 fc ff ff ff"),
    ("r1 s>>= 3", "c7 01 00 00 03 00 00 00"),
    ("r5 = -r5", "87 05 00 00 00 00 00 00"),
    ("r1 = (s8)r2", "bf 21 08 00 00 00 00 00"),
    ("w1 = (s16)w2", "bc 21 10 00 00 00 00 00"),
    ("r1 = be16 r1", "dc 01 00 00 10 00 00 00"),
    ("r1 = le64 r1", "d4 01 00 00 40 00 00 00"),
    ("r1 = bswap32 r1", "d7 01 00 00 20 00 00 00"),
    ("r1 = addr_space_cast(r2, 1, 0)", "bf 21 01 00 00 00 01 00"),
    ("r1 = 0x100000007 ll", "18 01 00 00 07 00 00 00 00 00 00 00 01 00 00 00"),
    ("r1 = map[fd:7] ll", "18 11 00 00 07 00 00 00 00 00 00 00 00 00 00 00"),
    ("r1 = map[fd:7][0]+4 ll", "18 21 00 00 07 00 00 00 00 00 00 00 04 00 00 00"),
    ("r1 = btf[id:5] ll", "18 31 00 00 05 00 00 00 00 00 00 00 00 00 00 00"),
    ("r1 = btf[id:5 fd:3] ll", "18 31 00 00 05 00 00 00 00 00 00 00 03 00 00 00"),
    ("r1 = subprog[+6] ll", "18 41 00 00 06 00 00 00 00 00 00 00 00 00 00 00"),
    ("r1 = map[idx:2] ll", "18 51 00 00 02 00 00 00 00 00 00 00 00 00 00 00"),
    ("r1 = map[idx:2][0]+4 ll", "18 61 00 00 02 00 00 00 00 00 00 00 04 00 00 00"),
    ("r1 = *(u32 *)(r6 + 0)", "61 61 00 00 00 00 00 00"),
    ("r1 = *(s16 *)(r10 - 8)", "89 a1 f8 ff 00 00 00 00"),
    ("*(u8 *)(r10 - 1) = 128", "72 0a ff ff 80 00 00 00"),
    ("*(u64 *)(r1 + 8) = r2", "7b 21 08 00 00 00 00 00"),
    ("lock *(u64 *)(r1 + 0) += r2", "db 21 00 00 00 00 00 00"),
    ("w2 = atomic_fetch_or((u32 *)(r1 + 4), w2)", "c3 21 04 00 41 00 00 00"),
    ("r2 = xchg_64(r1 + 4, r2)", "db 21 04 00 e1 00 00 00"),
    ("w0 = cmpxchg32_32(r1 + 4, w0, w2)", "c3 21 04 00 f1 00 00 00"),
    ("r1 = load_acquire((u64 *)(r2 + 4))", "db 21 04 00 00 01 00 00"),
    ("store_release((u16 *)(r1 + 4), w2)", "cb 21 04 00 10 01 00 00"),
    ("r0 = *(u16 *)skb[12]", "28 00 00 00 0c 00 00 00"),
    ("r0 = *(u8 *)skb[r7 + 14]", "50 70 00 00 0e 00 00 00"),
    ("goto -3", "05 00 fd ff 00 00 00 00"),
    ("gotol +70000", "06 00 00 00 70 11 01 00"),
    ("gotox r3", "0d 03 00 00 00 00 00 00"),
    ("if r3 > r2 goto +1", "2d 23 01 00 00 00 00 00"),
    ("if w1 s<= -5 goto -2", "d6 01 fe ff fb ff ff ff"),
    ("if r1 & 6 goto +0", "45 01 00 00 06 00 00 00"),
    ("may_goto +4", "e5 00 04 00 00 00 00 00"),
    ("call bpf_map_lookup_elem", "85 00 00 00 01 00 00 00"),
    ("call 9999", "85 00 00 00 0f 27 00 00"),
    ("call pc+8", "85 10 00 00 08 00 00 00"),
    ("call kfunc[77]", "85 20 00 00 4d 00 00 00"),
    ("call kfunc[77 btf:1]", "85 20 01 00 4d 00 00 00"),
    ("callx r3", "8d 03 00 00 00 00 00 00"),
    ("exit", "95 00 00 00 00 00 00 00"),
    (".insn 0xff, 1, 2, 3, -4", "ff 21 03 00 fc ff ff ff"),
];

fn hex(insns: &[Insn]) -> String {
    insns.as_bytes().iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ")
}

#[test]
fn value_text_and_bytes_agree() {
    for (text, bytes) in GOLDEN {
        let code = assemble(text).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(hex(&code.insns), *bytes, "{text}");
        let (op, _) = Op::decode_lenient(&code.insns).unwrap();
        assert_eq!(op.to_string(), *text);
    }
}

#[test]
fn what_others_write_differently_is_read() {
    let table = [
        ("r1 = *(u32 *)(r1 +4)", "r1 = *(u32 *)(r1 + 4)"),
        ("r1 = *(u32*)(r1)", "r1 = *(u32 *)(r1 + 0)"),
        ("w1 = *(u8 *)(r1 - 4)", "r1 = *(u8 *)(r1 - 4)"),
        ("*(u32 *)(r1 + 0) = w2", "*(u32 *)(r1 + 0) = r2"),
        ("(b7) r0 = 0x10", "r0 = 16"),
        ("5: (85) call bpf_ktime_get_ns#5", "call bpf_ktime_get_ns"),
        ("if r1 != 0x2 goto pc+3", "if r1 != 2 goto +3"),
        ("goto pc-3", "goto -3"),
        ("r0 = atomic64_cmpxchg((u64 *)(r1 +8), r0, r2)", "r0 = cmpxchg_64(r1 + 8, r0, r2)"),
        ("r2 = atomic_xchg((u32 *)(r1 +8), r2)", "w2 = xchg32_32(r1 + 8, w2)"),
        ("r2 = atomic64_fetch_add((u64 *)(r1 +8), r2)", "r2 = atomic_fetch_add((u64 *)(r1 + 8), r2)"),
        ("ld_pseudo r1, 2, 7", "r1 = map[fd:7][0]+0 ll"),
        ("ld_pseudo r1, 2, 7, 12", "r1 = map[fd:7][0]+12 ll"),
        ("r1 = -5 ll", "r1 = 0xfffffffffffffffb ll"),
        ("w1 = 0xffffffff", "w1 = -1"),
        ("*(u32 *)(r1 + 0) = 0xffffffff", "*(u32 *)(r1 + 0) = -1"),
        ("call map_lookup_elem", "call bpf_map_lookup_elem"),
        ("call 1", "call bpf_map_lookup_elem"),
        ("r1=r2;", "r1 = r2"),
        ("r1 = (1 << 4) | 'A' + 2 * 3 // sum", "r1 = 87"),
    ];
    for (text, want) in table {
        let code = assemble(text).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(Op::decode(&code.insns).unwrap().0.to_string(), want, "{text}");
    }
}

#[test]
fn every_operation_survives_text() {
    for op in samples() {
        let text = op.to_string();
        let code = assemble(&text).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(code.insns, &*op.encode(), "{text}");
        assert_eq!(Op::decode(&code.insns).unwrap().0, op, "{text}");
    }
}
