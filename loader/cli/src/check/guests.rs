//! `loader check --kernel`: guests of real kernels are asked, without root.
//!
//! Input: objects, names of kernels. Output: what each kernel says. A guest holds this very program, twice named: as its
//! process 1, and as `/bin/loader`, which is started for each object with `--json`; so what answers there is what answers
//! here. A kernel that cannot be had, hangs or dies is a row that says so. Read next: `qemu_ci::matrix`.

use anyhow::{Context, Result};
use guest_init::{INIT_PATH, Item};
use qemu_ci::cache::Cache;
use qemu_ci::console::{Ended, Ending};
use qemu_ci::initramfs::{Tree, archive};
use qemu_ci::matrix::{self, OnKernel, Options};
use qemu_ci::suites::{Task, Work, environment};
use qemu_ci::{host, kernels, tools};

use super::{Checked, Checkup, Kernel, Object};
use crate::render::Out;

/// This program in a guest.
const LOADER: &str = "/bin/loader";
/// Seconds for one object, by the guest's clock.
const TIMEOUT: u64 = 60;
/// MiB of a guest: objects make their maps at full size. Only what is touched is taken from this machine.
const MEMORY_MB: u64 = 768;
/// Bytes of JSON that an object's report may have: a refusal is about 6 KB, an object has at most dozens of programs.
const REPORT_LIMIT: usize = 1 << 20;

/// Names of kernels, if all of them are known.
///
/// # Errors
/// The name that is not, and those that are.
pub(super) fn known(names: &str) -> Result<String> {
    kernels::built_in(Some(names)).map(|_| names.to_owned())
}

/// Asks each kernel.
///
/// # Errors
/// What concerns all kernels alike: no QEMU here, no place for the kernels.
pub(super) fn ask(objects: &[Object], names: &str, out: &mut Out) -> Result<Checked> {
    let chosen = kernels::built_in(Some(names))?;
    tools::find(tools::QEMU.program)
        .with_context(|| format!("kernels are booted in QEMU: {}", tools::by_hand(&[tools::QEMU])))?;
    let scratch = Cache::of_user()?.scratch()?;
    out.progress(format_args!("booting {} kernels", chosen.len()));
    let options = Options::default();
    let done = matrix::on_each(&chosen, &options, scratch.path(), || work(objects))?;
    Ok(Checked { kernels: done.guests.into_iter().map(|guest| kernel(guest, objects)).collect() })
}

/// A task for each object, and the files they need.
fn work(objects: &[Object]) -> Result<Work> {
    let mut tree = Tree::of_guest();
    let this = std::env::current_exe().context("the path of this program")?;
    host::add_libraries(&mut tree, &this)?;
    tree.program(LOADER, loadable(std::fs::read(&this).with_context(|| format!("read {}", this.display()))?));
    tree.link(INIT_PATH, LOADER);
    let mut tasks = Vec::new();
    for (index, object) in objects.iter().enumerate() {
        // An object that cannot be read is told of without asking a kernel; its task keeps the numbers equal.
        let path = format!("/objects/{index}.o");
        tree.file(&path, object.bytes.as_ref().map(Clone::clone).unwrap_or_default());
        let command = [LOADER, "check", "--json", &path].map(str::to_owned);
        let item = Item {
            name: object.name.clone(),
            commands: vec![command.into()],
            cwd: "/".to_owned(),
            timeout_ms: TIMEOUT * 1000,
            output_limit: Some(REPORT_LIMIT),
            ..Item::default()
        };
        tasks.push(Task { item, modules: Vec::new(), of_runner: false });
    }
    Ok(Work {
        tasks,
        shared: archive(&tree)?,
        env: environment(),
        memory_mb: MEMORY_MB,
        nics: Vec::new(),
        drivers: Vec::new(),
    })
}

/// An ELF program without what only debuggers read: everything behind the last byte that is loaded. A build with debug
/// information has hundreds of megabytes of that.
fn loadable(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = loaded_end(&bytes).filter(|&end| end < bytes.len()) {
        bytes.truncate(end);
        // e_shoff, e_shnum and e_shstrndx: there are no sections any more.
        bytes[0x28..0x30].fill(0);
        bytes[0x3c..0x40].fill(0);
    }
    bytes
}

