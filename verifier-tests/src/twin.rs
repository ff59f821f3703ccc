//! Programs that run in the kernel and in the interpreter, and must leave the same behind.
//!
//! Input: an assembly file; its comments say on which packets its first program runs, and what comes of it:
//!
//! ```text
//! # Two tail calls, then an empty slot.
//! #@ needs bpf_loop 5.17
//! #@ run = 2
//! #@ run 0a0b0c… = 1 0c0b0a…
//! ```
//!
//! A run without a packet gets 64 zeroes; a packet behind the verdict is what must be left of it. Output: [`After`], to be
//! compared. Maps keep what a run leaves for the next. Read next: `loader::machine`, `tests/kernel/twins.rs`.

use std::collections::BTreeMap;

use asm::object::{MapType, ProgType};
use asm::text;
use asm::vm::{Context, Map, Memory, Vm};
use loader::Spec;
use loader::machine::machine;

use crate::{Version, case};

/// A program and its runs.
#[derive(Debug)]
pub struct Twin {
    /// The object that the file assembles to.
    pub spec: Spec,
    /// A feature and the first kernel that has it.
    pub needs: Option<(String, Version)>,
    /// What it runs on.
    pub runs: Vec<TwinRun>,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TwinRun {
    /// The packet.
    pub packet: Vec<u8>,
    /// The program's result, 32 bits.
    pub verdict: u32,
    /// The packet afterwards, where the file says it.
    pub after: Option<Vec<u8>>,
}

/// What all runs leave behind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct After {
    /// The result and the packet of each run; its metadata is in front, as `BPF_PROG_TEST_RUN` gives it.
    pub runs: Vec<(u32, Vec<u8>)>,
    /// The maps that can be read, by name.
    pub maps: BTreeMap<String, Contents>,
}

/// What a map holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contents {
    /// Keys and values; of a per-CPU map the values of all CPUs, one over the other.
    Pairs(BTreeMap<Vec<u8>, Vec<u8>>),
    /// Records of a ring buffer.
    Records(Vec<Vec<u8>>),
}

/// Why a file is no twin, or does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TwinError {
    /// It does not assemble.
    #[error("{0}")]
    Text(text::Diagnostics),
    /// It makes no object.
    #[error("{0}")]
    Object(String),
    /// A directive that nobody understands.
    #[error("line {line}: {why}")]
    Directive {
        /// From 1.
        line: usize,
        /// What is wrong.
        why: &'static str,
    },
    /// The interpreter stopped it.
    #[error("the interpreter: {0}")]
    Run(String),
}

impl Twin {
    /// Reads a file; `name` is its name in errors.
    ///
    /// # Errors
    /// [`TwinError`].
    pub fn parse(name: &str, text: &str) -> Result<Self, TwinError> {
        let program = text::parse(name, text).map_err(TwinError::Text)?;
        let object = program.object().write().map_err(|e| TwinError::Object(e.to_string()))?;
        let spec = Spec::parse(&object).map_err(|e| TwinError::Object(e.to_string()))?;
        let mut twin = Self { spec, needs: None, runs: Vec::new() };
        for (line, directive) in (1..).zip(text.lines()).filter_map(|(n, line)| Some((n, line.strip_prefix("#@")?))) {
            twin.directive(directive.trim()).map_err(|why| TwinError::Directive { line, why })?;
        }
        Ok(twin)
    }

