//! Every type of program and of map that the DSL has, as the running kernel takes it.
//!
//! Input: a program a type, which names the maps. Output: it loads, written for the oldest kernel.

use asm::{codegen::Profile, dsl::prelude::*};

use crate::support::{in_netns, loads};

/// A key with two fields.
#[derive(Layout)]
#[repr(C)]
struct Key {
    addr: Be32,
    port: Be16,
    pad: u16,
}

#[map]
static COUNTS: PerCpuHashMap<Key, u64, 16> = map();
#[map]
static RECENT: LruPerCpuHashMap<u32, u64, 16> = map();
#[map(flags = 1)]
static SPARSE: HashMap<u32, [u8; 12], 16> = map();
#[map]
static NEXT: ProgArray<4> = map();
#[map]
static CPUS: CpuMap<4> = map();
#[map]
static SOCKETS: XskMap<4> = map();
#[map]
static LOG: PerfEventArray<0> = map();
#[map]
static PEERS: SockMap<16> = map();
#[map]
static STREAMS: SockHash<Key, 16> = map();
#[map]
static WAITING: Queue<u64, 16> = map();
#[map]
static PILE: Stack<u64, 16> = map();
#[map]
static TOLD: RingBuf<4096> = map();

#[rodata]
static PORT: Be16 = Be16::new(80);
#[data]
static LIMIT: u64 = 100;
#[bss]
static SEEN: u64 = 0;

#[xdp(default = Action::Pass)]
fn sorts(ctx: &mut Xdp) -> Result<Action> {
    let mut pkt = ctx.packet();
    pkt.read::<Eth>()?;
    let ip = pkt.read::<Ipv4>()?;
    let key = Key { addr: ip.src, port: PORT, pad: 0 };
    if let Some(packets) = COUNTS.get(&key) {
        *packets += 1;
    } else {
        COUNTS.set(&key, &1, Update::NoExist);
    }
    RECENT.set(&7, &ktime_ns(), Update::Any);
    SPARSE.set(&cpu(), &[1; 12], Update::Any);
    SPARSE.remove(&8);
    SEEN.place().atomic_add(1);
    if SEEN.place() > LIMIT.place() {
        WAITING.push(&key_of(ip));
        PILE.push(&1);
        LOG.output(ctx, &key);
        TOLD.output(&key);
        NEXT.tail_call(ctx, 1);
        return Ok(CPUS.redirect(ctx, random() & 3, Action::Pass));
    }
    let queue = ctx.rx_queue_index();
    Ok(SOCKETS.redirect(ctx, queue, Action::Pass))
}

/// Addresses as one number.
#[subprog]
fn both(from: u32, to: u32) -> u64 {
    (from as u64) << 32 | to as u64
}

#[bpf_fn]
fn key_of(ip: PktRef<'_, Ipv4>) -> u64 {
    both(ip.src.raw(), ip.dst.raw())
}

#[tc(default = TcAction::Ok)]
fn marks(skb: &mut Tc) -> Result<TcAction> {
    let mut pkt = skb.packet();
    let eth = pkt.read::<Eth>()?;
    if eth.proto == ETH_IPV6 && skb.mark() == 7 {
        return Ok(TcAction::Shot);
    }
    Ok(TcAction::Ok)
}

#[cgroup_skb(egress, default = Access::Allow)]
fn leaves(skb: &mut CgroupSkb) -> Result<Access> {
    let ip = skb.packet().read::<Ipv4>()?;
    Ok(if ip.protocol == ICMP { Access::Deny } else { Access::Allow })
}

#[cgroup_sock_addr(connect4)]
fn connects(ctx: &mut SockAddr) -> Access {
    if ctx.user_port() == PORT && ctx.protocol() == TCP as u32 {
        return Access::Deny;
    }
    Access::Allow
}

#[sk_lookup]
fn serves(ctx: &mut SkLookup) -> SkAction {
    if ctx.local_port() < 1024 { SkAction::Pass } else { SkAction::Drop }
}

#[sock_ops]
fn enrolls(ops: &mut SockOps) -> Reply {
    match ops.op() {
        SockOps::ACTIVE_ESTABLISHED => {
            PEERS.add(ops, &1, Update::Any);
        }
        SockOps::PASSIVE_ESTABLISHED => {
            STREAMS.add(ops, &Key { addr: ops.remote_ip4(), port: Be16::new(0), pad: 0 }, Update::Any);
        }
        _ => {}
    }
    Reply::None
}

#[sk_skb(stream_verdict)]
fn splices(skb: &mut SkSkb) -> SkAction {
    STREAMS.redirect_skb(skb, &Key { addr: skb.remote_ip4(), port: Be16::new(0), pad: 0 }, Toward::Egress)
}

#[tracepoint("syscalls/sys_enter_openat")]
fn opens(ctx: &mut Tracepoint) {
    RECENT.set(&pid(), &ctx.word::<16>(), Update::Any);
}

#[kprobe("do_unlinkat")]
fn unlinks(ctx: &mut Kprobe) -> u32 {
    let name = ctx.arg::<1>();
    if name == 0 {
        return 0;
    }
    RECENT.set(&pid(), &name, Update::Any);
    0
}

#[test]
fn every_type_loads() {
    in_netns(|| {
        loads(
            [sorts(), marks(), leaves(), connects(), serves(), enrolls(), splices(), opens(), unlinks()],
            &Profile::linux_5_10(),
        );
    });
}
