//! Stage: the intermediate representation. The builder's vocabulary.
//!
//! Input and output: see `build.rs`, whose `impl` goes on here. Operands of a wrong type are noted as mistakes, and the
//! result is a value of the right type all the same, so that one mistake does not make ten. Next: `calls.rs`.

use super::build::FuncBuilder;
use super::core::Core;
use super::error::ProblemKind;
use super::func::{Op, Target, Term};
use super::types::{Block, GlobalDecl, GlobalId, MapDecl, MapId, Region, StackDecl, StackId, Ty, Value};
use crate::insn::{AluOp, AtomicOp, Cond, Size, Width};

/// Two-operand arithmetic: a method a row.
macro_rules! alu {
    ($($op:ident $method:ident $doc:literal;)*) => {
        impl FuncBuilder {
            $(
                #[doc = concat!("`", $doc, "`, on numbers of one type.")]
                #[track_caller]
                pub fn $method(&mut self, a: Value, b: Value) -> Value {
                    self.alu(AluOp::$op, a, b)
                }
            )*
        }
    };
}

alu! {
    Add add "a + b";
    Sub sub "a - b";
    Mul mul "a * b";
    Div div "a / b";
    Sdiv sdiv "a s/ b";
    Mod rem "a % b";
    Smod srem "a s% b";
    Or or "a | b";
    And and "a & b";
    Xor xor "a ^ b";
    Lsh shl "a << b";
    Rsh shr "a >> b";
    Arsh sar "a s>> b";
}

impl FuncBuilder {
    /// Appends an operation that has a result.
    #[track_caller]
    fn value(&mut self, op: Op, ty: Ty) -> Value {
        self.push(op, Some(ty)).unwrap_or(Value(0))
    }

    /// Width in bits of a number; anything else is a mistake.
    #[track_caller]
    fn bits(&mut self, what: &'static str, value: Value) -> u32 {
        let got = self.ty(value);
        got.bits().unwrap_or_else(|| {
            self.problem(ProblemKind::Type { what, value, got, want: "a number" });
            64
        })
    }

    /// A number; bits above the type's width are dropped.
    #[track_caller]
    pub fn iconst(&mut self, ty: Ty, number: u64) -> Value {
        self.value(Op::Const(number & ty.mask()), ty)
    }

    /// `a op b`, in the wider one's type.
    #[track_caller]
    pub fn alu(&mut self, op: AluOp, a: Value, b: Value) -> Value {
        let bits = self.bits("arithmetic", a).max(self.bits("arithmetic", b));
        let ty = Ty::int(bits).unwrap_or(Ty::I64);
        let width = if bits == 64 { Width::W64 } else { Width::W32 };
        let (mut a, mut b) = (a, b);
        if bits < 32 {
            match op {
                AluOp::Sdiv | AluOp::Smod => (a, b) = (self.sext(a, Ty::I32), self.sext(b, Ty::I32)),
                AluOp::Arsh => a = self.sext(a, Ty::I32),
                _ => {}
            }
            if matches!(op, AluOp::Lsh | AluOp::Rsh | AluOp::Arsh) {
                let mask = self.iconst(Ty::I32, u64::from(bits - 1));
                b = self.value(Op::Alu { op: AluOp::And, width, a: b, b: mask }, ty);
            }
        }
        let stays = matches!(op, AluOp::And | AluOp::Or | AluOp::Xor | AluOp::Rsh | AluOp::Div | AluOp::Mod);
        if bits >= 32 || stays {
            return self.value(Op::Alu { op, width, a, b }, ty);
        }
        let wide = self.value(Op::Alu { op, width, a, b }, Ty::I32);
        self.trunc(wide, ty)
    }

    /// `0 - a`.
    #[track_caller]
    pub fn neg(&mut self, a: Value) -> Value {
        let zero = self.iconst(self.ty(a), 0);
        self.sub(zero, a)
    }

    /// `a` with every bit the other way.
    #[track_caller]
    pub fn not(&mut self, a: Value) -> Value {
        let ones = self.iconst(self.ty(a), u64::MAX);
        self.xor(a, ones)
    }

