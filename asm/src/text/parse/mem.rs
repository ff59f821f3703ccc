//! Stage: text in. Memory accesses, atomics, and the 64-bit loads of addresses.
//!
//! Input: tokens after `dst =`, or a statement that starts with `*` or `lock`. Output: an [`Op`]. Next: `directive.rs`.

use std::ops::Range;

use super::expr::imm_from;
use super::insn::{Statement, assignment, imm64_from};
use super::{Parsed, Parser, wrong, wrong_help};
use crate::insn::{AluOp, AtomicOp, Imm64, Op, Operand, Reg, Size, Width};
use crate::text::lex::{Tok, op};
use crate::text::unit::{Fix, FixKind};

/// Size, and whether the access sign-extends.
fn access(name: &str) -> Option<(Size, bool)> {
    Some(match name {
        "u8" => (Size::B, false),
        "u16" => (Size::H, false),
        "u32" => (Size::W, false),
        "u64" => (Size::Dw, false),
        "s8" => (Size::B, true),
        "s16" => (Size::H, true),
        "s32" => (Size::W, true),
        _ => return None,
    })
}

/// `atomic_fetch_add`, and as the kernel writes it `atomic64_fetch_add`.
fn fetch_op(name: &str) -> Option<AtomicOp> {
    let name = name.strip_prefix("atomic_").or_else(|| name.strip_prefix("atomic64_"))?;
    Some(match name {
        "fetch_add" => AtomicOp::FetchAdd,
        "fetch_or" => AtomicOp::FetchOr,
        "fetch_and" => AtomicOp::FetchAnd,
        "fetch_xor" => AtomicOp::FetchXor,
        "xchg" => AtomicOp::Xchg,
        "cmpxchg" => AtomicOp::Cmpxchg,
        _ => return None,
    })
}

/// How an access is written.
const ACCESS: &str = "an access says its size and its address: `*(u32 *)(r1 + 4)`";

impl<'s> Parser<'s> {
    /// `(u32 *)`, between an opening parenthesis already seen and the address.
    fn cast(&mut self) -> Parsed<(Size, bool)> {
        self.expect("(")?;
        let span = self.tok.span();
        let Some(size) = access(self.word()) else {
            let sizes = "sizes are u8, u16, u32, u64, and s8, s16, s32 for loads that sign-extend";
            let help = if self.at_register() { ACCESS } else { sizes };
            return wrong_help(span, format!("{} is no size of a memory access", self.shown()), help);
        };
        self.bump();
        self.expect_help("*", ACCESS)?;
        self.expect(")")?;
        Ok(size)
    }

    /// `*(u32 *)(r1 + 4)`; without sign-extension.
    fn place(&mut self) -> Parsed<(Size, Reg, i16)> {
        self.expect("*")?;
        self.cast_place()
    }

    /// `(u32 *)(r1 + 4)`; without sign-extension.
    fn cast_place(&mut self) -> Parsed<(Size, Reg, i16)> {
        let span = self.tok.span();
        let (size, signed) = self.cast()?;
        if signed {
            return wrong_help(self.since(&span), "only loads sign-extend", "use u8, u16, u32 or u64 here");
        }
        self.expect_help("(", ACCESS)?;
        let (reg, off) = self.address()?;
        self.expect(")")?;
        Ok((size, reg, off))
    }

    pub(super) fn load(&mut self, width: Width, dst: Reg) -> Parsed<Op> {
        let span = self.tok.span();
        self.bump();
        let (size, signed) = self.cast()?;
        if width == Width::W32 && (signed || size == Size::Dw) {
            return wrong_help(span, "this load fills 64 bits", format!("write {dst}"));
        }
        if self.eat_word("skb") {
            return self.packet_load(size, dst, &span);
        }
        self.expect_help("(", ACCESS)?;
        let (src, off) = self.address()?;
        self.expect(")")?;
        Ok(if signed { Op::LoadSx { size, dst, src, off } } else { Op::Load { size, dst, src, off } })
    }

