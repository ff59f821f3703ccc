//! A measured matrix of programs and kernels, as a judge of the road: each program must meet the same fate again.
//!
//! `VERIFIER_MATRIX` names a file of JSON lines: `name`, `asm`, `prog_type`, `prog_flags`, and per kernel series the
//! verdict, the errno, the message. `array64` is an array with one value of 64 bytes, `hash16` a hash of 16 entries.

use std::fmt::Write as _;

use asm::insn::{Code, PSEUDO_MAP_FD, PSEUDO_MAP_VALUE, RelocKind};
use asm::object::{AttachType, MapType, ProgType};
use asm::text::assemble;
use loader::map::{self, Map};
use loader::prog::{self, Prog};
use loader::sys::uapi::ProgFlags;
use serde_json::Value;
use std::os::fd::{AsFd, AsRawFd};

/// The kernels that were measured, where the release says its patch level.
const MEASURED: [(u32, u32, u32); 1] = [(6, 18, 44)];
/// The text of this row names a call inside the program by its distance, in a notation that cannot be told from a
/// helper's number.
const NO_TEXT: &str = "58_bpf2bpf";
/// The address of a callback was lost in this row's measurement: refused as well, in other words.
const OTHER_WORDS: &str = "57_bpf_loop";

#[test]
fn every_program_meets_its_measured_fate() {
    super::need_root();
    let Some(path) = std::env::var_os("VERIFIER_MATRIX") else {
        return println!("VERIFIER_MATRIX is not set: nothing to judge");
    };
    let text = std::fs::read_to_string(&path).expect("VERIFIER_MATRIX names a file");
    let (major, minor, patch) = super::kernel_release();
    // Stable kernels learn to accept more: an older one of a series may refuse what the measured one accepts.
    let older = MEASURED.iter().any(|measured| (major, minor) == (measured.0, measured.1) && patch < measured.2);
    let series = format!("{major}.{minor}");
    let (mut passed, mut failed, mut wrong) = (0, 0, String::new());
    for line in text.lines().filter(|line| !line.is_empty()) {
        let row: Value = serde_json::from_str(line).expect("a JSON object");
        let Some(want) = row["kernels"].get(&series).filter(|_| row["name"] != NO_TEXT) else { continue };
        match meets(&row, want) {
            Ok(()) => passed += 1,
            Err(why) if older && want["verdict"] == "accept" => println!("older than measured, {}: {why}", row["name"]),
            Err(why) => {
                failed += 1;
                let _ = writeln!(wrong, "{}: {why}", row["name"]);
            }
        }
    }
    println!("{passed} passed, {failed} failed for {series}");
    assert!(wrong.is_empty(), "\n{wrong}");
}

fn meets(row: &Value, want: &Value) -> Result<(), String> {
    let code = assemble(row["asm"].as_str().ok_or("no text")?).map_err(|e| e.to_string())?;
    let accepted = want["verdict"] == "accept";
    match (load(row, &code)?, accepted) {
        (Ok(_), true) => Ok(()),
        (Ok(_), false) => Err(format!("accepted; was refused with {}", want["message"])),
        (Err(error), true) => Err(format!("was accepted; now {error}")),
        (Err(prog::Error::Refused(refusal)), false) => {
            let message = want["message"].as_str().unwrap_or_default();
            let number = want["errno"].as_i64();
            let same_words = refusal.log.contains(message) || row["name"] == OTHER_WORDS;
            if number.is_some_and(|n| n != i64::from(refusal.errno.raw())) || !same_words {
                return Err(format!("errno {number:?}, {message:?} expected; now {refusal}"));
            }
            Ok(())
        }
        (Err(error), false) => Err(format!("the verifier's refusal expected; now {error}")),
    }
}

/// Loads the program; the outer error is the test's own.
fn load(row: &Value, code: &Code) -> Result<Result<Prog, prog::Error>, String> {
    let make = |name, map_type, value_size, max_entries| {
        let options = map::Options { map_type, key_size: 4, value_size, max_entries, ..Default::default() };
        Map::create(name, &options).map_err(|e| e.to_string())
    };
    let maps = [make("array64", MapType::ARRAY, 64, 1)?, make("hash16", MapType::HASH, 8, 16)?];
    let mut insns = code.insns.clone();
    for reloc in &code.relocs {
        let map = maps.iter().find(|map| map.name() == &**reloc.kind.name());
        let fd = map.ok_or_else(|| format!("no map {}", reloc.kind.name()))?.as_fd().as_raw_fd();
        let at = reloc.at.index();
        let (src, offset) = match &reloc.kind {
            RelocKind::MapValue { off, .. } => (PSEUDO_MAP_VALUE, *off),
            _ => (PSEUDO_MAP_FD, 0),
        };
        insns[at].set_src(src);
        insns[at].set_imm(fd);
        insns[at + 1].set_imm(offset);
    }
    let bytes: Vec<u8> = insns.iter().flat_map(|insn| insn.to_bytes()).collect();
    let (prog_type, expected_attach_type) = match row["prog_type"].as_str() {
        Some("xdp") => (ProgType::XDP, Some(AttachType::XDP)),
        Some("sched_cls") => (ProgType::SCHED_CLS, None),
        other => return Err(format!("program type {other:?}")),
    };
    let flags = row["prog_flags"].as_u64().and_then(|flags| u32::try_from(flags).ok()).unwrap_or(0);
    let flags = ProgFlags::from_bits_retain(flags);
    let options =
        prog::Options { prog_type, expected_attach_type, insns: &bytes, license: c"GPL", flags, ..Default::default() };
    Ok(Prog::load("matrix", &options))
}
