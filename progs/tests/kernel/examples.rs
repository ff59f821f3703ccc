//! The example programs in the running kernel: the cases of `../cases/`, and that all of them load.

use asm::codegen::Profile;
use loader::{LoadOptions, Loaded, Spec, sys::uapi::UpdateFlags};

use crate::{
    cases::{self, Case},
    support::{compiled, in_netns},
};

/// The example as it is written for the oldest kernel.
pub(crate) fn spec(name: &str) -> Spec {
    let module = progs::examples::by_name(name).expect("it is an example");
    let object = || module.object(&Profile::linux_5_10()).unwrap_or_else(|error| panic!("{name}: {error}"));
    compiled(name, || object().write().expect("it is written"))
}

pub(crate) fn load(name: &str, spec: &Spec, options: &LoadOptions) -> Loaded {
    loader::load(spec, options).unwrap_or_else(|error| panic!("{name}: {}", causes(&error)))
}

/// An error and why.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", causes(source)))
}

#[test]
fn every_example_loads() {
    in_netns(|| {
        for name in progs::examples::NAMES {
            let loaded = load(name, &spec(name), &LoadOptions::default());
            assert_eq!(loaded.notes(), [""; 0], "{name}: the kernel takes the types too");
        }
    });
}

#[test]
fn every_example_does_what_it_says() {
    in_netns(|| cases::table::cases().iter().for_each(|case| run(case, &spec(case.program))));
}

/// Runs a case on a program of that meaning, whoever has compiled it.
pub(crate) fn run(case: &Case, spec: &Spec) {
    let what = format!("{}, {}", case.program, case.name);
    let mut options = LoadOptions::default();
    for (name, value) in &case.variables {
        options.variables.insert((*name).to_owned(), value.clone());
    }
    let loaded = load(case.program, spec, &options);
    let (_, prog) = loaded.progs().next().expect("it has a program");
    for (name, key, value) in &case.before {
        let map = loaded.map(name).expect("it has the map");
        map.update(key, value, UpdateFlags::empty()).unwrap_or_else(|error| panic!("{what}: {name}: {error}"));
    }
    let mut last = None;
    for _ in 0..case.times {
        last = Some(prog.test_run(&case.packet, 1).unwrap_or_else(|error| panic!("{what}: {error}")));
    }
    let last = last.expect("it ran");
    assert_eq!(last.retval, case.verdict, "{what}: verdict");
    if case.verdict != cases::DROP {
        assert_eq!(last.data_out, *case.out.as_ref().unwrap_or(&case.packet), "{what}: packet");
    }
    for (name, key, value) in &case.after {
        assert_eq!(found(&loaded, name, key).as_ref(), Some(value), "{what}: {name}");
    }
}

/// What is under the key: of per-CPU maps the one that is not zero, of a ring buffer all there is without the time.
fn found(loaded: &Loaded, name: &str, key: &[u8]) -> Option<Vec<u8>> {
    let map = loaded.map(name).expect("it has the map");
    if map.map_type() == asm::object::MapType::RINGBUF {
        let mut all = Vec::new();
        let mut ring = loader::map::RingBuf::new(map).expect("it is one");
        ring.read(|record| all.extend_from_slice(&record[8..])).expect("it is read");
        return Some(all);
    }
    if !map.is_per_cpu() {
        return map.lookup(key).expect("it can be read");
    }
    let values = map.lookup_per_cpu(key).expect("it can be read")?;
    let written = values.iter().find(|value| value.iter().any(|byte| *byte != 0));
    written.or(values.first()).cloned()
}
