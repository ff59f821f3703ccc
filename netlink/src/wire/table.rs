//! Stage: tables of attributes. Input: one row an attribute (number, C name, type of value); output, made from that row
//! alone: reader, writer, printer, and the name of the attribute that a kernel's error points at. So they cannot drift.
//!
//! What a table does not know is kept as it came ([`Unknown`]), as is a value that does not fit its row: decoding and encoding
//! a message again gives the same bytes, and no attribute of a newer kernel is lost. Next: `wire/value.rs`.

use std::fmt;

use super::{Bytes, RawAttr, WireError, Writer, attrs};

/// The type of an attribute's value.
pub trait Payload: Sized {
    /// The value, or nothing if the bytes are none of this type. `flags` are the attribute's.
    fn read(bytes: &[u8], flags: u16) -> Option<Self>;

    /// Appends the value's bytes.
    fn write(&self, out: &mut Writer);

    /// Flags that the attribute carries ([`NESTED`](super::NESTED)).
    fn flags(&self) -> u16 {
        0
    }

    /// The value as text.
    ///
    /// # Errors
    /// Those of the formatter.
    fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;

    /// Path of the attribute whose header is at byte `at` of the value's bytes, if values of this type hold attributes.
    fn locate(&self, _at: usize) -> Option<String> {
        None
    }
}

/// One row of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Number of the attribute.
    pub kind: u16,
    /// C name, such as `IFLA_MTU`.
    pub name: &'static str,
    /// The Rust type of its value.
    pub value: &'static str,
}

/// An attribute of one table. Made by the crate's `attributes!` macro, one row an attribute.
pub trait Attribute: Sized + fmt::Display {
    /// The table.
    const ROWS: &'static [Row];

    /// Number of this attribute.
    fn kind(&self) -> u16;

    /// Reads one attribute; what the table does not know, or what does not fit its row, is kept as [`Unknown`].
    fn read(raw: &RawAttr<'_>) -> Self;

    /// Appends this attribute.
    fn write(&self, out: &mut Writer);

    /// Path of the attribute whose header is at byte `at` of this one's value.
    fn locate_inside(&self, at: usize) -> Option<String>;

    /// Completes a list just read: gives values a type that depends on another attribute (`IFLA_INFO_DATA` on the kind).
    fn refine(_list: &mut [Self]) {}

    /// C name of attribute number `kind`.
    #[must_use]
    fn name_of(kind: u16) -> Option<&'static str> {
        Self::ROWS.iter().find(|row| row.kind == kind).map(|row| row.name)
    }
}

/// Reads all attributes in `bytes`.
///
/// # Errors
/// When the lengths do not add up.
pub fn read_attrs<A: Attribute>(bytes: &[u8]) -> Result<Vec<A>, WireError> {
    let mut list = attrs(bytes).map(|raw| Ok(A::read(&raw?))).collect::<Result<Vec<A>, WireError>>()?;
    A::refine(&mut list);
    Ok(list)
}

/// Path of the attribute whose header is at byte `at` of the list's bytes: `IFLA_LINKINFO/IFLA_INFO_KIND`.
#[must_use]
pub fn locate<A: Attribute>(list: &[A], at: usize) -> Option<String> {
    let mut start = 0;
    for attr in list {
        let mut bytes = Writer::new();
        attr.write(&mut bytes);
        let name = || A::name_of(attr.kind()).map_or_else(|| format!("attribute {}", attr.kind()), str::to_owned);
        if at == start {
            return Some(name());
        }
        if at < start + bytes.len() {
            let deeper = attr.locate_inside(at.checked_sub(start + super::ATTR_HEADER_LEN)?)?;
            return Some(format!("{}/{deeper}", name()));
        }
        start += bytes.len();
    }
    None
}

/// An attribute that its table does not know, or whose value does not fit its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// Its number.
    pub kind: u16,
    /// [`NESTED`](super::NESTED), [`NET_BYTE_ORDER`](super::NET_BYTE_ORDER) or 0.
    pub flags: u16,
    /// Its value.
    pub payload: Bytes,
}

/// Attributes inside an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nest<A> {
    /// Whether the attribute says that it nests ([`NESTED`](super::NESTED)); old messages do not.
    pub flagged: bool,
    /// What is inside, in order.
    pub attrs: Vec<A>,
}

impl<A> Nest<A> {
    /// A nest that says so, as new messages must.
    #[must_use]
    pub fn new(attrs: Vec<A>) -> Nest<A> {
        Nest { flagged: true, attrs }
    }
}

impl<A: Attribute> Payload for Nest<A> {
    fn read(bytes: &[u8], flags: u16) -> Option<Self> {
        let attrs = read_attrs(bytes).ok()?;
        Some(Nest { flagged: flags & super::NESTED != 0, attrs })
    }

    fn write(&self, out: &mut Writer) {
        for attr in &self.attrs {
            attr.write(out);
        }
    }

    fn flags(&self) -> u16 {
        if self.flagged { super::NESTED } else { 0 }
    }

    fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print_attrs(&self.attrs, f)
    }

    fn locate(&self, at: usize) -> Option<String> {
        locate(&self.attrs, at)
    }
}

