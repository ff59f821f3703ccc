//! Chance, and bytes.
//!
//! Stage: test support. Input: a seed, a place in a stream. Output: numbers that look random, bytes that tell places apart. Next file to
//! read: `script.rs`.

use std::sync::OnceLock;

/// Chance, the same for the same seed (splitmix64).
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    /// Below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % end
    }

    /// From 1 to `most`.
    pub(crate) fn up_to(&mut self, most: u64) -> usize {
        usize::try_from(1 + self.below(most)).expect("it is small")
    }
}

/// What a stream's bytes repeat: a prime number of them, so that no loss of whole blocks goes unnoticed.
const PERIOD: usize = 65_521;

/// The most that is asked for at a time.
pub(crate) const PIECE: usize = 256 << 10;

/// The bytes from a place of a stream on.
pub(crate) fn bytes(at: u64, len: usize) -> &'static [u8] {
    static ENOUGH: OnceLock<Vec<u8>> = OnceLock::new();
    let fill = || {
        let once: Vec<u8> =
            (0..PERIOD as u64).map(|at| at.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0]).collect();
        once.iter().copied().cycle().take(PERIOD + PIECE).collect()
    };
    let start = usize::try_from(at % PERIOD as u64).expect("it is small");
    &ENOUGH.get_or_init(fill)[start..start + len]
}
