//! Stage: text in. Types as BTF.
//!
//! Input: a [`Type`], and the structs of the file by name. Output: a [`Ty`] for the object layer. Structs that point to each
//! other in circles get their numbers first and their members after. Next: `../program.rs`.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Enum, Form, Proto, Qualifier, Struct, Tag, Tags, Type};
use crate::btf::{BtfBuilder, Member, Param, Type as Btf, TypeId};
use crate::object::Ty;

impl Type {
    /// The type for the object layer.
    pub(in crate::text) fn ty(&self, tags: &Tags) -> Ty {
        let (this, tags) = (self.clone(), tags.clone());
        Ty::with(self.size, move |b| {
            let mut scribe = Scribe { b, tags: &tags, promised: VecDeque::new() };
            let id = scribe.describe(&this);
            scribe.keep_promises();
            id
        })
    }
}

/// The end of the file's types: a builder, and the structs that have a number and no members yet.
struct Scribe<'t, 'b> {
    b: &'b mut BtfBuilder,
    tags: &'t Tags,
    promised: VecDeque<(TypeId, &'t Struct, u32)>,
}

/// What the builder knows a struct by: where its definition lies, which stays alive as long as the builder is used.
fn key(def: &Arc<Struct>) -> usize {
    Arc::as_ptr(def) as usize
}

impl<'t> Scribe<'t, '_> {
    fn describe(&mut self, ty: &Type) -> TypeId {
        match &ty.form {
            Form::Void => TypeId::VOID,
            Form::Base(base) => self.b.add(match base.int {
                Some(int) => Btf::Int { name: &base.name, int },
                None => Btf::Float { name: &base.name, size: ty.size },
            }),
            Form::Ptr(to) => {
                let to = self.describe(to);
                self.b.ptr(to)
            }
            Form::Array(elem, len) => {
                let elem = self.describe(elem);
                self.b.array(elem, *len)
            }
            Form::Struct(def) => self.describe_struct(def, ty.size),
            Form::Fwd(fwd) => match self.tags.get(&fwd.name) {
                Some(Type { size, form: Form::Struct(def), .. }) => self.promise(def, *size),
                _ => self.b.add(Btf::Fwd { name: &fwd.name, union: fwd.union }),
            },
            Form::Enum(def) => {
                let id = self.b.add(enumeration(def, ty.size));
                self.mark(id, &def.tags, None)
            }
            Form::Typedef(def) => {
                let to = self.describe(&def.to);
                let id = self.b.typedef(&def.name, to);
                self.mark(id, &def.tags, None)
            }
            Form::Qualified(qualifier, to) => {
                let ty = self.describe(to);
                self.b.add(match qualifier {
                    Qualifier::Const => Btf::Const { ty },
                    Qualifier::Volatile => Btf::Volatile { ty },
                    Qualifier::Restrict => Btf::Restrict { ty },
                })
            }
            Form::Tagged(tag, to) => {
                let ty = self.describe(to);
                self.b.add(Btf::TypeTag { name: &tag.text, ty, attr: tag.attr })
            }
            Form::Proto(proto) => self.describe_proto(proto),
        }
    }

    fn describe_struct(&mut self, def: &Arc<Struct>, size: u32) -> TypeId {
        if let Some(id) = self.b.begin(key(def)) {
            return id;
        }
        let ids: Vec<TypeId> = def.fields.iter().map(|field| self.describe(&field.ty)).collect();
        let id = self.b.end(key(def), content(def, size, &ids));
        self.mark_struct(id, def)
    }

    /// The number of a struct whose members come later: it may contain what is described now.
    fn promise(&mut self, def: &'t Arc<Struct>, size: u32) -> TypeId {
        let (id, new) = self.b.promise(key(def));
        if new {
            self.promised.push_back((id, def, size));
        }
        id
    }

    fn keep_promises(&mut self) {
        while let Some((id, def, size)) = self.promised.pop_front() {
            let ids: Vec<TypeId> = def.fields.iter().map(|field| self.describe(&field.ty)).collect();
            self.b.define(id, content(def, size, &ids));
            self.mark_struct(id, def);
        }
    }

    fn describe_proto(&mut self, proto: &Proto) -> TypeId {
        let ret = self.describe(&proto.ret);
        let mut params: Vec<Param<&str>> = Vec::with_capacity(proto.params.len() + 1);
        for param in &proto.params {
            params.push(Param { name: &param.name, ty: self.describe(&param.ty) });
        }
        if proto.variadic {
            params.push(Param { name: "", ty: TypeId::VOID });
        }
        self.b.add(Btf::FuncProto { ret, params })
    }

    fn mark_struct(&mut self, id: TypeId, def: &Struct) -> TypeId {
        for (field, place) in def.fields.iter().zip(0..) {
            self.mark(id, &field.tags, Some(place));
        }
        self.mark(id, &def.tags, None)
    }

    /// The tags of a declaration. What a list or tree contains is named by its tag alone, and must be there too.
    fn mark(&mut self, id: TypeId, tags: &[Tag], component: Option<u32>) -> TypeId {
        for tag in tags {
            self.b.add(Btf::DeclTag { name: &tag.text, ty: id, component, attr: tag.attr });
            let content = tag.content().and_then(|name| self.tags.get(name));
            if let Some(Type { size, form: Form::Struct(def), .. }) = content {
                self.promise(def, *size);
            }
        }
        id
    }
}

/// A struct or union whose members have these types.
fn content<'d>(def: &'d Struct, size: u32, ids: &[TypeId]) -> Btf<&'d str> {
    let member = |(field, ty): (&'d super::Field, &TypeId)| Member {
        name: &*field.name,
        ty: *ty,
        bit_offset: field.place.bit,
        bits: field.place.bits.map_or(0, std::num::NonZeroU8::get),
    };
    let (name, members) = (&*def.name, def.fields.iter().zip(ids).map(member).collect());
    if def.rules.union { Btf::Union { name, size, members } } else { Btf::Struct { name, size, members } }
}

fn enumeration(def: &Enum, size: u32) -> Btf<&str> {
    let (name, signed) = (&*def.name, def.signed);
    // What a value does not fit into was refused when it was read.
    if def.wide {
        let value = |value: i128| {
            let [a, b, c, d, e, f, g, h, ..] = value.to_le_bytes();
            u64::from_le_bytes([a, b, c, d, e, f, g, h])
        };
        return Btf::Enum64 { name, size, signed, values: def.values.iter().map(|(n, v)| (&**n, value(*v))).collect() };
    }
    let value = |value: i128| {
        let [a, b, c, d, ..] = value.to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    };
    Btf::Enum { name, size, signed, values: def.values.iter().map(|(n, v)| (&**n, value(*v))).collect() }
}
