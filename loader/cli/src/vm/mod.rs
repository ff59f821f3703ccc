//! `loader vm`: programs in the interpreter, without a kernel and without root.
//!
//! Input: instructions as hex on standard input and memory as hex in the argument (`r1` is its address, `r2` its length);
//! or a program of an object with packets. Output: `r0` in hex; or the verdict and the packet of each run. The first is the
//! interface that `bpf_conformance` and uBPF's fuzzer give to the runtimes they judge. Read next: `packets.rs`, `asm::vm`.

mod packets;

use std::io::Read as _;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use asm::insn::Insn;
use asm::vm::{NoTrace, TextTrace, Vm};
use serde::Serialize;

use crate::hex::{bytes, hex};
use crate::render::Out;

/// What `loader vm` is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Memory for the program, as hex; blanks do not count
    #[arg(value_name = "MEM_HEX", default_value = "", conflicts_with = "object")]
    memory: String,

    /// Run a program of this object, assembly text (.s) or built-in object instead
    #[arg(long, value_name = "FILE")]
    object: Option<PathBuf>,

    /// Which program of the object; its first one otherwise
    #[arg(long, value_name = "NAME", requires = "object")]
    prog: Option<String>,

    /// A packet to run it on, as hex; may be given several times
    #[arg(long, value_name = "HEX", requires = "object")]
    packet: Vec<String>,

    /// Packets to run it on, from a capture (pcap, not pcapng)
    #[arg(long, value_name = "FILE", requires = "object")]
    pcap: Option<PathBuf>,

    /// Show each step on standard error: the instruction, the memory it touched, the registers it changed
    #[arg(long)]
    trace: bool,

    /// Stop after this many steps
    #[arg(long, value_name = "STEPS", default_value_t = asm::vm::STEP_LIMIT)]
    limit: u64,
}

#[derive(Serialize)]
struct Ran {
    r0: String,
    steps: u64,
    memory: String,
}

/// Runs the command.
pub(crate) fn run(args: Args, out: &mut Out) -> Result<()> {
    if let Some(object) = &args.object {
        return packets::run(object, &args, out);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("cannot read the program from standard input")?;
    let insns = instructions(&bytes(&text).context("the program on standard input")?)?;
    let mut memory = bytes(&args.memory).context("the memory in MEM_HEX")?;
    let mut vm = Vm::new(&insns).context("the program cannot be run")?;
    vm.set_step_limit(args.limit);
    let result = if args.trace {
        let mut trace = TextTrace::default();
        let result = vm.trace_on_bytes(&mut memory, &mut trace);
        out.progress(trace.text().trim_end());
        result
    } else {
        vm.trace_on_bytes(&mut memory, &mut NoTrace)
    };
    let r0 = result.context("the program was stopped")?;
    let ran = Ran { r0: format!("{r0:x}"), steps: vm.steps(), memory: hex(&memory) };
    out.result(&ran, |ran| format!("{}\n", ran.r0))
}

fn instructions(bytes: &[u8]) -> Result<Vec<Insn>> {
    let (slots, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() {
        bail!("the program on standard input has {} bytes; an instruction has 8", bytes.len());
    }
    Ok(slots.iter().map(|slot| Insn::from_bytes(*slot)).collect())
}
