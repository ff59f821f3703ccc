//! Stage: object → spec. Input: sections `.maps` (by BTF) and global data. Output: [`MapSpec`]s, and the table that tells
//! relocations which map an address means. Next file: `legacy.rs` (section `maps`), then `externs.rs`.

use asm::btf::{Btf, Member, Type, TypeId};
use asm::object::section::MapType;

use super::raw::File;
use super::sections::{Role, role};
use super::{ElfError, types};
use crate::spec::{MapOrigin, MapSpec, Pinning, Spec};

/// `BPF_F_RDONLY_PROG`.
const F_RDONLY_PROG: u32 = 1 << 7;
/// `BPF_F_MMAPABLE`.
const F_MMAPABLE: u32 = 1 << 10;
/// Bytes of a value that is a map or a program.
const DESCRIPTOR: u32 = 4;
/// Maps of maps of maps do not exist.
const MAX_DEPTH: u32 = 1;

/// Where the maps are, to find them by section and offset.
#[derive(Debug, Default)]
pub(crate) struct MapTable {
    rows: Vec<Row>,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    section: usize,
    start: u64,
    size: u64,
    map: usize,
    /// Where the initial values begin, in bytes from the definition's start.
    values: Option<u64>,
}

impl MapTable {
    pub(crate) fn add(&mut self, section: usize, start: u64, size: u64, map: usize, values: Option<u64>) {
        self.rows.push(Row { section, start, size, map, values });
    }

    /// Makes [`Self::find`] possible.
    pub(crate) fn sort(&mut self) {
        self.rows.sort_by_key(|row| (row.section, row.start));
    }

    /// The map whose definition, or data section, holds that byte, and how far in.
    pub(crate) fn find(&self, section: usize, offset: u64) -> Option<(usize, u64)> {
        let row = self.row(section, offset)?;
        Some((row.map, offset - row.start))
    }

    /// The map and the index of its element that the pointer at that byte initialises.
    pub(crate) fn element(&self, section: usize, offset: u64) -> Option<(usize, u32)> {
        let row = self.row(section, offset)?;
        let within = (offset - row.start).checked_sub(row.values?)?;
        (within % 8 == 0).then_some(())?;
        Some((row.map, u32::try_from(within / 8).ok()?))
    }

    fn row(&self, section: usize, offset: u64) -> Option<&Row> {
        let after = self.rows.partition_point(|row| (row.section, row.start) <= (section, offset));
        let row = self.rows.get(after.checked_sub(1)?)?;
        (row.section == section && offset - row.start < row.size).then_some(row)
    }
}

/// Reads `.maps`.
///
/// # Errors
/// No BTF, or a definition that says something we would not do.
pub(crate) fn declared(file: &File<'_>, spec: &mut Spec, table: &mut MapTable) -> Result<(), ElfError> {
    let Some(section) = file.sections.iter().find(|section| role(section) == Role::BtfMaps && section.size > 0) else {
        return Ok(());
    };
    let btf = spec.btf.as_ref().ok_or(ElfError::NoBtf { what: "maps in section `.maps`" })?;
    let datasec = types::datasec(btf, ".maps").ok_or(ElfError::NoBtf { what: "maps in section `.maps`" })?;
    let Type::DataSec { vars, .. } = btf.get(datasec).map_err(ElfError::Btf)? else { return Ok(()) };
    let symbols = file.named_symbols();
    for var in vars {
        let Type::Var { name, ty, .. } = btf.get(var.ty).map_err(ElfError::Btf)? else { continue };
        let (map, values) = Definition { btf, name, depth: 0 }.read(ty)?;
        // The symbol knows where the variable is; compilers leave the offset in BTF to the linker.
        let symbol = symbols.get(&(section.index, name));
        let start = symbol.map_or(u64::from(var.offset), |symbol| symbol.value);
        let size = symbol.map_or(0, |symbol| symbol.size).max(u64::from(var.size)).max(1);
        table.add(section.index, start, size, spec.maps.len(), values);
        spec.maps.push(map);
    }
    Ok(())
}

