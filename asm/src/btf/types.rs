//! BTF types as Rust values.
//!
//! Stage: between the bytes (`wire.rs`) and their users. A [`Type`] is generic over how it holds names: the reader hands
//! out `Type<&str>`, the writer takes the same and keeps `Type<StrOff>`. Next: `decode.rs`.

use std::fmt;

/// Number of a type within its BTF; the first type of a file is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeId(pub u32);

impl TypeId {
    /// No type: C's `void`.
    pub const VOID: Self = Self(0);
}

impl fmt::Display for TypeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}]", self.0)
    }
}

/// What sort of type a type is (`BTF_KIND_*`). Unknown numbers survive reading and printing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(pub u8);

/// Declares the kinds: constant, number, name in dumps, bytes that follow once, bytes that follow per element.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal, $info:literal, $elem:literal;)*) => {
        impl Kind {
            $($(#[$doc])* pub const $name: Self = Self($number);)*

            /// Bytes that follow the common header: once, and for each element. `None` for a kind that is not known here.
            pub(crate) fn layout(self) -> Option<(usize, usize)> {
                match self.0 { $($number => Some(($info, $elem)),)* _ => None }
            }

            /// The name in dumps, such as `FUNC_PROTO`; `None` for a kind that is not known here.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                match self.0 { $($number => Some($text),)* _ => None }
            }
        }
    };
}

kinds! {
    /// `void`; never written, the kind of [`TypeId::VOID`].
    VOID = 0, "VOID", 0, 0;
    /// Integer, character or bool; Linux 4.18.
    INT = 1, "INT", 4, 0;
    /// Pointer; Linux 4.18.
    PTR = 2, "PTR", 0, 0;
    /// Array; Linux 4.18.
    ARRAY = 3, "ARRAY", 12, 0;
    /// Struct; Linux 4.18.
    STRUCT = 4, "STRUCT", 0, 12;
    /// Union; Linux 4.18.
    UNION = 5, "UNION", 0, 12;
    /// Enumeration with values of up to 32 bits; Linux 4.18.
    ENUM = 6, "ENUM", 0, 8;
    /// Struct or union that is named but not described; Linux 4.18.
    FWD = 7, "FWD", 0, 0;
    /// Other name of a type; Linux 4.18.
    TYPEDEF = 8, "TYPEDEF", 0, 0;
    /// `volatile`; Linux 4.18.
    VOLATILE = 9, "VOLATILE", 0, 0;
    /// `const`; Linux 4.18.
    CONST = 10, "CONST", 0, 0;
    /// `restrict`; Linux 4.18.
    RESTRICT = 11, "RESTRICT", 0, 0;
    /// Function; Linux 5.0.
    FUNC = 12, "FUNC", 0, 0;
    /// Parameters and result of a function; Linux 5.0.
    FUNC_PROTO = 13, "FUNC_PROTO", 0, 8;
    /// Variable; Linux 5.2.
    VAR = 14, "VAR", 4, 0;
    /// Data section; Linux 5.2.
    DATASEC = 15, "DATASEC", 0, 12;
    /// Floating point number; Linux 5.13.
    FLOAT = 16, "FLOAT", 0, 0;
    /// Tag on a declaration; Linux 5.16.
    DECL_TAG = 17, "DECL_TAG", 4, 0;
    /// Tag on a pointer's target; Linux 5.17.
    TYPE_TAG = 18, "TYPE_TAG", 0, 0;
    /// Enumeration with values of up to 64 bits; Linux 6.0.
    ENUM64 = 19, "ENUM64", 0, 12;
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "kind {}", self.0),
        }
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Who sees a function or variable. Unknown numbers survive reading and printing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Linkage(pub u32);

impl Linkage {
    /// This file only. A static function is verified at each place that calls it.
    pub const STATIC: Self = Self(0);
    /// Everybody. A global function is verified once, for whatever arguments its prototype allows (Linux 5.6).
    pub const GLOBAL: Self = Self(1);
    /// Defined elsewhere: a kernel function, symbol or configuration value.
    pub const EXTERN: Self = Self(2);
}

/// An integer's layout and meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Int {
    /// Bytes.
    pub size: u32,
    /// `BTF_INT_SIGNED`.
    pub signed: bool,
    /// `BTF_INT_CHAR`: to be shown as text. Compilers rarely set it.
    pub char: bool,
    /// `BTF_INT_BOOL`.
    pub bool: bool,
    /// Bits from the start where the value begins; 0 in all that today's compilers write.
    pub bit_offset: u8,
    /// Bits of the value.
    pub bits: u8,
}

/// One member of a struct or union.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Member<N> {
    /// Empty for an anonymous struct or union inside.
    pub name: N,
    /// Its type.
    pub ty: TypeId,
    /// Bits from the start.
    pub bit_offset: u32,
    /// Bits of a bit field; 0 for an ordinary member.
    pub bits: u8,
}

