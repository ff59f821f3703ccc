//! Stage: text in, last step. A whole program as values, and its way into an object file.
//!
//! Input: `file.rs`. Output: [`Program`]; [`Program::object`] hands it to the object layer. Next: `../object/mod.rs`.

use std::sync::Arc;

use super::types::{Form, Type};
use super::unit::Core;
use crate::insn::{Code, InsnIdx};
use crate::object::{ExternDef, GlobalDef, MapDef, Object, ProgDef, Ty};

/// What an assembly file says: functions, variables and maps.
#[derive(Clone, Debug)]
pub struct Program {
    pub(super) license: String,
    pub(super) functions: Vec<Function>,
    pub(super) variables: Vec<Variable>,
    pub(super) maps: Vec<MapDef>,
    pub(super) externs: Vec<ExternDef>,
}

/// A parameter of a function.
#[derive(Clone, Debug)]
pub(super) struct Param {
    pub(super) name: Arc<str>,
    pub(super) ty: Type,
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
            object = object.global(variable.def());
        }
        for external in &self.externs {
            object = object.external(external.clone());
        }
        for function in &self.functions {
            object = object.prog(function.def());
        }
        object
    }
}

impl Function {
    fn def(&self) -> ProgDef {
        let code = self.code.clone();
        let mut def = if &*self.section == ".text" {
            let def = ProgDef::subprog(&self.name, code);
            if self.global { def.global() } else { def }
        } else {
            ProgDef::new(&self.section, &self.name, code)
        };
        // The context's struct is described by the object layer where the text does not declare it.
        let undeclared = |param: &Param| matches!(&param.ty.form, Form::Ptr(to) if matches!(to.form, Form::Fwd(_)));
        let params = match self.params.as_deref() {
            Some([ctx]) if &*self.section != ".text" && undeclared(ctx) => &[],
            Some(params) => params,
            None => &[],
        };
        for param in params {
            def = def.param(&param.name, param.ty.ty());
        }
        for core in &self.core {
            def = def.core(InsnIdx::from(core.at), core.kind, core.ty.ty(), &core.access);
        }
        match &self.ret {
            Some(ret) => def.returns(ret.ty()),
            None => def,
        }
    }
}

impl Variable {
    fn def(&self) -> GlobalDef {
        let size = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        let ty = self.ty.as_ref().map_or_else(|| Ty::bytes(size), Type::ty);
        let bytes: &[u8] = if self.section.starts_with(".bss") { &[] } else { &self.bytes };
        GlobalDef::new(&self.section, &self.name, ty, bytes).align(self.align)
    }
}
