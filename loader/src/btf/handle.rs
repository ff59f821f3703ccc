//! Stage: load. Input: the object's types, and which kinds this kernel knows. Output: bytes that this kernel accepts, with
//! every type under its old number, and a descriptor of the kernel's copy. Next file: `../load.rs`.

use std::collections::HashMap;
use std::mem::offset_of;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use asm::btf::{Btf, BtfBuilder, Error, Int, Kind, Linkage, Type, TypeId, wire};
use zerocopy::IntoBytes;

use crate::spec::{ExternKind, Spec};
use crate::sys;
use crate::sys::Errno;

/// Why the kernel has no copy of the object's types.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandleError {
    /// The object's types are damaged.
    #[error("the object's types cannot be made fit for this kernel")]
    Damaged(#[from] Error),
    /// The kernel refused them.
    #[error("the kernel refused the object's types: {errno}{}", log_tail(.log))]
    Refused {
        /// Its answer.
        errno: Errno,
        /// What it wrote about it.
        log: String,
    },
}

/// The last line that says something.
fn log_tail(log: &str) -> String {
    let line = log.lines().rev().find(|line| !line.trim().is_empty());
    line.map_or_else(String::new, |line| format!(": {}", line.trim()))
}

/// Gives the kernel the object's types.
///
/// # Errors
/// It refuses them; the error holds its words.
pub fn load(spec: &Spec) -> Result<Option<OwnedFd>, HandleError> {
    let Some(btf) = &spec.btf else { return Ok(None) };
    let bytes = fit(spec, btf, knows)?;
    match sys::btf::load(&bytes, None) {
        Ok(fd) => Ok(Some(fd)),
        Err(_) => {
            let mut log = vec![0; 1 << 16];
            let buf = sys::prog::Log { level: sys::uapi::LogLevel::REFUSAL, buf: &mut log };
            match sys::btf::load(&bytes, Some(buf)) {
                Ok(fd) => Ok(Some(fd)),
                Err(failed) => Err(HandleError::Refused { errno: failed.errno, log: sys::name_text(&log) }),
            }
        }
    }
}

/// Whether the running kernel knows a kind; tried once, by a small object of that kind.
#[must_use]
pub fn knows(kind: Kind) -> bool {
    static KNOWN: Mutex<Option<HashMap<Kind, bool>>> = Mutex::new(None);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    *known
        .get_or_insert_default()
        .entry(kind)
        .or_insert_with(|| probe(kind).is_none_or(|bytes| sys::btf::load(&bytes, None).is_ok()))
}

/// The smallest BTF with a type of that kind; `None` for kinds that 5.10 has.
fn probe(kind: Kind) -> Option<Vec<u8>> {
    let mut b = BtfBuilder::new();
    let int = b.int("int", 4, true);
    match kind {
        Kind::FLOAT => b.add(Type::Float { name: "float", size: 4 }),
        Kind::DECL_TAG => {
            let var = b.var("x", int, Linkage::STATIC);
            b.add(Type::DeclTag { name: "tag", ty: var, component: None, attr: false })
        }
        Kind::TYPE_TAG => {
            let tag = b.add(Type::TypeTag { name: "tag", ty: int, attr: false });
            b.ptr(tag)
        }
        Kind::ENUM64 => b.add(Type::Enum64 { name: "e", size: 8, signed: false, values: vec![("v", 1)] }),
        _ => return None,
    };
    b.encode().ok()
}

/// The object's types as this kernel takes them: kinds it does not know become others of the same length, as libbpf
/// substitutes them, and the sections of external symbols become sections of ordinary variables. Pure.
///
/// # Errors
/// The types are damaged.
pub fn fit(spec: &Spec, btf: &Btf<'_>, knows: impl Fn(Kind) -> bool) -> Result<Vec<u8>, Error> {
    let mut edit = Edit::of(btf);
    for id in btf.ids() {
        let Some(at) = btf.place(id) else { continue };
        match btf.get(id)? {
            Type::Float { size, .. } if !knows(Kind::FLOAT) => edit.header(at, 0, Kind::STRUCT, 0, size),
            Type::DeclTag { .. } if !knows(Kind::DECL_TAG) => {
                edit.head_kind(at, Kind::INT, 1);
                edit.word(at + size_of::<wire::Type>(), 8);
            }
            Type::TypeTag { ty, .. } if !knows(Kind::TYPE_TAG) => edit.header(at, 0, Kind::CONST, 0, ty.0),
            Type::Enum64 { values, .. } if !knows(Kind::ENUM64) => edit.enum64(btf, at, values.len()),
            Type::DataSec { name: ".ksyms", vars, .. } => {
                let vars: Vec<TypeId> = vars.iter().map(|var| var.ty).collect();
                edit.ksyms(btf, at, &vars)?;
            }
            Type::DataSec { name: ".kconfig", vars, .. } => {
                let vars: Vec<TypeId> = vars.iter().map(|var| var.ty).collect();
                edit.kconfig(btf, at, &vars, spec)?;
            }
            _ => {}
        }
    }
    Ok(edit.finish())
}