/// One definition being read.
struct Definition<'b> {
    btf: &'b Btf<'b>,
    name: &'b str,
    depth: u32,
}

impl Definition<'_> {
    /// The map that the struct type `id` describes, and where in it the initial values begin.
    fn read(&self, id: TypeId) -> Result<(MapSpec, Option<u64>), ElfError> {
        let Type::Struct { members, .. } = types::bare(self.btf, id)?.1 else {
            return Err(self
                .error("its type is not a struct: define it as `struct { __uint(type, …); … } name SEC(\".maps\")`"));
        };
        let mut map = MapSpec { name: self.name.to_owned(), origin: MapOrigin::Btf, ..MapSpec::default() };
        let mut values = None;
        for member in &members {
            if member.name == "values" {
                values = Some(u64::from(member.bit_offset / 8));
            }
            self.member(&mut map, member)?;
        }
        if map.map_type == MapType::default() {
            return Err(self.error("it has no `type`: add `__uint(type, BPF_MAP_TYPE_…)`"));
        }
        if is_of_maps(map.map_type) && map.value_size == 0 {
            map.value_size = DESCRIPTOR;
        }
        Ok((map, values))
    }

    fn member(&self, map: &mut MapSpec, member: &Member<&str>) -> Result<(), ElfError> {
        match member.name {
            "type" => map.map_type = MapType(self.number(member)?),
            "max_entries" => map.max_entries = self.number(member)?,
            "map_flags" => map.flags = self.number(member)?,
            "numa_node" => map.numa_node = Some(self.number(member)?),
            "map_extra" => map.map_extra = self.long_number(member)?,
            "pinning" => {
                map.pinning = match self.number(member)? {
                    0 => Pinning::None,
                    1 => Pinning::ByName,
                    other => Pinning::Other(other),
                }
            }
            "key_size" => map.key_size = self.agree("key", map.key_size, self.number(member)?)?,
            "value_size" => map.value_size = self.agree("value", map.value_size, self.number(member)?)?,
            "key" => {
                let (ty, size) = self.type_and_size(member)?;
                map.key_size = self.agree("key", map.key_size, size)?;
                map.key_type = Some(ty);
            }
            "value" => {
                let (ty, size) = self.type_and_size(member)?;
                map.value_size = self.agree("value", map.value_size, size)?;
                map.value_type = Some(ty);
            }
            "values" => self.values(map, member)?,
            other => return Err(self.error(format!("unknown attribute `{other}`: remove it, or use a newer loader"))),
        }
        Ok(())
    }

    fn long_number(&self, member: &Member<&str>) -> Result<u64, ElfError> {
        types::number(self.btf, member.ty)?
            .ok_or_else(|| self.error(format!("attribute `{}` is not a number: write `__uint({0}, n)`", member.name)))
    }

    fn number(&self, member: &Member<&str>) -> Result<u32, ElfError> {
        let number = self.long_number(member)?;
        u32::try_from(number)
            .map_err(|_| self.error(format!("attribute `{}` is {number}: it has to fit 32 bits", member.name)))
    }

    fn type_and_size(&self, member: &Member<&str>) -> Result<(TypeId, u32), ElfError> {
        let what = member.name;
        let ty = types::pointee(self.btf, member.ty)?
            .ok_or_else(|| self.error(format!("attribute `{what}` is not a type: write `__type({what}, …)`")))?;
        Ok((ty, types::size_of(self.btf, ty)?))
    }

    /// Two ways to say a size have to say the same.
    fn agree(&self, what: &str, before: u32, now: u32) -> Result<u32, ElfError> {
        if before != 0 && before != now {
            return Err(
                self.error(format!("`{what}_size` and the size of `{what}`'s type differ: {before} and {now} bytes"))
            );
        }
        Ok(now)
    }

    /// `__array(values, …)`: the inner map's definition, or `void (…)` for a program array.
    fn values(&self, map: &mut MapSpec, member: &Member<&str>) -> Result<(), ElfError> {
        let want =
            "write `__array(values, struct { … })` for a map of maps, `__array(values, int ())` for a program array";
        let Type::Array { elem, .. } = types::bare(self.btf, member.ty)?.1 else {
            return Err(self.error(format!("attribute `values` is not an array: {want}")));
        };
        let target = types::pointee(self.btf, elem)?
            .ok_or_else(|| self.error(format!("the elements of `values` are not pointers: {want}")))?;
        map.value_size = self.agree("value", map.value_size, DESCRIPTOR)?;
        match types::bare(self.btf, target)?.1 {
            Type::FuncProto { .. } => Ok(()),
            Type::Struct { .. } if self.depth < MAX_DEPTH => {
                let name = format!("{}.inner", self.name);
                let inner = Definition { btf: self.btf, name: &name, depth: self.depth + 1 };
                map.inner = Some(Box::new(inner.read(target)?.0));
                Ok(())
            }
            Type::Struct { .. } => Err(self.error("an inner map cannot hold maps itself")),
            other => Err(self.error(format!("the elements of `values` point to {}: {want}", other.kind()))),
        }
    }

    fn error(&self, problem: impl Into<String>) -> ElfError {
        ElfError::Map { map: self.name.to_owned(), section: ".maps", problem: problem.into() }
    }
}

