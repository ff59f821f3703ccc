//! Stage: the intermediate representation. Questions about the kernel's types, which the loader answers (CO-RE).
//!
//! Input: the names that lead from a type of the kernel's to one of its fields. Output: a number in the code, and a relocation in
//! the object with just as much of the type as the names need. Next: `build.rs`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::btf::{BtfBuilder, CoreReloKind, TypeId};
use crate::object;

/// What a field is, as far as the question needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Leaf {
    /// A number without sign, of so many bytes.
    Unsigned(u32),
    /// A number with a sign, of so many bytes.
    Signed(u32),
    /// A pointer.
    Pointer,
    /// So many bytes in a row.
    Bytes(u32),
    /// No field: the type itself is asked about.
    Whole,
}

/// A question about a type of the kernel's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Core {
    /// What is asked.
    pub kind: CoreReloKind,
    /// Name of a struct, then of a field, of that field's field, and so on.
    pub path: Vec<Arc<str>>,
    /// What is at the end of the path.
    pub leaf: Leaf,
}

impl Core {
    /// The number in the code before it is answered: by our idea of the type, in which every field is the first.
    #[must_use]
    pub fn local(&self) -> u64 {
        match self.kind {
            CoreReloKind::FIELD_BYTE_OFFSET => 0,
            CoreReloKind::FIELD_BYTE_SIZE | CoreReloKind::TYPE_SIZE => self.leaf.size().into(),
            _ => 1,
        }
    }

    /// The path by places, as the relocation has it.
    #[must_use]
    pub fn access(&self) -> String {
        vec!["0"; self.path.len().max(1)].join(":")
    }

    /// The type, with no more fields than are named.
    #[must_use]
    pub fn ty(&self) -> object::Ty {
        let core = self.clone();
        object::Ty::with(self.leaf.size(), move |b| core.describe(b))
    }

    fn describe(&self, b: &mut BtfBuilder) -> TypeId {
        let size = self.leaf.size();
        let mut ty = self.leaf.describe(b);
        for (at, member) in self.path.iter().enumerate().skip(1).rev() {
            let name = if at == 1 { self.path.first().map_or("", |name| name) } else { "" };
            ty = b.struct_(name, size, &[(member, ty, 0)]);
        }
        match self.path.as_slice() {
            [name] => b.struct_(name, size, &[]),
            _ => ty,
        }
    }
}

impl Leaf {
    const fn size(self) -> u32 {
        match self {
            Self::Unsigned(size) | Self::Signed(size) | Self::Bytes(size) => size,
            Self::Pointer => 8,
            Self::Whole => 0,
        }
    }

    fn describe(self, b: &mut BtfBuilder) -> TypeId {
        match self {
            Self::Unsigned(size) => b.int(&format!("u{}", size * 8), size, false),
            Self::Signed(size) => b.int(&format!("s{}", size * 8), size, true),
            Self::Bytes(size) => {
                let byte = b.int("u8", 1, false);
                b.array(byte, size)
            }
            Self::Pointer => b.ptr(TypeId::VOID),
            Self::Whole => TypeId::VOID,
        }
    }
}

impl fmt::Display for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned(size) => write!(f, "u{size}"),
            Self::Signed(size) => write!(f, "s{size}"),
            Self::Bytes(size) => write!(f, "bytes{size}"),
            Self::Pointer => f.write_str("ptr"),
            Self::Whole => f.write_str("whole"),
        }
    }
}

impl FromStr for Leaf {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let sized = |prefix: &str| text.strip_prefix(prefix).and_then(|size| size.parse().ok());
        match text {
            "ptr" => Ok(Self::Pointer),
            "whole" => Ok(Self::Whole),
            _ => None
                .or_else(|| sized("bytes").map(Self::Bytes))
                .or_else(|| sized("u").map(Self::Unsigned))
                .or_else(|| sized("s").map(Self::Signed))
                .ok_or(()),
        }
    }
}

/// `byte_off u2 sock.__sk_common.skc_dport`
impl fmt::Display for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.kind, self.leaf, self.path.join("."))
    }
}