    /// `a` rotated to the left.
    #[track_caller]
    pub fn rotl(&mut self, a: Value, by: Value) -> Value {
        let bits = self.bits("rotation", a);
        let ty = self.ty(a);
        let (mask, all) = (self.iconst(ty, u64::from(bits - 1)), self.iconst(ty, u64::from(bits)));
        let by = self.and(by, mask);
        let back = self.sub(all, by);
        let (left, right) = (self.shl(a, by), self.shr_by_any(a, back, ty));
        self.or(left, right)
    }

    /// `a` rotated to the right.
    #[track_caller]
    pub fn rotr(&mut self, a: Value, by: Value) -> Value {
        let bits = self.bits("rotation", a);
        let all = self.iconst(self.ty(a), u64::from(bits));
        let back = self.sub(all, by);
        self.rotl(a, back)
    }

    /// A narrow number shifted right by up to its width.
    #[track_caller]
    fn shr_by_any(&mut self, a: Value, by: Value, ty: Ty) -> Value {
        let width = if ty == Ty::I64 { Width::W64 } else { Width::W32 };
        self.value(Op::Alu { op: AluOp::Rsh, width, a, b: by }, ty)
    }

    /// A number as a wider one.
    #[track_caller]
    pub fn zext(&mut self, a: Value, ty: Ty) -> Value {
        if self.bits("widening", a) > ty.bits().unwrap_or(0) {
            let got = self.ty(a);
            self.problem(ProblemKind::Type { what: "widening", value: a, got, want: "a narrower number" });
        }
        if self.ty(a) == ty { a } else { self.value(Op::Copy(a), ty) }
    }

    /// A signed number as a wider one.
    #[track_caller]
    pub fn sext(&mut self, a: Value, ty: Ty) -> Value {
        let (from, to) = (self.bits("widening", a), ty.bits().unwrap_or(64));
        if from >= to {
            return a;
        }
        let wide = self.value(Op::Sext { bits: from, a }, Ty::I64);
        if to == 64 { wide } else { self.trunc(wide, ty) }
    }

    /// The low bits of a number.
    #[track_caller]
    pub fn trunc(&mut self, a: Value, ty: Ty) -> Value {
        let (from, to) = (self.bits("narrowing", a), ty.bits().unwrap_or(64));
        if from <= to { a } else { self.value(Op::Low { bits: to, a }, ty) }
    }

    /// The number with its bytes in the opposite order.
    #[track_caller]
    pub fn bswap(&mut self, a: Value) -> Value {
        match self.bits("byte order", a) {
            8 => a,
            bits => self.value(Op::Swap { bits, a }, self.ty(a)),
        }
    }

    /// `size` bytes on the stack, at a multiple of `align`; what they hold is not defined.
    #[track_caller]
    pub fn stack(&mut self, size: u32, align: u32) -> Value {
        self.func.stack.push(StackDecl { size, align });
        self.stack_addr(StackId::of(self.func.stack.len() - 1))
    }

    /// The address of an object that [`FuncBuilder::stack`] has made, where its first value does not reach.
    #[track_caller]
    pub fn stack_addr(&mut self, id: StackId) -> Value {
        self.value(Op::Stack(id), Ty::Ptr(Region::Stack(id)))
    }

    /// The number under which the function knows a map.
    pub fn map_id(&mut self, map: &MapDecl) -> MapId {
        let known = self.func.maps.iter().position(|m| m == map);
        MapId::of(known.unwrap_or_else(|| {
            self.func.maps.push(map.clone());
            self.func.maps.len() - 1
        }))
    }

    /// A map.
    #[track_caller]
    pub fn map(&mut self, map: &MapDecl) -> Value {
        let id = self.map_id(map);
        self.value(Op::Map(id), Ty::Ptr(Region::Map(id)))
    }

