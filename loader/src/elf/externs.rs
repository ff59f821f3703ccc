//! Stage: object → spec. Input: undefined symbols, and the data sections `.kconfig` and `.ksyms` of the BTF. Output:
//! [`Extern`]s, and the map that holds the configuration's values. Next file: `relocs.rs`.

use std::collections::HashMap;

use asm::btf::{Btf, Linkage, Type, TypeId};
use goblin::elf::sym::STB_WEAK;

use super::raw::File;
use super::{ElfError, maps, types};
use crate::spec::{Extern, ExternKind, KconfigType, MapOrigin, Spec};

/// The data section of configuration values.
const KCONFIG: &str = ".kconfig";
/// The data section of the kernel's symbols.
const KSYMS: &str = ".ksyms";

/// Positions in [`Spec::externs`] by name.
pub(crate) type ExternTable = HashMap<String, usize>;

/// Finds every undefined symbol that the BTF describes. Others matter only when an instruction uses them.
///
/// # Errors
/// A configuration variable of a type that no value of the configuration has.
pub(crate) fn externs(file: &File<'_>, spec: &mut Spec) -> Result<ExternTable, ElfError> {
    let Some(btf) = &spec.btf else { return Ok(ExternTable::new()) };
    let declared = declarations(btf)?;
    let mut found = Vec::new();
    let mut kconfig = Vec::new();
    for symbol in file.symbols.iter().filter(|symbol| symbol.undefined && !symbol.name.is_empty()) {
        let Some(&(section, ty)) = declared.get(symbol.name) else { continue };
        let weak = symbol.bind == STB_WEAK;
        let name = symbol.name.to_owned();
        match section {
            Place::Kconfig => kconfig.push(config_variable(btf, name, weak, ty)?),
            Place::Ksyms => found.push(Extern { name, weak, kind: ksym(btf, ty)? }),
        }
    }
    if !kconfig.is_empty() {
        let (mut externs, size) = lay_out(kconfig)?;
        let contents = Some(vec![0; size as usize]);
        let map = maps::data_map(KCONFIG, MapOrigin::Kconfig, size, contents, Some(btf))?;
        spec.maps.push(map);
        externs.append(&mut found);
        found = externs;
    }
    spec.externs = found;
    Ok(spec.externs.iter().enumerate().map(|(index, ext)| (ext.name.clone(), index)).collect())
}

#[derive(Clone, Copy)]
enum Place {
    Kconfig,
    Ksyms,
}

/// Extern variables and functions by name: the section that lists them and their id.
fn declarations<'b>(btf: &'b Btf<'_>) -> Result<HashMap<&'b str, (Place, TypeId)>, ElfError> {
    let mut all = HashMap::new();
    for (section, place) in [(KCONFIG, Place::Kconfig), (KSYMS, Place::Ksyms)] {
        let Some(datasec) = types::datasec(btf, section) else { continue };
        let Type::DataSec { vars, .. } = btf.get(datasec).map_err(ElfError::Btf)? else { continue };
        for var in vars {
            match btf.get(var.ty).map_err(ElfError::Btf)? {
                Type::Var { name, linkage: Linkage::EXTERN, .. }
                | Type::Func { name, linkage: Linkage::EXTERN, .. } => {
                    all.insert(name, (place, var.ty));
                }
                _ => {}
            }
        }
    }
    Ok(all)
}

fn ksym(btf: &Btf<'_>, id: TypeId) -> Result<ExternKind, ElfError> {
    Ok(match btf.get(id).map_err(ElfError::Btf)? {
        Type::Func { .. } => ExternKind::Kfunc(id),
        Type::Var { ty, .. } => match types::bare(btf, ty)?.1 {
            Type::Void => ExternKind::Ksym,
            _ => ExternKind::TypedKsym(ty),
        },
        _ => ExternKind::Ksym,
    })
}

/// A configuration variable before it has its place.
struct Variable {
    name: String,
    weak: bool,
    size: u32,
    align: u32,
    value: KconfigType,
}

