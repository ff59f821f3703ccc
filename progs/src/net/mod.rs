//! Stage: shared vocabulary. The headers a packet is made of, as wire structs and numbers.
//!
//! Input: nothing. Output: one file a protocol, used by the kernel programs (offsets), the control planes and the tests
//! (values). A kernel program never names a bare `23` or `0x0800`: it names the field or the constant here.
//! Next file to read: `eth.rs`, then `ip.rs`, then `csum.rs`.

pub mod csum;
pub mod eth;
pub mod icmp;
pub mod ip;
pub mod tcp;
pub mod udp;

/// A byte offset as the 16-bit displacement of a load or store.
///
/// ```
/// use progs::net::{disp, ip::Ipv4};
/// assert_eq!(disp(std::mem::offset_of!(Ipv4, protocol)), 9);
/// ```
///
/// # Panics
/// While compiling (every use is a constant): when the offset does not fit in an `i16`.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "the assert above the cast keeps it in range"
)]
pub const fn disp(offset: usize) -> i16 {
    assert!(offset <= i16::MAX as usize, "an instruction reaches 32,767 bytes from its base register");
    offset as i16
}
