//! Stage: ethtool's bit sets, in which bits go by name. Input: nested attributes; output: names and values; and back.
//! Next: `ethtool.rs`.

use crate::wire::{Bytes, Flag, Nest, Text, attributes};

attributes! {
    /// Attributes of a bit set.
    pub enum BitsetAttr: "ETHTOOL_A_BITSET_" {
        /// A list of the bits that are on, not of changes.
        NoMask(Flag) = 1 "NOMASK",
        /// How many bits there are.
        Size(u32) = 2 "SIZE",
        /// The bits.
        Bits(Nest<BitsAttr>) = 3 "BITS",
        /// The values as words, compact form.
        Value(Bytes) = 4 "VALUE",
        /// Which bits count, compact form.
        Mask(Bytes) = 5 "MASK",
    }
}

attributes! {
    /// Attributes of [`BitsetAttr::Bits`].
    pub enum BitsAttr: "ETHTOOL_A_BITSET_BITS_" {
        /// One bit.
        Bit(Nest<BitAttr>) = 1 "BIT",
    }
}

attributes! {
    /// Attributes of a bit.
    pub enum BitAttr: "ETHTOOL_A_BITSET_BIT_" {
        /// Its number.
        Index(u32) = 1 "INDEX",
        /// Its name.
        Name(Text) = 2 "NAME",
        /// There when it is on.
        Value(Flag) = 3 "VALUE",
    }
}

/// Names and values of the bits that a set lists.
pub(super) fn read(set: &Nest<BitsetAttr>) -> Vec<(String, bool)> {
    let no_mask = set.attrs.iter().any(|attr| matches!(attr, BitsetAttr::NoMask(_)));
    let bits = set.attrs.iter().find_map(|attr| match attr {
        BitsetAttr::Bits(bits) => Some(&bits.attrs),
        _ => None,
    });
    let named = |bit: &BitsAttr| match bit {
        BitsAttr::Bit(bit) => {
            let name = bit.attrs.iter().find_map(|attr| match attr {
                BitAttr::Name(name) => Some(name.as_str().into_owned()),
                _ => None,
            })?;
            let value = bit.attrs.iter().any(|attr| matches!(attr, BitAttr::Value(_)));
            // Numbers that no feature has any more keep an empty name.
            (!name.is_empty()).then_some((name, value || no_mask))
        }
        BitsAttr::Unknown(_) => None,
    };
    bits.map(|bits| bits.iter().filter_map(named).collect()).unwrap_or_default()
}

/// A set that changes these bits and no others.
pub(super) fn write<'a>(changes: impl IntoIterator<Item = (&'a str, bool)>) -> Nest<BitsetAttr> {
    let bit = |(name, on): (&str, bool)| {
        let mut bit = vec![BitAttr::Name(Text::new(name))];
        bit.extend(on.then_some(BitAttr::Value(Flag)));
        BitsAttr::Bit(Nest::new(bit))
    };
    Nest::new(vec![BitsetAttr::Bits(Nest::new(changes.into_iter().map(bit).collect()))])
}
