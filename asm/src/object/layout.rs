//! What lies where.
//!
//! Stage: first of the object writer. Input: the definitions. Output: sections with the place of every function, map and
//! variable, code with its relocations prepared, and the knowledge that no name is wrong, missing or used twice. Next:
//! `relocate.rs`.

use std::collections::HashMap;

use super::def::{GlobalDef, MapDef, ProgDef};
use super::error::Error;
use super::kinds::MapType;
use super::relocate::Relocator;
use super::{ExternDef, Object};
use crate::btf::{is_c_identifier, is_variable_name};
use crate::insn::Insn;

/// The section of the functions that programs call.
pub(super) const TEXT: &str = ".text";
/// The section of implementations of the kernel's interfaces; its relative `.struct_ops.link` is for those that are attached by a link.
const STRUCT_OPS: &str = ".struct_ops";
/// The variable that holds the license, in the section `license`.
pub(super) const LICENSE: &str = "_license";

/// What a name stands for; the number is the place in the object's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Map(usize),
    Prog(usize),
    Global(usize),
    Extern(usize),
}

/// Something at a place in a section, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Place in the object's list of its kind.
    pub(super) item: usize,
    pub(super) offset: u32,
    pub(super) size: u32,
}

/// A relocation of an instruction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patch {
    /// Bytes from the start of the section.
    pub(super) offset: u32,
    pub(super) to: Symbol,
    /// A call, as against an address.
    pub(super) call: bool,
}

/// What a relocation is against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Symbol {
    Item(Item),
    /// Start of a data section, by its place in [`Layout::data`].
    DataSection(usize),
    /// Start of `.text`.
    Text,
}

/// A section of code.
#[derive(Debug)]
pub(super) struct CodeSection {
    pub(super) name: String,
    pub(super) insns: Vec<Insn>,
    pub(super) funcs: Vec<Place>,
    pub(super) patches: Vec<Patch>,
}

/// A section of variables.
#[derive(Debug)]
pub(super) struct DataSection {
    pub(super) name: String,
    /// Empty for `.bss`.
    pub(super) bytes: Vec<u8>,
    pub(super) size: u32,
    pub(super) align: u32,
    pub(super) vars: Vec<Place>,
    /// Addresses of programs; offsets are in the section.
    pub(super) pointers: Vec<Patch>,
}

impl DataSection {
    /// Whether the section takes no room in the file.
    pub(super) fn is_bss(&self) -> bool {
        in_family(&self.name, ".bss")
    }

    /// Whether programs only read it.
    pub(super) fn is_rodata(&self) -> bool {
        in_family(&self.name, ".rodata")
    }
}

/// The whole object, laid out.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) code: Vec<CodeSection>,
    pub(super) data: Vec<DataSection>,
    /// Maps in `.maps`.
    pub(super) maps: Vec<Place>,
    /// Slots of maps that are filled from the start; offsets are in `.maps`.
    pub(super) slots: Vec<Patch>,
}

/// Checks everything and decides where it goes.
pub(super) fn lay_out(object: &Object) -> Result<Layout, Error> {
    if object.license.contains('\0') {
        return Err(Error::License { license: object.license.clone() });
    }
    if object.maps.is_empty() && object.progs.is_empty() && object.globals.is_empty() {
        return Err(Error::Nothing);
    }
    let names = names(object)?;
    let maps = lay_out_maps(&object.maps)?;
    let slots = fill_slots(&object.maps, &maps, &names)?;
    let mut layout = Layout { code: Vec::new(), data: lay_out_data(&object.globals)?, maps, slots };
    layout.data.iter_mut().try_for_each(|section| fill_pointers(section, object, &names))?;
    for (item, prog) in object.progs.iter().enumerate() {
        add_prog(&mut layout, item, prog)?;
    }
    let relocator = Relocator { object, names, funcs: layout.funcs(), data: layout.data_names() };
    layout.code.iter_mut().try_for_each(|section| relocator.relocate(section))?;
    Ok(layout)
}

/// All names, each checked and used once.
fn names(object: &Object) -> Result<HashMap<&str, Item>, Error> {
    let maps = object.maps.iter().enumerate().map(|(n, m)| ("map", &*m.name, Item::Map(n)));
    let progs = object.progs.iter().enumerate().map(|(n, p)| ("function", &*p.name, Item::Prog(n)));
    let globals = object.globals.iter().enumerate().map(|(n, g)| ("variable", &*g.name, Item::Global(n)));
    let externs =
        object.externs.iter().enumerate().map(|(n, e): (_, &ExternDef)| ("external", &*e.name, Item::Extern(n)));
    let mut names = HashMap::new();
    for (what, name, item) in maps.chain(progs).chain(globals).chain(externs) {
        let fine = if matches!(item, Item::Global(_)) { is_variable_name(name) } else { is_c_identifier(name) };
        if !fine {
            return Err(Error::Name { what, name: name.to_owned() });
        }
        let first = (name == LICENSE).then(|| "the license".to_owned());
        if let Some(first) = first.or_else(|| names.insert(name, item).map(|other| described(object, other))) {
            return Err(Error::Duplicate { name: name.to_owned(), first, second: described(object, item) });
        }
    }
    Ok(names)
}

