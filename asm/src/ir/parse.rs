//! Stage: the intermediate representation, read back from text.
//!
//! Input: what `print.rs` writes; lines that start with `#` are comments. Output: the same [`Func`], but for positions in source, which the text does not hold; or the
//! first line that is wrong, and why. The checker is not asked: text may say things that it refuses. Next: `verify.rs`.

use std::sync::Arc;

use super::core::Core;
use super::func::{BlockData, Callee, Func, Inst, Linkage, LocId, Op, Param, Target, Term};
use super::print::{ALU, ATOMIC};
use super::types::{Block, GlobalDecl, GlobalId, MapDecl, MapId, Region, StackDecl, StackId, Ty, Value};
use crate::btf::CoreReloKind;
use crate::insn::{Cond, Size, Width, helper};
use crate::object::{MapType, section};

/// The first thing in a text that is no IR.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what} is wanted, and here is `{found}`")]
pub struct ParseError {
    /// Line, from 1.
    pub line: usize,
    /// What would do.
    pub what: &'static str,
    /// The rest of the line.
    pub found: String,
}

/// Why one line is wrong: what was wanted.
type Wanted = &'static str;

impl Func {
    /// Reads the text of one function.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut func: Option<Self> = None;
        for (line, whole) in (1..).zip(text.lines()) {
            let mut words = Words { rest: whole.trim() };
            let done = match &mut func {
                _ if words.rest.is_empty() || words.rest == "}" || words.rest.starts_with('#') => {
                    words.rest = "";
                    Ok(())
                }
                None => head(&mut words).map(|head| func = Some(head)),
                Some(func) => body(func, &mut words),
            };
            let done = done.and_then(|()| {
                if words.rest == "}" || words.rest.is_empty() { Ok(()) } else { Err("the end of the line") }
            });
            done.map_err(|what| ParseError { line, what, found: words.rest.to_owned() })?;
        }
        func.ok_or(ParseError { line: 0, what: "a function", found: String::new() })
    }
}

/// What is left of a line.
struct Words<'a> {
    rest: &'a str,
}

impl<'a> Words<'a> {
    /// Takes `token` if it comes next.
    fn eat(&mut self, token: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(token) else { return false };
        self.rest = rest.trim_start();
        true
    }

    fn want(&mut self, token: &'static str) -> Result<(), Wanted> {
        if self.eat(token) { Ok(()) } else { Err(token) }
    }

