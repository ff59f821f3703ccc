//! Stage: text out. Types of an object as declarations that the assembler reads back.
//!
//! Input: [`Btf`]. Output: type expressions, and the `.struct`, `.union`, `.enum` and `.typedef` lines that their names need.
//! What the text has no words for (bit fields, nameless structs, floats) gives nothing, and the caller falls back to sizes.
//! Next: `parse/types.rs`, which reads it.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use super::listing::{Quoted, is_plain};
use super::types::{Enum, Form, Qualifier, Rules, Struct, TAG, Type, Wanted, builtin_names, lay_out};
use crate::btf::{Btf, Member, Type as Kind, TypeId};

/// Types lie in each other this deep at most; a kernel's own types go deeper, and need not be shown whole.
const MAX_DEPTH: usize = 32;

/// Type expressions for a text, and the declarations they need, in order.
///
/// ```
/// use asm::btf::{Btf, BtfBuilder};
/// use asm::text::Declarations;
///
/// let mut b = BtfBuilder::new();
/// let word = b.int("u32", 4, false);
/// let pair = b.struct_("pair", 8, &[("a", word, 0), ("b", word, 4)]);
/// let array = b.array(pair, 3);
/// let bytes = b.encode()?;
/// let btf = Btf::parse(&bytes)?;
///
/// let mut types = Declarations::new(&btf);
/// assert_eq!(types.expr(array).as_deref(), Some("pair[3]"));
/// assert_eq!(types.text(), ".struct pair {\n    a: u32\n    b: u32\n}\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Declarations<'b> {
    btf: &'b Btf<'b>,
    known: HashMap<TypeId, Option<Type>>,
    names: HashMap<String, TypeId>,
    depth: usize,
    text: String,
}

/// A variable is given at most so many numbers in a text.
pub(super) const MAX_NUMBERS: usize = 1 << 16;

/// The text in these bytes, if they are printable up to the zeros at the end.
fn printable(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?.trim_end_matches('\0');
    text.chars().all(|c| !c.is_control()).then_some(text)
}

impl<'b> Declarations<'b> {
    /// Nothing declared yet.
    #[must_use]
    pub fn new(btf: &'b Btf<'b>) -> Self {
        let names = builtin_names().map(|name| (name.to_owned(), TypeId::VOID)).collect();
        Self { btf, known: HashMap::new(), names, depth: 0, text: String::new() }
    }

    /// The declarations so far.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The type as an expression.
    pub fn expr(&mut self, id: TypeId) -> Option<String> {
        self.import(id).map(|ty| Expr(&ty).to_string())
    }

    /// As [`Declarations::expr`], without a `const` in front: the assembler makes what is in `.rodata` constant by itself.
    pub fn variable(&mut self, id: TypeId) -> Option<String> {
        match self.btf.get(id).ok()? {
            Kind::Const { ty } => self.expr(ty),
            _ => self.expr(id),
        }
    }

    /// Size and alignment of a type, in bytes, as the assembler will lay it out.
    pub fn layout(&mut self, id: TypeId) -> Option<(u32, u32)> {
        self.import(id).map(|ty| (ty.size, ty.align.max(1)))
    }

    /// What a variable of this type starts as, the way `.var` takes it: a text, or numbers without the zeros at the end; empty
    /// for zeros. Nothing where padding is not zero, or there are too many numbers.
    pub fn initial(&mut self, id: TypeId, bytes: &[u8]) -> Option<String> {
        let ty = self.import(id)?;
        if bytes.iter().all(|byte| *byte == 0) {
            return Some(String::new());
        }
        if let Form::Array(elem, _) = &ty.bare().form
            && elem.bare().builtin_name() == Some("char")
            && let Some(text) = printable(bytes)
        {
            return Some(Quoted(text).to_string());
        }
        let mut leaves = Vec::new();
        ty.leaves(0, MAX_NUMBERS, &mut leaves)?;
        let mut rest = bytes.to_vec();
        let mut numbers = Vec::with_capacity(leaves.len());
        for (at, size) in leaves {
            let own = rest.get_mut(at as usize..at as usize + size as usize)?;
            let mut wide = [0; 16];
            wide.get_mut(..own.len())?.copy_from_slice(own);
            own.fill(0);
            numbers.push(u64::try_from(u128::from_le_bytes(wide)).ok()?);
        }
        let used = numbers.iter().rposition(|number| *number != 0)? + 1;
        let shown: Vec<String> = numbers[..used].iter().map(ToString::to_string).collect();
        rest.iter().all(|byte| *byte == 0).then(|| shown.join(", "))
    }

