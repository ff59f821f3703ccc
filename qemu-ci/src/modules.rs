//! The kernel modules a test declares, and what those need.
//!
//! In: an [`Image`] and names. Out: the modules' files, uncompressed, dependencies first. Packages carry no
//! `modules.dep` (installing them would make it), so the dependencies are read where `depmod` reads them: from `depends=`
//! in each module's `.modinfo` section. Next to read: `initramfs.rs`.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};
use flate2::read::GzDecoder;
use lzma_rust2::XzReader;
use object::{Object, ObjectSection};

use crate::image::Image;

/// A module, ready to be inserted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Its name, with `_` where its file may have `-`.
    pub name: String,
    /// The uncompressed file.
    pub bytes: Vec<u8>,
}

/// Finds modules and everything they need, dependencies first. A name with `?` at its end may be missing, for a module
/// that younger kernels have and older do not. Built-in modules need no file.
///
/// # Errors
/// A module is missing or damaged.
pub fn resolve(image: &Image, names: &[String]) -> Result<Vec<Module>> {
    let builtin = builtin(&image.builtin());
    let mut search = Search { directory: &image.modules(), builtin, found: Vec::new(), open: Vec::new() };
    for name in names {
        let (name, optional) = match name.strip_suffix('?') {
            Some(name) => (name, true),
            None => (name.as_str(), false),
        };
        if !optional || search.has(&normalise(name)) {
            search.add(&normalise(name))?;
        }
    }
    Ok(search.found)
}

/// The kernel does not tell `-` and `_` apart in names of modules.
fn normalise(name: &str) -> String {
    name.replace('-', "_")
}

/// Names of built-in modules, from the paths in `modules.builtin`.
fn builtin(paths: &str) -> BTreeSet<String> {
    let name = |path: &str| normalise(path.rsplit('/').next()?.strip_suffix(".ko")?).into();
    paths.lines().filter_map(name).collect()
}

/// A depth-first walk over dependencies.
struct Search<'a> {
    directory: &'a Path,
    builtin: BTreeSet<String>,
    found: Vec<Module>,
    open: Vec<String>,
}

impl Search<'_> {
    /// True when there is such a module, built in or not.
    fn has(&self, name: &str) -> bool {
        self.builtin.contains(name) || ENDINGS.iter().any(|end| self.directory.join(format!("{name}{end}")).is_file())
    }

    /// Adds a module after its dependencies.
    fn add(&mut self, name: &str) -> Result<()> {
        if self.builtin.contains(name) || self.found.iter().any(|module| module.name == name) {
            return Ok(());
        }
        if self.open.iter().any(|open| open == name) {
            bail!("modules need each other: {} and {name}", self.open.join(", "));
        }
        let mut bytes = read(self.directory, name)?;
        unsign(&mut bytes);
        let needed = dependencies(&bytes).with_context(|| format!("module {name}"))?;
        self.open.push(name.to_owned());
        for needed in needed {
            self.add(&needed).with_context(|| format!("needed by module {name}"))?;
        }
        self.open.pop();
        self.found.push(Module { name: name.to_owned(), bytes });
        Ok(())
    }
}

/// How a module's file may end.
const ENDINGS: [&str; 4] = [".ko", ".ko.xz", ".ko.zst", ".ko.gz"];

/// Reads and uncompresses a module's file: the guest's processor is emulated, the host's is not.
fn read(directory: &Path, name: &str) -> Result<Vec<u8>> {
    for end in ENDINGS {
        let path = directory.join(format!("{name}{end}"));
        if !path.is_file() {
            continue;
        }
        let packed = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        let mut bytes = Vec::new();
        match end {
            ".ko.xz" => XzReader::new(packed.as_slice(), true).read_to_end(&mut bytes),
            ".ko.gz" => GzDecoder::new(packed.as_slice()).read_to_end(&mut bytes),
            ".ko.zst" => {
                let stream = ruzstd::decoding::StreamingDecoder::new(packed.as_slice());
                stream.with_context(|| path.display().to_string())?.read_to_end(&mut bytes)
            }
            _ => return Ok(packed),
        }
        .with_context(|| format!("uncompress {}", path.display()))?;
        return Ok(bytes);
    }
    bail!("this kernel has no module {name}")
}

/// Stands at the end of a signed module, behind the signature's length (four bytes, big-endian).
const SIGNED: &[u8] = b"~Module signature appended~\n";

/// The descriptor of a signature, which stands behind it: `struct module_signature`.
const DESCRIPTOR: usize = 12;