    /// Takes a name: letters, digits, `_`.
    fn word(&mut self) -> Result<&'a str, Wanted> {
        let end = self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        if word.is_empty() {
            return Err("a name");
        }
        self.rest = rest.trim_start();
        Ok(word)
    }

    fn number<T: TryFrom<i128>>(&mut self) -> Result<T, Wanted> {
        let negative = self.eat("-");
        let word = self.word().map_err(|_| "a number")?;
        let parsed = match word.strip_prefix("0x") {
            Some(hex) => i128::from_str_radix(hex, 16),
            None => word.parse(),
        };
        let number = parsed.map_err(|_| "a number")?;
        T::try_from(if negative { -number } else { number }).map_err(|_| "a number that fits")
    }

    /// An id such as `v3`.
    fn id(&mut self, prefix: &'static str) -> Result<u32, Wanted> {
        self.want(prefix)?;
        self.number()
    }

    fn value(&mut self) -> Result<Value, Wanted> {
        self.id("v").map(Value)
    }

    /// Values up to the closing parenthesis.
    fn values(&mut self) -> Result<Vec<Value>, Wanted> {
        let mut values = Vec::new();
        while !self.eat(")") {
            if !values.is_empty() {
                self.want(",")?;
            }
            values.push(self.value()?);
        }
        Ok(values)
    }

    fn target(&mut self) -> Result<Target, Wanted> {
        let block = Block(self.id("b")?);
        let args = if self.eat("(") { self.values()? } else { Vec::new() };
        Ok(Target { block, args })
    }

    fn ty(&mut self) -> Result<Ty, Wanted> {
        if self.eat("*") {
            return Ok(Ty::Ptr(self.region()?));
        }
        if self.eat("?") {
            return Ok(Ty::OrNull(self.region()?));
        }
        Ok(match self.word()? {
            "i8" => Ty::I8,
            "i16" => Ty::I16,
            "i32" => Ty::I32,
            "i64" => Ty::I64,
            "ctx" => Ty::Ctx,
            "pkt" => Ty::Packet,
            "pkt_meta" => Ty::PacketMeta,
            "pkt_end" => Ty::PacketEnd,
            _ => return Err("a type"),
        })
    }

    fn region(&mut self) -> Result<Region, Wanted> {
        let word = self.word()?;
        let mut inside = |make: fn(u32) -> Region, prefix: &'static str| {
            self.want("(")?;
            self.want(prefix)?;
            let region = make(self.number()?);
            self.want(")").map(|()| region)
        };
        match word {
            "value" => return inside(|id| Region::MapValue(MapId(id)), "m"),
            "mem" => return inside(Region::Mem, ""),
            "record" => return inside(Region::Record, ""),
            _ => {}
        }
        let numbered = |prefix: &str| word.strip_prefix(prefix).and_then(|number| number.parse().ok());
        Ok(match word {
            "sock" => Region::Sock,
            "sock_common" => Region::SockCommon,
            "tcp_sock" => Region::TcpSock,
            "btf" => Region::Btf,
            "func" => Region::Func,
            _ => match (numbered("s"), numbered("m"), numbered("g")) {
                (Some(id), ..) => Region::Stack(StackId(id)),
                (_, Some(id), _) => Region::Map(MapId(id)),
                (.., Some(id)) => Region::Global(GlobalId(id)),
                _ => return Err("what is pointed to"),
            },
        })
    }

    fn size(&mut self) -> Result<Size, Wanted> {
        Ok(match self.word()? {
            "u8" => Size::B,
            "u16" => Size::H,
            "u32" => Size::W,
            "u64" => Size::Dw,
            _ => return Err("a size"),
        })
    }

    fn condition(&mut self) -> Result<Cond, Wanted> {
        const LONGEST_FIRST: [Cond; 11] = [
            Cond::Sge,
            Cond::Sle,
            Cond::Sgt,
            Cond::Slt,
            Cond::Eq,
            Cond::Ne,
            Cond::Ge,
            Cond::Le,
            Cond::Gt,
            Cond::Lt,
            Cond::Set,
        ];
        LONGEST_FIRST.into_iter().find(|cond| self.eat(cond.symbol())).ok_or("a condition")
    }
}

fn head(words: &mut Words<'_>) -> Result<Func, Wanted> {
    let linkage = if words.eat("prog") {
        words.want("\"")?;
        let (section, rest) = words.rest.split_once('"').ok_or("a section")?;
        words.rest = rest.trim_start();
        let prog_type = section::find(section).map(|found| found.def.prog_type).unwrap_or_default();
        Linkage::Prog { section: section.into(), prog_type }
    } else if words.eat("global") {
        Linkage::Global
    } else {
        Linkage::Static
    };
    if !matches!(linkage, Linkage::Prog { .. }) {
        words.want("fn")?;
    }
    let name: Arc<str> = words.word()?.into();
    words.want("(")?;
    let mut params = Vec::new();
    while !words.eat(")") {
        if !params.is_empty() {
            words.want(",")?;
        }
        let name = words.word()?.into();
        words.want(":")?;
        params.push(Param { name, ty: words.ty()? });
    }
    let ret = if words.eat("->") { Some(words.ty()?) } else { None };
    words.want("{")?;
    let (blocks, values, stack) = (Vec::new(), Vec::new(), Vec::new());
    Ok(Func {
        name,
        linkage,
        params,
        ret,
        blocks,
        values,
        stack,
        maps: Vec::new(),
        globals: Vec::new(),
        locs: Vec::new(),
    })
}

/// A line of the body: a declaration, the start of a block, an operation, or how a block ends.
fn body(func: &mut Func, words: &mut Words<'_>) -> Result<(), Wanted> {
    if func.blocks.is_empty() && !words.rest.starts_with('b') {
        return declaration(func, words);
    }
    if words.rest.starts_with('b') && words.rest.ends_with(':') {
        return block(func, words);
    }
    if words.rest.starts_with('v') {
        let value = words.value()?;
        words.want(":")?;
        let ty = words.ty()?;
        words.want("=")?;
        type_of(func, value, ty);
        let op = op(words)?;
        return push(func, Inst { result: Some(value), op, loc: LocId(0) });
    }
    match term(words)? {
        Some(term) => {
            func.blocks.last_mut().ok_or("a block")?.term = term;
            Ok(())
        }
        None => {
            let op = op(words)?;
            push(func, Inst { result: None, op, loc: LocId(0) })
        }
    }
}

