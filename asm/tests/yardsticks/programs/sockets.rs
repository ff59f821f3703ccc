//! Programs on sockets.

use asm::insn::{Cond, helper};
use asm::ir::{Func, FuncBuilder, MapDecl, Ty, Value};
use asm::object::MapType;

use super::map;

/// A connection's four numbers on the stack.
fn tuple(b: &mut FuncBuilder, fields: [(i32, bool); 4]) -> Value {
    let key = b.stack(16, 4);
    for (place, (field, swapped)) in [0, 4, 8, 12].into_iter().zip(fields) {
        let number = b.load(Ty::I32, b.ctx(), field);
        let number = if swapped { b.bswap(number) } else { number };
        b.store(key, place, number);
    }
    key
}

fn socks() -> MapDecl {
    map("socks", MapType::SOCKHASH, 16, 8, 65535)
}

pub(super) fn sk_msg() -> Func {
    let mut b = FuncBuilder::prog("sk_msg", "redirect");
    let (ours, pass) = (b.block(), b.block());
    let (family, inet) = (b.load(Ty::I32, b.ctx(), 16), b.iconst(Ty::I32, 2));
    b.branch(Cond::Eq, family, inet, ours, pass);
    b.switch_to(ours);
    let key = tuple(&mut b, [(20, false), (24, false), (60, false), (64, true)]);
    let (map, ingress) = (b.map(&socks()), b.iconst(Ty::I64, 1));
    b.call(helper::MSG_REDIRECT_HASH, &[b.ctx(), map, key, ingress]);
    b.jump(pass);
    b.switch_to(pass);
    let verdict = b.iconst(Ty::I32, 1);
    b.ret(Some(verdict));
    b.finish().unwrap_or_else(|error| panic!("{error}"))
}

pub(super) fn sockops() -> Func {
    let mut b = FuncBuilder::prog("sockops", "enroll");
    let (known, passive, ours, done) = (b.block(), b.block(), b.block(), b.block());
    let op = b.load(Ty::I32, b.ctx(), 0);
    for (number, next, other) in [(4, known, passive), (5, known, done)] {
        let number = b.iconst(Ty::I32, number);
        b.branch(Cond::Eq, op, number, next, other);
        b.switch_to(other);
    }
    b.switch_to(known);
    let (family, inet) = (b.load(Ty::I32, b.ctx(), 20), b.iconst(Ty::I32, 2));
    b.branch(Cond::Eq, family, inet, ours, done);
    b.switch_to(ours);
    let key = tuple(&mut b, [(28, false), (24, false), (68, true), (64, false)]);
    let (map, no_exist) = (b.map(&socks()), b.iconst(Ty::I64, 1));
    b.call(helper::SOCK_HASH_UPDATE, &[b.ctx(), map, key, no_exist]);
    b.jump(done);
    b.switch_to(done);
    let result = b.iconst(Ty::I32, 0);
    b.ret(Some(result));
    b.finish().unwrap_or_else(|error| panic!("{error}"))
}