fn config_variable(btf: &Btf<'_>, name: String, weak: bool, id: TypeId) -> Result<Variable, ElfError> {
    let ty = match btf.get(id).map_err(ElfError::Btf)? {
        Type::Var { ty, .. } => Some(ty),
        _ => None,
    };
    let value = match ty {
        Some(ty) => config_type(btf, ty)?,
        None => None,
    };
    let (Some(ty), Some(value)) = (ty, value) else {
        return Err(ElfError::At {
            section: KCONFIG.to_owned(),
            offset: 0,
            symbol: name,
            problem: "its type is none of bool, enum libbpf_tristate, char, an integer, a char array".to_owned(),
        });
    };
    Ok(Variable { name, weak, size: types::size_of(btf, ty)?, align: align_of(btf, ty)?, value })
}

/// How a value of the configuration is written in a variable of that type.
fn config_type(btf: &Btf<'_>, id: TypeId) -> Result<Option<KconfigType>, ElfError> {
    Ok(match types::bare(btf, id)?.1 {
        Type::Int { int, .. } if int.bool => (int.size == 1).then_some(KconfigType::Bool),
        Type::Int { int, .. } if int.size == 1 => Some(KconfigType::Char),
        Type::Int { int, .. } => matches!(int.size, 2 | 4 | 8).then_some(KconfigType::Int { signed: int.signed }),
        Type::Enum { name: "libbpf_tristate", size: 4, .. } => Some(KconfigType::Tristate),
        Type::Array { elem, len, .. } if len > 0 => {
            (config_type(btf, elem)? == Some(KconfigType::Char)).then_some(KconfigType::Text)
        }
        _ => None,
    })
}

/// Alignment in bytes of the types that configuration variables have.
fn align_of(btf: &Btf<'_>, id: TypeId) -> Result<u32, ElfError> {
    Ok(match types::bare(btf, id)?.1 {
        Type::Array { elem, .. } => types::size_of(btf, elem)?.max(1),
        _ => types::size_of(btf, id)?.clamp(1, 8),
    })
}

/// Largest `.kconfig` map, in bytes: texts of the configuration are short, and a hostile array must not exhaust memory.
const MAX_SIZE: u32 = 1 << 16;

/// Gives each variable its place: larger alignment first, then smaller size, then name, as libbpf does it, so that both
/// loaders make the same map.
fn lay_out(mut variables: Vec<Variable>) -> Result<(Vec<Extern>, u32), ElfError> {
    variables.sort_by(|a, b| b.align.cmp(&a.align).then(a.size.cmp(&b.size)).then_with(|| a.name.cmp(&b.name)));
    variables.dedup_by(|a, b| a.name == b.name);
    let mut end = 0_u32;
    let mut externs = Vec::with_capacity(variables.len());
    for Variable { name, weak, size, align, value } in variables {
        let place = end.checked_next_multiple_of(align).and_then(|off| Some((off, off.checked_add(size)?)));
        let Some((off, past)) = place.filter(|&(_, past)| past <= MAX_SIZE) else {
            let problem =
                format!("the configuration's values take more than {MAX_SIZE} bytes: make the arrays shorter");
            return Err(ElfError::At { section: KCONFIG.to_owned(), offset: end.into(), symbol: name, problem });
        };
        end = past;
        externs.push(Extern { name, weak, kind: ExternKind::Kconfig { off, size, value } });
    }
    Ok((externs, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str, size: u32) -> Variable {
        Variable { name: name.to_owned(), weak: false, size, align: 1, value: KconfigType::Text }
    }

    #[test]
    fn values_lie_behind_each_other_and_within_bounds() {
        let number = Variable { align: 8, value: KconfigType::Int { signed: false }, ..text("CONFIG_B", 8) };
        let (externs, size) = lay_out(vec![text("CONFIG_A", 3), number]).expect("11 bytes");
        let places: Vec<_> = externs.iter().map(|ext| (ext.name.as_str(), ext.kind)).collect();
        let text_at = ExternKind::Kconfig { off: 8, size: 3, value: KconfigType::Text };
        let number_at = ExternKind::Kconfig { off: 0, size: 8, value: KconfigType::Int { signed: false } };
        assert_eq!((size, places), (11, vec![("CONFIG_B", number_at), ("CONFIG_A", text_at)]));
        for large in [vec![text("CONFIG_A", u32::MAX)], vec![text("CONFIG_A", 9), text("CONFIG_B", MAX_SIZE)]] {
            let error = lay_out(large).expect_err("too large").to_string();
            assert!(error.contains("make the arrays shorter"), "{error}");
        }
    }
}