    /// Parameters and result of a function (`FUNC` or `FUNC_PROTO`): `(ctx: *xdp_md) -> int`.
    pub fn signature(&mut self, id: TypeId) -> Option<String> {
        let proto = match self.btf.get(id).ok()? {
            Kind::Func { proto, .. } => self.btf.get(proto).ok()?,
            other => other,
        };
        let Kind::FuncProto { ret, params } = proto else { return None };
        let params = params.iter().map(|param| {
            let ty = self.expr(param.ty)?;
            is_plain(param.name).then(|| format!("{}: {ty}", param.name))
        });
        let params = params.collect::<Option<Vec<_>>>()?.join(", ");
        Some(format!("({params}) -> {}", self.expr(ret)?))
    }

    /// The type in the assembler's own terms, everything it names declared.
    fn import(&mut self, id: TypeId) -> Option<Type> {
        if id == TypeId::VOID {
            return Some(Type::void());
        }
        if let Some(known) = self.known.get(&id) {
            return known.clone();
        }
        if self.depth >= MAX_DEPTH {
            return None;
        }
        // While it is being read, a type that points back to itself finds nothing here.
        self.known.insert(id, None);
        self.depth += 1;
        let ty = self.import_new(id);
        self.depth -= 1;
        self.known.insert(id, ty.clone());
        ty
    }

    fn import_new(&mut self, id: TypeId) -> Option<Type> {
        match self.btf.get(id).ok()? {
            Kind::Int { name, int } => {
                let ty = Type::builtin(name)?;
                let Form::Int { signed, bool, .. } = ty.form else { return None };
                let plain = !int.char && int.bit_offset == 0 && u64::from(int.bits) == u64::from(int.size) * 8;
                ((ty.size, signed, bool) == (int.size, int.signed, int.bool) && plain).then_some(ty)
            }
            Kind::Ptr { ty } => Some(Type::pointer(self.pointee(ty)?)),
            Kind::Array { elem, len, .. } => self.import(elem)?.array(len),
            Kind::Struct { name, size, members } => self.import_struct(id, name, size, &members, false),
            Kind::Union { name, size, members } => self.import_struct(id, name, size, &members, true),
            Kind::Enum { name, size: 4, signed, values } => {
                let value = |v: u32| if signed { i64::from(v.cast_signed()) } else { i64::from(v) };
                self.import_enum(id, name, 4, signed, values.iter().map(|&(name, v)| (name, value(v))))
            }
            Kind::Enum64 { name, size: 8, signed, values } => {
                let values: Option<Vec<_>> = values
                    .iter()
                    .map(|&(name, v)| Some((name, if signed { v.cast_signed() } else { i64::try_from(v).ok()? })))
                    .collect();
                self.import_enum(id, name, 8, signed, values?.into_iter())
            }
            Kind::Fwd { name, union: false } => self.is_free(name, id).then(|| Type::forward(name)),
            Kind::Typedef { name, ty } => self.import_typedef(id, name, ty),
            Kind::Const { ty } => Some(self.import(ty)?.qualified(Qualifier::Const)),
            Kind::Volatile { ty } => Some(self.import(ty)?.qualified(Qualifier::Volatile)),
            Kind::Restrict { ty } => Some(self.import(ty)?.qualified(Qualifier::Restrict)),
            Kind::TypeTag { name, ty, attr: false } => Some(self.import(ty)?.tagged(name)),
            _ => None,
        }
    }

    /// What a pointer points to: a struct that is not declared may stand there by its name alone.
    fn pointee(&mut self, id: TypeId) -> Option<Type> {
        if let Some(ty) = self.import(id) {
            return Some(ty);
        }
        match self.btf.get(id).ok()? {
            Kind::Struct { name, .. } if is_plain(name) && !self.names.contains_key(name) => Some(Type::forward(name)),
            _ => None,
        }
    }

