//! From statements to instructions, by the rules that every verifier since 5.10 keeps: packet pointers are loaded, checked
//! and used in one place, indexes are masked, loop counters are constants on the stack.

use asm::insn::{
    AluOp, Builder, Code, Cond, Op, Operand, R0, R1, R2, R3, R4, R6, R7, R8, R9, R10, Reg, Size, Width, helper,
};

use super::program::{Program, Source, Stmt, Var};

/// Stack: the context, four slots, key and value of the hash map, then a counter for each loop around.
const CTX: i16 = -8;
const SLOTS: i16 = -16;
const KEY: i16 = -48;
const VALUE: i16 = -56;
const COUNTERS: i16 = -64;

/// The functions by name, the entry first; `n` tells programs of one object apart.
pub(super) fn functions(program: &Program, n: usize) -> Vec<(String, Code)> {
    let mut all = vec![(format!("entry{n}"), entry(&program.entry, n))];
    all.extend(program.functions.iter().enumerate().map(|(which, body)| (callee(which, n), function(body, n))));
    all
}

/// The name of one of the two functions of program `n`.
fn callee(which: usize, n: usize) -> String {
    format!("{}{n}", ["first", "second"][which])
}

fn entry(body: &[Stmt], n: usize) -> Code {
    let mut e = Emitter::new(n);
    e.b.store(Size::Dw, R10, CTX, R1);
    for (at, reg) in (0..).step_by(8).zip([R6, R7, R8, R9]) {
        e.b.map_value(R1, "inputs", at);
        e.b.load(Size::Dw, reg, R1, 0);
    }
    e.frame();
    e.block(body);
    for (at, reg) in (0..).step_by(8).zip([R6, R7, R8, R9]) {
        e.b.map_value(R1, "outputs", at);
        e.b.store(Size::Dw, R1, 0, reg);
    }
    e.b.mov(R0, R6);
    e.b.and(R0, 0xff);
    e.finish()
}

fn function(body: &[Stmt], n: usize) -> Code {
    let mut e = Emitter::new(n);
    e.b.mov(R6, R1);
    e.b.mov(R7, R2);
    e.b.mov(R8, R1);
    e.b.mov(R9, R2);
    e.frame();
    e.block(body);
    e.b.mov(R0, R6);
    e.b.xor(R0, R8);
    e.finish()
}

struct Emitter {
    b: Builder,
    /// Number of the program.
    n: usize,
    labels: u32,
    loops: i16,
}

fn reg(var: Var) -> Reg {
    [R6, R7, R8, R9][usize::from(var.0)]
}

fn operand(source: Source) -> Operand {
    match source {
        Source::Var(var) => Operand::Reg(reg(var)),
        Source::Constant(c) => Operand::Imm(c),
    }
}

impl Emitter {
    fn new(n: usize) -> Self {
        Self { b: Builder::new(), n, labels: 0, loops: 0 }
    }

    /// Every byte of stack that a statement may read is written first.
    fn frame(&mut self) {
        for at in [SLOTS, SLOTS - 8, SLOTS - 16, SLOTS - 24, KEY, VALUE] {
            self.b.store(Size::Dw, R10, at, 0);
        }
    }

    fn finish(mut self) -> Code {
        self.b.exit();
        self.b.finish().expect("the program is well-formed")
    }

    fn label(&mut self) -> asm::insn::Label {
        self.labels += 1;
        self.b.label(&format!("l{}", self.labels))
    }