fn push(func: &mut Func, inst: Inst) -> Result<(), Wanted> {
    func.blocks.last_mut().ok_or("a block")?.insts.push(inst);
    Ok(())
}

/// More values than any program has.
const MOST: usize = 1 << 20;

fn type_of(func: &mut Func, value: Value, ty: Ty) {
    let len = func.values.len().max(value.index() + 1);
    if len <= MOST {
        func.values.resize(len, Ty::I64);
        func.values[value.index()] = ty;
    }
}

fn declaration(func: &mut Func, words: &mut Words<'_>) -> Result<(), Wanted> {
    let _number = words.word()?;
    words.want("=")?;
    match words.word()? {
        "stack" => {
            let size = words.number()?;
            words.want("align")?;
            func.stack.push(StackDecl { size, align: words.number()? });
        }
        "map" => {
            let map = map(words, 0)?;
            func.maps.push(map);
        }
        kind @ ("const" | "var") => {
            let name = words.word()?.into();
            func.globals.push(GlobalDecl { name, size: words.number()?, readonly: kind == "const" });
        }
        _ => return Err("`stack`, `map`, `const` or `var`"),
    }
    Ok(())
}

/// A map, and after `of` what the maps inside of it look like.
fn map(words: &mut Words<'_>, depth: u32) -> Result<MapDecl, Wanted> {
    let name = words.word()?.into();
    let map_type = MapType::from_name(words.word()?).ok_or("a type of map")?;
    words.want("key")?;
    let key_size = words.number()?;
    words.want("value")?;
    let value_size = words.number()?;
    words.want("entries")?;
    let max_entries = words.number()?;
    let inner = if depth == 0 && words.eat("of") { Some(Arc::new(map(words, depth + 1)?)) } else { None };
    Ok(MapDecl { name, map_type, key_size, value_size, max_entries, inner })
}

fn block(func: &mut Func, words: &mut Words<'_>) -> Result<(), Wanted> {
    let number = words.id("b")?;
    if number as usize != func.blocks.len() {
        return Err("the next block");
    }
    let mut params = Vec::new();
    if words.eat("(") {
        while !words.eat(")") {
            if !params.is_empty() {
                words.want(",")?;
            }
            let value = words.value()?;
            words.want(":")?;
            let ty = words.ty()?;
            type_of(func, value, ty);
            params.push(value);
        }
    }
    func.blocks.push(BlockData { params, insts: Vec::new(), term: Term::Unreachable, loc: LocId(0) });
    words.want(":")
}

fn term(words: &mut Words<'_>) -> Result<Option<Term>, Wanted> {
    let ways = |words: &mut Words<'_>| {
        words.want("then")?;
        let yes = words.target()?;
        words.want("else")?;
        Ok::<_, Wanted>((yes, words.target()?))
    };
    let width = if words.eat("if32") {
        Width::W32
    } else if words.eat("if64") {
        Width::W64
    } else if words.eat("check") {
        let ptr = words.value()?;
        words.want("+")?;
        let len = words.number()?;
        words.want("<=")?;
        let end = words.value()?;
        let (ok, fail) = ways(words)?;
        return Ok(Some(Term::Check { ptr, len, end, ok, fail }));
    } else if words.eat("jump") {
        return Ok(Some(Term::Jump(words.target()?)));
    } else if words.eat("return") {
        let value = if words.rest.is_empty() { None } else { Some(words.value()?) };
        return Ok(Some(Term::Return(value)));
    } else if words.eat("unreachable") {
        return Ok(Some(Term::Unreachable));
    } else {
        return Ok(None);
    };
    let (a, cond, b) = (words.value()?, words.condition()?, words.value()?);
    let (then, other) = ways(words)?;
    Ok(Some(Term::If { cond, width, a, b, then, other }))
}

