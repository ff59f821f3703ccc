//! Stage: text out. Types of an object as declarations that the assembler reads back.
//!
//! Input: [`Btf`]. Output: type expressions, and the `.struct`, `.union`, `.enum`, `.typedef` and `.basetype` lines that their
//! names need. Only what cannot be in an object that loads gives nothing (names that no C has, types within each other without
//! end), and the caller falls back to sizes. Next: `import.rs`, then `show.rs`.

use std::collections::{HashMap, VecDeque};

use super::listing::{Quoted, is_plain, is_word};
use super::types::{Form, Tag, Type};
use crate::btf::{Btf, Linkage, Type as Kind, TypeId};

mod import;
mod show;

use import::Claim;
use show::{Expr, Tagged};

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
    /// What names stand for, typedefs and numbers apart from structs and enumerations.
    names: HashMap<(bool, String), Claim>,
    /// The marks of each declaration, and of its parts.
    tags: HashMap<TypeId, Vec<(Option<u32>, Tag)>>,
    /// Structs that something points to while they cannot be read yet, to be declared at the end.
    queue: VecDeque<TypeId>,
    /// The types that are being read, each a part of the one before.
    open: Vec<TypeId>,
    /// Did a type find nothing only because one of `open` is not read yet?
    blocked: bool,
    /// What is left of the work that so many types are worth; only a hostile file uses it up.
    steps: usize,
    text: String,
}

/// A variable is given at most so many numbers in a text, and takes so many steps to be taken apart.
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
        let mut tags: HashMap<_, Vec<_>> = HashMap::new();
        for (_, ty) in btf.types().filter_map(Result::ok) {
            if let Kind::DeclTag { name, ty, component, attr } = ty {
                tags.entry(ty).or_default().push((component, Tag { text: name.into(), attr }));
            }
        }
        let (known, names, queue) = (HashMap::new(), HashMap::new(), VecDeque::new());
        let steps = usize::try_from(btf.len()).unwrap_or(usize::MAX).saturating_mul(64);
        Self { btf, known, names, tags, queue, open: Vec::new(), blocked: false, steps, text: String::new() }
    }

    /// The declarations that all expressions so far need.
    #[must_use]
    pub fn text(&mut self) -> &str {
        while let Some(id) = self.queue.pop_front() {
            self.import(id);
        }
        &self.text
    }

    /// The type as an expression.
    pub fn expr(&mut self, id: TypeId) -> Option<String> {
        self.import(id).map(|ty| Expr(&ty).to_string())
    }

    /// The type of a variable (`VAR`) as `.var` takes it, with the marks of the variable. The assembler makes what is in
    /// `.rodata` constant by itself.
    pub fn variable(&mut self, var: TypeId, constant: bool) -> Option<String> {
        let Kind::Var { ty, .. } = self.btf.get(var).ok()? else { return None };
        let ty = match self.btf.get(ty).ok()? {
            Kind::Const { ty } if constant => self.import(ty)?,
            _ => self.import(ty)?,
        };
        let tags = self.tags_of(var, None)?;
        Some(format!("{}{}", Expr(&ty), Tagged(&tags)))
    }

    /// Is this variable (`VAR`) seen only in its own object?
    #[must_use]
    pub fn is_static(&self, var: TypeId) -> bool {
        matches!(self.btf.get(var), Ok(Kind::Var { linkage: Linkage::STATIC, .. }))
    }

    /// Size and alignment of a type, in bytes, as the assembler will lay it out.
    pub fn layout(&mut self, id: TypeId) -> Option<(u32, u32)> {
        self.import(id).map(|ty| (ty.size, ty.align.max(1)))
    }

    /// What a variable of this type starts as, the way `.var` takes it: a text, or numbers without the zeros at the end; empty
    /// for zeros. Where padding is not zero, and where there are bit fields or too many numbers, all of its bytes. With
    /// `big_endian`, the numbers lie in the bytes in that order.
    pub fn initial(&mut self, id: TypeId, bytes: &[u8], big_endian: bool) -> Option<String> {
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
        let numbers = numbers(&ty, bytes, big_endian);
        Some(numbers.map_or_else(|| format!("bytes {}", list(bytes.iter().copied())), list))
    }

    /// Parameters and result of a function (`FUNC` or `FUNC_PROTO`): `(ctx: *xdp_md) -> int`.
    pub fn signature(&mut self, id: TypeId) -> Option<String> {
        let (proto, func) = match self.btf.get(id).ok()? {
            Kind::Func { proto, .. } => (proto, Some(id)),
            _ => (id, None),
        };
        let Form::Proto(proto) = self.import(proto)?.form else { return None };
        let mut proto = (*proto).clone();
        if let Some(func) = func {
            for (param, place) in proto.params.iter_mut().zip(0..) {
                param.tags = self.tags_of(func, Some(place))?;
            }
        }
        let tags = func.map_or_else(|| Some(Vec::new()), |func| self.tags_of(func, None))?;
        Some(format!("{}{}", show::Signature(&proto), Tagged(&tags)))
    }

    /// The marks of a declaration or of one of its parts.
    fn tags_of(&self, id: TypeId, component: Option<u32>) -> Option<Vec<Tag>> {
        let all = self.tags.get(&id).into_iter().flatten();
        Some(all.filter(|(of, _)| *of == component).map(|(_, tag)| tag.clone()).collect())
    }
}

