//! Stage: object → spec. Input: the bytes of an ELF object that anybody's compiler wrote. Output: a [`Spec`]. Pure, never
//! asks the kernel, never panics, allocates in proportion to the file. Next file: `raw.rs` (bytes → sections and symbols).
//!
//! The steps, each on the results of those before: sections and functions, BTF, maps, `.BTF.ext`, externs, relocations.

use asm::btf::Btf;

use crate::spec::{InitValue, Spec};

mod btf;
mod error;
mod ext;
mod externs;
mod legacy;
mod maps;
mod raw;
mod relocs;
mod sections;
mod types;

pub use error::ElfError;

use raw::File;
use relocs::Tables;
use sections::Role;

/// Reads an object file.
///
/// # Errors
/// What is wrong, with section, offset and symbol; see [`ElfError`].
pub fn parse(bytes: &[u8]) -> Result<Spec, ElfError> {
    let file = File::parse(bytes)?;
    let (license, kernel_version, big_endian) = (license(&file)?, version(&file), file.big_endian);
    let mut spec = Spec { license, kernel_version, big_endian, ..Spec::default() };
    let funcs = sections::functions(&file, &mut spec)?;
    spec.btf = object_btf(&file)?;
    let mut maps = maps::MapTable::default();
    maps::declared(&file, &mut spec, &mut maps)?;
    legacy::maps(&file, &mut spec, &mut maps)?;
    maps::global_data(&file, &mut spec, &mut maps)?;
    maps.sort();
    ext::records(&file, &funcs, &mut spec)?;
    let externs = externs::externs(&file, &mut spec)?;
    relocs::relocations(&file, &Tables { funcs, maps, externs }, &mut spec)?;
    check(&spec)?;
    Ok(spec)
}

/// The text of the section `license`.
fn license(file: &File<'_>) -> Result<String, ElfError> {
    let Some(section) = file.sections.iter().find(|section| sections::role(section) == Role::License) else {
        return Ok(String::new());
    };
    let text = section.data.split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8(text.to_vec()).map_err(|_| ElfError::BadSection {
        section: section.name.to_owned(),
        index: section.index,
        problem: "the license is not text".to_owned(),
    })
}

/// The number in the section `version`; compilers wrote the kernel's headers' version there.
fn version(file: &File<'_>) -> u32 {
    let section = file.sections.iter().find(|section| sections::role(section) == Role::Version);
    let read = if file.big_endian { u32::from_be_bytes } else { u32::from_le_bytes };
    section.and_then(|section| section.data.first_chunk()).map_or(0, |bytes| read(*bytes))
}

/// The types, the sizes and offsets of data sections filled in.
fn object_btf(file: &File<'_>) -> Result<Option<Btf<'static>>, ElfError> {
    let Some(section) =
        file.sections.iter().find(|section| sections::role(section) == Role::Btf && !section.data.is_empty())
    else {
        return Ok(None);
    };
    btf::complete(file, section.data).map(Some)
}

/// What has to be true of a whole object.
fn check(spec: &Spec) -> Result<(), ElfError> {
    if spec.progs.is_empty() && spec.maps.is_empty() {
        return Err(ElfError::Empty);
    }
    for map in &spec.maps {
        let past = map.init.iter().find(|&&(index, _)| index >= map.max_entries && map.max_entries != 0);
        if let Some(&(index, value)) = past {
            let what = match value {
                InitValue::Map(_) => "map",
                InitValue::Prog(_) => "program",
            };
            return Err(ElfError::Map {
                map: map.name.clone(),
                section: ".maps",
                problem: format!("the object puts a {what} at index {index}, it has {} elements", map.max_entries),
            });
        }
    }
    let mut names: Vec<_> = spec.maps.iter().map(|map| &map.name).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(ElfError::Map {
            map: pair[0].clone(),
            section: ".maps",
            problem: "two maps have that name: rename one".to_owned(),
        }),
        None => Ok(()),
    }
}
