//! `maglev`: a layer-4 balancer. VIP, ring, real server; out again in an IP-in-IP header.
//!
//! Input: TCP and UDP in IPv4 without options. Output: the packet with 20 bytes in front, to the real server; `stats` per VIP
//! and CPU. Read next: `ratelimit.rs`.

use asm::dsl::prelude::*;

/// Slots of a VIP's ring: a prime.
const RING: u32 = 65537;

/// What a VIP is known by.
#[derive(Layout)]
#[repr(C)]
struct VipKey {
    addr: Be32,
    port: Be16,
    proto: u8,
    pad: u8,
}

/// Which ring is the VIP's.
#[derive(Layout)]
#[repr(C)]
struct Vip {
    index: u32,
}

/// A real server.
#[derive(Layout)]
#[repr(C)]
struct Real {
    addr: Be32,
    mac: [u8; 6],
    pad: u16,
}

/// What went to a VIP.
#[derive(Layout)]
#[repr(C)]
struct Stat {
    packets: u64,
    bytes: u64,
}

#[map]
static VIPS: HashMap<VipKey, Vip, 512> = map();
#[map]
static RINGS: Array<u32, { 16 * RING }> = map();
#[map]
static REALS: Array<Real, 4096> = map();
#[map]
static STATS: PerCpuArray<Stat, 512> = map();

/// This balancer's address, set before the load.
#[rodata]
static LOCAL: Be32 = Be32::new(0);

/// The last mix of Bob Jenkins' lookup3.
#[bpf_fn]
fn mix(mut a: u32, mut b: u32, mut c: u32) -> u32 {
    c ^= b;
    c -= b.rotate_left(14);
    a ^= c;
    a -= c.rotate_left(11);
    b ^= a;
    b -= a.rotate_left(25);
    c ^= b;
    c -= b.rotate_left(16);
    a ^= c;
    a -= c.rotate_left(4);
    b ^= a;
    b -= a.rotate_left(14);
    c ^= b;
    c -= b.rotate_left(24);
    c
}

/// The ports as the number that they are in memory.
#[derive(Layout)]
#[repr(C)]
struct Both {
    ports: u32,
}

#[xdp(default = Action::Drop)]
fn maglev(ctx: &mut Xdp) -> Result<Action> {
    let mut pkt = ctx.packet();
    let Some(eth) = pkt.read::<Eth>() else { return Ok(Action::Pass) };
    let Some(ip) = pkt.read::<Ipv4>() else { return Ok(Action::Pass) };
    let Some(both) = pkt.peek::<Both>() else { return Ok(Action::Pass) };
    let Some(l4) = pkt.read::<Ports>() else { return Ok(Action::Pass) };
    if eth.proto != ETH_IPV4 || ip.ihl() != 5 {
        return Ok(Action::Pass);
    }
    if ip.protocol != TCP && ip.protocol != UDP {
        return Ok(Action::Pass);
    }
    let key = VipKey { addr: ip.dst, port: l4.dst, proto: ip.protocol, pad: 0 };
    let Some(vip) = VIPS.get(&key) else { return Ok(Action::Pass) };
    let slot = mix(ip.src.raw(), both.ports, 0xdeadbeef) % RING + vip.index * RING;
    let id = RINGS.get(&slot)?;
    let real = REALS.get(&id)?;

    let (len, tos) = (ip.total_len.get(), ip.tos);
    let mac = eth.dst;
    if let Some(stat) = STATS.get(&vip.index) {
        stat.packets += 1;
        stat.bytes += len as u64;
    }
    ctx.adjust_head(-20)?;
    let mut pkt = ctx.packet();
    let eth = pkt.read::<Eth>()?;
    let ip = pkt.read::<Ipv4>()?;
    *eth = Eth { dst: real.mac, src: mac, proto: ETH_IPV4 };
    *ip = Ipv4 {
        version_ihl: 0x45,
        tos: tos,
        total_len: (len + 20).to_be(),
        id: Be16::new(0),
        fragment: Be16::new(0),
        ttl: 64,
        protocol: IPIP,
        checksum: Be16::new(0),
        src: LOCAL,
        dst: real.addr,
    };
    ip.checksum = ip.sum();
    Ok(Action::Tx)
}

pub(crate) fn module() -> Module {
    Module::new(crate::LICENSE).prog(maglev())
}
