//! Stage: shared vocabulary. The Internet checksum (RFC 1071), and how to keep it right when one field changes (RFC 1624).
//!
//! Input: bytes. Output: a checksum as the two bytes to store.
//!
//! The ones' complement sum does not care about byte order (RFC 1071, section 2 B): add the 16-bit words as the machine
//! loads them, store the result as the machine stores it, and the bytes on the wire are the same on every machine. So
//! nothing here swaps, and neither do the kernel programs.
//! Next file to read: `../lb/types.rs`.

/// The sum of the 16-bit words of `bytes`, unfolded; an odd last byte counts as if a zero byte followed.
///
/// Unfolded sums may be added to each other: a sum over parts that start at even offsets is the sum of their sums.
///
/// ```
/// use progs::net::csum::{fold, sum};
/// assert_eq!(fold(sum(&[1, 2]) + sum(&[3, 4])), fold(sum(&[1, 2, 3, 4])));
/// ```
#[must_use]
pub fn sum(bytes: &[u8]) -> u32 {
    let mut words = bytes.chunks_exact(2);
    let whole: u32 = words.by_ref().map(|w| u32::from(u16::from_ne_bytes([w[0], w[1]]))).fold(0, add);
    match words.remainder() {
        [last] => add(whole, u32::from(u16::from_ne_bytes([*last, 0]))),
        _ => whole,
    }
}

/// Ones' complement addition of 32-bit sums: what leaves at the top comes back at the bottom.
const fn add(a: u32, b: u32) -> u32 {
    let (low, carry) = a.overflowing_add(b);
    low + carry as u32
}

/// Folds a sum to 16 bits. Two rounds are enough: after the first, at most one carry is left.
///
/// Leaving out the second round gives a wrong checksum about once in ten thousand packets.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "two folds leave at most 0xffff")]
pub const fn fold(sum: u32) -> u16 {
    let once = (sum & 0xffff) + (sum >> 16);
    ((once & 0xffff) + (once >> 16)) as u16
}

/// The checksum of `bytes` (whose own checksum field, if inside, is zero), ready to be stored.
///
/// ```
/// // The example of RFC 1071, section 3: the sum of these words is 0xddf2.
/// let sum = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
/// assert_eq!(progs::net::csum::checksum(&sum), [!0xdd, !0xf2]);
/// ```
#[must_use]
pub fn checksum(bytes: &[u8]) -> [u8; 2] {
    (!fold(sum(bytes))).to_ne_bytes()
}

/// The checksum after one 16-bit word changed from `old` to `new`: `HC' = ~(~HC + ~m + m')` (RFC 1624, equation 3).
///
/// The subtracting form of RFC 1141 can give 0xffff where 0x0000 is right; this one cannot.
#[must_use]
pub fn update(check: [u8; 2], old: [u8; 2], new: [u8; 2]) -> [u8; 2] {
    let word = |bytes: [u8; 2]| u16::from_ne_bytes(bytes);
    let sum = u32::from(!word(check)) + u32::from(!word(old)) + u32::from(word(new));
    (!fold(sum)).to_ne_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, word by word in network byte order, each carry added as soon as it appears.
    fn slow(bytes: &[u8]) -> [u8; 2] {
        let mut sum: u16 = 0;
        for pair in bytes.chunks(2) {
            let word = u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]);
            let (low, carry) = sum.overflowing_add(word);
            sum = low + u16::from(carry);
        }
        (!sum).to_be_bytes()
    }

    #[test]
    fn second_fold_is_needed() {
        // 0x1ffff folds to 0x10000, which needs one more round; a single round would lose the carry.
        assert_eq!(fold(0x0001_ffff), 1);
        assert_eq!(fold(u32::MAX), 0xffff);
    }

    #[test]
    fn long_input_wraps_around() {
        let bytes = vec![0xff; 300_000];
        assert_eq!(checksum(&bytes), slow(&bytes));
    }

    proptest! {
        #[test]
        fn equals_the_definition(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(checksum(&bytes), slow(&bytes));
        }

        #[test]
        fn a_header_with_its_checksum_sums_to_zero(mut header in any::<[u8; 20]>()) {
            header[10..12].fill(0);
            let check = checksum(&header);
            header[10..12].copy_from_slice(&check);
            prop_assert_eq!(checksum(&header), [0, 0]);
        }

        #[test]
        fn update_equals_recomputation(mut header in any::<[u8; 20]>(), at in 0usize..10, new in any::<[u8; 2]>()) {
            prop_assume!(at != 5);
            header[0] = 0x45; // an all-zero header does not occur: 0x0000 and 0xffff would both be zero
            header[10..12].fill(0);
            let check = checksum(&header);
            let old = [header[2 * at], header[2 * at + 1]];
            let new = if at == 0 { [0x45, new[1]] } else { new };
            header[2 * at..2 * at + 2].copy_from_slice(&new);
            prop_assert_eq!(update(check, old, new), checksum(&header));
        }
    }
}