    fn directive(&mut self, text: &str) -> Result<(), &'static str> {
        if let Some(run) = text.strip_prefix("run") {
            let (packet, result) = run.split_once('=').ok_or("write `run PACKET = VERDICT`")?;
            let (verdict, after) = result.trim().split_once(' ').unwrap_or((result.trim(), ""));
            let packet = hex(packet)?;
            self.runs.push(TwinRun {
                packet: if packet.is_empty() { vec![0; 64] } else { packet },
                verdict: verdict.parse().map_err(|_| "a verdict is a number")?,
                after: if after.is_empty() { None } else { Some(hex(after)?) },
            });
        } else if let Some(needs) = text.strip_prefix("needs ") {
            let (feature, version) = needs.rsplit_once(' ').ok_or("write `needs FEATURE X.Y`")?;
            self.needs = Some((feature.into(), case::version(version).ok_or("write `needs FEATURE X.Y`")?));
        } else {
            return Err("known are `run [PACKET] = VERDICT [PACKET]` and `needs FEATURE X.Y`");
        }
        Ok(())
    }

    /// The name of the program that runs: the file's first.
    ///
    /// # Errors
    /// [`TwinError::Object`] when there is none.
    pub fn entry(&self) -> Result<&str, TwinError> {
        let first = self.spec.progs.first().map(|prog| prog.name.as_str());
        first.ok_or_else(|| TwinError::Object("there is no program".into()))
    }

    /// All runs in the interpreter.
    ///
    /// # Errors
    /// [`TwinError::Run`].
    pub fn interpret(&self) -> Result<After, TwinError> {
        let failed = |e: &dyn std::error::Error| TwinError::Run(e.to_string());
        let mut vm = machine(&self.spec, self.entry()?).map_err(|e| failed(&e))?;
        let prog_type = self.spec.progs.first().and_then(|prog| prog.prog_type).unwrap_or(ProgType::XDP);
        let mut after = After::default();
        for run in &self.runs {
            let context = Context::new(prog_type).map_err(|e| failed(&e))?.with_packet(&run.packet);
            let ran = vm.run_context(&context).map_err(|e| failed(&e))?;
            #[expect(clippy::cast_possible_truncation, reason = "a verdict is 32 bits")]
            after.runs.push((ran.r0 as u32, [ran.context.metadata(), ran.context.packet()].concat()));
        }
        for spec in &self.spec.maps {
            if let Some(contents) = contents(&mut vm, &spec.name) {
                after.maps.insert(spec.name.clone(), contents);
            }
        }
        Ok(after)
    }

    /// Where `after` is not what the file says; empty when all is well.
    #[must_use]
    pub fn differences(&self, after: &After) -> Vec<String> {
        let mut wrong = Vec::new();
        for (number, (run, (verdict, packet))) in (1..).zip(self.runs.iter().zip(&after.runs)) {
            if run.verdict != *verdict {
                wrong.push(format!("run {number}: {verdict:#x}, must be {:#x}", run.verdict));
            }
            if run.after.as_ref().is_some_and(|after| after != packet) {
                wrong.push(format!("run {number}: the packet is {packet:02x?}"));
            }
        }
        wrong
    }
}

/// What a map of the interpreter holds; `None` for one that only programs can read.
fn contents(vm: &mut Vm, name: &str) -> Option<Contents> {
    let (map, memory) = vm.map(name)?;
    match map.spec().map_type {
        MapType::RINGBUF => Some(Contents::Records(map.drain())),
        map_type if Contents::has_pairs(map_type) => {
            let pairs = map.keys().into_iter().filter_map(|key| Some((key.clone(), value(map, memory, &key)?)));
            Some(Contents::Pairs(pairs.collect()))
        }
        _ => None,
    }
}

fn value(map: &mut Map, memory: &Memory, key: &[u8]) -> Option<Vec<u8>> {
    let (size, address) = (map.spec().value_size as usize, map.lookup(key, 0)?);
    Some(memory.bytes(address, size).ok()?.to_vec())
}

impl Contents {
    /// Can user space read a map of this type key by key, and are the values plain bytes?
    #[must_use]
    pub fn has_pairs(map_type: MapType) -> bool {
        matches!(
            map_type,
            MapType::ARRAY
                | MapType::HASH
                | MapType::LRU_HASH
                | MapType::LPM_TRIE
                | MapType::PERCPU_ARRAY
                | MapType::PERCPU_HASH
                | MapType::LRU_PERCPU_HASH
        )
    }
}

fn hex(text: &str) -> Result<Vec<u8>, &'static str> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()).ok_or("a packet is hex"))
        .collect::<Result<_, _>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    if rest.is_empty() { Ok(pairs.iter().map(|[a, b]| a << 4 | b).collect()) } else { Err("a byte is two hex digits") }
}
