//! Stage: lab trial. What travels in one exchange, and how each byte of it is checked.
//!
//! Input: a number and a size. Output: request and reply as bytes. Read next: `server.rs` and `client.rs`, the two ends.
//!
//! A request is `number: u32 BE`, `length: u32 BE`, then `length` bytes that follow from the number. The reply is
//! `server: u32 BE`, `length: u32 BE`, then the request's bytes, each XORed with the server's mask. So a byte lost, added,
//! changed, or answered by another server than the one that says so, is seen.

use crate::manifest::lab::{Protocol, Trial};
use crate::manifest::trial::MOST_UDP;

/// Bytes before the payload, in both directions.
pub(super) const HEADER: usize = 8;

/// Room for the largest datagram, and a byte more: a longer one is seen by its length.
pub(super) const DATAGRAM: usize = HEADER + MOST_UDP + 1;

/// Payload sizes where the manifest names none, taken in turn: small, one that fills a frame, and (TCP) one of several frames.
const TCP_SIZES: [usize; 4] = [16, 300, 1_452, 5_000];

/// As [`TCP_SIZES`]; the largest is the most a datagram carries.
const UDP_SIZES: [usize; 3] = [16, 300, MOST_UDP];

/// The size of the payload of request `number` of a trial.
pub(super) fn size(trial: &Trial, number: u32) -> usize {
    let sizes: &[usize] = match trial.protocol {
        _ if !trial.sizes.is_empty() => &trial.sizes,
        Protocol::Tcp => &TCP_SIZES,
        Protocol::Udp => &UDP_SIZES,
    };
    sizes[usize::try_from(number).unwrap_or(0) % sizes.len()]
}

/// The payload of request `number`: no two positions of it are alike, so that bytes in the wrong place are seen.
pub(super) fn payload(number: u32, length: usize) -> Vec<u8> {
    let mut state = (u64::from(number) << 1 | 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bytes = Vec::with_capacity(length + 7);
    while bytes.len() < length {
        // Marsaglia's xorshift.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_be_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// The whole request.
pub(super) fn request(number: u32, length: usize) -> Vec<u8> {
    frame(number, &payload(number, length))
}

/// The whole reply of a server to a request's payload.
pub(super) fn reply(server: u32, payload: &[u8]) -> Vec<u8> {
    let mask = mask(server);
    let masked: Vec<u8> = payload.iter().map(|byte| byte ^ mask).collect();
    frame(server, &masked)
}

/// Which of `servers` sent this reply to this request, if every byte of it is right.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn check(request: &[u8], got: &[u8], servers: u32) -> Result<u32, String> {
    let Some((server, _)) = header(got) else {
        return Err(format!("a reply of {} bytes, shorter than its header", got.len()));
    };
    if server >= servers {
        return Err(format!("a reply of server {server}; there are {servers}"));
    }
    let want = reply(server, request.get(HEADER..).unwrap_or_default());
    if want.len() != got.len() {
        return Err(format!("a reply of {} bytes instead of {}", got.len(), want.len()));
    }
    match want.iter().zip(got).position(|(want, got)| want != got) {
        Some(at) => Err(format!("byte {at} of {} is wrong", got.len())),
        None => Ok(server),
    }
}

/// The two numbers at the start; `None` when there are fewer than eight bytes.
pub(super) fn header(bytes: &[u8]) -> Option<(u32, usize)> {
    let (first, rest) = bytes.split_first_chunk::<4>()?;
    let (second, _) = rest.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*first), usize::try_from(u32::from_be_bytes(*second)).ok()?))
}

fn frame(number: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut out = Vec::with_capacity(HEADER + payload.len());
    out.extend_from_slice(&number.to_be_bytes());
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

fn mask(server: u32) -> u8 {
    server.wrapping_mul(37).wrapping_add(11).to_be_bytes()[3]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_damage_is_seen() {
        let request = request(7, 100);
        let reply = reply(2, &request[HEADER..]);
        assert_eq!(check(&request, &reply, 3), Ok(2));
        assert!(check(&request, &reply[..50], 3).is_err(), "truncated");
        assert!(check(&request, &[], 3).is_err(), "empty");
        assert!(check(&request, &[&reply[..], &[0]].concat(), 3).is_err(), "one more");
        for at in 0..reply.len() {
            let mut damaged = reply.clone();
            damaged[at] ^= 0x10;
            assert!(check(&request, &damaged, 3).is_err(), "byte {at}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_reply_is_judged_without_panic(number: u32, length in 0..200_usize, got: Vec<u8>) {
            let request = request(number, length);
            drop(check(&request, &got, 3));
            let right = reply(number % 3, &request[HEADER..]);
            proptest::prop_assert_eq!(check(&request, &right, 3), Ok(number % 3));
        }
    }

    #[test]
    fn payloads_differ() {
        assert_ne!(payload(1, 64), payload(2, 64));
        assert_eq!(payload(1, 64), payload(1, 64));
    }
}