/// One parameter of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Param<N> {
    /// May be empty.
    pub name: N,
    /// Its type; void and no name in last place means `...`.
    pub ty: TypeId,
}

/// Where a variable lies in its section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VarSecinfo {
    /// The variable.
    pub ty: TypeId,
    /// Bytes from the start of the section.
    pub offset: u32,
    /// Bytes.
    pub size: u32,
}

/// One type. `N` is how names are held: `&str` for people, `StrOff` inside the writer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(
    missing_docs,
    reason = "the fields are what their names and types say; units stand on the structs they are made of"
)]
pub enum Type<N> {
    /// `void`.
    Void,
    /// Integer, character or bool.
    Int { name: N, int: Int },
    /// Pointer; 8 bytes, whatever it points to.
    Ptr { ty: TypeId },
    /// Array of `len` elements.
    Array { elem: TypeId, index: TypeId, len: u32 },
    /// Struct of `size` bytes.
    Struct { name: N, size: u32, members: Vec<Member<N>> },
    /// Union of `size` bytes.
    Union { name: N, size: u32, members: Vec<Member<N>> },
    /// Enumeration; the values are what 32 bits hold, signed or not.
    Enum { name: N, size: u32, signed: bool, values: Vec<(N, u32)> },
    /// Struct (or union) that is named but not described.
    Fwd { name: N, union: bool },
    /// Other name of a type.
    Typedef { name: N, ty: TypeId },
    /// `volatile`.
    Volatile { ty: TypeId },
    /// `const`.
    Const { ty: TypeId },
    /// `restrict`.
    Restrict { ty: TypeId },
    /// Function; `proto` is a function prototype.
    Func { name: N, proto: TypeId, linkage: Linkage },
    /// Parameters and result.
    FuncProto { ret: TypeId, params: Vec<Param<N>> },
    /// Variable.
    Var { name: N, ty: TypeId, linkage: Linkage },
    /// Data section of `size` bytes.
    DataSec { name: N, size: u32, vars: Vec<VarSecinfo> },
    /// Floating point number of `size` bytes.
    Float { name: N, size: u32 },
    /// Tag on a declaration, or on its member or parameter number `component`. An `attr` is a compiler attribute (Linux 6.15).
    DeclTag { name: N, ty: TypeId, component: Option<u32>, attr: bool },
    /// Tag on a type. An `attr` is a compiler attribute (Linux 6.15).
    TypeTag { name: N, ty: TypeId, attr: bool },
    /// Enumeration; the values are what 64 bits hold, signed or not.
    Enum64 { name: N, size: u32, signed: bool, values: Vec<(N, u64)> },
}

