//! An object with one of everything, for the tests that look at it from all sides.

use asm::insn::{Builder, Code, Cond, R0, R1, R2, R3, R6, R10, Size, helper};
use asm::object::{GlobalDef, MapDef, MapType, Object, Pinning, ProgDef, Ty};
use zerocopy::big_endian::{U16, U32};

asm::btf_struct! {
    /// What a service is known by.
    pub struct VipKey {
        /// IPv4 address.
        pub addr: U32,
        /// TCP or UDP port.
        pub port: U16,
        /// IP protocol.
        pub proto: u8,
        /// Zero.
        pub reserved: u8,
    }

    /// What is counted.
    pub struct Stat {
        /// Packets.
        pub packets: u64,
        /// Bytes.
        pub bytes: u64,
    }
}

/// Returns `value`.
pub(crate) fn answer(value: i32) -> Code {
    let mut b = Builder::new();
    b.mov(R0, value);
    b.exit();
    b.finish().expect("the test program is whole")
}

/// Looks a key up in `vips`, counts in `stats` through a function in `.text`, reads a constant, counts in a variable.
fn balance() -> Code {
    let mut b = Builder::new();
    let out = b.label("out");
    b.mov(R6, R1);
    b.store(Size::Dw, R10, -8, 0);
    b.map(R1, "vips");
    b.mov(R2, R10);
    b.add(R2, -8);
    b.call(helper::MAP_LOOKUP_ELEM);
    b.jmp_if(Cond::Eq, R0, 0, out);
    b.mov(R1, 3);
    b.call_fn("count");
    b.map_value(R1, "mode", 0);
    b.load(Size::W, R2, R1, 0);
    b.map_value(R1, "hits", 8);
    b.load(Size::Dw, R3, R1, 0);
    b.add(R3, R2);
    b.store(Size::Dw, R1, 0, R3);
    b.bind(out);
    b.mov(R0, 2);
    b.exit();
    b.finish().expect("the test program is whole")
}

/// Adds one to entry `r1 & 7` of `stats`, and calls another function.
fn count() -> Code {
    let mut b = Builder::new();
    let out = b.label("out");
    b.and(R1, 7);
    b.store(Size::W, R10, -4, R1);
    b.map(R1, "stats");
    b.mov(R2, R10);
    b.add(R2, -4);
    b.call(helper::MAP_LOOKUP_ELEM);
    b.jmp_if(Cond::Eq, R0, 0, out);
    b.load(Size::Dw, R1, R0, 0);
    b.add(R1, 1);
    b.store(Size::Dw, R0, 0, R1);
    b.call_fn("zero");
    b.bind(out);
    b.mov(R0, 0);
    b.exit();
    b.finish().expect("the test program is whole")
}

/// An object with maps of several kinds, two programs in one section, functions in `.text`, and global variables.
pub(crate) fn everything() -> Object {
    let inner = MapDef::new("inner", MapType::ARRAY).key_of::<u32>().value_of::<u64>().max_entries(4);
    Object::new("Dual MIT/GPL")
        .map(MapDef::new("vips", MapType::HASH).key_of::<VipKey>().value_of::<u32>().max_entries(512).flags(1))
        .map(MapDef::new("stats", MapType::PERCPU_ARRAY).key_of::<u32>().value_of::<Stat>().max_entries(8))
        .map(MapDef::new("events", MapType::RINGBUF).max_entries(4096))
        .map(MapDef::new("socks", MapType::SOCKHASH).key_size(16).value_size(8).max_entries(64))
        .map(inner.clone())
        .map(MapDef::new("outer", MapType::ARRAY_OF_MAPS).key_size(4).max_entries(2).inner(inner).slot(1, "inner"))
        .map(MapDef::new("jumps", MapType::PROG_ARRAY).key_size(4).value_size(4).max_entries(2).slot(0, "decap"))
        .map(
            MapDef::new("flows", MapType::LRU_HASH)
                .key(Ty::bytes(16))
                .value_of::<u32>()
                .max_entries(16)
                .pinning(Pinning::ByName),
        )
        .rodata("mode", Ty::of::<u32>(), &[7, 0, 0, 0])
        .rodata("name", Ty::bytes(5), b"seven")
        .bss("hits", Ty::of::<[u64; 2]>())
        .data("limit", Ty::of::<u16>(), &[1, 2])
        .global(GlobalDef::of(".data.extra", "extra", &Stat { packets: 1, bytes: 2 }))
        .prog(ProgDef::new("xdp", "balance", balance()))
        .prog(ProgDef::new("xdp", "decap", answer(2)))
        .prog(ProgDef::new("tc", "classify", answer(-1)))
        .prog(ProgDef::subprog("count", count()).param("slot", Ty::of::<u32>()))
        .prog(ProgDef::subprog("zero", answer(0)))
}