    /// `skb[5]`, `skb[r2]`, `skb[r2 + 5]`.
    fn packet_load(&mut self, size: Size, dst: Reg, span: &Range<usize>) -> Parsed<Op> {
        if dst != Reg::R0 || size == Size::Dw {
            let help = "write `r0 = *(u32 *)skb[…]`, with u8, u16 or u32";
            return wrong_help(self.since(span), "a packet load goes to r0, at most 4 bytes", help);
        }
        self.expect("[")?;
        let op = if self.at_register() {
            let src = self.wide_register()?;
            let start = self.tok.span();
            let off = self.offset()?;
            Op::LoadInd { size, src, off: imm_from(off, Width::W64, self.since(&start))? }
        } else {
            Op::LoadAbs { size, off: self.imm(Width::W64)? }
        };
        self.expect("]")?;
        Ok(op)
    }

    pub(super) fn store(&mut self) -> Parsed<Op> {
        let (size, dst, off) = self.place()?;
        self.expect("=")?;
        if self.at_register() {
            let src = self.stored_register(size)?;
            return Ok(Op::Store { size, dst, off, src: Operand::Reg(src) });
        }
        let width = if size == Size::Dw { Width::W64 } else { Width::W32 };
        Ok(Op::Store { size, dst, off, src: Operand::Imm(self.imm(width)?) })
    }

    /// The register of a store or atomic: `r` always, `w` where at most 32 bits are stored.
    fn stored_register(&mut self, size: Size) -> Parsed<Reg> {
        let span = self.tok.span();
        match self.any_register()? {
            (Width::W32, reg) if size == Size::Dw => {
                wrong_help(span, "64 bits do not fit into a w register", format!("write {reg}"))
            }
            (_, reg) => Ok(reg),
        }
    }

    /// `lock *(u64 *)(r1 + 4) += r2`.
    pub(super) fn lock(&mut self) -> Parsed<Op> {
        let (size, dst, off) = self.atomic_place(true)?;
        let alu = match self.tok.tok {
            Tok::Op(text) => assignment(text),
            _ => None,
        };
        let atomic = match alu {
            Some(AluOp::Add) => AtomicOp::Add,
            Some(AluOp::Or) => AtomicOp::Or,
            Some(AluOp::And) => AtomicOp::And,
            Some(AluOp::Xor) => AtomicOp::Xor,
            _ => {
                let help = "atomic assignments are += |= &= ^=";
                return wrong_help(self.tok.span(), format!("{} cannot be atomic", self.shown()), help);
            }
        };
        self.bump();
        let src = self.stored_register(size)?;
        Ok(Op::Atomic { op: atomic, size, dst, off, src })
    }

    /// The memory of a read-modify-write operation, which has 4 or 8 bytes.
    fn atomic_place(&mut self, star: bool) -> Parsed<(Size, Reg, i16)> {
        let span = self.tok.span();
        let place = if star { self.place()? } else { self.cast_place()? };
        if matches!(place.0, Size::B | Size::H) {
            return wrong_help(self.since(&span), "atomic operations work on 4 or 8 bytes", "use u32 or u64");
        }
        Ok(place)
    }

    /// `store_release((u64 *)(r1 + 4), r2)`.
    pub(super) fn store_release(&mut self) -> Parsed<Op> {
        self.expect("(")?;
        let (size, dst, off) = self.cast_place()?;
        self.expect(",")?;
        let src = self.stored_register(size)?;
        self.expect(")")?;
        Ok(Op::Atomic { op: AtomicOp::StoreRelease, size, dst, off, src })
    }