/// The bytes being changed, and types put behind them.
struct Edit {
    types: Vec<u8>,
    strings: Vec<u8>,
    /// Where the types begin in the bytes that [`Btf::place`] counts from.
    types_at: usize,
    next_id: u32,
    int: Option<TypeId>,
    variable: Option<TypeId>,
}

impl Edit {
    fn of(btf: &Btf<'_>) -> Self {
        let bytes = btf.as_bytes();
        let sections = sections(bytes).unwrap_or_default();
        let part = |(at, len): (usize, usize)| bytes.get(at..at + len).unwrap_or_default().to_vec();
        let int = btf.ids().find(|&id| matches!(btf.get(id), Ok(Type::Int { int: Int { size: 4, .. }, .. })));
        Self {
            types: part(sections[0]),
            strings: part(sections[1]),
            types_at: sections[0].0,
            next_id: btf.len(),
            int,
            variable: None,
        }
    }

    fn word(&mut self, at: usize, value: u32) {
        let at = at.wrapping_sub(self.types_at);
        if let Some(place) = self.types.get_mut(at..at.saturating_add(4)) {
            place.copy_from_slice(&value.to_le_bytes());
        }
    }

    fn header(&mut self, at: usize, name: u32, kind: Kind, vlen: usize, size_type: u32) {
        self.word(at + offset_of!(wire::Type, name_off), name);
        let vlen = u32::try_from(vlen).unwrap_or(u32::MAX) & 0xffff;
        self.word(at + offset_of!(wire::Type, info), u32::from(kind.0) << 24 | vlen);
        self.word(at + offset_of!(wire::Type, size_type), size_type);
    }

    /// Kind and size; the name stays.
    fn head_kind(&mut self, at: usize, kind: Kind, size_type: u32) {
        self.word(at + offset_of!(wire::Type, info), u32::from(kind.0) << 24);
        self.word(at + offset_of!(wire::Type, size_type), size_type);
    }

    fn name(&mut self, name: &str) -> u32 {
        let at = u32::try_from(self.strings.len()).unwrap_or(u32::MAX);
        self.strings.extend_from_slice(name.as_bytes());
        self.strings.push(0);
        at
    }

    fn push(&mut self, name: &str, kind: Kind, size_type: u32, word: u32) -> TypeId {
        let name_off = self.name(name).into();
        let header = wire::Type { name_off, info: (u32::from(kind.0) << 24).into(), size_type: size_type.into() };
        self.types.extend_from_slice(header.as_bytes());
        self.types.extend_from_slice(&word.to_le_bytes());
        self.next_id += 1;
        TypeId(self.next_id - 1)
    }

    fn int(&mut self) -> TypeId {
        let int = self.int.unwrap_or_else(|| self.push("int", Kind::INT, 4, 0x0100_0020));
        self.int = Some(int);
        int
    }

    /// A union of one-byte numbers under the enumerators' names, of the same size.
    fn enum64(&mut self, btf: &Btf<'_>, at: usize, values: usize) {
        let byte = btf.ids().find(|&id| matches!(btf.get(id), Ok(Type::Int { int: Int { size: 1, .. }, .. })));
        let byte = byte.unwrap_or_else(|| self.push("enum64_placeholder", Kind::INT, 1, 8));
        self.word(
            at + offset_of!(wire::Type, info),
            u32::from(Kind::UNION.0) << 24 | u32::try_from(values).unwrap_or(0),
        );
        let first = at + size_of::<wire::Type>();
        for member in (0..values).map(|number| first + number * size_of::<wire::Member>()) {
            self.word(member + offset_of!(wire::Member, ty), byte.0);
            self.word(member + offset_of!(wire::Member, offset), 0);
        }
    }

