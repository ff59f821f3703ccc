//! A balancer: the largest of the programs. Next: `sockets.rs`.

use asm::insn::{Cond, helper};
use asm::ir::{Func, GlobalDecl, Ty, Value};
use asm::object::MapType;

use super::{ETH_IP, IP, L4, TX, Xdp, fold, map};

/// The final mix of Bob Jenkins' lookup3.
fn mix(x: &mut Xdp, a: Value, b: Value, c: Value) -> Value {
    let mut v = [a, b, c];
    for (to, from, by) in [(2, 1, 14), (0, 2, 11), (1, 0, 25), (2, 1, 16), (0, 2, 4), (1, 0, 14), (2, 1, 24)] {
        v[to] = x.b.xor(v[to], v[from]);
        let by = x.c(Ty::I32, by);
        let turned = x.b.rotl(v[from], by);
        v[to] = x.b.sub(v[to], turned);
    }
    v[2]
}

const RING: u64 = 65537;

pub(super) fn maglev() -> Func {
    let mut x = Xdp::new("maglev");
    x.ipv4();
    x.need(38);
    x.no_options();
    let protocol = x.read(Ty::I8, IP + 9);
    let (known, six) = (x.b.block(), x.c(Ty::I8, 6));
    let not_tcp = x.b.block();
    x.b.branch(Cond::Eq, protocol, six, known, not_tcp);
    x.b.switch_to(not_tcp);
    let udp = x.c(Ty::I8, 17);
    x.b.branch(Cond::Eq, protocol, udp, known, x.pass);
    x.b.switch_to(known);
    let key = x.b.stack(8, 4);
    let parts = [x.read(Ty::I32, IP + 16), x.read(Ty::I16, L4 + 2), protocol, x.c(Ty::I8, 0)];
    for (off, part) in [0, 4, 6, 7].into_iter().zip(parts) {
        x.b.store(key, off, part);
    }
    let found = x.lookup(&map("vips", MapType::HASH, 8, 4, 512), key);
    let vip = x.b.non_null(found, x.pass);
    let (source, ports, seed) = (x.read(Ty::I32, IP + 12), x.read(Ty::I32, L4), x.c(Ty::I32, 0xdead_beef));
    let hash = mix(&mut x, source, ports, seed);
    let index = x.b.load(Ty::I32, vip, 0);
    let ring = x.c(Ty::I32, RING);
    let (place, start) = (x.b.rem(hash, ring), x.b.mul(index, ring));
    let slot = x.b.add(place, start);
    let key = x.key(slot);
    let found = x.lookup(&map("ring", MapType::ARRAY, 4, 4, 16 * 65537), key);
    let id = x.b.non_null(found, x.drop);
    let found = x.lookup(&map("reals", MapType::ARRAY, 4, 12, 4096), id);
    let real = x.b.non_null(found, x.drop);
    let (len, tos) = (x.read(Ty::I16, IP + 2), x.read(Ty::I8, IP + 1));
    let len = x.b.bswap(len);
    let mac = [x.read(Ty::I32, 0), x.read(Ty::I16, 4)];
    let index = x.b.load(Ty::I32, vip, 0);
    let key = x.key(index);
    let found = x.lookup(&map("stats", MapType::PERCPU_ARRAY, 4, 16, 512), key);
    let counted = x.b.block();
    let stat = x.b.non_null(found, counted);
    let (one, bytes) = (x.c(Ty::I64, 1), x.b.zext(len, Ty::I64));
    x.add(stat, 0, one);
    x.add(stat, 8, bytes);
    x.b.jump(counted);
    x.b.switch_to(counted);
    encapsulate(&mut x, real, len, tos, mac);
    x.finish()
}

/// The second half of the balancer: room before the packet, and an outer header in it.
fn encapsulate(x: &mut Xdp, real: Value, len: Value, tos: Value, mac: [Value; 2]) {
    let (ctx, by) = (x.b.ctx(), x.c(Ty::I32, 0u64.wrapping_sub(20)));
    let failed = x.b.call(helper::XDP_ADJUST_HEAD, &[ctx, by]).expect("a number");
    x.only(Cond::Eq, failed, 0, x.drop);
    let (data, end) = (x.b.packet(), x.b.packet_end());
    x.b.check(data, 34, end, x.drop);
    for (ty, from, to) in [(Ty::I32, 4, 0), (Ty::I16, 8, 4)] {
        let part = x.b.load(ty, real, from);
        x.b.store(data, to, part);
    }
    x.b.store(data, 6, mac[0]);
    x.b.store(data, 10, mac[1]);
    let twenty = x.c(Ty::I16, 20);
    let total = x.b.add(len, twenty);
    let total = x.b.bswap(total);
    let address = x.b.global_addr(&GlobalDecl { name: "local".into(), size: 4, readonly: true }, 0);
    let (source, dest) = (x.b.load(Ty::I32, address, 0), x.b.load(Ty::I32, real, 0));
    let eight = x.c(Ty::I32, 8);
    let wide = x.b.zext(tos, Ty::I32);
    let tos_word = x.b.shl(wide, eight);
    let mut sum = x.c(Ty::I64, 0x0045 + 0x0440);
    for part in [tos_word, total, source, dest] {
        let part = x.b.zext(part, Ty::I64);
        sum = x.b.add(sum, part);
    }
    let (thirty_two, low) = (x.c(Ty::I64, 32), x.b.trunc(sum, Ty::I32));
    let (high, low) = (x.b.shr(sum, thirty_two), x.b.zext(low, Ty::I64));
    let sum = x.b.add(low, high);
    let (sixteen, mask) = (x.c(Ty::I64, 16), x.c(Ty::I64, 0xffff));
    let (low, high) = (x.b.and(sum, mask), x.b.shr(sum, sixteen));
    let sum = x.b.add(low, high);
    let sum = x.b.trunc(sum, Ty::I32);
    let check = fold(x, sum);
    let fields = [
        (12, x.c(Ty::I16, ETH_IP)),
        (IP, x.c(Ty::I8, 0x45)),
        (IP + 1, tos),
        (IP + 2, total),
        (IP + 4, x.c(Ty::I16, 0)),
        (IP + 6, x.c(Ty::I16, 0)),
        (IP + 8, x.c(Ty::I8, 64)),
        (IP + 9, x.c(Ty::I8, 4)),
        (IP + 10, check),
        (IP + 12, source),
        (IP + 16, dest),
    ];
    for (off, value) in fields {
        x.b.store(data, off, value);
    }
    x.ret(TX);
}
