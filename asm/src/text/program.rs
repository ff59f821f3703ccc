//! Stage: text in, last step. A whole program as values, and its way into an object file.
//!
//! Input: `file.rs`. Output: [`Program`]; [`Program::object`] hands it to the object layer. Next: `../object/mod.rs`.

use std::sync::Arc;

use super::types::{Form, Param, Proto, Tag, Tags, Type};
use super::unit::Core;
use crate::insn::{Code, InsnIdx};
use crate::object::{DeclTag, ExternDef, GlobalDef, MapDef, Object, ProgDef, Ty};

/// What an assembly file says: functions, variables and maps.
#[derive(Clone, Debug)]
pub struct Program {
    pub(super) license: String,
    pub(super) functions: Vec<Function>,
    pub(super) variables: Vec<Variable>,
    pub(super) maps: Vec<MapDef>,
    /// What the kernel has: name, whether it may be missing, what it is.
    pub(super) externs: Vec<(Arc<str>, bool, External)>,
    pub(super) tags: Tags,
}

/// Something of the kernel's.
#[derive(Clone, Debug)]
pub(super) enum External {
    Func {
        proto: Proto,
        tags: Vec<Tag>,
    },
    Var(Type),
    /// A value of its configuration.
    Config(Type),
}

/// A function of a [`Program`].
#[derive(Clone, Debug)]
pub struct Function {
    /// Section it stands in: a program's section name, or `.text`.
    pub section: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Is it verified by itself (a program, or a global function)?
    pub global: bool,
    /// Its instructions.
    pub code: Code,
    pub(super) params: Option<Vec<Param>>,
    pub(super) ret: Option<Type>,
    pub(super) tags: Vec<Tag>,
    pub(super) core: Vec<Core>,
}

/// A global variable.
#[derive(Clone, Debug)]
pub(super) struct Variable {
    pub(super) section: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) ty: Option<Type>,
    pub(super) bytes: Vec<u8>,
    pub(super) align: u32,
    pub(super) is_static: bool,
    pub(super) tags: Vec<Tag>,
    /// Functions that it holds the addresses of, by offset.
    pub(super) pointers: Vec<(u32, Arc<str>)>,
}

/// The tags of a declaration, or of one of its parts.
fn decl_tags(component: Option<u32>, tags: &[Tag]) -> impl Iterator<Item = DeclTag> {
    tags.iter().map(move |tag| DeclTag { component, text: tag.text.clone(), attr: tag.attr })
}

impl Program {
    /// The functions, in the order of the text.
    #[must_use]
    pub fn functions(&self) -> &[Function] {
        &self.functions
    }

    /// License, from `.license`; empty when the text has none, and then the kernel refuses GPL-only helpers.
    #[must_use]
    pub fn license(&self) -> &str {
        &self.license
    }

    /// The program as an object, ready to be written.
    #[must_use]
    pub fn object(&self) -> Object {
        let mut object = Object::new(&self.license);
        for map in &self.maps {
            object = object.map(map.clone());
        }
        for variable in &self.variables {
            object = object.global(variable.def(&self.tags));
        }
        for (name, weak, external) in &self.externs {
            let def = external.def(name, &self.tags);
            object = object.external(if *weak { def.weak() } else { def });
        }
        for function in &self.functions {
            object = object.prog(function.def(&self.tags));
        }
        object
    }
}

impl External {
    fn def(&self, name: &str, types: &Tags) -> ExternDef {
        match self {
            Self::Func { proto, tags } => {
                let params = proto.params.iter().zip(0..);
                let of_params = params.flat_map(|(param, place)| decl_tags(Some(place), &param.tags));
                let all = of_params.chain(decl_tags(None, tags));
                all.fold(ExternDef::func(name, Type::proto(proto.clone()).ty(types)), ExternDef::decl_tag)
            }
            Self::Var(ty) => ExternDef::ksym(name, ty.ty(types)),
            Self::Config(ty) => ExternDef::config(name, ty.ty(types)),
        }
    }
}

impl Function {
    fn def(&self, types: &Tags) -> ProgDef {
        let code = self.code.clone();
        let mut def = if &*self.section == ".text" {
            let def = ProgDef::subprog(&self.name, code);
            if self.global { def.global() } else { def }
        } else {
            ProgDef::new(&self.section, &self.name, code)
        };
        // The context's struct is described by the object layer where the text does not declare it.
        let undeclared = |param: &Param| match &param.ty.form {
            Form::Ptr(to) => matches!(&to.form, Form::Fwd(fwd) if types.get(&fwd.name).is_none()),
            _ => false,
        };
        let params = match self.params.as_deref() {
            Some([ctx]) if &*self.section != ".text" && undeclared(ctx) => &[],
            Some(params) => params,
            None => &[],
        };
        for param in params {
            def = def.param(&param.name, param.ty.ty(types));
        }
        for (param, place) in self.params.iter().flatten().zip(0..) {
            def = decl_tags(Some(place), &param.tags).fold(def, ProgDef::decl_tag);
        }
        def = decl_tags(None, &self.tags).fold(def, ProgDef::decl_tag);
        for core in &self.core {
            def = def.core(InsnIdx::from(core.at), core.kind, core.ty.ty(types), &core.access);
        }
        match &self.ret {
            Some(ret) => def.returns(ret.ty(types)),
            None => def,
        }
    }
}

impl Variable {
    fn def(&self, types: &Tags) -> GlobalDef {
        let size = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        let ty = self.ty.as_ref().map_or_else(|| Ty::bytes(size), |ty| ty.ty(types));
        let bytes: &[u8] = if self.section.starts_with(".bss") { &[] } else { &self.bytes };
        let def = GlobalDef::new(&self.section, &self.name, ty, bytes).align(self.align);
        let def = if self.is_static { def.local() } else { def };
        let def = decl_tags(None, &self.tags).fold(def, GlobalDef::decl_tag);
        self.pointers.iter().fold(def, |def, (at, func)| def.pointer(*at, func))
    }
}