/// What has a name, and where it is: the section, and the place in source where one is known.
fn described(object: &Object, item: Item) -> String {
    match item {
        Item::Map(_) => "a map".to_owned(),
        Item::Extern(_) => "a name of the kernel's".to_owned(),
        Item::Global(n) => format!("a variable in {}", object.globals[n].section),
        Item::Prog(n) => {
            let ProgDef { section, code, .. } = &object.progs[n];
            let place = code.lines.first().map(|at| format!(" ({}:{}:{})", at.file, at.line, at.col));
            format!("the function in section {section}{}", place.unwrap_or_default())
        }
    }
}

/// Whether a section is `family` itself or one of its named relatives.
fn in_family(name: &str, family: &str) -> bool {
    name.strip_prefix(family).is_some_and(|rest| rest.is_empty() || (rest.len() > 1 && rest.starts_with('.')))
}

/// Places of the maps: each takes eight bytes a field, and eight for each slot that is filled from the start.
fn lay_out_maps(maps: &[MapDef]) -> Result<Vec<Place>, Error> {
    let mut places = Vec::new();
    let mut offset = 0u32;
    for (item, map) in maps.iter().enumerate() {
        check_map(map)?;
        let fields = map.numbers.len() + map.types.len() + map.slots.len();
        let size = u32::try_from(fields * 8).ok();
        let too_large = || Error::TooLarge { section: ".maps".to_owned() };
        let size = size.ok_or_else(too_large)?;
        places.push(Place { item, offset, size });
        offset = offset.checked_add(size).ok_or_else(too_large)?;
    }
    Ok(places)
}

/// What goes into the slots that are filled from the start.
fn fill_slots(maps: &[MapDef], places: &[Place], names: &HashMap<&str, Item>) -> Result<Vec<Patch>, Error> {
    let mut slots = Vec::new();
    for (map, place) in maps.iter().zip(places) {
        let fields = map.slots.len().try_into().unwrap_or(u32::MAX);
        let first = place.offset.saturating_add(place.size).saturating_sub(8u32.saturating_mul(fields));
        for (name, offset) in map.slots.iter().zip((first..).step_by(8)) {
            let Some(name) = name else { continue };
            let to = match (names.get(&**name), &map.inner) {
                (Some(item @ Item::Map(_)), Some(_)) | (Some(item @ Item::Prog(_)), None) => Symbol::Item(*item),
                _ => {
                    let problem = "a slot names what is not in the object, or is not what the map holds";
                    return Err(Error::Map { name: map.name.to_string(), problem });
                }
            };
            slots.push(Patch { offset, to, call: false });
        }
    }
    Ok(slots)
}

/// The programs that the variables of a section hold the addresses of.
fn fill_pointers(section: &mut DataSection, object: &Object, names: &HashMap<&str, Item>) -> Result<(), Error> {
    for place in &section.vars {
        let Some(global) = object.globals.get(place.item) else { continue };
        for (at, name) in &global.pointers {
            let wrong = |problem| Error::Pointer { variable: global.name.to_string(), name: name.to_string(), problem };
            if !in_family(&section.name, STRUCT_OPS) {
                return Err(wrong(
                    "loaders fill in addresses of programs only in `.struct_ops` and `.struct_ops.link`",
                ));
            }
            let Some(item @ Item::Prog(_)) = names.get(&**name) else {
                return Err(wrong("there is no program of that name"));
            };
            let room = place.size.checked_sub(8).is_some_and(|last| *at <= last);
            let Some(offset) = place.offset.checked_add(*at).filter(|_| room) else {
                return Err(wrong("the variable ends before that member"));
            };
            section.pointers.push(Patch { offset, to: Symbol::Item(*item), call: false });
        }
    }
    Ok(())
}

/// What loaders refuse in a map.
fn check_map(map: &MapDef) -> Result<(), Error> {
    let refuse = |problem| Err(Error::Map { name: map.name.to_string(), problem });
    let has =
        |field| map.numbers.iter().any(|(name, _)| *name == field) || map.types.iter().any(|(name, _)| *name == field);
    let of_maps = matches!(map.map_type, MapType::ARRAY_OF_MAPS | MapType::HASH_OF_MAPS);
    if has("key") && has("key_size") || has("value") && has("value_size") {
        return refuse("give either the type or the size of keys and of values, not both");
    }
    if of_maps && map.inner.is_none() {
        return refuse("a map of maps needs the definition of the maps inside");
    }
    if map.inner.is_some() && !of_maps {
        return refuse("only a map of maps has maps inside");
    }
    if !map.slots.is_empty() && !of_maps && map.map_type != MapType::PROG_ARRAY {
        return refuse("only a map of maps or of programs can be filled from the start");
    }
    if of_maps && (has("value") || has("value_size")) {
        return refuse("the values of a map of maps are maps: give neither their type nor their size");
    }
    match &map.inner {
        Some(inner) if inner.inner.is_some() || !inner.slots.is_empty() => {
            refuse("the maps inside a map cannot hold maps")
        }
        Some(inner) if inner.numbers.iter().any(|(name, _)| *name == "pinning") => {
            refuse("the maps inside a map cannot be pinned by name")
        }
        Some(inner) => check_map(inner),
        None => Ok(()),
    }
}