    /// Symbols of the kernel become integers in a row: this kernel's types say what they are. Functions are represented
    /// by one variable, and count as defined.
    fn ksyms(&mut self, btf: &Btf<'_>, at: usize, vars: &[TypeId]) -> Result<(), Error> {
        let int = self.int();
        let mut rows = Vec::with_capacity(vars.len());
        for &id in vars {
            let Some(place) = btf.place(id) else { continue };
            match btf.get(id)? {
                Type::Func { proto, .. } => {
                    self.word(place + offset_of!(wire::Type, info), u32::from(Kind::FUNC.0) << 24 | Linkage::GLOBAL.0);
                    self.name_params(btf, proto)?;
                    let linkage = Linkage::GLOBAL.0;
                    let var = self.variable.unwrap_or_else(|| self.push("dummy_ksym", Kind::VAR, int.0, linkage));
                    self.variable = Some(var);
                    rows.push(var);
                }
                _ => {
                    self.word(place + offset_of!(wire::Type, size_type), int.0);
                    self.word(place + size_of::<wire::Type>(), Linkage::GLOBAL.0);
                    rows.push(id);
                }
            }
        }
        let rows: Vec<_> = (0_u32..).zip(rows).map(|(number, id)| (id.0, number * 4, 4)).collect();
        self.section(at, &rows);
        Ok(())
    }

    /// The kernel wants a name for each parameter of a function.
    fn name_params(&mut self, btf: &Btf<'_>, proto: TypeId) -> Result<(), Error> {
        let (Type::FuncProto { params, .. }, Some(place)) = (btf.get(proto)?, btf.place(proto)) else { return Ok(()) };
        let first = place + size_of::<wire::Type>();
        for (number, param) in params.iter().enumerate() {
            if param.name.is_empty() && param.ty != TypeId::VOID {
                let name = self.name("arg");
                self.word(first + number * size_of::<wire::Param>() + offset_of!(wire::Param, name_off), name);
            }
        }
        Ok(())
    }

    /// Configuration values get the places that the spec gave them.
    fn kconfig(&mut self, btf: &Btf<'_>, at: usize, vars: &[TypeId], spec: &Spec) -> Result<(), Error> {
        let mut rows = Vec::with_capacity(vars.len());
        for &id in vars {
            let name = btf.name(id)?;
            let place = spec.externs.iter().find_map(|ext| match ext.kind {
                ExternKind::Kconfig { off, size, .. } if ext.name == name => Some((off, size)),
                _ => None,
            });
            let end = rows.last().map_or(0, |&(_, off, size): &(u32, u32, u32)| off.saturating_add(size));
            let (off, size) = place.unwrap_or((end, btf.size_of(id).unwrap_or(1)));
            if let Some(var) = btf.place(id) {
                self.word(var + size_of::<wire::Type>(), Linkage::GLOBAL.0);
            }
            rows.push((id.0, off, size));
        }
        rows.sort_by_key(|&(_, off, _)| off);
        self.section(at, &rows);
        Ok(())
    }

    /// Rewrites a data section: type, offset, size of each variable, and the size of the whole.
    fn section(&mut self, at: usize, rows: &[(u32, u32, u32)]) {
        let end = rows.last().map_or(0, |&(_, off, size)| off.saturating_add(size));
        self.word(at + offset_of!(wire::Type, size_type), end);
        let mut at = at + size_of::<wire::Type>();
        for word in rows.iter().flat_map(|&(id, off, size)| [id, off, size]) {
            self.word(at, word);
            at += size_of_val(&word);
        }
    }

    /// Header, types, strings: nothing that a kernel of the floor does not know.
    fn finish(self) -> Vec<u8> {
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let header = wire::Header {
            magic: wire::MAGIC.into(),
            version: wire::VERSION,
            flags: 0,
            hdr_len: 24.into(),
            type_off: 0.into(),
            type_len: len(&self.types).into(),
            str_off: len(&self.types).into(),
            str_len: len(&self.strings).into(),
        };
        [header.as_bytes(), &self.types, &self.strings].concat()
    }
}

/// Offset and length of types and strings in parsed BTF, which are inside of it.
fn sections(bytes: &[u8]) -> Option<[(usize, usize); 2]> {
    use zerocopy::FromBytes;
    let (header, _) = wire::Header::ref_from_prefix(bytes).ok()?;
    let part = |off: u32, len: u32| {
        Some((usize::try_from(header.hdr_len.get().checked_add(off)?).ok()?, usize::try_from(len).ok()?))
    };
    Some([part(header.type_off.get(), header.type_len.get())?, part(header.str_off.get(), header.str_len.get())?])
}