    /// The address `off` bytes into a global variable.
    #[track_caller]
    pub fn global_addr(&mut self, global: &GlobalDecl, off: u32) -> Value {
        let known = self.func.globals.iter().position(|g| g == global);
        let id = GlobalId::of(known.unwrap_or_else(|| {
            self.func.globals.push(global.clone());
            self.func.globals.len() - 1
        }));
        self.value(Op::Global(id, off), Ty::Ptr(Region::Global(id)))
    }

    /// The address of a function of this object, to hand to a helper as callback. Linux 5.13.
    #[track_caller]
    pub fn func_addr(&mut self, name: &str) -> Value {
        self.value(Op::Func(name.into()), Ty::Ptr(Region::Func))
    }

    /// The address of a variable of the kernel's. Linux 5.10.
    #[track_caller]
    pub fn ksym(&mut self, name: &str) -> Value {
        self.value(Op::Ksym(name.into()), Ty::Ptr(Region::Btf))
    }

    /// The answer to a question about the kernel's types. Linux 5.4.
    #[track_caller]
    pub fn core(&mut self, core: Core) -> Value {
        self.value(Op::Core(core.into()), Ty::I64)
    }

    /// `ptr + by` bytes. In a packet what lies behind must be checked anew.
    #[track_caller]
    pub fn ptr_add(&mut self, ptr: Value, by: Value) -> Value {
        self.bits("pointer arithmetic", by);
        let ty = self.ty(ptr);
        if !matches!(ty, Ty::Packet | Ty::PacketMeta | Ty::Ptr(_)) {
            self.problem(ProblemKind::Type {
                what: "pointer arithmetic",
                value: ptr,
                got: ty,
                want: "a pointer into memory",
            });
        }
        self.value(Op::PtrAdd { ptr, by }, ty)
    }

    /// `ptr + by` bytes.
    #[track_caller]
    pub fn ptr_offset(&mut self, ptr: Value, by: i64) -> Value {
        let by = self.iconst(Ty::I64, by.cast_unsigned());
        self.ptr_add(ptr, by)
    }

    /// The distance from `b` to `a` in bytes.
    #[track_caller]
    pub fn ptr_sub(&mut self, a: Value, b: Value) -> Value {
        self.value(Op::PtrSub { a, b }, Ty::I64)
    }

    /// The number at `ptr + off`, zero-extended, in the machine's byte order.
    #[track_caller]
    pub fn load(&mut self, ty: Ty, ptr: Value, off: i32) -> Value {
        self.load_as(ty, ty.size(), ptr, off)
    }

    /// As [`FuncBuilder::load`] for fields of a context that the kernel turns into something else: `size` is the size
    /// the program sees, `ty` what it gets.
    #[track_caller]
    pub fn load_as(&mut self, ty: Ty, size: Size, ptr: Value, off: i32) -> Value {
        self.value(Op::Load { size, ptr, off }, ty)
    }

    /// Stores a number at `ptr + off`; its type says how many bytes.
    #[track_caller]
    pub fn store(&mut self, ptr: Value, off: i32, value: Value) {
        let size = self.ty(value).size();
        self.push(Op::Store { size, ptr, off, value }, None);
    }

    /// Changes memory at `ptr + off` atomically; `value` is 32 or 64 bits wide. What was there is not asked for.
    #[track_caller]
    pub fn atomic(&mut self, op: AtomicOp, ptr: Value, off: i32, value: Value) {
        let size = self.ty(value).size();
        self.push(Op::Atomic { op, size, ptr, off, value, expected: None }, None);
    }

    /// Changes memory atomically, and gives what was there: `op` is one of the fetching kinds. Linux 5.12.
    #[track_caller]
    pub fn atomic_fetch(&mut self, op: AtomicOp, ptr: Value, off: i32, value: Value) -> Value {
        let ty = self.ty(value);
        self.value(Op::Atomic { op, size: ty.size(), ptr, off, value, expected: None }, ty)
    }

