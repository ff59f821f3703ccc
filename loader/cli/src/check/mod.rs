//! `loader check`: will it load? On this kernel, on others, or by another one's types.
//!
//! Input: [`Args`]. Output: program × kernel, and for each refusal why, where in the source, and what to do. Exit status 0
//! when everything loads, 1 when something does not. Read next: `guests.rs`, then `text.rs`; `loader::check` for the work.

mod guests;
mod text;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use loader::Spec;
use loader::btf::KernelBtf;
use loader::check::target::{Target, against};
use loader::check::{self, ProgReport};
use serde::{Deserialize, Serialize};

use crate::render::Out;
use crate::systems;

/// What `loader check` is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// ELF objects, assembly text (.s), or names of built-in objects
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Boot these kernels in QEMU and ask them: names with commas, or `all`; needs no root
    #[arg(long, value_name = "5.10,6.1,…", conflicts_with = "target", value_parser = guests::known)]
    kernel: Option<String>,

    /// Answer from a kernel's types alone, without a system call: raw BTF, as in /sys/kernel/btf/vmlinux
    #[arg(long, value_name = "FILE.btf")]
    target: Option<PathBuf>,
}

/// What each kernel says.
#[derive(Debug, Serialize, Deserialize)]
struct Checked {
    kernels: Vec<Kernel>,
}

/// What one kernel says.
#[derive(Debug, Serialize, Deserialize)]
struct Kernel {
    /// `here`, what `--kernel` takes, or the file with its types.
    name: String,
    /// `uname -r`, where a kernel ran.
    release: Option<String>,
    /// Why it says nothing, or less than it should: its guest hung, it could not be had.
    fault: Option<String>,
    /// From QEMU's start to process 1, for a guest.
    boot_seconds: Option<f64>,
    /// One an object.
    files: Vec<Checkup>,
}

/// What one kernel says of one object.
#[derive(Debug, Serialize, Deserialize)]
struct Checkup {
    /// As it was given.
    file: String,
    /// Why it could not be judged at all; empty if it was.
    error: Vec<String>,
    /// What the kernel itself complained of meanwhile (BUG, WARNING), and lost results.
    complaint: Option<String>,
    /// One a program.
    programs: Vec<ProgReport>,
}

/// Something does not load: the result tells what, and the exit status that.
#[derive(Debug, thiserror::Error)]
#[error("not every program loads")]
pub(crate) struct NotAll;

impl Checked {
    fn is_well(&self) -> bool {
        self.kernels.iter().all(|kernel| kernel.fault.is_none() && kernel.files.iter().all(Checkup::is_well))
    }
}

impl Checkup {
    fn is_well(&self) -> bool {
        let programs = self.programs.iter().all(|program| program.verdict.is_well());
        programs && self.error.is_empty() && self.complaint.is_none()
    }
}

/// An object to be judged.
struct Object {
    /// As it was given.
    name: String,
    /// An ELF object, or why it is none.
    bytes: Result<Vec<u8>>,
}

/// Runs the command.
pub(crate) fn run(args: Args, out: &mut Out) -> Result<()> {
    let objects: Vec<Object> = args.files.iter().map(|path| read(path)).collect();
    let checked = match (&args.kernel, &args.target) {
        (Some(kernels), _) => guests::ask(&objects, kernels, out)?,
        (None, Some(target)) => by_types(&objects, target)?,
        (None, None) => here(&objects),
    };
    out.result(&checked, text::of)?;
    if checked.is_well() { Ok(()) } else { Err(NotAll.into()) }
}

fn read(path: &Path) -> Object {
    Object { name: path.display().to_string(), bytes: systems::read_source(path) }
}

/// The running kernel.
fn here(objects: &[Object]) -> Checked {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok().map(|text| text.trim().to_owned());
    let files = objects.iter().map(|object| judge(object, check::here)).collect();
    Checked { kernels: vec![Kernel { name: "here".to_owned(), release, fault: None, boot_seconds: None, files }] }
}

/// Another kernel, by its types.
fn by_types(objects: &[Object], path: &Path) -> Result<Checked> {
    let target = Target::new(KernelBtf::from_file(path).context("the target's types cannot be used")?);
    let files = objects.iter().map(|object| judge(object, |spec| against(spec, &target))).collect();
    let name = path.display().to_string();
    Ok(Checked { kernels: vec![Kernel { name, release: None, fault: None, boot_seconds: None, files }] })
}

fn judge(object: &Object, ask: impl FnOnce(&Spec) -> Vec<ProgReport>) -> Checkup {
    let mut checkup = Checkup { file: object.name.clone(), error: Vec::new(), complaint: None, programs: Vec::new() };
    match &object.bytes {
        Err(error) => checkup.error = error.chain().map(ToString::to_string).collect(),
        Ok(bytes) => match Spec::parse(bytes) {
            Err(error) => checkup.error = vec!["it cannot be loaded".to_owned(), error.to_string()],
            Ok(spec) => checkup.programs = ask(&spec),
        },
    }
    checkup
}