/// Places of the variables, in order, in the sections in which they are to be.
fn lay_out_data(globals: &[GlobalDef]) -> Result<Vec<DataSection>, Error> {
    let mut sections: Vec<DataSection> = Vec::new();
    for (item, global) in globals.iter().enumerate() {
        let name = &*global.section;
        if ![".rodata", ".data", ".bss", STRUCT_OPS].iter().any(|family| in_family(name, family)) {
            let advice = "variables go into `.rodata`, `.data`, `.bss` or a relative such as `.data.counters`";
            return Err(Error::Section { what: "a variable", name: name.to_owned(), advice });
        }
        if !global.align.is_power_of_two() {
            return Err(Error::Align { name: global.name.to_string(), align: global.align });
        }
        let place = sections.iter().position(|s| s.name == name).unwrap_or_else(|| {
            sections.push(DataSection {
                name: name.to_owned(),
                bytes: Vec::new(),
                size: 0,
                align: 1,
                vars: Vec::new(),
                pointers: Vec::new(),
            });
            sections.len() - 1
        });
        if let Some(section) = sections.get_mut(place) {
            add_global(section, item, global)?;
        }
    }
    Ok(sections)
}

/// Appends one variable to its section.
fn add_global(section: &mut DataSection, item: usize, global: &GlobalDef) -> Result<(), Error> {
    let size = global.ty.size;
    let zeros = section.is_bss() || global.bytes.is_empty();
    let wrong = if section.is_bss() {
        !global.bytes.is_empty()
    } else {
        !zeros && u32::try_from(global.bytes.len()) != Ok(size)
    };
    if wrong || size == 0 {
        return Err(Error::Bytes { name: global.name.to_string(), want: size, have: global.bytes.len() });
    }
    let offset = section.size.checked_next_multiple_of(global.align);
    let end = offset.and_then(|offset| offset.checked_add(size));
    let (Some(offset), Some(end)) = (offset, end) else {
        return Err(Error::TooLarge { section: section.name.clone() });
    };
    if !section.is_bss() {
        section.bytes.resize(offset as usize, 0);
        section.bytes.extend_from_slice(&global.bytes);
        section.bytes.resize(end as usize, 0);
    }
    section.vars.push(Place { item, offset, size });
    section.size = end;
    section.align = section.align.max(global.align);
    Ok(())
}

/// Appends one function to its section.
fn add_prog(layout: &mut Layout, item: usize, prog: &ProgDef) -> Result<(), Error> {
    let name = &*prog.section;
    let reserved = ["license", "version", "maps"].contains(&name) || (name.starts_with('.') && name != TEXT);
    if reserved || name.is_empty() || name.contains('\0') {
        let advice =
            "programs go into sections named after their type, such as `xdp`, and their functions into `.text`";
        return Err(Error::Section { what: "code", name: name.to_owned(), advice });
    }
    if prog.code.insns.is_empty() {
        return Err(Error::Empty { func: prog.name.to_string() });
    }
    let place = layout.code.iter().position(|s| s.name == name).unwrap_or_else(|| {
        let name = name.to_owned();
        layout.code.push(CodeSection { name, insns: Vec::new(), funcs: Vec::new(), patches: Vec::new() });
        layout.code.len() - 1
    });
    let Some(section) = layout.code.get_mut(place) else { return Ok(()) };
    let bytes = |insns: usize| u32::try_from(insns * size_of::<Insn>());
    let (Ok(offset), Ok(size)) = (bytes(section.insns.len()), bytes(prog.code.insns.len())) else {
        return Err(Error::TooLarge { section: name.to_owned() });
    };
    section.insns.extend_from_slice(&prog.code.insns);
    section.funcs.push(Place { item, offset, size });
    Ok(())
}

impl Layout {
    /// Where each function starts in its section, by its place in the object's list.
    fn funcs(&self) -> HashMap<usize, u32> {
        self.code.iter().flat_map(|section| &section.funcs).map(|func| (func.item, func.offset)).collect()
    }

    /// Names of the data sections.
    fn data_names(&self) -> Vec<String> {
        self.data.iter().map(|section| section.name.clone()).collect()
    }
}
