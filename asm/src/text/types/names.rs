//! Stage: text in. The named types of a file, and what names of fields and enumerators stand for.
//!
//! Input: declarations. Output: types by name, and constants. As in C, structs, unions and enumerations have names of their
//! own, which `struct`, `union` or `enum` before a name asks for; a name alone is a typedef or number first. Next: `describe.rs`.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use super::{Form, Type};

/// All structs and unions of a file by name: known only at its end, used when its types are described.
#[derive(Clone, Debug, Default)]
pub(in crate::text) struct Tags(Arc<OnceLock<HashMap<Arc<str>, Type>>>);

impl Tags {
    pub(in crate::text) fn get(&self, name: &str) -> Option<&Type> {
        self.0.get()?.get(name)
    }
}

/// The named types of a file.
#[derive(Debug, Default)]
pub(in crate::text) struct Types<'s> {
    /// Typedefs and numbers.
    plain: HashMap<&'s str, Type>,
    /// Structs, unions and enumerations.
    tagged: HashMap<&'s str, Type>,
    enumerators: HashMap<Arc<str>, i128>,
    order: Vec<&'s str>,
    /// Filled by [`Types::close`].
    pub(in crate::text) tags: Tags,
}

/// Does its name belong to the structs, unions and enumerations?
fn is_tagged(ty: &Type) -> bool {
    matches!(ty.form, Form::Struct(_) | Form::Enum(_))
}

impl<'s> Types<'s> {
    /// The type that a name alone stands for.
    pub(in crate::text) fn get(&self, name: &str) -> Option<Type> {
        let plain = self.plain.get(name).cloned().or_else(|| Type::builtin(name));
        plain.or_else(|| self.tagged(name))
    }

    /// The struct, union or enumeration of this name.
    pub(in crate::text) fn tagged(&self, name: &str) -> Option<Type> {
        self.tagged.get(name).cloned()
    }

    /// Adds a named type; false when the name is taken.
    pub(in crate::text) fn add(&mut self, name: &'s str, ty: Type) -> bool {
        let names = if is_tagged(&ty) { &mut self.tagged } else { &mut self.plain };
        if name == "void" || names.contains_key(name) {
            return false;
        }
        self.note_enumerators(&ty);
        let names = if is_tagged(&ty) { &mut self.tagged } else { &mut self.plain };
        names.insert(name, ty);
        self.order.push(name);
        true
    }

    /// The enumerators of an enumeration become constants.
    pub(in crate::text) fn note_enumerators(&mut self, ty: &Type) {
        if let Form::Enum(def) = &ty.form {
            self.enumerators.extend(def.values.iter().cloned());
        }
    }

    /// The end of the file: every struct is known.
    pub(in crate::text) fn close(&self) {
        let structs = self.tagged.iter().filter(|(_, ty)| matches!(ty.form, Form::Struct(_)));
        let _ = self.tags.0.set(structs.map(|(name, ty)| (Arc::from(*name), ty.clone())).collect());
    }

    pub(in crate::text) fn names(&self) -> impl Iterator<Item = &'s str> {
        self.order.iter().copied()
    }

    /// `Eth.proto`: the offset of a field; or the value of an enumerator.
    pub(in crate::text) fn constant(&self, name: &str) -> Option<i128> {
        if let Some(value) = self.enumerators.get(name) {
            return Some(*value);
        }
        let mut parts = name.split('.');
        let mut ty = &self.owner(parts.next()?)?;
        let mut offset = None;
        for part in parts {
            let (at, field) = ty.field(part)?;
            offset = Some(offset.unwrap_or(0) + i128::from(at));
            ty = &field.ty;
        }
        offset
    }

    /// The declared type with fields that a name stands for.
    fn owner(&self, name: &str) -> Option<Type> {
        if self.plain.is_empty() && self.tagged.is_empty() {
            return None;
        }
        self.plain.get(name).filter(|ty| !ty.fields().is_empty()).or_else(|| self.tagged.get(name)).cloned()
    }

    /// Field names of the struct in `Eth.prto`, for "did you mean".
    pub(in crate::text) fn fields_of(&self, name: &str) -> Vec<String> {
        let Some((base, _)) = name.rsplit_once('.') else { return Vec::new() };
        let mut parts = base.split('.');
        let owner = parts.next().and_then(|first| self.owner(first));
        let mut ty = owner.as_ref();
        for part in parts {
            ty = ty.and_then(|ty| ty.field(part)).map(|(_, field)| &field.ty);
        }
        let fields = ty.map_or(&[][..], Type::fields);
        let named = fields.iter().filter(|field| !field.name.is_empty());
        named.map(|field| format!("{base}.{}", field.name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Rules, Wanted, lay_out};
    use super::*;

    fn plain(name: &str, fields: Vec<Wanted>) -> Type {
        lay_out(name, fields, Rules::default(), Vec::new()).unwrap()
    }

    #[test]
    fn field_names_are_constants() {
        let number = |name: &str| Wanted::plain(name, Type::builtin("u16").unwrap());
        let mut types = Types::default();
        let inner = plain("In", vec![number("x"), number("y")]);
        let nameless = plain("", vec![number("p"), number("q")]);
        let word = Type::builtin("u32").unwrap();
        let fields = vec![Wanted::plain("a", word), Wanted::plain("in", inner), Wanted::plain("", nameless)];
        let outer = plain("Out", fields);
        assert!(types.add("Out", outer.clone()));
        assert!(!types.add("Out", outer.clone()));
        assert!(types.add("Out", outer.named("Out", Vec::new())), "a typedef has a name of its own");
        assert_eq!(types.constant("Out.in.y"), Some(6));
        assert_eq!(types.constant("Out.q"), Some(10));
        assert_eq!(types.constant("Out.nope"), None);
        assert_eq!(types.constant("Out"), None);
        assert_eq!(types.fields_of("Out.in.z"), ["Out.in.x", "Out.in.y"]);
    }
}