/// Takes the signature off: the package's checksum has told already that it is the right file, and to check a signature costs an
/// emulated processor more than to insert the module. The kernels insert unsigned modules too.
fn unsign(module: &mut Vec<u8>) {
    let Some((descriptor, len)) = module.strip_suffix(SIGNED).and_then(|signed| signed.split_last_chunk::<4>()) else {
        return;
    };
    let signature = usize::try_from(u32::from_be_bytes(*len)).unwrap_or(usize::MAX);
    if let Some(end) = (descriptor.len() + 4).checked_sub(DESCRIPTOR).and_then(|at| at.checked_sub(signature)) {
        module.truncate(end);
    }
}

/// Names in `depends=` of a module's `.modinfo` section.
fn dependencies(module: &[u8]) -> Result<Vec<String>> {
    let file = object::File::parse(module).context("not an ELF file")?;
    let section = file.section_by_name(".modinfo").context("no section .modinfo")?;
    let info = section.data().context(".modinfo")?;
    let value = info.split(|&byte| byte == 0).find_map(|entry| entry.strip_prefix(b"depends="));
    let value = String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
    Ok(value.split(',').filter(|name| !name.is_empty()).map(normalise).collect())
}

#[cfg(test)]
mod tests {
    use object::write::Object as Writer;
    use object::{Architecture, BinaryFormat, Endianness, SectionKind};

    use super::*;
    use crate::cache::Cache;
    use crate::deb::tests::deb;

    /// An ELF file with nothing but a `.modinfo` section.
    fn module(depends: &str) -> Vec<u8> {
        let mut object = Writer::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
        let section = object.add_section(Vec::new(), b".modinfo".to_vec(), SectionKind::ReadOnlyData);
        let info = format!("license=GPL\0depends={depends}\0name=x\0");
        object.append_section_data(section, info.as_bytes(), 1);
        object.write().unwrap()
    }

    fn image(cache: &Cache) -> Image {
        let path = |name: &str| format!("lib/modules/6.1/kernel/{name}");
        let files = [
            ("boot/vmlinuz".to_owned(), Vec::new()),
            ("lib/modules/6.1/modules.builtin".to_owned(), b"kernel/net/ip-core.ko\n".to_vec()),
            (path("veth.ko"), module("")),
            (path("act-x.ko"), module("sch_core,ip_core")),
            (path("sch_core.ko"), module("veth")),
            (path("loop-a.ko"), module("loop-b")),
            (path("loop-b.ko"), module("loop-a")),
            (path("broken.ko"), b"no ELF".to_vec()),
            (path("orphan.ko"), module("nowhere")),
        ];
        Image::unpack(&cache.writer().unwrap(), "r", "0123456789abcdef", &[deb(&files, ".gz")]).unwrap()
    }

    #[test]
    fn a_signature_is_taken_off() {
        let signed = |len: u32| [b"module".as_slice(), b"signature", &[0; 8], &len.to_be_bytes(), SIGNED].concat();
        for (module, want) in [
            (signed(9), b"module".to_vec()),
            (signed(100), signed(100)),
            (b"module".to_vec(), b"module".to_vec()),
            (SIGNED.to_vec(), SIGNED.to_vec()),
        ] {
            let mut bytes = module;
            unsign(&mut bytes);
            assert_eq!(bytes, want);
        }
    }

    #[test]
    fn dependencies_come_first() {
        let directory = tempfile::tempdir().unwrap();
        let image = image(&Cache::at(directory.path()).unwrap());
        for (names, want) in [
            (vec!["veth"], Ok("veth")),
            (vec!["act_x", "veth"], Ok("veth sch_core act_x")),
            (vec!["act-x"], Ok("veth sch_core act_x")),
            (vec!["ip_core"], Ok("")),
            (vec!["tls?", "veth?"], Ok("veth")),
            (vec!["tls"], Err("no module tls")),
            (vec!["orphan"], Err("no module nowhere")),
            (vec!["loop_a"], Err("need each other")),
            (vec!["broken"], Err("not an ELF file")),
        ] {
            let names: Vec<_> = names.into_iter().map(str::to_owned).collect();
            let found = resolve(&image, &names);
            match (found, want) {
                (Ok(found), Ok(want)) => {
                    let found: Vec<_> = found.iter().map(|module| module.name.as_str()).collect();
                    assert_eq!(found.join(" "), want, "{names:?}");
                }
                (Err(error), Err(want)) => assert!(format!("{error:#}").contains(want), "{names:?}: {error:#}"),
                (found, want) => panic!("{names:?}: {found:?} instead of {want:?}"),
            }
        }
    }
}
