//! Random typed IR: programs that every kernel must accept.

use asm::insn::{AluOp, AtomicOp, Cond, helper};
use asm::ir::{Block, Func, FuncBuilder, MapDecl, Ty, Value, Var};
use asm::object::MapType;

/// Numbers that look random: xorshift64*.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.roll(from.len() as u64)).expect("well-typed")]
    }
}

const INTS: [Ty; 4] = [Ty::I8, Ty::I16, Ty::I32, Ty::I64];
const CONDS: [Cond; 11] =
    [Cond::Eq, Cond::Ne, Cond::Gt, Cond::Ge, Cond::Lt, Cond::Le, Cond::Sgt, Cond::Sge, Cond::Slt, Cond::Sle, Cond::Set];
const ALU: [AluOp; 13] = [
    AluOp::Add,
    AluOp::Sub,
    AluOp::Mul,
    AluOp::Div,
    AluOp::Mod,
    AluOp::Sdiv,
    AluOp::Smod,
    AluOp::Or,
    AluOp::And,
    AluOp::Xor,
    AluOp::Lsh,
    AluOp::Rsh,
    AluOp::Arsh,
];

/// A program that is being made up.
struct Author {
    b: FuncBuilder,
    dice: Dice,
    vars: Vec<Var>,
    packet: Value,
    end: Value,
    /// Bytes of the packet that are checked.
    checked: u32,
    stack: Value,
    value: Value,
    out: Block,
}

impl Author {
    fn var(&mut self) -> Value {
        let var = self.dice.pick(&self.vars);
        self.b.use_var(var)
    }

    fn any_const(&mut self, ty: Ty) -> Value {
        let small = self.dice.roll(20);
        let number = match self.dice.roll(4) {
            0 => small,
            1 => u64::MAX - small,
            2 => 1 << self.dice.roll(64),
            _ => self.dice.roll(u64::MAX).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        };
        self.b.iconst(ty, number)
    }

    /// A number of some type.
    fn number(&mut self, depth: u32) -> Value {
        if depth == 0 {
            return if self.dice.roll(3) == 0 {
                let ty = self.dice.pick(&INTS);
                self.any_const(ty)
            } else {
                self.var()
            };
        }
        match self.dice.roll(12) {
            0..=4 => {
                let (a, b, op) = (self.number(depth - 1), self.number(depth - 1), self.dice.pick(&ALU));
                self.b.alu(op, a, b)
            }
            5 => {
                let a = self.number(depth - 1);
                self.b.bswap(a)
            }
            6 => {
                let (a, ty) = (self.number(depth - 1), self.dice.pick(&INTS));
                if ty.bits() > self.b.ty(a).bits() { self.b.sext(a, ty) } else { self.b.trunc(a, ty) }
            }
            7 => {
                let (a, by) = (self.number(depth - 1), self.number(0));
                let ty = self.b.ty(a);
                let by = self.as_type(by, ty);
                if self.dice.roll(2) == 0 { self.b.rotl(a, by) } else { self.b.rotr(a, by) }
            }
            8 => {
                let (a, b, cond) = (self.number(depth - 1), self.number(0), self.dice.pick(&CONDS));
                let (x, y) = (self.number(0), self.number(0));
                if self.dice.roll(2) == 0 { self.b.compare(cond, a, b) } else { self.b.select(cond, a, b, x, y) }
            }
            _ => self.load(),
        }
    }

    fn as_type(&mut self, a: Value, ty: Ty) -> Value {
        if self.b.ty(a).bits() > ty.bits() { self.b.trunc(a, ty) } else { self.b.zext(a, ty) }
    }

