//! Types as text: whatever an object can say of types, the text says too, and comes back to the same text.

use asm::btf::{Btf, BtfBuilder, Int, Kind, Member, Param, Type, TypeId};
use asm::text::{Declarations, parse};
use object::{Object as _, ObjectSection as _};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// One type to be made: which kind, and numbers that choose everything else about it.
type Step = (u8, Vec<(Index, u8)>, u16);

/// Types under construction, of kinds that a compiler would write: each has a size, a name of its own, and parts that lie in it.
struct Maker {
    b: BtfBuilder,
    /// Types that a variable can have, with their bytes.
    sized: Vec<(TypeId, u32)>,
    /// Types that a pointer can point to.
    targets: Vec<TypeId>,
}

impl Maker {
    fn new() -> Self {
        let mut b = BtfBuilder::new();
        let sized = vec![(b.int("unsigned int", 4, false), 4), (b.int("u8", 1, false), 1), (b.int("long", 8, true), 8)];
        Self { b, targets: sized.iter().map(|sized| sized.0).chain([TypeId::VOID]).collect(), sized }
    }

    fn of(&self, which: Index) -> (TypeId, u32) {
        self.sized[which.index(self.sized.len())]
    }

    fn add(&mut self, n: usize, (kind, parts, number): &Step) {
        let name = format!("t{n}");
        let name = &*name;
        let (first, low) = parts[0];
        let (ty, size) = self.of(first);
        let target = self.targets[first.index(self.targets.len())];
        let attr = low % 5 == 0;
        let (ty, size) = match kind {
            0 => (self.b.ptr(target), 8),
            1 if u64::from(size) * u64::from(number % 7) < 1 << 12 => {
                (self.b.array(ty, u32::from(number % 7)), size * u32::from(number % 7))
            }
            2 | 3 => self.composite(name, parts, *number, *kind == 3),
            4 => self.enumeration(name, parts, *number),
            5 => {
                self.targets.push(self.b.add(Type::Fwd { name, union: attr }));
                return;
            }
            6 => (self.b.typedef(name, ty), size),
            7 => (
                self.b.add(
                    [Type::Volatile { ty }, Type::Const { ty }, Type::Restrict { ty }][number.rem_euclid(3) as usize]
                        .clone(),
                ),
                size,
            ),
            8 => {
                let params = parts.iter().map(|(which, names)| (*which, names % 2 == 0)).collect::<Vec<_>>();
                let params: Vec<_> =
                    params.iter().map(|(which, named)| (if *named { "arg" } else { "" }, self.of(*which).0)).collect();
                let mut params: Vec<_> = params.iter().map(|&(name, ty)| Param { name, ty }).collect();
                if attr {
                    params.push(Param { name: "", ty: TypeId::VOID });
                }
                self.targets.push(self.b.add(Type::FuncProto { ret: ty, params }));
                return;
            }
            9 => (self.b.add(Type::Float { name, size: 4 }), 4),
            10 => {
                let int = Int { size: 4, bits: low % 32 + 1, signed: attr, ..Int::default() };
                (self.b.add(Type::Int { name, int }), 4)
            }
            11 => (self.b.add(Type::TypeTag { name, ty, attr }), size),
            _ => return,
        };
        self.targets.push(ty);
        if size > 0 {
            self.sized.push((ty, size));
        }
    }