    /// Can this name be given to this type?
    fn is_free(&self, name: &str, id: TypeId) -> bool {
        let keyword =
            name == "struct" || name == TAG || Qualifier::ALL.iter().any(|qualifier| qualifier.word() == name);
        is_plain(name) && !keyword && self.names.get(name).is_none_or(|taken| *taken == id)
    }

    fn declare(&mut self, name: &str, id: TypeId, ty: Type, text: &dyn fmt::Display) -> Option<Type> {
        if !self.is_free(name, id) {
            return None;
        }
        self.names.insert(name.to_owned(), id);
        let _ = writeln!(self.text, "{text}");
        Some(ty)
    }

    fn import_struct(
        &mut self,
        id: TypeId,
        name: &str,
        size: u32,
        members: &[Member<&str>],
        union: bool,
    ) -> Option<Type> {
        let mut fields: Vec<Wanted> = Vec::new();
        for member in members {
            if member.bits != 0 || member.bit_offset % 8 != 0 || !is_plain(member.name) {
                return None;
            }
            fields.push((member.name.into(), self.import(member.ty)?, Some(member.bit_offset / 8)));
        }
        // The shortest way to say it that gives the same layout.
        let exact = Rules { union, packed: false, size: Some(size) };
        let plain = Rules { size: None, ..exact };
        let packed = Rules { packed: true, ..plain };
        let want = lay_out(name, fields.clone(), exact)?;
        let unsaid =
            |fields: &[Wanted]| fields.iter().map(|(n, ty, _)| (n.clone(), ty.clone(), None)).collect::<Vec<_>>();
        let same = |ty: &Type| ty.size == want.size && ty.fields() == want.fields();
        for rules in [plain, packed] {
            if let Some(ty) = lay_out(name, unsaid(&fields), rules).filter(same) {
                let shown = Shown { def: def_of(&ty)?, rules, offsets: false };
                return self.declare(name, id, ty.clone(), &shown);
            }
        }
        let shown = Shown { def: def_of(&want)?, rules: exact, offsets: true };
        self.declare(name, id, want.clone(), &shown)
    }

    fn import_enum<'n>(
        &mut self,
        id: TypeId,
        name: &str,
        size: u32,
        signed: bool,
        values: impl Iterator<Item = (&'n str, i64)>,
    ) -> Option<Type> {
        let values: Vec<(Arc<str>, i64)> = values.map(|(name, value)| (name.into(), value)).collect();
        let ty = Type::enumeration(name, values.clone());
        let as_written = ty.size == size && values.iter().any(|(_, value)| *value < 0) == signed;
        if !as_written || !values.iter().all(|(name, _)| is_plain(name)) {
            return None;
        }
        self.declare(name, id, ty, &ShownEnum(&Enum { name: name.into(), values }))
    }

    fn import_typedef(&mut self, id: TypeId, name: &str, to: TypeId) -> Option<Type> {
        let ty = self.import(to)?.named(name);
        if ty.builtin_name().is_some() {
            return Some(ty);
        }
        let Form::Typedef(_, to) = &ty.form else { return None };
        let text = format!(".typedef {name} = {}", Expr(to));
        self.declare(name, id, ty.clone(), &text)
    }
}

fn def_of(ty: &Type) -> Option<&Struct> {
    match &ty.form {
        Form::Struct(def) => Some(def),
        _ => None,
    }
}

/// A type as an expression.
struct Expr<'t>(&'t Type);