    /// A place in memory that holds a number of that type.
    fn place(&mut self, ty: Ty) -> (Value, i32) {
        let bytes = u64::from(ty.bits().expect("well-typed") / 8);
        let (ptr, room) = self.dice.pick(&[(self.packet, u64::from(self.checked)), (self.stack, 16), (self.value, 8)]);
        let off = self.dice.roll(room / bytes) * bytes;
        let moved = self.dice.roll(off + 1);
        let ptr = if self.dice.roll(3) == 0 {
            self.b.ptr_offset(ptr, i64::try_from(moved).expect("well-typed"))
        } else {
            return (ptr, i32::try_from(off).expect("well-typed"));
        };
        (ptr, i32::try_from(off - moved).expect("well-typed"))
    }

    fn load(&mut self) -> Value {
        let ty = self.dice.pick(&INTS);
        let (ptr, off) = self.place(ty);
        self.b.load(ty, ptr, off)
    }

    fn statement(&mut self, depth: u32) {
        match self.dice.roll(14) {
            0..=4 => {
                let value = self.number(2);
                let var = self.dice.pick(&self.vars);
                let ty = self.b.var_ty(var);
                let value = self.as_type(value, ty);
                self.b.def(var, value);
            }
            5..=7 => {
                let value = self.number(1);
                let (ptr, off) = self.place(self.b.ty(value));
                self.b.store(ptr, off, value);
            }
            8 if depth > 0 => self.branch(depth),
            9 if depth > 0 => self.repeat(depth),
            10 => self.atomic(),
            11 => {
                let time = self.b.call(helper::KTIME_GET_NS, &[]).expect("well-typed");
                let var = self.dice.pick(&self.vars);
                let time = self.as_type(time, self.b.var_ty(var));
                self.b.def(var, time);
            }
            12 => {
                let grown = self.checked + u32::try_from(self.dice.roll(4)).expect("well-typed");
                if grown <= 40 {
                    self.b.check(self.packet, grown, self.end, self.out);
                    self.checked = grown;
                }
            }
            _ => self.lookup(),
        }
    }

    fn atomic(&mut self) {
        let ty = self.dice.pick(&[Ty::I32, Ty::I64]);
        let (ptr, off) = (self.value, i32::try_from(self.dice.roll(2) * 4).expect("well-typed"));
        let off = if ty == Ty::I64 { 0 } else { off };
        let value = self.number(0);
        let value = self.as_type(value, ty);
        let ops = [AtomicOp::FetchAdd, AtomicOp::FetchOr, AtomicOp::FetchAnd, AtomicOp::FetchXor, AtomicOp::Xchg];
        let old = match self.dice.roll(3) {
            0 => return self.b.atomic(AtomicOp::Add, ptr, off, value),
            1 => {
                let expected = self.number(0);
                let expected = self.as_type(expected, ty);
                self.b.cmpxchg(ptr, off, expected, value)
            }
            _ => self.b.atomic_fetch(self.dice.pick(&ops), ptr, off, value),
        };
        let var = self.dice.pick(&self.vars);
        let old = self.as_type(old, self.b.var_ty(var));
        self.b.def(var, old);
    }

    /// A key from the packet or made up, and what the map has under it.
    fn lookup(&mut self) {
        let three = self.b.iconst(Ty::I32, 3);
        let key = self.b.stack(4, 4);
        let index = self.number(1);
        let index = self.as_type(index, Ty::I32);
        let index = if self.dice.roll(2) == 0 { self.b.and(index, three) } else { index };
        self.b.store(key, 0, index);
        let map = self.b.map(&counters());
        let found = self.b.call(helper::MAP_LOOKUP_ELEM, &[map, key]).expect("well-typed");
        let (missing, join) = (self.b.block(), self.b.block());
        let found = self.b.non_null(found, missing);
        let value = self.b.load(Ty::I64, found, 0);
        let var = self.dice.pick(&self.vars);
        let value = self.as_type(value, self.b.var_ty(var));
        self.b.def(var, value);
        self.b.jump(join);
        self.b.switch_to(missing);
        self.b.jump(join);
        self.b.seal(join);
        self.b.switch_to(join);
    }

