//! Stage: relocation. The kernel's own types: `/sys/kernel/btf/vmlinux`, and those of modules when something is not there.
//! Input: files of the kernel. Output: [`KernelBtf`], an index over their bytes. Next file: `matching.rs`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use asm::btf::{Btf, Kind, TypeId};

/// Where the kernel shows its types. Linux 5.4; modules from 5.11 on.
const DIR: &str = "/sys/kernel/btf";

/// The types of the running kernel, or of another one.
#[derive(Debug)]
pub struct KernelBtf {
    vmlinux: Vmlinux,
    modules: OnceLock<Vec<Module>>,
}

/// The types of a kernel without its modules, for all who ask in this process.
#[derive(Debug, Clone)]
struct Vmlinux {
    btf: Arc<Btf<'static>>,
    asked: Arc<Mutex<Asked>>,
}

/// Types of each name that was asked for, flavours included: an object is often prepared again, and asks for the same.
type Asked = HashMap<Box<str>, Vec<TypeId>>;

/// The types that a module adds.
#[derive(Debug)]
pub struct Module {
    /// The module's name.
    pub name: String,
    /// Its types; they go on where the kernel's end.
    pub btf: Btf<'static>,
}

/// Why the kernel's types could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelBtfError {
    /// There is no such file.
    #[error("the kernel's types cannot be read from {}: boot a kernel with CONFIG_DEBUG_INFO_BTF=y, or give another file", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not BTF.
    #[error("{} does not hold types in BTF", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: asm::btf::Error,
    },
}

impl Vmlinux {
    fn new(btf: Btf<'static>) -> Self {
        Self { btf: Arc::new(btf), asked: Arc::default() }
    }

    fn read(path: &Path) -> Result<Self, KernelBtfError> {
        let bytes = std::fs::read(path).map_err(|source| KernelBtfError::Read { path: path.to_owned(), source })?;
        let btf = Btf::from_vec(bytes).map_err(|source| KernelBtfError::Parse { path: path.to_owned(), source })?;
        Ok(Self::new(btf))
    }

    /// As [`Btf::find_each`], name by name; one walk for those that nobody asked for before.
    fn find_each<'n>(&self, names: &[&'n str], mut found: impl FnMut(&'n str, TypeId)) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let new: Vec<&str> = names.iter().copied().filter(|name| !asked.contains_key(*name)).collect();
        if !new.is_empty() {
            asked.extend(new.iter().map(|name| ((*name).into(), Vec::new())));
            self.btf.find_each(&new, |name, id| asked.entry(name.into()).or_default().push(id));
        }
        for name in names {
            asked.get(*name).into_iter().flatten().for_each(|id| found(name, *id));
        }
    }
}

impl KernelBtf {
    /// The running kernel's. They stay the same, so they are read once in a process (megabytes); modules come and go, and are looked
    /// for anew.
    ///
    /// # Errors
    /// The kernel does not show its types, or they cannot be read.
    pub fn running() -> Result<Self, KernelBtfError> {
        static VMLINUX: OnceLock<Vmlinux> = OnceLock::new();
        let vmlinux = match VMLINUX.get() {
            Some(vmlinux) => vmlinux,
            None => {
                let read = Vmlinux::read(&Path::new(DIR).join("vmlinux"))?;
                VMLINUX.get_or_init(|| read)
            }
        };
        Ok(Self { vmlinux: vmlinux.clone(), modules: OnceLock::new() })
    }

    /// From a file with raw BTF; modules are not looked for.
    ///
    /// # Errors
    /// The file cannot be read, or is not BTF.
    pub fn from_file(path: &Path) -> Result<Self, KernelBtfError> {
        Ok(Self { vmlinux: Vmlinux::read(path)?, modules: OnceLock::from(Vec::new()) })
    }

    /// From types that are at hand; no modules.
    #[must_use]
    pub fn from_btf(btf: Btf<'static>) -> Self {
        Self { vmlinux: Vmlinux::new(btf), modules: OnceLock::from(Vec::new()) }
    }