impl<N> Type<N> {
    /// What sort of type this is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Void => Kind::VOID,
            Self::Int { .. } => Kind::INT,
            Self::Ptr { .. } => Kind::PTR,
            Self::Array { .. } => Kind::ARRAY,
            Self::Struct { .. } => Kind::STRUCT,
            Self::Union { .. } => Kind::UNION,
            Self::Enum { .. } => Kind::ENUM,
            Self::Fwd { .. } => Kind::FWD,
            Self::Typedef { .. } => Kind::TYPEDEF,
            Self::Volatile { .. } => Kind::VOLATILE,
            Self::Const { .. } => Kind::CONST,
            Self::Restrict { .. } => Kind::RESTRICT,
            Self::Func { .. } => Kind::FUNC,
            Self::FuncProto { .. } => Kind::FUNC_PROTO,
            Self::Var { .. } => Kind::VAR,
            Self::DataSec { .. } => Kind::DATASEC,
            Self::Float { .. } => Kind::FLOAT,
            Self::DeclTag { .. } => Kind::DECL_TAG,
            Self::TypeTag { .. } => Kind::TYPE_TAG,
            Self::Enum64 { .. } => Kind::ENUM64,
        }
    }

    /// The name, for the kinds that have one (it may be empty).
    #[must_use]
    pub fn name(&self) -> Option<&N> {
        match self {
            Self::Int { name, .. }
            | Self::Struct { name, .. }
            | Self::Union { name, .. }
            | Self::Enum { name, .. }
            | Self::Fwd { name, .. }
            | Self::Typedef { name, .. }
            | Self::Func { name, .. }
            | Self::Var { name, .. }
            | Self::DataSec { name, .. }
            | Self::Float { name, .. }
            | Self::DeclTag { name, .. }
            | Self::TypeTag { name, .. }
            | Self::Enum64 { name, .. } => Some(name),
            _ => None,
        }
    }

    /// The type that this one stands for, changed in nothing but name and qualifiers: typedefs, `const`, tags.
    #[must_use]
    pub fn stands_for(&self) -> Option<TypeId> {
        match *self {
            Self::Typedef { ty, .. }
            | Self::Volatile { ty }
            | Self::Const { ty }
            | Self::Restrict { ty }
            | Self::TypeTag { ty, .. } => Some(ty),
            _ => None,
        }
    }

    /// Calls `f` with every type id inside.
    pub fn for_each_id(&self, mut f: impl FnMut(TypeId)) {
        match self {
            Self::Ptr { ty }
            | Self::Volatile { ty }
            | Self::Const { ty }
            | Self::Restrict { ty }
            | Self::Typedef { ty, .. }
            | Self::Var { ty, .. }
            | Self::DeclTag { ty, .. }
            | Self::TypeTag { ty, .. } => f(*ty),
            Self::Func { proto, .. } => f(*proto),
            Self::Array { elem, index, .. } => {
                f(*elem);
                f(*index);
            }
            Self::Struct { members, .. } | Self::Union { members, .. } => members.iter().for_each(|m| f(m.ty)),
            Self::FuncProto { ret, params } => {
                f(*ret);
                params.iter().for_each(|p| f(p.ty));
            }
            Self::DataSec { vars, .. } => vars.iter().for_each(|v| f(v.ty)),
            Self::Void
            | Self::Int { .. }
            | Self::Enum { .. }
            | Self::Enum64 { .. }
            | Self::Fwd { .. }
            | Self::Float { .. } => {}
        }
    }

    /// The same type with every name replaced by what `f` makes of it.
    ///
    /// # Errors
    ///
    /// The first one that `f` returns.
    pub fn try_map_names<'s, M, E>(&'s self, mut f: impl FnMut(&'s N) -> Result<M, E>) -> Result<Type<M>, E> {
        Ok(match *self {
            Self::Void => Type::Void,
            Self::Int { ref name, int } => Type::Int { name: f(name)?, int },
            Self::Ptr { ty } => Type::Ptr { ty },
            Self::Array { elem, index, len } => Type::Array { elem, index, len },
            Self::Struct { ref name, size, ref members } => {
                Type::Struct { name: f(name)?, size, members: map_members(members, f)? }
            }
            Self::Union { ref name, size, ref members } => {
                Type::Union { name: f(name)?, size, members: map_members(members, f)? }
            }
            Self::Enum { ref name, size, signed, ref values } => {
                Type::Enum { name: f(name)?, size, signed, values: map_values(values, f)? }
            }
            Self::Fwd { ref name, union } => Type::Fwd { name: f(name)?, union },
            Self::Typedef { ref name, ty } => Type::Typedef { name: f(name)?, ty },
            Self::Volatile { ty } => Type::Volatile { ty },
            Self::Const { ty } => Type::Const { ty },
            Self::Restrict { ty } => Type::Restrict { ty },
            Self::Func { ref name, proto, linkage } => Type::Func { name: f(name)?, proto, linkage },
            Self::FuncProto { ret, ref params } => {
                let params = params.iter().map(|p| Ok(Param { name: f(&p.name)?, ty: p.ty }));
                Type::FuncProto { ret, params: params.collect::<Result<_, E>>()? }
            }
            Self::Var { ref name, ty, linkage } => Type::Var { name: f(name)?, ty, linkage },
            Self::DataSec { ref name, size, ref vars } => Type::DataSec { name: f(name)?, size, vars: vars.clone() },
            Self::Float { ref name, size } => Type::Float { name: f(name)?, size },
            Self::DeclTag { ref name, ty, component, attr } => Type::DeclTag { name: f(name)?, ty, component, attr },
            Self::TypeTag { ref name, ty, attr } => Type::TypeTag { name: f(name)?, ty, attr },
            Self::Enum64 { ref name, size, signed, ref values } => {
                Type::Enum64 { name: f(name)?, size, signed, values: map_values(values, f)? }
            }
        })
    }
}

/// [`Type::try_map_names`] for the members of a struct or union.
fn map_members<'s, N, M, E>(
    members: &'s [Member<N>],
    mut f: impl FnMut(&'s N) -> Result<M, E>,
) -> Result<Vec<Member<M>>, E> {
    let each = |m: &'s Member<N>| Ok(Member { name: f(&m.name)?, ty: m.ty, bit_offset: m.bit_offset, bits: m.bits });
    members.iter().map(each).collect()
}

/// [`Type::try_map_names`] for the values of an enumeration.
fn map_values<'s, N, M, V: Copy, E>(
    values: &'s [(N, V)],
    mut f: impl FnMut(&'s N) -> Result<M, E>,
) -> Result<Vec<(M, V)>, E> {
    values.iter().map(|(name, value)| Ok((f(name)?, *value))).collect()
}