impl fmt::Display for Expr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.form {
            Form::Void => f.write_str("void"),
            Form::Int { name, .. } if is_plain(name) => f.write_str(name),
            Form::Int { name, .. } => write!(f, "\"{name}\""),
            Form::Ptr(to) => write!(f, "*{}", Expr(to)),
            Form::Fwd(name) => write!(f, "struct {name}"),
            Form::Struct(def) => f.write_str(&def.name),
            Form::Enum(def) => f.write_str(&def.name),
            Form::Typedef(name, _) => f.write_str(self.0.builtin_name().unwrap_or(name)),
            Form::Qualified(qualifier, ty) => write!(f, "{} {}", qualifier.word(), Expr(ty)),
            Form::Tagged(tag, ty) => write!(f, "{TAG}({}) {}", Quoted(tag), Expr(ty)),
            Form::Array(..) => {
                let (mut base, mut lens) = (self.0, Vec::new());
                while let Form::Array(elem, len) = &base.form {
                    lens.push(*len);
                    base = elem;
                }
                // A star, a qualifier or a tag reaches over the brackets behind it.
                let simple = !matches!(base.form, Form::Ptr(_) | Form::Qualified(..) | Form::Tagged(..));
                if simple {
                    write!(f, "{}", Expr(base))?
                } else {
                    write!(f, "({})", Expr(base))?
                }
                lens.iter().try_for_each(|len| write!(f, "[{len}]"))
            }
        }
    }
}

/// A struct or union as a declaration.
struct Shown<'t> {
    def: &'t Struct,
    rules: Rules,
    offsets: bool,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keyword = if self.def.union { ".union" } else { ".struct" };
        write!(f, "{keyword} {}", self.def.name)?;
        if self.rules.packed {
            f.write_str(" packed")?;
        }
        if let Some(size) = self.rules.size {
            write!(f, " size {size}")?;
        }
        f.write_str(" {")?;
        for field in &self.def.fields {
            write!(f, "\n    {}: {}", field.name, Expr(&field.ty))?;
            if self.offsets {
                write!(f, " @ {}", field.offset)?;
            }
        }
        f.write_str("\n}")
    }
}

/// An enumeration as a declaration.
struct ShownEnum<'t>(&'t Enum);

