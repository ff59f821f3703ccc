//! `loader vm --object`: a program of an object on packets, maps and tail calls included.
//!
//! Input: an object and packets as hex or as a capture. Output: verdict, length and bytes of each packet as it was left. The
//! maps keep what one run leaves for the next. Read next: `loader::machine`.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use asm::object::ProgType;
use asm::vm::{Context, TextTrace, Vm};
use loader::Spec;
use loader::machine::machine;
use serde::Serialize;

use super::{Args, bytes, hex};
use crate::render::Out;
use crate::systems;

/// All runs of a program.
#[derive(Serialize)]
struct Runs {
    program: String,
    runs: Vec<Run>,
}

/// One run.
#[derive(Serialize)]
struct Run {
    /// The result as 32 bits.
    verdict: u32,
    /// Its name, where the program's type gives it one.
    action: Option<&'static str>,
    steps: u64,
    /// Bytes before.
    length: usize,
    /// As hex, afterwards.
    packet: String,
    /// What the program printed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    printed: Vec<String>,
}

/// Runs the program on each packet.
pub(super) fn run(object: &Path, args: &Args, out: &mut Out) -> Result<()> {
    let file = systems::read_source(object)?;
    let spec = Spec::parse(&file).with_context(|| format!("{} cannot be read", object.display()))?;
    let prog = match &args.prog {
        Some(name) => spec.prog(name),
        None => spec.progs.first(),
    };
    let name = prog.map(|prog| prog.name.clone()).or(args.prog.clone()).context("the object has no program")?;
    let prog_type = prog.and_then(|prog| prog.prog_type).unwrap_or(ProgType::XDP);
    let mut vm = machine(&spec, &name).with_context(|| format!("{} cannot be run", object.display()))?;
    vm.set_step_limit(args.limit);
    let mut packets =
        args.packet.iter().map(|text| bytes(text).context("the packet in HEX")).collect::<Result<Vec<_>>>()?;
    if let Some(path) = &args.pcap {
        let file = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        packets.extend(capture(&file).with_context(|| format!("{}", path.display()))?);
    }
    if packets.is_empty() {
        // Types that see no packet run once on an empty context.
        packets.push(Vec::new());
    }
    let mut runs = Vec::with_capacity(packets.len());
    for (number, packet) in (1..).zip(&packets) {
        let done = one(&mut vm, prog_type, packet, args.trace, out);
        runs.push(done.with_context(|| format!("packet {number}: the program was stopped"))?);
    }
    out.result(&Runs { program: name, runs }, |all| (1..).zip(&all.runs).map(|(n, run)| run.line(n)).collect())
}

fn one(vm: &mut Vm, prog_type: ProgType, packet: &[u8], trace: bool, out: &mut Out) -> Result<Run> {
    let context = Context::new(prog_type)?.with_packet(packet);
    vm.host().printed.clear();
    let result = if trace {
        let mut trace = TextTrace::default();
        let result = vm.trace_context(&context, &mut trace);
        out.progress(trace.text().trim_end());
        result
    } else {
        vm.run_context(&context)
    };
    let ran = result?;
    #[expect(clippy::cast_possible_truncation, reason = "a verdict is 32 bits")]
    let verdict = ran.r0 as u32;
    Ok(Run {
        verdict,
        action: action(prog_type, verdict),
        steps: vm.steps(),
        length: packet.len(),
        packet: hex(ran.context.packet()),
        printed: vm.host().printed.clone(),
    })
}

impl Run {
    fn line(&self, number: usize) -> String {
        let action = self.action.map_or_else(String::new, |action| format!("{action} "));
        let (before, after) = (self.length, self.packet.len() / 2);
        let length = if before == after { format!("{before}") } else { format!("{before} → {after}") };
        let mut text = format!("packet {number}: {action}({}), {length} bytes, {} steps\n", self.verdict, self.steps);
        for line in &self.printed {
            text += &format!("    {line}\n");
        }
        text
    }
}

/// What a verdict is called.
fn action(prog_type: ProgType, verdict: u32) -> Option<&'static str> {
    let names: &[&str] = match prog_type {
        ProgType::XDP => &["XDP_ABORTED", "XDP_DROP", "XDP_PASS", "XDP_TX", "XDP_REDIRECT"],
        ProgType::SCHED_CLS | ProgType::SCHED_ACT => &[
            "TC_ACT_OK",
            "TC_ACT_RECLASSIFY",
            "TC_ACT_SHOT",
            "TC_ACT_PIPE",
            "TC_ACT_STOLEN",
            "TC_ACT_QUEUED",
            "TC_ACT_REPEAT",
            "TC_ACT_REDIRECT",
            "TC_ACT_TRAP",
        ],
        ProgType::SK_SKB | ProgType::SK_MSG | ProgType::SK_LOOKUP | ProgType::SK_REUSEPORT => &["SK_DROP", "SK_PASS"],
        _ => &[],
    };
    names.get(usize::try_from(verdict).ok()?).copied()
}

/// The packets of a capture: a header of 24 bytes, then 16 bytes and the packet for each.
fn capture(file: &[u8]) -> Result<Vec<Vec<u8>>> {
    let (magic, _) = file.split_first_chunk::<4>().context("it is empty")?;
    let number = |bytes: [u8; 4]| match *magic {
        [0xd4, 0xc3, 0xb2, 0xa1] | [0x4d, 0x3c, 0xb2, 0xa1] => Ok(u32::from_le_bytes(bytes)),
        [0xa1, 0xb2, 0xc3, 0xd4] | [0xa1, 0xb2, 0x3c, 0x4d] => Ok(u32::from_be_bytes(bytes)),
        _ => bail!("it is no pcap file (pcapng is another format: `editcap -F pcap` converts it)"),
    };
    let mut rest = file.get(24..).context("its header is cut off")?;
    let link = number([file[20], file[21], file[22], file[23]])?;
    ensure!(link == 1, "it holds packets of link type {link}; programs here see Ethernet (1)");
    let mut packets = Vec::new();
    while let Some((header, tail)) = rest.split_first_chunk::<16>() {
        let len = number([header[8], header[9], header[10], header[11]])? as usize;
        let packet = tail.get(..len).with_context(|| format!("packet {} is cut off", packets.len() + 1))?;
        packets.push(packet.to_vec());
        rest = &tail[len..];
    }
    Ok(packets)
}