/// A list of nests whose attribute numbers say only which they are (`CTRL_ATTR_OPS`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Items<A> {
    /// Whether the attribute says that it nests.
    pub flagged: bool,
    /// Number and content of each.
    pub items: Vec<(u16, Nest<A>)>,
}

impl<A> Items<A> {
    /// The nests in order, without their numbers.
    pub fn nests(&self) -> impl Iterator<Item = &Nest<A>> {
        self.items.iter().map(|(_, nest)| nest)
    }
}

impl<A: Attribute> Payload for Items<A> {
    fn read(bytes: &[u8], flags: u16) -> Option<Self> {
        let item = |raw: Result<RawAttr<'_>, WireError>| {
            let raw = raw.ok()?;
            let nest = Nest::read(raw.payload, raw.flags)?;
            (nest.flags() == raw.flags).then_some((raw.kind, nest))
        };
        let items = attrs(bytes).map(item).collect::<Option<_>>()?;
        Some(Items { flagged: flags & super::NESTED != 0, items })
    }

    fn write(&self, out: &mut Writer) {
        for (number, nest) in &self.items {
            out.attr(*number, nest.flags(), |out| nest.write(out));
        }
    }

    fn flags(&self) -> u16 {
        if self.flagged { super::NESTED } else { 0 }
    }

    fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (number, nest)) in self.items.iter().enumerate() {
            write!(f, "{}{number} ", if n == 0 { "[ " } else { ", " })?;
            nest.print(f)?;
        }
        f.write_str(if self.items.is_empty() { "[]" } else { " ]" })
    }
}

/// `{ mtu 1500, ifname lo }`
pub(super) fn print_attrs<A: fmt::Display>(attrs: &[A], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if attrs.is_empty() {
        return f.write_str("{}");
    }
    for (n, attr) in attrs.iter().enumerate() {
        write!(f, "{}{attr}", if n == 0 { "{ " } else { ", " })?;
    }
    f.write_str(" }")
}

/// A value as text.
pub(crate) fn printed(value: &impl Payload) -> String {
    struct Show<'a, T>(&'a T);
    impl<T: Payload> fmt::Display for Show<'_, T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.print(f)
        }
    }
    Show(value).to_string()
}

/// `MTU` as `mtu `.
pub(crate) fn print_label(name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{} ", name.to_ascii_lowercase())
}

/// Makes an enum of attributes from a table: `Variant(Type) = number "NAME",`. The C name is the prefix and the name.
/// `refined by function` names the table's [`Attribute::refine`].
macro_rules! attributes {
    ($(#[$meta:meta])* pub enum $table:ident: $prefix:literal $(refined by $refine:path)? {
        $($(#[$row_meta:meta])* $variant:ident($type:ty) = $kind:literal $name:literal,)*
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum $table {
            $($(#[$row_meta])* #[doc = concat!("\n\nC name `", $prefix, $name, "`.")] $variant($type),)*
            /// Not in this table, or with a value that does not fit its row; kept as it came.
            Unknown($crate::wire::Unknown),
        }

        impl $crate::wire::Attribute for $table {
            const ROWS: &'static [$crate::wire::Row] = &[
                $($crate::wire::Row { kind: $kind, name: concat!($prefix, $name), value: stringify!($type) },)*
            ];

            fn kind(&self) -> u16 {
                match self {
                    $($table::$variant(_) => $kind,)*
                    $table::Unknown(unknown) => unknown.kind,
                }
            }

            fn read(raw: &$crate::wire::RawAttr<'_>) -> Self {
                use $crate::wire::Payload;
                match raw.kind {
                    $($kind => if let Some(value) =
                        <$type as Payload>::read(raw.payload, raw.flags).filter(|value| value.flags() == raw.flags)
                    {
                        return $table::$variant(value);
                    },)*
                    _ => {}
                }
                let payload = $crate::wire::Bytes(raw.payload.to_vec());
                $table::Unknown($crate::wire::Unknown { kind: raw.kind, flags: raw.flags, payload })
            }

            fn write(&self, out: &mut $crate::wire::Writer) {
                use $crate::wire::Payload;
                match self {
                    $($table::$variant(value) => out.attr($kind, value.flags(), |out| value.write(out)),)*
                    $table::Unknown(unknown) => out.attr(unknown.kind, unknown.flags, |out| unknown.payload.write(out)),
                }
            }

            fn locate_inside(&self, at: usize) -> Option<String> {
                use $crate::wire::Payload;
                match self {
                    $($table::$variant(value) => value.locate(at),)*
                    $table::Unknown(_) => None,
                }
            }

            $(fn refine(list: &mut [Self]) {
                $refine(list);
            })?
        }

        impl std::fmt::Display for $table {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                use $crate::wire::Payload;
                match self {
                    $($table::$variant(value) => {
                        $crate::wire::print_label($name, f)?;
                        value.print(f)
                    })*
                    $table::Unknown(unknown) => {
                        match <Self as $crate::wire::Attribute>::name_of(unknown.kind) {
                            Some(name) => write!(f, "{name}? ")?,
                            None => write!(f, "attribute {} ", unknown.kind)?,
                        }
                        unknown.payload.print(f)
                    }
                }
            }
        }
    };
}
pub(crate) use attributes;
