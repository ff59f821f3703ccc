//! Longest-prefix match: keys of a prefix tree.
//!
//! Input: keys as programs pass them, prefix length (native `u32`) and address bytes. Output: the slot of the longest
//! prefix that covers an address.

use std::collections::BTreeMap;

/// Splits `prefix length (native u32) + address` and clears the bits beyond the prefix.
pub(super) fn lpm_key(key: &[u8]) -> Option<(u32, Box<[u8]>)> {
    let (len, address) = key.split_first_chunk::<4>()?;
    let len = u32::from_le_bytes(*len);
    (len as usize <= address.len() * 8).then(|| (len, masked(address, len)))
}

fn masked(address: &[u8], len: u32) -> Box<[u8]> {
    let mut out = vec![0; address.len()].into_boxed_slice();
    for (i, byte) in address.iter().enumerate() {
        let kept = (len as usize).saturating_sub(i * 8).min(8);
        #[expect(clippy::cast_possible_truncation, reason = "the lower byte of the shifted mask is wanted")]
        let mask = (0xff00_u16 >> kept) as u8;
        out[i] = byte & mask;
    }
    out
}

pub(super) fn longest_prefix(slots: &BTreeMap<(u32, Box<[u8]>), u32>, key: &[u8]) -> Option<u32> {
    let (want, address) = lpm_key(key)?;
    (0..=want).rev().find_map(|len| slots.get(&(len, masked(&address, len))).copied())
}
