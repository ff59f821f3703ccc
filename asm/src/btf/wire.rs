//! The bytes of `.BTF` and `.BTF.ext`, structure by structure.
//!
//! Stage: the lowest of `asm::btf`; input and output are bytes. All integers are little-endian, as in every object for a
//! little-endian machine; the readers turn big-endian sections over before they look at them (every body is a sequence of
//! 32-bit words), so nobody else has to know. Next: `types.rs`, the same facts as Rust values.

use zerocopy::little_endian::{I32, U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// First two bytes of `.BTF` and of `.BTF.ext`, in the byte order of the whole section (`BTF_MAGIC`).
pub const MAGIC: u16 = 0xeb9f;
/// The only version there has been (`BTF_VERSION`).
pub const VERSION: u8 = 1;
/// Most members, values or parameters that kernels before 7.1 read in one type; the writer never goes above.
pub const MAX_VLEN: u32 = 0xffff;
/// Most bits of a member's offset when its struct holds bit fields.
pub const MAX_BITFIELD_OFFSET: u32 = 0x00ff_ffff;

/// Declares one wire structure and checks its size.
macro_rules! wire {
    ($size:literal, $(#[$doc:meta])* pub struct $name:ident { $($(#[$field_doc:meta])* pub $field:ident: $ty:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
        #[repr(C)]
        pub struct $name { $($(#[$field_doc])* pub $field: $ty,)* }
        const _: () = assert!(size_of::<$name>() == $size);
    };
}

wire! { 24,
/// Start of `.BTF`: `struct btf_header`, Linux 4.18. Offsets are bytes from the end of the header.
pub struct Header {
    /// [`MAGIC`].
    pub magic: U16,
    /// [`VERSION`].
    pub version: u8,
    /// None defined.
    pub flags: u8,
    /// Bytes of the whole header; 32 when a [`LayoutHeader`] follows.
    pub hdr_len: U32,
    /// Start of the types; a multiple of four.
    pub type_off: U32,
    /// Bytes of the types.
    pub type_len: U32,
    /// Start of the strings.
    pub str_off: U32,
    /// Bytes of the strings.
    pub str_len: U32,
}}

wire! { 8,
/// Second part of the header, in files that say how long the records of each kind are (Linux 7.1).
pub struct LayoutHeader {
    /// Start of the [`Layout`] records, in bytes from the end of the header.
    pub layout_off: U32,
    /// Bytes of the records.
    pub layout_len: U32,
}}

wire! { 4,
/// How long a type of one kind is, so that a reader can step over kinds it does not know: `struct btf_layout`, Linux 7.1.
/// The record's place in the section is the number of its kind.
pub struct Layout {
    /// Bytes that follow each [`Type`] once.
    pub info_size: u8,
    /// Bytes that follow for each of the type's `vlen` elements.
    pub elem_size: u8,
    /// None defined.
    pub flags: U16,
}}

wire! { 12,
/// Start of every type: `struct btf_type`.
pub struct Type {
    /// Into the strings.
    pub name_off: U32,
    /// Bits 0-23 `vlen` (0-15 before Linux 7.1), 24-30 kind, 31 the kind's flag.
    pub info: U32,
    /// Bytes, or the id of a type, after the kind.
    pub size_type: U32,
}}

impl Type {
    /// How many elements follow (members, values, parameters); a function's linkage.
    #[must_use]
    pub fn vlen(&self) -> u32 {
        self.info.get() & 0x00ff_ffff
    }

    /// The number of the kind.
    #[must_use]
    pub fn kind(&self) -> u8 {
        self.info.get().to_be_bytes()[0] & 0x7f
    }

    /// The kind's flag: bit fields in a struct, signed values in an enum, union in a forward declaration, attribute in a tag.
    #[must_use]
    pub fn kind_flag(&self) -> bool {
        self.info.get() >> 31 == 1
    }
}

wire! { 4,
/// Follows an integer.
pub struct Int {
    /// Bits 0-7 number of bits, 16-23 offset in bits, 24-27 encoding (1 signed, 2 char, 4 bool).
    pub info: U32,
}}

wire! { 12,
/// Follows an array: `struct btf_array`.
pub struct Array {
    /// Type id of an element.
    pub elem: U32,
    /// Type id of the index; means nothing to the kernel, but must be an integer.
    pub index: U32,
    /// Number of elements.
    pub len: U32,
}}

wire! { 12,
/// One member of a struct or union: `struct btf_member`.
pub struct Member {
    /// Into the strings; 0 for an anonymous member.
    pub name_off: U32,
    /// Type id.
    pub ty: U32,
    /// Bits from the start; with the kind's flag set only 24 of them, and above them the bits of the bit field (0: none).
    pub offset: U32,
}}

wire! { 8,
/// One value of an enumeration: `struct btf_enum`.
pub struct Enum {
    /// Into the strings.
    pub name_off: U32,
    /// The value; to be read as unsigned when the kind's flag is not set.
    pub val: I32,
}}

wire! { 12,
/// One value of a 64-bit enumeration: `struct btf_enum64`, Linux 6.0.
pub struct Enum64 {
    /// Into the strings.
    pub name_off: U32,
    /// Bits 0-31 of the value.
    pub val_lo32: U32,
    /// Bits 32-63 of the value.
    pub val_hi32: U32,
}}

wire! { 8,
/// One parameter of a function prototype: `struct btf_param`.
pub struct Param {
    /// Into the strings.
    pub name_off: U32,
    /// Type id; a last parameter with neither name nor type stands for `...`.
    pub ty: U32,
}}

wire! { 4,
/// Follows a variable: `struct btf_var`, Linux 5.2.
pub struct Var {
    /// 0 static, 1 global, 2 extern.
    pub linkage: U32,
}}

wire! { 12,
/// One variable of a data section: `struct btf_var_secinfo`, Linux 5.2.
pub struct VarSecinfo {
    /// Type id of a variable (or of a function, in `.ksyms`).
    pub ty: U32,
    /// Bytes from the start of the section.
    pub offset: U32,
    /// Bytes.
    pub size: U32,
}}

wire! { 4,
/// Follows a declaration tag: `struct btf_decl_tag`, Linux 5.16.
pub struct DeclTag {
    /// Which member or parameter is meant; -1 for the type itself.
    pub component_idx: I32,
}}

wire! { 24,
/// Start of `.BTF.ext`. Offsets are bytes from the end of the header.
pub struct ExtHeader {
    /// [`MAGIC`].
    pub magic: U16,
    /// [`VERSION`].
    pub version: u8,
    /// None defined.
    pub flags: u8,
    /// Bytes of the whole header; 32 when an [`ExtCoreHeader`] follows.
    pub hdr_len: U32,
    /// Start of the function records.
    pub func_info_off: U32,
    /// Bytes of the function records.
    pub func_info_len: U32,
    /// Start of the line records.
    pub line_info_off: U32,
    /// Bytes of the line records.
    pub line_info_len: U32,
}}

wire! { 8,
/// Second part of the header of `.BTF.ext`.
pub struct ExtCoreHeader {
    /// Start of the CO-RE relocations, in bytes from the end of the header.
    pub core_relo_off: U32,
    /// Bytes of the CO-RE relocations.
    pub core_relo_len: U32,
}}

wire! { 8,
/// The records of one program section: `struct btf_ext_info_sec`. They follow.
pub struct ExtSection {
    /// The section's name, into the strings of `.BTF`.
    pub sec_name_off: U32,
    /// How many records follow.
    pub num_info: U32,
}}

wire! { 8,
/// Which function starts where: `struct bpf_func_info`, Linux 5.0.
pub struct FuncInfo {
    /// In a file, bytes from the start of the section; for `BPF_PROG_LOAD`, instructions from the start of the program.
    pub insn_off: U32,
    /// Type id of the function.
    pub type_id: U32,
}}

wire! { 16,
/// Which source line an instruction comes from: `struct bpf_line_info`, Linux 5.0.
pub struct LineInfo {
    /// As in [`FuncInfo`].
    pub insn_off: U32,
    /// The file's name, into the strings of `.BTF`.
    pub file_name_off: U32,
    /// The line's text, into the strings of `.BTF`.
    pub line_off: U32,
    /// Bits 0-9 column, 10-31 line.
    pub line_col: U32,
}}

wire! { 16,
/// One CO-RE relocation: `struct bpf_core_relo`.
pub struct CoreRelo {
    /// Bytes from the start of the section.
    pub insn_off: U32,
    /// Type id of the local root type.
    pub type_id: U32,
    /// The access path, such as `0:1:2`, into the strings of `.BTF`.
    pub access_str_off: U32,
    /// What is asked: see `CoreReloKind`.
    pub kind: U32,
}}
