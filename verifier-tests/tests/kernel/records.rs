//! Which functions and lines a program's instructions come from (`.BTF.ext`): records that the kernel refuses.
//!
//! The assembler writes no such records, so these are made by hand, each from good ones with one mistake. Input: a program of two
//! functions. Output: what the verifier says of each mistake. Read next: `cases.rs`.

use std::os::fd::{AsFd, OwnedFd};

use asm::btf::{BtfBuilder, Linkage, Type};
use asm::object::ProgType;
use loader::prog::{Error, Options, Prog, Records};
use loader::sys;

/// A call and its end; the called function: a constant of two slots and its end.
const INSNS: [[u8; 8]; 5] = [
    [0x85, 0x10, 0, 0, 1, 0, 0, 0],
    [0x95, 0, 0, 0, 0, 0, 0, 0],
    [0x18, 0, 0, 0, 2, 0, 0, 0],
    [0, 0, 0, 0, 0, 0, 0, 0],
    [0x95, 0, 0, 0, 0, 0, 0, 0],
];

/// What goes with the instructions.
#[derive(Clone)]
struct Given {
    /// The types; without them no record means anything.
    btf: bool,
    /// Instruction and type of each function: `struct bpf_func_info`.
    funcs: Vec<[u32; 2]>,
    /// Instruction, file, text, line and column of each line: `struct bpf_line_info`.
    lines: Vec<[u32; 4]>,
    /// Bytes of a function's record, the rest of which is this byte.
    func_size: (usize, u8),
}

/// Types of two functions, `int main(void)` and `int two(void)`, and good records of them.
fn good() -> (OwnedFd, Given) {
    let mut b = BtfBuilder::new();
    let int = b.int("int", 4, true);
    let proto = b.add(Type::FuncProto { ret: int, params: Vec::new() });
    let main = b.func("main", proto, Linkage::GLOBAL);
    let two = b.func("two", proto, Linkage::STATIC);
    let (file, text) = (b.string("records.c").0, b.string("return two();").0);
    let line = |insn: u32, line: u32| [insn, file, text, line << 10 | 5];
    let bytes = b.encode().expect("types");
    let fd = sys::btf::load(&bytes, None).unwrap_or_else(|failed| panic!("the kernel takes the types: {failed:?}"));
    let lines = vec![line(0, 3), line(1, 4), line(2, 7), line(4, 8)];
    (fd, Given { btf: true, funcs: vec![[0, main.0], [2, two.0]], lines, func_size: (8, 0) })
}

/// The records as the kernel reads them, each filled up to `size` bytes.
fn bytes<const N: usize>(records: &[[u32; N]], size: usize, fill: u8) -> Vec<u8> {
    let record = |words: &[u32; N]| {
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        bytes.resize(size, fill);
        bytes
    };
    records.iter().flat_map(record).collect()
}

/// What the kernel says: nothing when it accepts.
fn verdict(btf: &OwnedFd, given: &Given) -> String {
    let (size, fill) = given.func_size;
    let (funcs, lines) = (bytes(&given.funcs, size, fill), bytes(&given.lines, 16, 0));
    let size = |bytes: usize| u32::try_from(bytes).expect("a few bytes");
    let options = Options {
        prog_type: ProgType::SOCKET_FILTER,
        insns: &INSNS.concat(),
        license: c"GPL",
        btf: given.btf.then(|| btf.as_fd()),
        func_info: Records { size: size(given.func_size.0), bytes: &funcs },
        line_info: Records { size: 16, bytes: &lines },
        ..Options::default()
    };
    match Prog::load("records", &options) {
        Ok(_) => String::new(),
        Err(Error::Refused(refusal)) => format!("{}: {}", refusal.errno, refusal.log),
        Err(error) => error.to_string(),
    }
}

#[test]
fn each_mistake_is_refused_in_its_own_words() {
    super::need_root();
    let (btf, good) = good();
    assert_eq!(verdict(&btf, &good), "", "without a mistake");
    let longer = Given { func_size: (12, 0), ..good.clone() };
    assert_eq!(verdict(&btf, &longer), "", "a longer record of a younger compiler, whose end is zero");
    type Mistake = fn(&mut Given);
    let rows: [(&str, Mistake, &str); 14] = [
        ("no types", |g| g.btf = false, "EINVAL"),
        (
            "one function of two",
            |g| g.funcs.truncate(1),
            "number of funcs in func_info doesn't match number of subprogs",
        ),
        ("no function at the start", |g| g.funcs[0][0] = 1, "nonzero insn_off 1 for the first func info record"),
        (
            "a function twice",
            |g| g.funcs[1][0] = 0,
            "same or smaller insn offset (0) than previous func info record (0)",
        ),
        ("a function elsewhere", |g| g.funcs[1][0] = 3, "func_info BTF section doesn't match subprog layout"),
        ("a function that is a number", |g| g.funcs[0][1] = 1, "invalid type id 1 in func info"),
        ("a function of no type", |g| g.funcs[0][1] = 99, "invalid type id 99 in func info"),
        ("a longer record that says something", |g| g.func_size = (12, 1), "nonzero tailing record in func info"),
        ("a shorter record", |g| g.func_size = (4, 0), "invalid func info rec size 4"),
        ("no line at the start", |g| g.lines = g.lines.split_off(1), "missing bpf_line_info for func#0"),
        ("no line of the second function", |g| g.lines.retain(|line| line[0] != 2), "missing bpf_line_info for func#1"),
        ("lines in disorder", |g| g.lines.swap(0, 1), "missing bpf_line_info for func#0"),
        ("a line behind the end", |g| g.lines[3][0] = 5, "Invalid line_info[3].insn_off:5"),
        ("a line inside a constant", |g| g.lines[3][0] = 3, "Invalid insn code at line_info[3].insn_off"),
    ];
    for (what, mistake, want) in rows {
        let mut given = good.clone();
        mistake(&mut given);
        let said = verdict(&btf, &given);
        assert!(said.contains(want), "{what}: {said:?}");
    }
}
