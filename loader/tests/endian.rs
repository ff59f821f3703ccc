//! Objects for big-endian machines: read and shown like any other, and not loaded here.

use asm::btf::Kind;
use loader::Spec;
use loader::disasm::disasm;

const TEXT: &str = "\
.license \"GPL\"
.struct pair { a: u16, b: u32 }
.map hits: hash { key: u32, value: pair, max_entries: 16, flags: 1 }
.extern weak config CONFIG_HZ: u32
.section .data
.var number: u32 = 305419896
.section xdp
.func main(ctx: *xdp_md) -> int
main:
    r6 = r1
    *(u32 *)(r10 - 4) = 7
    r1 = hits ll
    r2 = r10
    r2 += -4
    call bpf_map_lookup_elem
    if r0 == 0 goto out
    r1 = number ll
    r1 = *(u32 *)(r1 + 0)
    .core byte_off, pair, \"0:1\"
    *(u32 *)(r0 + 4) = r1
    r1 = 0x1122334455667788 ll
    call twice
out:
    r0 = 2
    exit
.text
.func static twice(n: u64) -> int
twice:
    r0 = r1
    r0 += r1
    exit
";

fn word(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize
}

/// Turns numbers of these sizes over, one after the other.
fn turn(bytes: &mut [u8], sizes: &[usize]) {
    let mut at = 0;
    for size in sizes {
        bytes[at..at + size].reverse();
        at += size;
    }
}

/// The same object as an assembler for a big-endian machine would have written it.
fn to_big_endian(object: &[u8]) -> Vec<u8> {
    let mut out = object.to_vec();
    let headers = word(object, 40);
    let count = usize::from(u16::from_le_bytes([object[60], object[61]]));
    let names = headers + 64 * usize::from(u16::from_le_bytes([object[62], object[63]]));
    for header in (0..count).map(|n| headers + n * 64) {
        let name = &object[word(object, names + 24) + word(object, header)..];
        let (kind, flags, at, size) =
            (word(object, header + 4), word(object, header + 8), word(object, header + 24), word(object, header + 32));
        let body = if kind == 8 { &mut [][..] } else { &mut out[at..at + size] };
        match kind {
            2 => body.chunks_exact_mut(24).for_each(|symbol| turn(symbol, &[4, 1, 1, 2, 8, 8])),
            4 => body.chunks_exact_mut(24).for_each(|rela| turn(rela, &[8, 8, 8])),
            9 => body.chunks_exact_mut(16).for_each(|rel| turn(rel, &[8, 8])),
            1 if flags & 4 != 0 => body.chunks_exact_mut(8).for_each(|insn| {
                insn[1] = insn[1].rotate_left(4);
                turn(insn, &[1, 1, 2, 4]);
            }),
            1 if name.starts_with(b".BTF.ext\0") => {
                turn(body, &[2]);
                body[4..].chunks_exact_mut(4).for_each(<[u8]>::reverse);
            }
            1 if name.starts_with(b".BTF\0") => {
                let types = 24 + word(object, at + 12);
                turn(body, &[2]);
                body[4..types].chunks_exact_mut(4).for_each(<[u8]>::reverse);
            }
            1 if name.starts_with(b".data\0") => turn(body, &[4]),
            _ => {}
        }
        turn(&mut out[header..header + 64], &[4, 4, 8, 8, 8, 8, 4, 4, 8, 8]);
    }
    out[5] = 2;
    turn(&mut out[16..64], &[2, 2, 4, 8, 8, 8, 4, 2, 2, 2, 2, 2, 2]);
    out
}

#[test]
fn a_big_endian_object_says_the_same() {
    let little = asm::text::parse("endian.s", TEXT).expect("assembles").object().write().expect("an object");
    let big = to_big_endian(&little);
    let [little, big] = [little, big].map(|bytes| Spec::parse(&bytes).expect("an object of either order"));
    assert!(big.big_endian && !little.big_endian);
    assert_eq!(disasm(&big, true), disasm(&little, true));
    assert_eq!(big.map(".data").and_then(|map| map.contents.clone()), Some(vec![0x12, 0x34, 0x56, 0x78]));
    for (ours, theirs) in little.funcs.iter().zip(&big.funcs) {
        assert_eq!(ours, theirs);
    }
}

#[test]
fn a_big_endian_object_is_not_loaded_here() {
    let little = asm::text::parse("endian.s", TEXT).expect("assembles").object().write().expect("an object");
    let big = Spec::parse(&to_big_endian(&little)).expect("readable");
    let error = loader::load::check(&big, &loader::LoadOptions::default()).expect_err("another machine's").to_string();
    assert!(error.contains("big-endian and this machine is not"), "{error}");
}

/// What clang writes for big-endian machines: code, maps, types, lines and externs are all there.
#[test]
fn a_compilers_big_endian_object_is_read() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (source, object) = (dir.path().join("all.c"), dir.path().join("all.o"));
    std::fs::write(&source, include_str!("common/all.c")).expect("room for it");
    let mut clang = std::process::Command::new("clang-22");
    clang.args(["-target", "bpfeb", "-mcpu=v3", "-O2", "-g", "-c", "-o"]).arg(&object).arg(&source);
    let Ok(output) = clang.output() else {
        assert!(std::env::var_os("REQUIRE_TOOLS").is_none(), "clang-22 is not installed");
        return println!("clang-22 is not installed: nothing of a compiler's to read");
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let spec = Spec::parse(&std::fs::read(&object).expect("clang wrote it")).expect("a big-endian object");
    assert!(spec.big_endian);
    let nodes = spec.map("nodes").expect("it declares a map");
    assert_eq!((nodes.key_size, nodes.value_size, nodes.max_entries), (4, 56, 64));
    let btf = spec.btf.as_ref().expect("it has types");
    assert!(btf.find("node", Kind::STRUCT).is_some_and(|node| btf.size_of(node) == Ok(56)));
    let text = disasm(&spec, true);
    for want in
        ["call bpf_map_lookup_elem", ".core byte_off, task_struct, \"0:0\"", "= 0, 0, 281474976710655", "return n * 2;"]
    {
        assert!(text.contains(want), "{want:?} is missing in\n{text}");
    }
    asm::text::parse("all.s", &text).unwrap_or_else(|errors| panic!("{errors}"));
}