    fn block(&mut self, body: &[Stmt]) {
        for stmt in body {
            self.stmt(stmt);
        }
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match stmt {
            Stmt::Alu { op, width, dst, src } => self.alu(*op, *width, *dst, *src),
            Stmt::Spill { slot, size, src } => {
                self.b.store(*size, R10, SLOTS - i16::from(*slot) * 8, reg(*src));
            }
            Stmt::Fill { dst, size, slot } => self.b.load(*size, reg(*dst), R10, SLOTS - i16::from(*slot) * 8),
            Stmt::ReadValue { dst, index, size } => {
                self.value_address(*index);
                self.b.load(*size, reg(*dst), R2, 0);
            }
            Stmt::WriteValue { index, size, src } => {
                self.value_address(*index);
                self.b.store(*size, R2, 0, reg(*src));
            }
            Stmt::AddValue { index, src } => {
                self.value_address(*index);
                self.b.atomic_add(Size::Dw, R2, 0, reg(*src));
            }
            Stmt::ReadPacket { dst, off, size } => {
                self.packet(*off, *size, |b| b.load(*size, reg(*dst), R2, i16::from(*off)))
            }
            Stmt::WritePacket { off, size, src } => {
                self.packet(*off, *size, |b| b.store(*size, R2, i16::from(*off), reg(*src)));
            }
            Stmt::Lookup { dst, key } => self.lookup(reg(*dst), *key),
            Stmt::Update { key, value } => {
                self.hash_key(*key);
                self.b.store(Size::Dw, R10, VALUE, reg(*value));
                self.b.mov(R3, R10);
                self.b.add(R3, i32::from(VALUE));
                self.b.mov(R4, 0);
                self.b.call(helper::MAP_UPDATE_ELEM);
            }
            Stmt::Delete { dst, key } => {
                self.hash_key(*key);
                self.b.call(helper::MAP_DELETE_ELEM);
                // Before Linux 6.4 the result was an int: the upper half of a negative one is undefined.
                self.b.mov32(reg(*dst), R0);
            }
            Stmt::If { cond, width, left, right, then, other } => {
                self.branch(*cond, *width, *left, *right, (then, other));
            }
            Stmt::Repeat { times, body } => self.repeat(*times, body),
            Stmt::Call { dst, function, args } => {
                self.b.mov(R1, reg(args[0]));
                self.b.mov(R2, reg(args[1]));
                self.b.call_fn(callee(usize::from(*function), self.n));
                self.b.mov(reg(*dst), R0);
            }
        }
    }

    fn alu(&mut self, op: AluOp, width: Width, dst: Var, src: Source) {
        self.b.op(Op::Alu { op, width, dst: reg(dst), src: operand(src) });
    }

    /// `r2` = address in the array's value.
    fn value_address(&mut self, index: Var) {
        self.b.mov(R1, reg(index));
        self.b.and(R1, 0x38);
        self.b.map_value(R2, "values", 0);
        self.b.add(R2, R1);
    }

    /// `r2` = packet, of which `off + size` bytes are there, for `access`.
    fn packet(&mut self, off: u8, size: Size, access: impl FnOnce(&mut Builder)) {
        let short = self.label();
        self.b.load(Size::Dw, R1, R10, CTX);
        self.b.load(Size::W, R2, R1, 0);
        self.b.load(Size::W, R3, R1, 4);
        self.b.mov(R4, R2);
        self.b.add(R4, i32::from(off) + i32::from(size.bytes()));
        self.b.jmp_if(Cond::Gt, R4, R3, short);
        access(&mut self.b);
        self.b.bind(short);
    }

    /// `r1`, `r2` = hash map and a key of three bits.
    fn hash_key(&mut self, key: Var) {
        self.b.mov(R1, reg(key));
        self.b.and(R1, 7);
        self.b.store(Size::W, R10, KEY, R1);
        self.b.map(R1, "hash");
        self.b.mov(R2, R10);
        self.b.add(R2, i32::from(KEY));
    }

    fn lookup(&mut self, dst: Reg, key: Var) {
        let (none, end) = (self.label(), self.label());
        self.hash_key(key);
        self.b.call(helper::MAP_LOOKUP_ELEM);
        self.b.jmp_if(Cond::Eq, R0, 0, none);
        self.b.load(Size::Dw, dst, R0, 0);
        self.b.jmp(end);
        self.b.bind(none);
        self.b.mov(dst, 7);
        self.b.bind(end);
    }

    fn branch(&mut self, cond: Cond, width: Width, left: Var, right: Source, arms: (&[Stmt], &[Stmt])) {
        let (then, end) = (self.label(), self.label());
        match width {
            Width::W64 => self.b.jmp_if(cond, reg(left), operand(right), then),
            Width::W32 => self.b.jmp32_if(cond, reg(left), operand(right), then),
        }
        self.block(arms.1);
        self.b.jmp(end);
        self.b.bind(then);
        self.block(arms.0);
        self.b.bind(end);
    }

    fn repeat(&mut self, times: u8, body: &[Stmt]) {
        let at = COUNTERS - self.loops * 8;
        self.loops += 1;
        self.b.store(Size::Dw, R10, at, i32::from(times));
        let top = self.label();
        self.b.bind(top);
        self.block(body);
        self.b.load(Size::Dw, R1, R10, at);
        self.b.sub(R1, 1);
        self.b.store(Size::Dw, R10, at, R1);
        self.b.jmp_if(Cond::Ne, R1, 0, top);
        self.loops -= 1;
    }
}
