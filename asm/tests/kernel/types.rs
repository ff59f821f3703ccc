//! Our tables of numbers, with the first kernel of each, against the running kernel's own types.

use std::collections::BTreeMap;

use asm::btf::{Btf, Kind, Type};
use asm::object::{AttachType, MapType, ProgType};

use crate::kernel;

/// The values of an enumeration of the kernel: number and name, without the prefix and in small letters.
fn values(btf: &Btf<'_>, name: &str, prefix: &str) -> BTreeMap<u32, Vec<String>> {
    let id = btf.find(name, Kind::ENUM).expect("an enumeration that user space is promised");
    let Ok(Type::Enum { values, .. }) = btf.get(id) else { panic!("{id} is no enumeration") };
    let mut out = BTreeMap::<u32, Vec<String>>::new();
    for (name, value) in values {
        if let Some(name) = name.strip_prefix(prefix) {
            out.entry(value).or_default().push(name.to_lowercase());
        }
    }
    out
}

/// Compares one table with the kernel's: same names, and nothing that is said to be there is missing.
fn compare(kernels: &BTreeMap<u32, Vec<String>>, ours: &[(u32, &str, &str)]) {
    for (number, name, since) in ours {
        let mut since = since.split('.').map(|part| part.parse().expect("a version"));
        let since = (since.next().unwrap_or(0), since.next().unwrap_or(0));
        match kernels.get(number) {
            Some(names) => {
                assert!(names.iter().any(|theirs| theirs == name), "{number} is {names:?} there and {name} here");
                assert!(kernel() >= since, "{name} is said to be from {since:?}, but {:?} has it", kernel());
            }
            None => assert!(kernel() < since, "{name} is said to be from {since:?}, but {:?} lacks it", kernel()),
        }
    }
    for (number, names) in kernels {
        assert!(
            ours.iter().any(|(ours, ..)| ours == number),
            "the kernel has {names:?} = {number}, the table ends before"
        );
    }
}

#[test]
fn our_numbers_are_the_kernels() {
    let bytes =
        std::fs::read("/sys/kernel/btf/vmlinux").expect("a kernel with CONFIG_DEBUG_INFO_BTF, and /sys mounted");
    let btf = Btf::from_vec(bytes).expect("the kernel's types can be read");
    let maps = MapType::ALL.iter().filter_map(|t| Some((t.0, t.name()?, t.since()?)));
    compare(&values(&btf, "bpf_map_type", "BPF_MAP_TYPE_"), &maps.collect::<Vec<_>>());
    let progs = ProgType::ALL.iter().filter_map(|t| Some((t.0, t.name()?, t.since()?)));
    compare(&values(&btf, "bpf_prog_type", "BPF_PROG_TYPE_"), &progs.collect::<Vec<_>>());
    let attach = AttachType::ALL.iter().filter_map(|t| Some((t.0, t.name()?, t.since()?)));
    compare(&values(&btf, "bpf_attach_type", "BPF_"), &attach.collect::<Vec<_>>());
}