/// Whether the map's values are maps.
pub(crate) fn is_of_maps(map_type: MapType) -> bool {
    matches!(map_type, MapType::ARRAY_OF_MAPS | MapType::HASH_OF_MAPS)
}

/// Makes one single-element array map of each section of global data.
///
/// # Errors
/// A section of 4 GiB or more.
pub(crate) fn global_data(file: &File<'_>, spec: &mut Spec, table: &mut MapTable) -> Result<(), ElfError> {
    for section in &file.sections {
        let Role::Data(origin) = role(section) else { continue };
        if section.size == 0 {
            continue;
        }
        let value_size = u32::try_from(section.size).map_err(|_| ElfError::BadSection {
            section: section.name.to_owned(),
            index: section.index,
            problem: format!("{} bytes of global data; a map's value has less than 4 GiB", section.size),
        })?;
        let contents = (origin != MapOrigin::Bss).then(|| section.data.to_vec());
        let map = data_map(section.name, origin, value_size, contents, spec.btf.as_ref())?;
        table.add(section.index, 0, section.size, spec.maps.len(), None);
        spec.maps.push(map);
    }
    Ok(())
}

/// The map for a section of global data. User space may map it when the section has variables others can see.
pub(crate) fn data_map(
    name: &str,
    origin: MapOrigin,
    value_size: u32,
    contents: Option<Vec<u8>>,
    btf: Option<&Btf<'_>>,
) -> Result<MapSpec, ElfError> {
    let value_type = btf.and_then(|btf| types::datasec(btf, name));
    let mut flags = if origin.is_read_only() { F_RDONLY_PROG } else { 0 };
    if let (Some(btf), Some(datasec)) = (btf, value_type)
        && has_visible_variable(btf, datasec)?
    {
        flags |= F_MMAPABLE;
    }
    Ok(MapSpec {
        name: name.to_owned(),
        origin,
        map_type: MapType::ARRAY,
        key_size: 4,
        value_size,
        max_entries: 1,
        flags,
        value_type,
        contents,
        ..MapSpec::default()
    })
}

fn has_visible_variable(btf: &Btf<'_>, datasec: TypeId) -> Result<bool, ElfError> {
    use asm::btf::Linkage;
    let Type::DataSec { vars, .. } = btf.get(datasec).map_err(ElfError::Btf)? else { return Ok(false) };
    Ok(vars.iter().any(|var| match btf.get(var.ty) {
        Ok(Type::Var { linkage, .. }) => linkage != Linkage::STATIC,
        _ => false,
    }))
}
