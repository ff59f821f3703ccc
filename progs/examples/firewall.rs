//! `firewall`: blocked sources, open ports; whoever answers a connection of this host's comes in.
//!
//! Input: IPv4, with options or without. Output: drop or pass; `counts` per reason and CPU. Without `strict` a closed port is
//! counted and passed. Read next: `sockops.rs`.

use asm::dsl::prelude::*;

/// A prefix, as the kernel's trie wants it.
#[derive(Layout)]
#[repr(C)]
struct Prefix {
    /// Bits of the address that count.
    len: u32,
    addr: Be32,
}

/// A port of this host.
#[derive(Layout)]
#[repr(C)]
struct Service {
    port: Be16,
    protocol: u8,
    pad: u8,
}

/// Why a packet went where it went; its number is its place in `counts`.
#[derive(Clone, Copy, Layout)]
#[repr(u32)]
enum Reason {
    Passed,
    Blocked,
    Closed,
}

/// Sources that may not reach this host.
#[map]
static BLOCKED: LpmTrie<Prefix, u32, 1024> = map();
/// Ports that may be reached.
#[map]
static OPEN: HashMap<Service, u32, 256> = map();
#[map]
static COUNTS: PerCpuArray<u64, 3> = map();

/// Drop what is for a closed port.
#[rodata]
static STRICT: u32 = 0;

#[bpf_fn]
fn count(reason: Reason) {
    if let Some(packets) = COUNTS.get(&(reason as u32)) {
        *packets += 1;
    }
}

#[xdp(default = Action::Pass)]
fn firewall(ctx: &mut Xdp) -> Result<Action> {
    let mut pkt = ctx.packet();
    let eth = pkt.read::<Eth>()?;
    let ip = pkt.read::<Ipv4>()?;
    if eth.proto != ETH_IPV4 {
        return Ok(Action::Pass);
    }
    if let Some(_) = BLOCKED.get(&Prefix { len: 32, addr: ip.src }) {
        count(Reason::Blocked);
        return Ok(Action::Drop);
    }
    pkt.skip(ip.options_len())?;
    let port = match ip.protocol {
        TCP => {
            let tcp = pkt.read::<Tcp>()?;
            if tcp.flags & ACK != 0 {
                count(Reason::Passed);
                return Ok(Action::Pass);
            }
            tcp.dst
        }
        UDP => pkt.read::<Udp>()?.dst,
        _ => {
            count(Reason::Passed);
            return Ok(Action::Pass);
        }
    };
    match OPEN.get(&Service { port, protocol: ip.protocol, pad: 0 }) {
        Some(_) => count(Reason::Passed),
        None => {
            count(Reason::Closed);
            if STRICT != 0 {
                return Ok(Action::Drop);
            }
        }
    }
    Ok(Action::Pass)
}

pub(crate) fn module() -> Module {
    Module::new(crate::LICENSE).prog(firewall())
}
