//! Helpers that ask about the world: clock, CPU, random numbers, the current task, and printing.

use super::{HelperFn, errno, low, size};
use crate::insn::helper::{self, Id};
use crate::vm::{FaultKind, Vm};

pub(super) const TABLE: &[(Id, HelperFn)] = &[
    (helper::KTIME_GET_NS, now),
    (helper::KTIME_GET_BOOT_NS, now),
    (helper::KTIME_GET_COARSE_NS, now),
    (helper::KTIME_GET_TAI_NS, now),
    (helper::JIFFIES64, |vm, _| Ok(vm.host.time_ns / 4_000_000)),
    (helper::GET_PRANDOM_U32, random),
    (helper::GET_SMP_PROCESSOR_ID, |vm, _| Ok(vm.host.cpu as u64)),
    (helper::GET_NUMA_NODE_ID, |_, _| Ok(0)),
    (helper::GET_CURRENT_PID_TGID, |vm, _| Ok(vm.host.pid_tgid)),
    (helper::GET_CURRENT_UID_GID, |vm, _| Ok(vm.host.uid_gid)),
    (helper::GET_CURRENT_COMM, current_comm),
    (helper::GET_SOCKET_COOKIE, |vm, _| Ok(vm.host.socket_cookie)),
    (helper::PROBE_READ, probe_read),
    (helper::PROBE_READ_KERNEL, probe_read),
    (helper::PROBE_READ_USER, probe_read),
    (helper::TRACE_PRINTK, trace_printk),
];

fn now(vm: &mut Vm, _: [u64; 5]) -> Result<u64, FaultKind> {
    vm.host.time_ns += vm.host.tick;
    Ok(vm.host.time_ns)
}

/// SplitMix64 (Steele, Lea, Flood 2014), the upper half of its output.
fn random(vm: &mut Vm, _: [u64; 5]) -> Result<u64, FaultKind> {
    vm.host.seed = vm.host.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (vm.host.seed ^ (vm.host.seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    Ok((z ^ (z >> 31)) >> 32)
}

fn current_comm(vm: &mut Vm, [to, len, ..]: [u64; 5]) -> Result<u64, FaultKind> {
    let target = vm.memory.bytes_mut(to, size("bpf_get_current_comm", len)?)?;
    target.fill(0);
    // The last byte stays zero.
    let kept = target.len().saturating_sub(1).min(vm.host.comm.len());
    target[..kept].copy_from_slice(&vm.host.comm[..kept]);
    Ok(0)
}

/// Reads what is there; an address that is not gives `-EFAULT` and zeroes, never a fault.
fn probe_read(vm: &mut Vm, [to, len, from, ..]: [u64; 5]) -> Result<u64, FaultKind> {
    let len = size("bpf_probe_read", len)?;
    let bytes = vm.copy(from, len);
    let target = vm.memory.bytes_mut(to, len)?;
    match bytes {
        Ok(bytes) => {
            target.copy_from_slice(&bytes);
            Ok(0)
        }
        Err(_) => {
            target.fill(0);
            Ok(errno(-14))
        }
    }
}

/// `%d %i %u %x %p %c %s` with any `l`s, three arguments at the most; the result is the line's length.
fn trace_printk(vm: &mut Vm, [format, len, a, b, c]: [u64; 5]) -> Result<u64, FaultKind> {
    let format = vm.copy(format, size("bpf_trace_printk", len)?)?;
    let mut args = [a, b, c].into_iter();
    let mut line = String::new();
    let mut chars = format.split(|b| *b == 0).next().unwrap_or(&[]).iter().copied();
    while let Some(byte) = chars.next() {
        if byte != b'%' {
            line.push(char::from(byte));
            continue;
        }
        let mut long = false;
        let kind = loop {
            match chars.next() {
                Some(b'l') => long = true,
                Some(b'0'..=b'9' | b'#') => {}
                other => break other,
            }
        };
        if kind == Some(b'%') {
            line.push('%');
            continue;
        }
        let Some(value) = args.next() else { return Ok(errno(-22)) };
        let Some(text) = formatted(vm, kind, value, long) else { return Ok(errno(-22)) };
        line += &text;
    }
    let length = line.len() as u64;
    vm.host.printed.push(line);
    Ok(length)
}

fn formatted(vm: &Vm, kind: Option<u8>, value: u64, long: bool) -> Option<String> {
    let unsigned = if long { value } else { low(value).into() };
    Some(match kind? {
        b'd' | b'i' if long => value.cast_signed().to_string(),
        b'd' | b'i' => low(value).cast_signed().to_string(),
        b'u' => unsigned.to_string(),
        b'x' => format!("{unsigned:x}"),
        b'p' => format!("{value:#x}"),
        b'c' => char::from(low(value).to_le_bytes()[0]).to_string(),
        b's' => {
            let bytes = (0..4096).map_while(|i| vm.memory.bytes(value + i, 1).ok().map(|b| b[0]));
            bytes.take_while(|b| *b != 0).map(char::from).collect()
        }
        _ => return None,
    })
}