impl fmt::Display for ShownEnum<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, ".enum {} {{", self.0.name)?;
        for (name, value) in &self.0.values {
            write!(f, "\n    {name} = {value}")?;
        }
        f.write_str("\n}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf::{BtfBuilder, Int};

    /// Types written by `make`, as text; then that text in a file, its types in BTF again, and as text again.
    fn there_and_back(make: impl Fn(&mut BtfBuilder) -> TypeId) -> (Option<String>, String) {
        let mut b = BtfBuilder::new();
        let id = make(&mut b);
        let bytes = b.encode().unwrap();
        let btf = Btf::parse(&bytes).unwrap();
        let mut types = Declarations::new(&btf);
        let expr = types.expr(id);
        if let Some(expr) = &expr {
            let text = format!("{}.data\n.var v: {expr}\n", types.text());
            let object = super::super::parse("t.s", &text).unwrap_or_else(|e| panic!("{e}")).object().write().unwrap();
            let file = object::File::parse(&*object).unwrap();
            let section = object::Object::section_by_name(&file, ".BTF").unwrap();
            let again = Btf::parse(object::ObjectSection::data(&section).unwrap()).unwrap();
            let var = again.find("v", crate::btf::Kind::VAR).unwrap();
            let Kind::Var { ty, .. } = again.get(var).unwrap() else { panic!("not a variable") };
            let mut types_again = Declarations::new(&again);
            assert_eq!(types_again.expr(ty).as_deref(), Some(&**expr));
            assert_eq!(types_again.text(), types.text());
        }
        (expr, types.text().to_owned())
    }

    #[test]
    fn types_survive_text() {
        let (expr, text) = there_and_back(|b| {
            let byte = b.int("unsigned char", 1, false);
            let long = b.int("u64", 8, false);
            let odd = b.struct_("odd", 12, &[("a", byte, 0), ("b", long, 2)]);
            let packed = b.struct_("packed_one", 9, &[("a", byte, 0), ("b", long, 1)]);
            let ptr = b.ptr(odd);
            let ptrs = b.array(ptr, 2);
            let fwd = b.fwd("task_struct");
            let task = b.ptr(fwd);
            let be = b.int("u16", 2, false);
            let be = b.typedef("__be16", be);
            let name = b.typedef("counter_t", long);
            let grid = b.array(be, 3);
            let grid = b.array(grid, 2);
            let members = [
                ("p", packed, 0),
                ("ptrs", ptrs, 16),
                ("task", task, 32),
                ("be", be, 40),
                ("n", name, 48),
                ("g", grid, 56),
            ];
            b.struct_("all", 72, &members)
        });
        assert_eq!(expr.as_deref(), Some("all"));
        let want = ".struct packed_one packed {\n    a: \"unsigned char\"\n    b: u64\n}\n\
            .struct odd size 12 {\n    a: \"unsigned char\" @ 0\n    b: u64 @ 2\n}\n\
            .typedef counter_t = u64\n\
            .struct all {\n    p: packed_one\n    ptrs: (*odd)[2]\n    task: *struct task_struct\n    be: be16\n    \
            n: counter_t\n    g: be16[2][3]\n}\n";
        // The bytes before `ptrs` are padding that alignment explains.
        assert_eq!(text, want);
    }

    #[test]
    fn tags_stand_before_the_type_they_belong_to() {
        let (expr, text) = there_and_back(|b| {
            let word = b.int("int", 4, true);
            let task = b.struct_("task_struct", 4, &[("pid", word, 0)]);
            let tagged = b.add(Kind::TypeTag { name: "kptr", ty: task, attr: false });
            let ptr = b.ptr(tagged);
            b.struct_("slot", 8, &[("task", ptr, 0)])
        });
        assert_eq!(expr.as_deref(), Some("slot"));
        let want = ".struct task_struct {\n    pid: int\n}\n.struct slot {\n    task: *tag(\"kptr\") task_struct\n}\n";
        assert_eq!(text, want);
    }

    #[test]
    fn first_values_are_numbers_or_a_text() {
        let mut b = BtfBuilder::new();
        let (byte, word, char) = (b.int("u8", 1, false), b.int("u32", 4, false), b.int("char", 1, true));
        let text = b.array(char, 6);
        let pair = b.struct_("pair", 8, &[("a", byte, 0), ("b", word, 4)]);
        let bytes = b.encode().unwrap();
        let btf = Btf::parse(&bytes).unwrap();
        let mut types = Declarations::new(&btf);
        assert_eq!(types.initial(text, b"lb \"1\0").as_deref(), Some("\"lb \\\"1\""));
        assert_eq!(types.initial(text, b"l\0b\x01\0\0").as_deref(), Some("108, 0, 98, 1"));
        assert_eq!(types.initial(pair, &[7, 0, 0, 0, 1, 2, 0, 0]).as_deref(), Some("7, 513"));
        assert_eq!(types.initial(pair, &[7, 0, 0, 0, 0, 0, 0, 0]).as_deref(), Some("7"));
        assert_eq!(types.initial(pair, &[0; 8]).as_deref(), Some(""));
        assert_eq!(types.initial(pair, &[7, 1, 0, 0, 0, 0, 0, 0]), None, "padding");
        assert_eq!(types.layout(pair), Some((8, 4)));
    }

    #[test]
    fn what_has_no_words_gives_nothing() {
        let bits = there_and_back(|b| {
            let word = b.int("u32", 4, false);
            b.add(Kind::Struct {
                name: "s",
                size: 4,
                members: vec![Member { name: "a", ty: word, bit_offset: 0, bits: 3 }],
            })
        });
        assert_eq!(bits, (None, String::new()));
        let huge = Int { size: 1 << 31, bits: 8, ..Int::default() };
        assert_eq!(there_and_back(|b| b.add(Kind::Int { name: "u8", int: huge })).0, None);
        let float = there_and_back(|b| b.add(Kind::Float { name: "double", size: 8 }));
        assert_eq!(float.0, None);
        let nameless = there_and_back(|b| b.struct_("", 0, &[]));
        assert_eq!(nameless.0, None);
    }

    #[test]
    fn a_type_that_points_to_itself_is_named() {
        let mut b = BtfBuilder::new();
        let node = b.declare();
        let next = b.ptr(node);
        let member = Member { name: "next", ty: next, bit_offset: 0, bits: 0 };
        b.define(node, Kind::Struct { name: "node", size: 8, members: vec![member] });
        let bytes = b.encode().unwrap();
        let btf = Btf::parse(&bytes).unwrap();
        let mut types = Declarations::new(&btf);
        assert_eq!(types.expr(node).as_deref(), Some("node"));
        assert_eq!(types.text(), ".struct node {\n    next: *struct node\n}\n");
    }
}
