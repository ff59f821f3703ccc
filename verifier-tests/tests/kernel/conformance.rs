//! The public `bpf_conformance` suite on the running kernel.
//!
//! Each case becomes the second function of an XDP program; the first calls it and stores all 64 bits of its `r0` in a
//! map. A kernel may refuse a case only for an instruction that is younger than it, for a shift by a constant that is
//! wider than the register, or for a call through a register.

use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

use asm::insn::{
    AluOp, Builder, Code, Cond, Insn, InsnIdx, Op, Operand, PSEUDO_CALL, PSEUDO_MAP_VALUE, R0, R1, R2, R3, R6, Row,
    Since, Size, Width,
};
use asm::object::MapType;
use asm::text::conformance::Case;
use loader::map::{self, Map};

#[test]
fn every_case_gives_its_result_in_the_kernel() {
    super::need_root();
    let Some(dir) = std::env::var_os("BPF_CONFORMANCE_DIR").map(PathBuf::from) else {
        println!("BPF_CONFORMANCE_DIR is not set: no case to run");
        return;
    };
    let mut files: Vec<_> = std::fs::read_dir(&dir)
        .expect("BPF_CONFORMANCE_DIR names a directory")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "data"))
        .collect();
    files.sort();
    let (mut passed, mut refused, mut wrong) = (0, 0, Vec::new());
    for path in &files {
        match run(path) {
            Ok(Verdict::Right) => passed += 1,
            Ok(Verdict::MayRefuse) => refused += 1,
            Err(why) => wrong.push(format!("{}: {why}", path.display())),
        }
    }
    println!("{passed} passed, {} failed, {refused} skipped (this kernel may refuse them)", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(passed > 0, "{} has no case", dir.display());
}

enum Verdict {
    Right,
    MayRefuse,
}

fn run(path: &Path) -> Result<Verdict, String> {
    let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
    let case = Case::parse(&text).map_err(|e| e.to_string())?;
    let want = case.result.ok_or("the case names no result")?;
    let code = case.code("case").map_err(|e| e.to_string())?;
    let options =
        map::Options { map_type: MapType::ARRAY, key_size: 4, value_size: 8, max_entries: 1, ..Default::default() };
    let result = Map::create("result", &options).map_err(|e| e.to_string())?;
    let insns = program(&code, case.mem.len(), result.as_fd().as_raw_fd());
    let prog = match super::load_xdp("conformance", &insns) {
        Ok(prog) => prog,
        Err(_) if may_refuse(&code.insns) => return Ok(Verdict::MayRefuse),
        Err(e) => return Err(e.to_string()),
    };
    let mut packet = case.mem.clone();
    packet.resize(packet.len().max(14), 0);
    prog.test_run(&packet, 1).map_err(|e| e.to_string())?;
    let got = result.lookup(&[0; 4]).map_err(|e| e.to_string())?.ok_or("no value")?;
    let got = u64::from_le_bytes(got.try_into().map_err(|_| "not eight bytes")?);
    if got == want { Ok(Verdict::Right) } else { Err(format!("r0 = {got:#x}, want {want:#x}")) }
}

/// The two functions behind each other.
fn program(case: &Code, mem: usize, map: i32) -> Vec<Insn> {
    let mut b = Builder::new();
    b.call_fn("case");
    b.map_value(R1, "result", 0);
    b.store(Size::Dw, R1, 0, R0);
    b.mov(R0, 0);
    b.exit();
    let start = b.here();
    if mem > 0 {
        let mem = i32::try_from(mem).expect("a case's memory is small");
        let enough = b.label("enough");
        b.mov(R6, R1);
        b.load(Size::W, R1, R6, 0);
        b.load(Size::W, R2, R6, 4);
        b.mov(R3, R1);
        b.add(R3, mem);
        b.jmp_if(Cond::Le, R3, R2, enough);
        b.mov(R0, -1);
        b.exit();
        b.bind(enough);
        b.mov(R2, mem);
    } else {
        b.mov(R1, 0);
        b.mov(R2, 0);
    }
    // Stands for the case, so that the function is complete; cut off again.
    b.exit();
    let mut insns = b.finish().expect("the frame is well-formed").insns;
    insns.pop();
    fill(&mut insns, start, map);
    insns.extend_from_slice(&case.insns);
    insns
}

/// Replaces the names of the frame: the call at slot 0 and the map at slot 1.
fn fill(insns: &mut [Insn], start: InsnIdx, map: i32) {
    insns[0].set_src(PSEUDO_CALL);
    insns[0].set_imm(i32::try_from(start.0).expect("small") - 1);
    insns[1].set_src(PSEUDO_MAP_VALUE);
    insns[1].set_imm(map);
}

/// Is there an instruction that this kernel need not accept?
fn may_refuse(insns: &[Insn]) -> bool {
    let kernel = super::kernel_version();
    let mut at = 0;
    while at < insns.len() {
        let row = Row::of(insns[at]).expect("the case was decoded before");
        let (op, slots) = Op::decode(&insns[at..]).expect("the case was decoded before");
        let young = match row.since {
            Since::Kernel(major, minor) => kernel < (major.into(), minor.into()),
            Since::Never => true,
        };
        if young || shifts_too_far(op) {
            return true;
        }
        at += slots;
    }
    false
}

fn shifts_too_far(op: Op) -> bool {
    let Op::Alu { op: AluOp::Lsh | AluOp::Rsh | AluOp::Arsh, width, src: Operand::Imm(by), .. } = op else {
        return false;
    };
    let bits = if width == Width::W64 { 64 } else { 32 };
    !(0..bits).contains(&by)
}
