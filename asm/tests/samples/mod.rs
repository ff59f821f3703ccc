//! What several test targets share: a sample of every operation with every class of operand, and LLVM's tools.

#![allow(dead_code, reason = "each test target uses a part of this")]

use std::io::Write as _;
use std::process::{Command, Stdio};

use asm::insn::{Call, Imm64, Kind, Op, Operand, Reg, TABLE};

const REGS: [Reg; 3] = [Reg::R0, Reg::R7, Reg::R10];
const IMMS: [i32; 6] = [0, 1, -1, 4096, i32::MIN, i32::MAX];
const OFFS: [i16; 5] = [0, 4, -8, i16::MIN, i16::MAX];

fn operands() -> Vec<Operand> {
    REGS.iter().map(|r| Operand::Reg(*r)).chain(IMMS.iter().map(|i| Operand::Imm(*i))).collect()
}

/// Every operation of the table with every class of operand, at ordinary and extreme values.
pub(crate) fn samples() -> Vec<Op> {
    TABLE.iter().flat_map(|row| of_kind(row.kind)).collect()
}

fn of_kind(kind: Kind) -> Vec<Op> {
    let mut out = Vec::new();
    for dst in REGS {
        for src in REGS {
            for off in OFFS {
                match kind {
                    Kind::Load(size) => out.push(Op::Load { size, dst, src, off }),
                    Kind::LoadSx(size) => out.push(Op::LoadSx { size, dst, src, off }),
                    Kind::Atomic(op, size) => out.push(Op::Atomic { op, size, dst, off, src }),
                    _ => {}
                }
            }
            match kind {
                Kind::MovSx(bits, width) => out.push(Op::MovSx { width, bits, dst, src }),
                Kind::AddrSpaceCast => {
                    out.push(Op::AddrSpaceCast { dst, src, to: 1, from: 0 });
                    out.push(Op::AddrSpaceCast { dst, src, to: 0, from: u16::MAX });
                }
                _ => {}
            }
        }
        for src in operands() {
            match kind {
                Kind::Alu(op, width) => out.push(Op::Alu { op, width, dst, src }),
                Kind::JumpIf(cond, width) => {
                    out.extend(OFFS.map(|off| Op::JumpIf { cond, width, dst, src, off }));
                }
                Kind::Store(size) => out.extend(OFFS.map(|off| Op::Store { size, dst, off, src })),
                _ => {}
            }
        }
        match kind {
            Kind::Neg(width) => out.push(Op::Neg { width, dst }),
            Kind::Endian(order, bits) => out.push(Op::Endian { order, bits, dst }),
            Kind::LoadInd(size) => out.extend([0, 5, -5].map(|off| Op::LoadInd { size, src: dst, off })),
            Kind::JumpReg => out.push(Op::JumpReg { dst }),
            Kind::CallReg => out.push(Op::CallReg { dst }),
            Kind::LoadImm64(pseudo) => out.extend(constants(pseudo).map(|value| Op::LoadImm64 { dst, value })),
            _ => {}
        }
    }
    match kind {
        Kind::LoadAbs(size) => out.extend(IMMS.map(|off| Op::LoadAbs { size, off })),
        Kind::Jump => out.extend(OFFS.map(|off| Op::Jump { off })),
        Kind::JumpLong => out.extend(IMMS.map(|off| Op::JumpLong { off })),
        Kind::MayGoto => out.extend(OFFS.map(|off| Op::MayGoto { off })),
        Kind::Call(0) => out.extend([1, 44, 211, 9999, -1].map(|id| Op::Call(Call::Helper(id)))),
        Kind::Call(1) => out.extend(IMMS.map(|off| Op::Call(Call::Local(off)))),
        Kind::Call(_) => {
            out.extend([(5, 0), (5, 3), (i32::MAX, -1)].map(|(id, btf)| Op::Call(Call::Kfunc { id, btf })));
        }
        Kind::Exit => out.push(Op::Exit),
        _ => {}
    }
    assert!(!out.is_empty(), "no sample for {kind:?}");
    out
}

fn constants(pseudo: u8) -> impl Iterator<Item = Imm64> {
    let all = match pseudo {
        0 => [0, 1, u64::MAX, 1 << 63, 0xffff_ffff, 0x1234_5678_9abc_def0].map(Imm64::Value).to_vec(),
        1 => IMMS.map(Imm64::MapFd).to_vec(),
        2 => vec![Imm64::MapValue { fd: 7, off: 0 }, Imm64::MapValue { fd: 7, off: u32::MAX }],
        3 => vec![Imm64::BtfId { id: 5, btf_fd: 0 }, Imm64::BtfId { id: 5, btf_fd: 3 }],
        4 => IMMS.map(Imm64::Func).to_vec(),
        5 => IMMS.map(Imm64::MapIdx).to_vec(),
        _ => vec![Imm64::MapIdxValue { idx: 0, off: 0 }, Imm64::MapIdxValue { idx: 2, off: 12 }],
    };
    all.into_iter()
}

/// Is LLVM's assembler of version 22 on the path?
pub(crate) fn has_llvm() -> bool {
    Command::new("llvm-mc-22").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// Runs one of LLVM's tools on `input`, all of it in one process; standard output, or standard error when it failed or complained.
pub(crate) fn llvm(command: &[&str], input: &str) -> Result<String, String> {
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| e.to_string())?;
    let mut stdin = child.stdin.take().ok_or("no standard input")?;
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().map_err(|e| e.to_string())?;
    writer.join().map_err(|_| "writer panicked")?.map_err(|e| e.to_string())?;
    if output.status.success() && output.stderr.is_empty() {
        String::from_utf8(output.stdout).map_err(|e| e.to_string())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// The operation as LLVM writes it, where it has a notation that keeps it. It has none for the kinds of call, for the second half
/// of a 64-bit constant that is no number, for a packet load with register and offset, and for a long jump to a far distance.
pub(crate) fn llvm_text(op: Op) -> Option<String> {
    match op {
        Op::Call(Call::Helper(id)) => Some(format!("call {id}")),
        Op::Call(_) => None,
        Op::LoadImm64 { value: Imm64::Value(_), .. } => Some(op.to_string()),
        Op::LoadImm64 { dst, value } => {
            let slots = op.encode();
            (slots[1].imm() == 0).then(|| format!("ld_pseudo {dst}, {}, {}", value.src(), slots[0].imm()))
        }
        Op::LoadInd { off, .. } if off != 0 => None,
        Op::JumpLong { off } if i16::try_from(off).is_err() => None,
        _ => Some(op.to_string()),
    }
}