    /// A struct or union: with bit fields, nameless parts, gaps, marks, and pointers to itself.
    fn composite(&mut self, name: &str, parts: &[(Index, u8)], number: u16, union: bool) -> (TypeId, u32) {
        let id = self.b.declare();
        let own = self.b.ptr(id);
        let nameless = number.is_multiple_of(4);
        let (mut members, mut at, mut end) = (Vec::new(), 0u32, 0u32);
        let names: Vec<String> = (0..parts.len()).map(|n| format!("m{n}")).collect();
        for ((which, low), field) in parts.iter().zip(&names) {
            let (ty, size) = if low % 16 == 15 { (own, 8) } else { self.of(*which) };
            if size > 1 << 12 {
                continue;
            }
            let bits = if low % 4 == 1 && ty == self.sized[0].0 { low / 4 % 31 + 1 } else { 0 };
            let align = if bits > 0 {
                1
            } else if number.is_multiple_of(3) {
                8
            } else {
                size.next_power_of_two().clamp(1, 8) * 8
            };
            let bit_offset = if union { 0 } else { at.next_multiple_of(align) };
            at = bit_offset + if bits > 0 { u32::from(bits) } else { size * 8 };
            end = end.max(at);
            members.push(Member { name: &**field, ty, bit_offset, bits });
        }
        let size = end.div_ceil(8).next_multiple_of(1 << (number % 4)).max(1);
        let name = if nameless { "" } else { name };
        self.b
            .define(id, if union { Type::Union { name, size, members } } else { Type::Struct { name, size, members } });
        if !nameless && number.is_multiple_of(5) {
            self.b.push(Type::DeclTag { name: "whole", ty: id, component: None, attr: false });
        }
        (id, size)
    }

    fn enumeration(&mut self, name: &str, parts: &[(Index, u8)], number: u16) -> (TypeId, u32) {
        let (size, signed) = (1 << (number % 4), number.is_multiple_of(3));
        let names: Vec<String> = (0..parts.len()).map(|n| format!("{name}_{n}")).collect();
        let name = if number.is_multiple_of(5) { "" } else { name };
        let each = names.iter().zip(parts);
        let ty = if number.is_multiple_of(2) {
            let value = |low: u8| u64::from(low).wrapping_mul(0x0101_0101_0101_0101) >> (number % 64);
            Type::Enum64 { name, size, signed, values: each.map(|(n, (_, low))| (&**n, value(*low))).collect() }
        } else {
            let value = |low: u8| u32::from(low).wrapping_mul(0x0101_0101) >> (number % 32);
            Type::Enum { name, size, signed, values: each.map(|(n, (_, low))| (&**n, value(*low))).collect() }
        };
        (self.b.add(ty), size)
    }
}

/// Every type of `btf` that `of` names, as a text with a variable of each.
fn text(btf: &Btf<'_>, of: &[TypeId]) -> String {
    let mut types = Declarations::new(btf);
    let expr = |id: &TypeId| types.expr(*id).unwrap_or_else(|| panic!("{id} has no words in\n{btf}"));
    let exprs: Vec<_> = of.iter().map(expr).collect();
    let vars: String = exprs.iter().enumerate().map(|(n, ty)| format!(".var v{n}: {ty}\n")).collect();
    format!("{}.data\n{vars}", types.text())
}

proptest! {
    #[test]
    fn every_type_survives_text(steps in vec((0..12u8, vec((any::<Index>(), any::<u8>()), 1..6), any::<u16>()), 1..40)) {
        let mut maker = Maker::new();
        steps.iter().enumerate().for_each(|(n, step)| maker.add(n, step));
        let bytes = maker.b.encode().expect("types that a compiler would write");
        let btf = Btf::parse(&bytes).expect("our own bytes");
        let ids: Vec<_> = maker.sized.iter().map(|sized| sized.0).collect();
        let first = text(&btf, &ids);
        let object = parse("types.s", &first).unwrap_or_else(|e| panic!("{e}\n{first}")).object().write();
        let object = object.unwrap_or_else(|e| panic!("{e}\n{first}"));
        let file = object::File::parse(&*object).expect("our own file");
        let section = file.section_by_name(".BTF").and_then(|section| section.data().ok()).expect("it has types");
        let again = Btf::parse(section).expect("our own bytes");
        let var = |n: usize| again.find(&format!("v{n}"), Kind::VAR).and_then(|var| again.get(var).ok());
        let ids = (0..ids.len()).map(|n| match var(n) {
            Some(Type::Var { ty, .. }) => ty,
            other => panic!("{other:?}"),
        });
        let second = text(&again, &ids.collect::<Vec<_>>());
        prop_assert_eq!(first, second);
    }
}