fn core(words: &mut Words<'_>) -> Result<Core, Wanted> {
    let kind = CoreReloKind::from_name(words.word()?).ok_or("what is asked")?;
    let leaf = words.word()?.parse().map_err(|()| "what is at the end of the path")?;
    let path = words.word()?.split('.').map(Into::into).collect();
    Ok(Core { kind, path, leaf })
}

fn op(words: &mut Words<'_>) -> Result<Op, Wanted> {
    if words.rest.starts_with(|c: char| c.is_ascii_digit()) {
        return words.number().map(Op::Const);
    }
    let name = words.word()?;
    for (prefix, make) in [("low", true), ("sext", false)] {
        if let Some(bits) = name.strip_prefix(prefix).and_then(|bits| bits.parse().ok()) {
            let a = words.value()?;
            return Ok(if make { Op::Low { bits, a } } else { Op::Sext { bits, a } });
        }
    }
    if let Some(bits) = name.strip_prefix("swap").and_then(|bits| bits.parse().ok()) {
        return Ok(Op::Swap { bits, a: words.value()? });
    }
    for (op, alu) in ALU {
        let width = match name.strip_prefix(alu) {
            Some("32") => Width::W32,
            Some("64") => Width::W64,
            _ => continue,
        };
        let (a, b) = two(words)?;
        return Ok(Op::Alu { op: *op, width, a, b });
    }
    named(name, words)
}

fn two(words: &mut Words<'_>) -> Result<(Value, Value), Wanted> {
    let a = words.value()?;
    words.want(",")?;
    Ok((a, words.value()?))
}

/// A pointer and a distance: `v1 + 4`.
fn place(words: &mut Words<'_>) -> Result<(Value, i32), Wanted> {
    let ptr = words.value()?;
    words.want("+")?;
    Ok((ptr, words.number()?))
}

fn named(name: &str, words: &mut Words<'_>) -> Result<Op, Wanted> {
    Ok(match name {
        "copy" => Op::Copy(words.value()?),
        "non_null" => Op::NonNull(words.value()?),
        "stack" => Op::Stack(StackId(words.id("s")?)),
        "map" => Op::Map(MapId(words.id("m")?)),
        "global" => {
            let id = GlobalId(words.id("g")?);
            words.want("+")?;
            Op::Global(id, words.number()?)
        }
        "func" => {
            words.want("@")?;
            Op::Func(words.word()?.into())
        }
        "ksym" => Op::Ksym(words.word()?.into()),
        "core" => Op::Core(core(words)?.into()),
        "ptr_add" => two(words).map(|(ptr, by)| Op::PtrAdd { ptr, by })?,
        "ptr_sub" => two(words).map(|(a, b)| Op::PtrSub { a, b })?,
        "load" => {
            let size = words.size()?;
            let (ptr, off) = place(words)?;
            Op::Load { size, ptr, off }
        }
        "store" => {
            let size = words.size()?;
            let (ptr, off) = place(words)?;
            words.want(",")?;
            Op::Store { size, ptr, off, value: words.value()? }
        }
        "atomic" => atomic(words)?,
        "call" => call(words)?,
        _ => return Err("an operation"),
    })
}

fn atomic(words: &mut Words<'_>) -> Result<Op, Wanted> {
    let name = words.word()?;
    let (op, _) = ATOMIC.iter().find(|(_, known)| *known == name).ok_or("an atomic operation")?;
    let size = words.size()?;
    let (ptr, off) = place(words)?;
    words.want(",")?;
    let value = words.value()?;
    let expected = if words.eat(",") { Some(words.value()?) } else { None };
    Ok(Op::Atomic { op: *op, size, ptr, off, value, expected })
}

fn call(words: &mut Words<'_>) -> Result<Op, Wanted> {
    let callee = if words.eat("@") {
        Callee::Func(words.word()?.into())
    } else if words.eat("helper#") {
        Callee::Helper(helper::Id(words.number()?))
    } else {
        match words.word()? {
            "kfunc" => Callee::Kfunc(words.word()?.into()),
            name => Callee::Helper(helper::Id::by_name(name).ok_or("a helper's name")?),
        }
    };
    words.want("(")?;
    Ok(Op::Call { callee, args: words.values()? })
}