/// Where the last segment ends in the file of a 64-bit little-endian ELF program.
fn loaded_end(bytes: &[u8]) -> Option<usize> {
    let number = |at: usize, size: usize| {
        let mut wide = [0; 8];
        wide[..size].copy_from_slice(bytes.get(at..at.checked_add(size)?)?);
        usize::try_from(u64::from_le_bytes(wide)).ok()
    };
    if bytes.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let (headers, size, count) = (number(0x20, 8)?, number(0x36, 2)?, number(0x38, 2)?);
    let mut end = headers.checked_add(size.checked_mul(count)?)?.max(0x40);
    for index in 0..count {
        let header = headers + size * index;
        end = end.max(number(header + 0x08, 8)?.checked_add(number(header + 0x20, 8)?)?);
    }
    Some(end)
}

/// What became of a kernel's guest, in the form of its own reports.
fn kernel(OnKernel { wanted, kernel, run }: OnKernel, objects: &[Object]) -> Kernel {
    let mut faults: Vec<String> = run.faults;
    if run.ending != Ending::Done {
        faults.insert(0, run.ending.to_string());
    }
    let files = objects.iter().zip(&run.items).map(|(object, ended)| checkup(object, ended)).collect();
    let release = if run.release.is_empty() { kernel.map(|kernel| kernel.kernel.release) } else { Some(run.release) };
    Kernel {
        name: wanted.name,
        release,
        fault: (!faults.is_empty()).then(|| faults.join("\n")),
        boot_seconds: run.boot.map(|boot| boot.as_secs_f64()),
        files,
    }
}

/// What the guest said of one object.
fn checkup(object: &Object, ended: &Ended) -> Checkup {
    let mut found = Checkup { file: object.name.clone(), error: Vec::new(), complaint: None, programs: Vec::new() };
    if let Err(error) = &object.bytes {
        found.error = error.chain().map(ToString::to_string).collect();
        return found;
    }
    match ended {
        Ended::NotRun => found.error.push("not judged: the guest ended before".to_owned()),
        Ended::Lost => found.error.push("not judged: the guest ended while it was at this object".to_owned()),
        Ended::Reported { detail, splat, .. } => {
            found.complaint = (!splat.is_empty()).then(|| format!("the kernel complained:\n{}", splat.trim_end()));
            match report(detail) {
                Some(checkup) => (found.error, found.programs) = (checkup.error, checkup.programs),
                None => found.error = vec!["the guest gave no report".to_owned(), detail.trim().to_owned()],
            }
        }
    }
    found
}

/// The report in an item's output; other words may stand around it.
fn report(output: &str) -> Option<Checkup> {
    let start = output.find("{\n")?;
    let mut values = serde_json::Deserializer::from_str(output.get(start..)?).into_iter::<Checked>();
    values.next()?.ok()?.kernels.pop()?.files.pop()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_loaded_of_this_test_is_a_part_of_it() {
        let whole = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let length = whole.len();
        let end = loaded_end(&whole).unwrap();
        let part = loadable(whole);
        assert!(end <= length && part.len() == end && part[0x28..0x30] == [0; 8]);
        for other in [&b""[..], b"#!/bin/sh\n", b"\x7fELF\x01\x01"] {
            assert_eq!(loadable(other.to_vec()), other);
        }
    }

    #[test]
    fn an_object_without_a_report_says_so() {
        let object = Object { name: "a.o".to_owned(), bytes: Ok(Vec::new()) };
        let reported = |detail: &str| Ended::Reported {
            status: guest_init::Status::Fail,
            ms: 1,
            detail: detail.to_owned(),
            splat: "BUG: x".to_owned(),
        };
        for (ended, want) in [
            (Ended::Lost, "while it was at this object"),
            (Ended::NotRun, "ended before"),
            (reported("guest-init: loader was ended by signal 11"), "signal 11"),
            (reported("{\n \"kernels\": [ 5"), "gave no report"),
        ] {
            let found = checkup(&object, &ended);
            assert!(found.error.join(": ").contains(want), "{want}: {found:?}");
            assert!(!found.is_well());
        }
        let whole = "{\n\"kernels\": [{\"name\": \"here\", \"files\": [{\"file\": \"/objects/0.o\", \"error\": [], \
                     \"programs\": []}]}]}\nguest-init: exit status: 1\n";
        let found = checkup(&object, &reported(whole));
        assert!(found.error.is_empty(), "{found:?}");
        assert_eq!((found.file.as_str(), found.complaint.as_deref()), ("a.o", Some("the kernel complained:\nBUG: x")));
    }
}