    /// What follows `dst =` and looks like a function call.
    pub(super) fn function_value(
        &mut self,
        width: Width,
        dst: Reg,
        name: &'s str,
        span: &Range<usize>,
    ) -> Parsed<Statement<'s>> {
        self.bump();
        self.bump();
        let plain = |op| Ok((op, None));
        match name {
            "load_acquire" => {
                let (size, src, off) = self.cast_place()?;
                self.expect(")")?;
                if width == Width::W32 && size == Size::Dw {
                    return wrong_help(span.clone(), "this load fills 64 bits", format!("write {dst}"));
                }
                plain(Op::Atomic { op: AtomicOp::LoadAcquire, size, dst, off, src })
            }
            "addr_space_cast" => self.addr_space_cast(dst).and_then(plain),
            "map_fd" | "map_value" => self.map_function(width, dst, name),
            "xchg_64" | "xchg32_32" | "cmpxchg_64" | "cmpxchg32_32" => {
                let size = if name.ends_with("_64") { Size::Dw } else { Size::W };
                let (base, off) = self.address()?;
                let atomic = if name.starts_with('c') { AtomicOp::Cmpxchg } else { AtomicOp::Xchg };
                self.exchange(dst, atomic, (size, base, off)).and_then(plain)
            }
            _ => match fetch_op(name) {
                Some(atomic) => {
                    let place = self.atomic_place(false)?;
                    self.exchange(dst, atomic, place).and_then(plain)
                }
                None => wrong_help(
                    span.clone(),
                    format!("`{name}(…)` is no operation"),
                    "known are atomic_fetch_add/or/and/xor, xchg_64, xchg32_32, cmpxchg_64, cmpxchg32_32, load_acquire, \
                     addr_space_cast; helpers are called with `call`",
                ),
            },
        }
    }

    /// The rest of a fetching operation: `, r2)`, for compare-and-exchange `, r0, r2)`.
    fn exchange(&mut self, result: Reg, atomic: AtomicOp, place: (Size, Reg, i16)) -> Parsed<Op> {
        let (size, dst, off) = place;
        self.expect(",")?;
        if atomic == AtomicOp::Cmpxchg {
            let span = self.tok.span();
            if self.stored_register(size)? != Reg::R0 || result != Reg::R0 {
                let help = "write `r0 = cmpxchg_64(r1 + 0, r0, r2)`";
                return wrong_help(span, "compare-and-exchange compares with r0 and returns the old value there", help);
            }
            self.expect(",")?;
        }
        let span = self.tok.span();
        let src = self.stored_register(size)?;
        self.expect(")")?;
        if atomic != AtomicOp::Cmpxchg && src != result {
            let help = format!("write {src} on both sides");
            return wrong_help(span, "the old value comes back in the operand's own register", help);
        }
        Ok(Op::Atomic { op: atomic, size, dst, off, src })
    }

    /// `addr_space_cast(r2, 1, 0)`.
    fn addr_space_cast(&mut self, dst: Reg) -> Parsed<Op> {
        let src = self.wide_register()?;
        self.expect(",")?;
        let to = self.address_space()?;
        self.expect(",")?;
        let from = self.address_space()?;
        self.expect(")")?;
        Ok(Op::AddrSpaceCast { dst, src, to, from })
    }

    fn address_space(&mut self) -> Parsed<u16> {
        let span = self.tok.span();
        let value = self.expr()?;
        match u16::try_from(value) {
            Ok(space) => Ok(space),
            Err(_) => wrong(self.since(&span), "an address space has 16 bits"),
        }
    }

    /// `map_fd(name) ll`, `map_value(name, 4) ll`.
    fn map_function(&mut self, width: Width, dst: Reg, function: &str) -> Parsed<Statement<'s>> {
        let span = self.tok.span();
        let name = self.symbol("a map")?;
        let (mut kind, mut value) = (FixKind::Map, Imm64::Value(0));
        if function == "map_value" {
            self.expect(",")?;
            let off = self.imm(Width::W64)?;
            (kind, value) = (FixKind::MapValue(off), Imm64::Value(off.cast_unsigned().into()));
        }
        self.expect(")")?;
        self.expect_ll(width)?;
        Ok((Op::LoadImm64 { dst, value }, Some(Fix { name, span, kind })))
    }

    fn expect_ll(&mut self, width: Width) -> Parsed<()> {
        let span = self.tok.span();
        if !self.eat_word("ll") {
            return wrong_help(span, "an address has 64 bits", "end the line with `ll`");
        }
        imm64_from(0, width, span).map(|_| ())
    }

    /// `map[…] ll`, `btf[…] ll`, `subprog[…] ll`, `func[…] ll`, `ksym[…] ll`, `name + 4 ll`.
    pub(super) fn symbol_value(&mut self, name: &'s str, span: Range<usize>) -> Parsed<(Imm64, Option<Fix<'s>>)> {
        self.bump();
        let value = if self.eat("[") {
            let value = match name {
                "map" => self.map_value()?,
                "btf" => (self.btf_value()?, None),
                "subprog" => (Imm64::Func(self.imm(Width::W64)?), None),
                "func" | "ksym" => self.symbol_in_brackets(name)?,
                _ => {
                    let help = "in brackets stand map[…], btf[…], subprog[…], func[…] and ksym[…]";
                    return wrong_help(span, format!("`{name}[…]` is no address"), help);
                }
            };
            if name == "map" { value } else { self.expect("]").map(|()| value)? }
        } else {
            let start = self.tok.span();
            let off = self.offset()?;
            let off = imm_from(off, Width::W64, self.since(&start))?;
            if matches!(self.tok.tok, Tok::Line | Tok::End) {
                let help = match name {
                    "fp" | "sp" => "the frame pointer is r10".to_owned(),
                    _ => format!("a constant is defined before its use: `.equ {name}, 1`; an address is `{name} ll`"),
                };
                return wrong_help(span, format!("`{name}` is no register and no constant"), help);
            }
            (Imm64::Value(off.cast_unsigned().into()), Some(Fix { name, span, kind: FixKind::Address(off) }))
        };
        self.expect_ll(Width::W64)?;
        Ok(value)
    }

    fn symbol_in_brackets(&mut self, what: &str) -> Parsed<(Imm64, Option<Fix<'s>>)> {
        let span = self.tok.span();
        let name = self.symbol("a symbol")?;
        let (value, kind) =
            if what == "func" { (Imm64::Func(-1), FixKind::Func) } else { (Imm64::Value(0), FixKind::Ksym) };
        Ok((value, Some(Fix { name, span, kind })))
    }

    /// After `map[`: `fd:7]`, `idx:0]`, `name]`, each with `[0]+4` behind it for an address in the value.
    fn map_value(&mut self) -> Parsed<(Imm64, Option<Fix<'s>>)> {
        let (span, word) = (self.tok.span(), self.word());
        if matches!(word, "fd" | "id" | "idx") && self.peek().tok == op(":") {
            self.bump();
            self.bump();
            let number = self.imm(Width::W64)?;
            let off = self.map_offset()?;
            let value = match (word, off) {
                ("idx", None) => Imm64::MapIdx(number),
                ("idx", Some(off)) => Imm64::MapIdxValue { idx: number, off: off.cast_unsigned() },
                (_, None) => Imm64::MapFd(number),
                (_, Some(off)) => Imm64::MapValue { fd: number, off: off.cast_unsigned() },
            };
            return Ok((value, None));
        }
        let name = self.symbol("a map")?;
        Ok(match self.map_offset()? {
            None => (Imm64::Value(0), Some(Fix { name, span, kind: FixKind::Map })),
            Some(off) => {
                let value = Imm64::Value(off.cast_unsigned().into());
                (value, Some(Fix { name, span, kind: FixKind::MapValue(off) }))
            }
        })
    }

    /// `]`, or `][0]+4`: bytes into the first value.
    fn map_offset(&mut self) -> Parsed<Option<i32>> {
        self.expect("]")?;
        if !self.eat("[") {
            return Ok(None);
        }
        let span = self.tok.span();
        if self.expr()? != 0 {
            return wrong(self.since(&span), "only the value at index 0 has a fixed address");
        }
        self.expect("]")?;
        let start = self.tok.span();
        let off = self.offset()?;
        imm_from(off, Width::W32, self.since(&start)).map(Some)
    }

    /// After `btf[`: `id:5`, `id:5 fd:3`.
    fn btf_value(&mut self) -> Parsed<Imm64> {
        if !self.eat_word("id") {
            return wrong_help(self.tok.span(), "expected `id:`", "write `btf[id:5]`");
        }
        self.expect(":")?;
        let id = self.imm(Width::W64)?;
        let mut btf_fd = 0;
        if self.eat_word("fd") {
            self.expect(":")?;
            btf_fd = self.imm(Width::W64)?;
        }
        Ok(Imm64::BtfId { id, btf_fd })
    }

    /// `ld_pseudo r1, 2, 7`, as LLVM writes it; ours may add the second constant.
    pub(super) fn ld_pseudo(&mut self) -> Parsed<Op> {
        let dst = self.wide_register()?;
        self.expect(",")?;
        let span = self.tok.span();
        let pseudo = self.imm(Width::W64)?;
        self.expect(",")?;
        let low = self.imm(Width::W32)?;
        let high = if self.eat(",") { self.imm(Width::W32)? } else { 0 };
        let off = high.cast_unsigned();
        let value = match pseudo {
            1 if high == 0 => Imm64::MapFd(low),
            2 => Imm64::MapValue { fd: low, off },
            3 => Imm64::BtfId { id: low, btf_fd: high },
            4 if high == 0 => Imm64::Func(low),
            5 if high == 0 => Imm64::MapIdx(low),
            6 => Imm64::MapIdxValue { idx: low, off },
            _ => return wrong_help(span, format!("no pseudo constant {pseudo} of this form"), "1 to 6 exist"),
        };
        Ok(Op::LoadImm64 { dst, value })
    }
}
