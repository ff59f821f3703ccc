//! Helpers that ask about the world (clock, CPU, random numbers, the current task), and those on text.

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
    (helper::GET_CURRENT_CGROUP_ID, |vm, _| Ok(vm.host.cgroup_id)),
    (helper::SKB_CGROUP_ID, |vm, _| Ok(vm.host.cgroup_id)),
    (helper::PROBE_READ, probe_read),
    (helper::PROBE_READ_KERNEL, probe_read),
    (helper::PROBE_READ_USER, probe_read),
    (helper::PROBE_READ_STR, probe_read_str),
    (helper::PROBE_READ_KERNEL_STR, probe_read_str),
    (helper::PROBE_READ_USER_STR, probe_read_str),
    (helper::TRACE_PRINTK, trace_printk),
    (helper::SNPRINTF, snprintf),
    (helper::STRTOL, |vm, a| parse(vm, a, true)),
    (helper::STRTOUL, |vm, a| parse(vm, a, false)),
    (helper::STRNCMP, strncmp),
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
    let Some(line) = format_text(vm, &format, &[a, b, c]) else { return Ok(errno(-22)) };
    let length = line.len() as u64;
    vm.host.printed.push(line);
    Ok(length)
}

/// `bpf_snprintf`: the arguments lie in memory; the result counts the 0 at the end.
fn snprintf(vm: &mut Vm, [to, len, format, data, data_len]: [u64; 5]) -> Result<u64, FaultKind> {
    let format = text(vm, format);
    let args = if data_len == 0 { Vec::new() } else { vm.copy(data, size("bpf_snprintf", data_len)?)? };
    let args: Vec<u64> = args.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
    let Some(line) = format_text(vm, &format, &args) else { return Ok(errno(-22)) };
    let len = size("bpf_snprintf", len)?;
    if len > 0 {
        let kept = line.len().min(len - 1);
        let target = vm.memory.bytes_mut(to, len)?;
        target[..kept].copy_from_slice(&line.as_bytes()[..kept]);
        target[kept] = 0;
    }
    Ok(line.len() as u64 + 1)
}

/// The bytes from an address to the next 0, a page at the most.
fn text(vm: &Vm, address: u64) -> Vec<u8> {
    let bytes = (0..4096).map_while(|i| vm.memory.bytes(address.wrapping_add(i), 1).ok().map(|b| b[0]));
    bytes.take_while(|b| *b != 0).collect()
}

/// `bpf_strtol` and `bpf_strtoul`: the bytes that were read, or a negative error.
fn parse(vm: &mut Vm, [from, len, base, to, _]: [u64; 5], signed: bool) -> Result<u64, FaultKind> {
    let bytes = vm.copy(from, size("bpf_strtol", len)?)?;
    let blanks = bytes.iter().take_while(|b| b.is_ascii_whitespace()).count();
    let minus = usize::from(signed && bytes.get(blanks) == Some(&b'-'));
    let start = blanks + minus;
    let hex = bytes[start..].starts_with(b"0x") || bytes[start..].starts_with(b"0X");
    let radix = match (base, bytes.get(start)) {
        (0, _) if hex => 16,
        (0, Some(b'0')) => 8,
        (0, _) => 10,
        (8 | 10 | 16, _) => u32::try_from(base).unwrap_or(10),
        _ => return Ok(errno(-22)),
    };
    let start = if radix == 16 && hex { start + 2 } else { start };
    let digits = bytes[start..].iter().map_while(|b| char::from(*b).to_digit(radix));
    let (count, value) = digits.fold((0, Some(0_u64)), |(n, value), digit| {
        (n + 1, value.and_then(|v| v.checked_mul(radix.into())?.checked_add(digit.into())))
    });
    let limit = if signed { i64::MAX.cast_unsigned() + minus as u64 } else { u64::MAX };
    let value = match value.filter(|value| *value <= limit) {
        _ if count == 0 => return Ok(errno(-22)),
        None => return Ok(errno(-34)),
        Some(value) if minus == 1 => value.wrapping_neg(),
        Some(value) => value,
    };
    vm.memory.bytes_mut(to, 8)?.copy_from_slice(&value.to_le_bytes());
    Ok((start + count) as u64)
}

/// `bpf_strncmp`: the difference of the first bytes that differ.
fn strncmp(vm: &mut Vm, [left, len, right, ..]: [u64; 5]) -> Result<u64, FaultKind> {
    let left = vm.copy(left, size("bpf_strncmp", len)?)?;
    let right = text(vm, right);
    let at = |bytes: &[u8], i: usize| bytes.get(i).copied().unwrap_or(0);
    for i in 0..left.len() {
        let (a, b) = (at(&left, i), at(&right, i));
        if a != b || a == 0 {
            return Ok(i64::from(i16::from(a) - i16::from(b)).signum().cast_unsigned());
        }
    }
    Ok(0)
}

/// Copies up to the 0, which it writes always; the result counts it.
fn probe_read_str(vm: &mut Vm, [to, len, from, ..]: [u64; 5]) -> Result<u64, FaultKind> {
    let len = size("bpf_probe_read_str", len)?;
    let there = vm.memory.bytes(from, 1).is_ok();
    let mut bytes = text(vm, from);
    bytes.truncate(len.saturating_sub(1));
    let target = vm.memory.bytes_mut(to, len)?;
    if !there || len == 0 {
        target.fill(0);
        return Ok(if there { 0 } else { errno(-14) });
    }
    target[..bytes.len()].copy_from_slice(&bytes);
    target[bytes.len()] = 0;
    Ok(bytes.len() as u64 + 1)
}

/// What `printk` makes of a format, up to its 0, and its arguments; `None` for a format the kernel refuses.
fn format_text(vm: &Vm, format: &[u8], args: &[u64]) -> Option<String> {
    let mut args = args.iter().copied();
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
        line += &formatted(vm, kind, args.next()?, long)?;
    }
    Some(line)
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
        b's' => text(vm, value).into_iter().map(char::from).collect(),
        _ => return None,
    })
}