    /// The kernel without its modules.
    #[must_use]
    pub fn vmlinux(&self) -> &Btf<'static> {
        &self.vmlinux.btf
    }

    /// The modules, read when first asked for. A module that cannot be read (it may just be leaving) is left out.
    pub fn modules(&self) -> &[Module] {
        self.modules.get_or_init(|| {
            let Ok(dir) = std::fs::read_dir(DIR) else { return Vec::new() };
            let mut names: Vec<String> = dir.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
            names.retain(|name| name != "vmlinux");
            names.sort_unstable();
            names.into_iter().filter_map(|name| self.module(name)).collect()
        })
    }

    fn module(&self, name: String) -> Option<Module> {
        let bytes = std::fs::read(Path::new(DIR).join(&name)).ok()?;
        let btf = Btf::from_vec_split(bytes, Arc::clone(&self.vmlinux.btf)).ok()?;
        Some(Module { name, btf })
    }

    /// Number 0 is the kernel, the modules follow.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&Btf<'static>> {
        match index.checked_sub(1) {
            None => Some(&self.vmlinux.btf),
            Some(module) => self.modules().get(module).map(|module| &module.btf),
        }
    }

    /// `struct sock [123]`, with the module's name if it is one's.
    #[must_use]
    pub fn describe(&self, index: usize, id: TypeId) -> String {
        let Some(btf) = self.get(index) else { return id.to_string() };
        let kind = btf.kind(id).ok().and_then(Kind::name).unwrap_or_default().to_lowercase();
        let module = index.checked_sub(1).and_then(|module| self.modules().get(module));
        let module = module.map_or_else(String::new, |module| format!(" of module {}", module.name));
        format!("{kind} {} {id}{module}", btf.name(id).unwrap_or_default())
    }

    /// As [`Btf::find_each`], in the BTF of this number.
    pub(crate) fn find_each<'n>(&self, index: usize, names: &[&'n str], mut found: impl FnMut(&'n str, TypeId)) {
        match index {
            0 => self.vmlinux.find_each(names, found),
            _ => self.get(index).into_iter().for_each(|btf| btf.find_each(names, &mut found)),
        }
    }

    /// Finds types by name and kind in one walk: the kernel first, then modules for what it does not have.
    #[must_use]
    pub fn find_all<'n>(&self, wanted: &[(&'n str, Kind)]) -> HashMap<(&'n str, Kind), (usize, TypeId)> {
        let mut found = HashMap::new();
        if wanted.is_empty() {
            return found;
        }
        let mut missing: Vec<(&'n str, Kind)> = wanted.to_vec();
        missing.sort_unstable();
        missing.dedup();
        for index in 0.. {
            let btf = match index {
                0 => self.vmlinux(),
                _ if missing.is_empty() => break,
                _ => match self.get(index) {
                    Some(btf) => btf,
                    None => break,
                },
            };
            let mut names: Vec<&'n str> = missing.iter().map(|&(name, _)| name).collect();
            names.dedup();
            self.find_each(index, &names, |name, id| {
                let Ok(kind) = btf.kind(id) else { return };
                if missing.binary_search(&(name, kind)).is_ok() && btf.name(id) == Ok(name) {
                    found.entry((name, kind)).or_insert((index, id));
                }
            });
            missing.retain(|key| !found.contains_key(key));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use asm::btf::{BtfBuilder, Type};

    #[test]
    fn a_name_asked_for_again_gives_the_same() {
        let mut types = BtfBuilder::new();
        for name in ["sock", "sock___old", "socket", "file", "sock"] {
            types.push(Type::Struct { name, size: 0, members: Vec::new() });
        }
        let bytes = types.encode().expect("names and no members");
        let kernel = KernelBtf::from_btf(Btf::from_vec(bytes).expect("it was just written"));
        let ask = |names: &[&'static str]| {
            let mut found = Vec::new();
            kernel.find_each(0, names, |name, id| found.push((name, id.0)));
            found
        };
        let sock = [("sock", 1), ("sock", 2), ("sock", 5)];
        assert_eq!(ask(&["sock", "none"]), sock);
        assert_eq!(ask(&["sock"]), sock, "again");
        assert_eq!(ask(&["file", "sock", "none"]), [&[("file", 4)][..], &sock].concat(), "one that is new beside it");
        let struct_sock = ("sock", Kind::STRUCT);
        assert_eq!(
            kernel.find_all(&[struct_sock]).get(&struct_sock),
            Some(&(0, TypeId(1))),
            "the first, and no flavour"
        );
    }
}