/// The numbers in these bytes, in order, without the zeros at the end. Nothing when they are not all there is.
fn numbers(ty: &Type, bytes: &[u8], big_endian: bool) -> Option<Vec<u64>> {
    let mut leaves = Vec::new();
    ty.leaves(0, &mut { MAX_NUMBERS }, &mut leaves)?;
    let mut rest = bytes.to_vec();
    let mut numbers = Vec::with_capacity(leaves.len());
    for leaf in leaves {
        let own = rest.get_mut(leaf.at as usize..leaf.at as usize + leaf.size as usize)?;
        let mut wide = [0; 16];
        wide.get_mut(..own.len())?.copy_from_slice(own);
        if big_endian || leaf.big_endian {
            wide[..own.len()].reverse();
        }
        own.fill(0);
        numbers.push(u64::try_from(u128::from_le_bytes(wide)).ok()?);
    }
    numbers.truncate(numbers.iter().rposition(|number| *number != 0)? + 1);
    rest.iter().all(|byte| *byte == 0).then_some(numbers)
}

/// Numbers with commas between them.
fn list<N: std::fmt::Display>(numbers: impl IntoIterator<Item = N>) -> String {
    numbers.into_iter().map(|number| number.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf::{BtfBuilder, Int, Member};

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
            // What was a struct behind a pointer is one again, and not only its name.
            let kinds = |btf: &Btf<'_>| btf.types().filter(|ty| matches!(ty, Ok((_, Kind::Fwd { .. })))).count();
            assert_eq!(kinds(&again), kinds(&btf));
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
        assert_eq!(types.initial(text, b"lb \"1\0", false).as_deref(), Some("\"lb \\\"1\""));
        assert_eq!(types.initial(text, b"l\0b\x01\0\0", false).as_deref(), Some("108, 0, 98, 1"));
        assert_eq!(types.initial(pair, &[7, 0, 0, 0, 1, 2, 0, 0], false).as_deref(), Some("7, 513"));
        assert_eq!(types.initial(pair, &[7, 0, 0, 0, 0, 0, 0, 0], false).as_deref(), Some("7"));
        assert_eq!(types.initial(pair, &[0; 8], false).as_deref(), Some(""));
        assert_eq!(
            types.initial(pair, &[7, 1, 0, 0, 0, 0, 0, 0], false).as_deref(),
            Some("bytes 7, 1, 0, 0, 0, 0, 0, 0")
        );
        assert_eq!(types.initial(pair, &[7, 0, 0, 0, 0, 0, 2, 1], true).as_deref(), Some("7, 513"));
        assert_eq!(types.layout(pair), Some((8, 4)));
    }

    #[test]
    fn numbers_in_network_order_are_stored_in_it_and_come_back() {
        let text = "\n.struct Ports { src: be16, n: u16, dst: be16[2] }\n.data\n.var port: be16 = 80\n\
                    .var flat: Ports = 1, 2, 3, 4\n.var named: Ports = { src: 80, n: 7 }\n";
        let bytes = super::super::parse("t.s", text).unwrap_or_else(|e| panic!("{e}")).object().write().unwrap();
        let file = object::File::parse(&*bytes).unwrap();
        let section =
            |name| object::ObjectSection::data(&object::Object::section_by_name(&file, name).unwrap()).unwrap();
        let data = section(".data");
        assert_eq!(data, [0, 80, 0, 1, 2, 0, 0, 3, 0, 4, 0, 80, 7, 0, 0, 0, 0, 0]);
        let btf = Btf::parse(section(".BTF")).unwrap();
        let mut types = Declarations::new(&btf);
        for (name, own, want) in [("port", 0..2, "80"), ("flat", 2..10, "1, 2, 3, 4"), ("named", 10..18, "80, 7")] {
            let var = btf.find(name, crate::btf::Kind::VAR).unwrap();
            let Kind::Var { ty, .. } = btf.get(var).unwrap() else { panic!("not a variable") };
            assert_eq!(types.initial(ty, &data[own], false).as_deref(), Some(want), "{name}");
        }
    }

    #[test]
    fn every_kind_has_words() {
        let (expr, text) = there_and_back(|b| {
            let (word, byte) = (b.int("unsigned int", 4, false), b.int("unsigned char", 1, false));
            let tagged = b.add(Kind::TypeTag { name: "kptr", ty: word, attr: false });
            let float = b.add(Kind::Float { name: "double", size: 8 });
            let odd =
                b.add(Kind::Int { name: "odd one", int: Int { size: 4, bits: 7, bit_offset: 3, ..Int::default() } });
            let own = b.typedef("u32", word);
            let proto = b.func_proto(TypeId::VOID, &[("", word), ("len", own)]);
            let (kptr, func) = (b.ptr(tagged), b.ptr(proto));
            let small = b.add(Kind::Enum { name: "", size: 1, signed: true, values: vec![("A", 0), ("B", 7)] });
            let wide = b.add(Kind::Enum64 { name: "big", size: 8, signed: false, values: vec![("TOP", u64::MAX)] });
            let member = |name, ty, bit_offset, bits| Member { name, ty, bit_offset, bits };
            let halves = vec![member("low", byte, 0, 0), member("high", byte, 8, 0)];
            let halves = b.add(Kind::Struct { name: "", size: 2, members: halves });
            let either = vec![member("", halves, 0, 0), member("whole", own, 0, 0)];
            let either = b.add(Kind::Union { name: "", size: 4, members: either });
            let members = vec![
                member("", either, 0, 0),
                member("a", word, 32, 3),
                member("b", word, 35, 29),
                member("e", small, 64, 0),
                member("odd", odd, 96, 0),
                member("r1", float, 128, 0),
                member("kptr", kptr, 192, 0),
                member("call", func, 256, 0),
                member("wide", wide, 320, 0),
            ];
            let all = b.add(Kind::Struct { name: "u32", size: 48, members });
            b.push(Kind::DeclTag { name: "whole", ty: all, component: None, attr: false });
            b.push(Kind::DeclTag { name: "part \"7\"", ty: all, component: Some(7), attr: true });
            all
        });
        assert_eq!(expr.as_deref(), Some("struct u32"));
        let want = ".typedef u32 = \"unsigned int\"\n.basetype \"odd one\" int 4 bits 7 @ 3\n.enum big {\n    \
            TOP = 18446744073709551615\n}\n.struct u32 decl_tag(\"whole\") {\n    \
            union { struct { low: \"unsigned char\", high: \"unsigned char\" }, whole: u32 }\n    \
            a: \"unsigned int\" : 3\n    b: \"unsigned int\" : 29\n    e: enum signed size 1 { A = 0, B = 7 }\n    \
            odd: \"odd one\"\n    r1: double\n    kptr: *tag(\"kptr\") \"unsigned int\"\n    \
            call: *fn(\"unsigned int\", len: u32) -> void decl_attr(\"part \\\"7\\\"\")\n    wide: big\n}\n";
        assert_eq!(text, want);
    }

    #[test]
    fn what_no_object_that_loads_has_gives_nothing() {
        let huge = Int { size: 1 << 31, bits: 8, ..Int::default() };
        let odd_name = there_and_back(|b| b.struct_("a b", 0, &[]));
        assert_eq!(odd_name, (None, String::new()));
        let mut b = BtfBuilder::new();
        let (one, other) = (b.int("u32", 4, false), b.add(Kind::Int { name: "u32", int: huge }));
        let bytes = b.encode().unwrap();
        let btf = Btf::parse(&bytes).unwrap();
        let mut types = Declarations::new(&btf);
        assert_eq!((types.expr(one).as_deref(), types.expr(other)), (Some("u32"), None), "one name, two types");
    }

    #[test]
    fn circles_come_back_whole() {
        let (expr, text) = there_and_back(|b| {
            let (node, list) = (b.declare(), b.declare());
            let (to_node, to_list) = (b.ptr(node), b.ptr(list));
            let member = |name, ty, bit_offset| Member { name, ty, bit_offset, bits: 0 };
            let members = vec![member("next", to_node, 0), member("owner", to_list, 64)];
            b.define(node, Kind::Struct { name: "node", size: 16, members });
            b.define(list, Kind::Struct { name: "list", size: 8, members: vec![member("first", to_node, 0)] });
            node
        });
        assert_eq!(expr.as_deref(), Some("node"));
        let want = ".struct list {\n    first: *node\n}\n.struct node {\n    next: *node\n    owner: *list\n}\n";
        assert_eq!(text, want);
    }

    #[test]
    fn what_a_list_contains_comes_along() {
        let (expr, text) = there_and_back(|b| {
            let word = b.int("u64", 8, false);
            let head = b.struct_("bpf_list_head", 8, &[("first", word, 0)]);
            let queue = b.struct_("queue", 8, &[("jobs", head, 0)]);
            b.struct_("job", 8, &[("n", word, 0)]);
            b.push(Kind::DeclTag { name: "contains:job:n", ty: queue, component: Some(0), attr: false });
            queue
        });
        assert_eq!(expr.as_deref(), Some("queue"));
        let want = ".struct bpf_list_head {\n    first: u64\n}\n.struct queue {\n    \
            jobs: bpf_list_head decl_tag(\"contains:job:n\")\n}\n.struct job {\n    n: u64\n}\n";
        assert_eq!(text, want);
    }
}