    fn branch(&mut self, depth: u32) {
        let (a, b, cond) = (self.number(1), self.number(0), self.dice.pick(&CONDS));
        let (then, other, join) = (self.b.block(), self.b.block(), self.b.block());
        self.b.branch(cond, a, b, then, other);
        let checked = self.checked;
        for block in [then, other] {
            self.b.seal(block);
            self.b.switch_to(block);
            self.checked = checked;
            self.block(depth - 1, 2);
            if self.dice.roll(5) == 0 {
                let value = self.number(0);
                let value = self.as_type(value, Ty::I32);
                self.b.ret(Some(value));
            } else {
                self.b.jump(join);
            }
        }
        self.checked = checked;
        self.b.seal(join);
        self.b.switch_to(join);
    }

    fn repeat(&mut self, depth: u32) {
        let counter = self.b.var(Ty::I64);
        let (zero, one) = (self.b.iconst(Ty::I64, 0), self.b.iconst(Ty::I64, 1));
        let limit = self.dice.roll(5);
        let limit = self.b.iconst(Ty::I64, limit);
        self.b.def(counter, zero);
        let (head, body, done) = (self.b.block(), self.b.block(), self.b.block());
        self.b.jump(head);
        self.b.switch_to(head);
        let at = self.b.use_var(counter);
        self.b.branch(Cond::Lt, at, limit, body, done);
        self.b.seal(body);
        self.b.switch_to(body);
        let checked = self.checked;
        self.block(depth - 1, 3);
        self.checked = checked;
        let at = self.b.use_var(counter);
        let next = self.b.add(at, one);
        self.b.def(counter, next);
        self.b.jump(head);
        self.b.seal(head);
        self.b.seal(done);
        self.b.switch_to(done);
    }

    fn block(&mut self, depth: u32, statements: u64) {
        for _ in 0..=self.dice.roll(statements) {
            self.statement(depth);
        }
    }
}

/// The map that programs count in: four numbers.
pub(crate) fn counters() -> MapDecl {
    MapDecl {
        name: "counters".into(),
        map_type: MapType::ARRAY,
        key_size: 4,
        value_size: 8,
        max_entries: 4,
        inner: None,
    }
}

/// A whole program: the same for the same seed.
pub(crate) fn program(seed: u64, statements: u64) -> Func {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut b = FuncBuilder::prog("xdp", "random");
    let out = b.block();
    let (packet, end) = (b.packet(), b.packet_end());
    b.check(packet, 16, end, out);
    let stack = b.stack(16, 8);
    for off in [0, 8] {
        let number = b.iconst(Ty::I64, dice.roll(1 << 40));
        b.store(stack, off, number);
    }
    let key = b.stack(4, 4);
    let one = b.iconst(Ty::I32, 1);
    b.store(key, 0, one);
    let map = b.map(&counters());
    let value = b.call(helper::MAP_LOOKUP_ELEM, &[map, key]).expect("well-typed");
    let value = b.non_null(value, out);
    let vars: Vec<Var> = [Ty::I8, Ty::I16, Ty::I32, Ty::I64, Ty::I64].map(|ty| b.var(ty)).to_vec();
    for (at, var) in (0..).zip(&vars) {
        let first = b.load(b.var_ty(*var), packet, at);
        b.def(*var, first);
    }
    let mut author = Author { b, dice, vars, packet, end, checked: 16, stack, value, out };
    author.block(3, statements);
    let Author { mut b, vars, .. } = author;
    let mut result = b.iconst(Ty::I64, 0);
    let prime = b.iconst(Ty::I64, 31);
    for var in vars {
        let value = b.use_var(var);
        let more = b.mul(result, prime);
        result = b.add(more, value);
    }
    let result = b.trunc(result, Ty::I32);
    b.ret(Some(result));
    b.seal(out);
    b.switch_to(out);
    let two = b.iconst(Ty::I32, 2);
    b.ret(Some(two));
    b.finish().unwrap_or_else(|error| panic!("{error}"))
}
