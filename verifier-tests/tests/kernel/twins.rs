//! Programs that run: the kernel, the interpreter and the file must agree on results, packets and maps.

use std::path::Path;

use asm::object::MapType;
use loader::load::{LoadOptions, Loaded, load};
use loader::map::{Map, RingBuf};
use verifier_tests::{After, Contents, Twin};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[test]
fn kernel_and_interpreter_leave_the_same_behind() {
    super::need_root();
    let kernel = super::kernel_release();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("twins");
    let entries = std::fs::read_dir(&dir).expect("twins/ is there").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = entries.collect();
    files.sort();
    let (mut passed, mut older, mut wrong) = (0, 0, Vec::new());
    for file in &files {
        let name = file.file_name().expect("a name").to_string_lossy();
        let text = std::fs::read_to_string(file).expect("a text");
        let twin = Twin::parse(&name, &text).unwrap_or_else(|e| panic!("{name}: {e}"));
        if let Some((feature, (major, minor, _))) = twin.needs.as_ref().filter(|(_, first)| kernel < *first) {
            println!("{name}: {feature} needs Linux {major}.{minor}");
            older += 1;
            continue;
        }
        match judge(&twin) {
            Ok(()) => passed += 1,
            Err(why) => wrong.push(format!("{name}: {}", chain(&*why))),
        }
    }
    println!("{passed} passed, {} failed, {older} not for this kernel", wrong.len());
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(passed > 0, "{} has no twin for this kernel", dir.display());
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn judge(twin: &Twin) -> Result<()> {
    let (theirs, ours) = (in_the_kernel(twin)?, twin.interpret()?);
    let wrong = twin.differences(&theirs);
    if !wrong.is_empty() {
        return Err(format!("in the kernel, {}", wrong.join("; ")).into());
    }
    if theirs != ours {
        return Err(format!("\nkernel {theirs:x?}\ninterpreter {ours:x?}").into());
    }
    Ok(())
}

fn in_the_kernel(twin: &Twin) -> Result<After> {
    let loaded = load(&twin.spec, &LoadOptions::default())?;
    let prog = loaded.prog(twin.entry()?)?;
    let mut after = After::default();
    for run in &twin.runs {
        let ran = prog.test_run(&run.packet, 1)?;
        after.runs.push((ran.retval, ran.data_out));
    }
    read_maps(&loaded, &mut after)?;
    Ok(after)
}

fn read_maps(loaded: &Loaded, after: &mut After) -> Result<()> {
    for (name, map) in loaded.maps() {
        let contents = match map.map_type() {
            MapType::RINGBUF => {
                let mut records = Vec::new();
                RingBuf::new(map)?.read(|record| records.push(record.to_vec()))?;
                Contents::Records(records)
            }
            map_type if Contents::has_pairs(map_type) => {
                let keys = map.keys().collect::<std::result::Result<Vec<_>, _>>()?;
                let pairs = keys.into_iter().map(|key| Ok((key.clone(), value(map, &key)?)));
                Contents::Pairs(pairs.collect::<Result<_>>()?)
            }
            _ => continue,
        };
        after.maps.insert(name.to_owned(), contents);
    }
    Ok(())
}

/// The value under a key; the copies of a per-CPU map one over the other, since one run uses one CPU.
fn value(map: &Map, key: &[u8]) -> Result<Vec<u8>> {
    if !map.is_per_cpu() {
        return Ok(map.lookup(key)?.ok_or("a key without a value")?);
    }
    let copies = map.lookup_per_cpu(key)?.ok_or("a key without a value")?;
    let mut all = vec![0; map.value_size()];
    for copy in copies {
        all.iter_mut().zip(copy).for_each(|(byte, more)| *byte |= more);
    }
    Ok(all)
}