    /// Stores `value` where `expected` is, and gives what was there. Linux 5.12.
    #[track_caller]
    pub fn cmpxchg(&mut self, ptr: Value, off: i32, expected: Value, value: Value) -> Value {
        let ty = self.ty(value);
        let op = AtomicOp::Cmpxchg;
        self.value(Op::Atomic { op, size: ty.size(), ptr, off, value, expected: Some(expected) }, ty)
    }

    /// Goes on at `then` where `a cond b` holds, else at `other`.
    #[track_caller]
    pub fn branch(&mut self, cond: Cond, a: Value, b: Value, then: Block, other: Block) {
        let (a, b) = self.signed_operands(cond, a, b);
        let bits = self.ty(a).bits().unwrap_or(64).max(self.ty(b).bits().unwrap_or(64));
        let width = if bits == 64 { Width::W64 } else { Width::W32 };
        self.end(Term::If { cond, width, a, b, then: Target::to(then), other: Target::to(other) });
    }

    /// Narrow numbers are zero-extended; signed comparisons want their signs.
    #[track_caller]
    fn signed_operands(&mut self, cond: Cond, a: Value, b: Value) -> (Value, Value) {
        let signed = matches!(cond, Cond::Sgt | Cond::Sge | Cond::Slt | Cond::Sle);
        match (self.ty(a).bits(), self.ty(b).bits()) {
            (Some(x), Some(y)) if signed && x.max(y) < 32 => (self.sext(a, Ty::I32), self.sext(b, Ty::I32)),
            _ => (a, b),
        }
    }

    /// 1 where `a cond b` holds, else 0.
    #[track_caller]
    pub fn compare(&mut self, cond: Cond, a: Value, b: Value) -> Value {
        let (one, zero) = (self.iconst(Ty::I8, 1), self.iconst(Ty::I8, 0));
        self.select(cond, a, b, one, zero)
    }

    /// `x` where `a cond b` holds, else `y`.
    #[track_caller]
    pub fn select(&mut self, cond: Cond, a: Value, b: Value, x: Value, y: Value) -> Value {
        let (then, other, join) = (self.block(), self.block(), self.block());
        let wide = |v: Ty| v.bits().unwrap_or(64);
        let ty = if wide(self.ty(x)) >= wide(self.ty(y)) { self.ty(x) } else { self.ty(y) };
        let result = self.block_param(join, ty);
        self.branch(cond, a, b, then, other);
        for (block, value) in [(then, x), (other, y)] {
            self.seal(block);
            self.switch_to(block);
            self.jump_with(join, &[value]);
        }
        self.seal(join);
        self.switch_to(join);
        result
    }

    /// Goes on where the packet has `len` bytes from `ptr` on, and leaves for `fail` where it has not. `end` is
    /// [`FuncBuilder::packet_end`], or the packet's start for metadata.
    #[track_caller]
    pub fn check(&mut self, ptr: Value, len: u32, end: Value, fail: Block) {
        let ok = self.block();
        self.end(Term::Check { ptr, len, end, ok: Target::to(ok), fail: Target::to(fail) });
        self.seal(ok);
        self.switch_to(ok);
    }

    /// Goes on where `ptr` is not null, and leaves for `null` where it is; the result is the pointer that may be used.
    #[track_caller]
    pub fn non_null(&mut self, ptr: Value, null: Block) -> Value {
        let Ty::OrNull(region) = self.ty(ptr) else {
            let got = self.ty(ptr);
            self.problem(ProblemKind::Type {
                what: "test against null",
                value: ptr,
                got,
                want: "a pointer that may be null",
            });
            return ptr;
        };
        let ok = self.block();
        let zero = self.iconst(Ty::I64, 0);
        self.branch(Cond::Eq, ptr, zero, null, ok);
        self.seal(ok);
        self.switch_to(ok);
        self.value(Op::NonNull(ptr), Ty::Ptr(region))
    }

    /// Leaves the function.
    #[track_caller]
    pub fn ret(&mut self, value: Option<Value>) {
        self.end(Term::Return(value));
    }

    /// Nothing ever comes here.
    #[track_caller]
    pub fn unreachable(&mut self) {
        self.end(Term::Unreachable);
    }
}
