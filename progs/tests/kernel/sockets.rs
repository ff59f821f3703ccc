//! The programs that a way around the TCP stack needs, in shape: as the running kernel takes them.
//!
//! Input: a program of each type, with storage of sockets, counters, events. Output: it loads, written for the oldest
//! kernel that has what it names. Next file to read: `random.rs`.

use asm::{codegen::Profile, dsl::prelude::*};

use crate::support::{in_netns, kernel, loads};

/// Both first sequence numbers name a connection, wherever its ends are.
#[derive(Layout)]
#[repr(C)]
struct Numbers {
    client: u32,
    server: u32,
}

/// What a socket remembers.
#[derive(Layout)]
#[repr(C)]
struct Me {
    slot: u32,
    side: u32,
}

/// One direction of a connection, or both.
#[derive(Layout)]
#[repr(C)]
struct Slot {
    sent: [u64; 2],
    read: [u64; 2],
    ready: [u32; 2],
}

/// A connection that ended.
#[derive(Layout)]
#[repr(C)]
struct Ended {
    ns: u64,
    cookie: u64,
    sent: u64,
    state: TcpState,
    pad: u32,
}

#[map]
static PENDING: LruHashMap<Numbers, u32, 1024> = map();
#[map]
static SLOTS: Array<Slot, 1024> = map();
#[map]
static ME: SkStorage<Me> = map();
#[map]
static PEERS: SockHash<u32, 2048> = map();
#[map]
static ENDED: RingBuf<4096> = map();
#[map]
static LOST: PerfEventArray<0> = map();
#[map]
static REDIRECTED: PerCpuArray<u64, 2> = map();
#[map]
static QUARANTINE: HashMap<u64, u32, 64> = map();
#[bss]
static NEXT: u64 = 0;

/// Enrolls both ends, and takes them out when one of them closes.
#[sock_ops(default = Reply::None)]
fn pairs(ops: &mut SockOps) -> Result<Reply> {
    let side = match ops.op() {
        SockOps::ACTIVE_ESTABLISHED => 0u32,
        SockOps::PASSIVE_ESTABLISHED => 1,
        SockOps::STATE => {
            let sk = ops.sk()?;
            let me = ME.get(&sk)?;
            if ops.new_state() != TcpState::FinWait1 {
                return Ok(Reply::None);
            }
            let slot = SLOTS.get(&me.slot)?;
            let ended = Ended {
                ns: ktime_ns(),
                cookie: ops.cookie(),
                sent: slot.sent[me.side & 1],
                state: ops.old_state(),
                pad: 0,
            };
            if ENDED.output(&ended).code() != 0 {
                LOST.output(ops, &ended);
            }
            PEERS.remove(&(me.slot << 1 | me.side));
            ME.remove(&sk);
            return Ok(Reply::None);
        }
        _ => return Ok(Reply::None),
    };
    let (mine, theirs) = (ops.snd_nxt(), ops.rcv_nxt());
    let numbers =
        if side == 0 { Numbers { client: mine, server: theirs } } else { Numbers { client: theirs, server: mine } };
    let sk = ops.sk()?;
    let slot = match PENDING.get(&numbers) {
        Some(slot) => *slot,
        None => {
            NEXT.place().atomic_add(1);
            let slot = NEXT.place() as u32 & 1023;
            PENDING.set(&numbers, &slot, Update::Any);
            slot
        }
    };
    ME.get_or_init(&sk, &Me { slot, side })?;
    PEERS.add(ops, &(slot << 1 | side), Update::NoExist)?;
    ops.set_cb_flags(SockOps::WANT_STATE)?;
    Ok(Reply::Given)
}

/// Redirects while everything that was sent has been read.
#[sk_msg(default = SkAction::Pass)]
fn sends(msg: &mut SkMsg) -> Result<SkAction> {
    let sk = msg.sk();
    let me = ME.get(&sk)?;
    let slot = SLOTS.get(&me.slot)?;
    let side = me.side & 1;
    let (sent, ready) = (slot.sent[side], slot.ready[side ^ 1]);
    slot.sent[side].atomic_add(msg.size() as u64);
    if ready == 0 || sent != slot.read[side] {
        return Ok(SkAction::Pass);
    }
    REDIRECTED.get(&side)?.atomic_add(1);
    Ok(PEERS.redirect_msg(msg, &(me.slot << 1 | (side ^ 1)), Toward::Ingress))
}

/// Sees what is really read.
#[tp_btf("sock_recv_length", default = 0)]
fn reads(ctx: &mut TpBtf) -> Result<u32> {
    let (sk, got, flags) = (ctx.ptr::<0, kernel::Sock>(), ctx.arg::<1>() as i32, ctx.arg::<2>() as u32);
    if got <= 0 || flags & 2 != 0 {
        return Ok(0);
    }
    let me = ME.get(&sk)?;
    let slot = SLOTS.get(&me.slot)?;
    slot.read[me.side & 1].atomic_add(got as u64);
    Ok(0)
}

/// Whoever splices is left alone.
#[raw_tracepoint("sys_enter")]
fn enters(ctx: &mut RawTracepoint) {
    if ctx.arg::<1>() == 275 {
        QUARANTINE.set(&cgroup_id(), &pid(), Update::Any);
    }
}

#[cgroup_sock_addr(connect4, default = Access::Allow)]
fn connects(ctx: &mut SockAddr) -> Result<Access> {
    if QUARANTINE.get(&cgroup_id()).is_some() {
        return Ok(Access::Deny);
    }
    ME.get_or_zero(&ctx.sk())?;
    Ok(Access::Allow)
}

#[cgroup_sock(sock_create)]
fn creates(ctx: &mut CgroupSock) -> Access {
    if ctx.kind() == 1 && ctx.cookie() == 0 { Access::Deny } else { Access::Allow }
}

#[cgroup_skb(egress, default = Access::Allow)]
fn leaves(skb: &mut CgroupSkb) -> Result<Access> {
    let common = skb.sk()?;
    let sk = common.full()?;
    let me = ME.get(&sk)?;
    let tcp = sk.tcp()?;
    Ok(if tcp.snd_cwnd() > 1000 && me.side == 1 { Access::Deny } else { Access::Allow })
}

/// Every number that the kernel tells of a connection, added up.
#[sock_ops]
fn sums(ops: &mut SockOps) -> Reply {
    let window = ops.snd_cwnd() + ops.srtt_us() + ops.rtt_min() + ops.snd_ssthresh() + ops.mss_cache();
    let stream = ops.rcv_nxt() + ops.snd_nxt() + ops.snd_una() + (ops.bytes_received() + ops.bytes_acked()) as u32;
    let flight = ops.packets_out() + ops.retrans_out() + ops.lost_out() + ops.sacked_out() + ops.total_retrans();
    let segments = ops.segs_in() + ops.data_segs_in() + ops.segs_out() + ops.data_segs_out();
    let rate = ops.rate_delivered() + ops.rate_interval_us() + ops.ecn_flags() + ops.sk_txhash();
    ops.set_reply(window + stream + flight + segments + rate + ops.skb_len() + ops.skb_tcp_flags());
    Reply::Given
}

#[test]
fn every_shape_loads() {
    in_netns(|| {
        loads([pairs(), sends(), enters(), connects(), creates(), leaves(), sums()], &Profile::linux_5_10());
    });
}

#[test]
fn what_is_read_is_counted() {
    if kernel() < (6, 3) {
        return println!("skip: sock_recv_length needs Linux 6.3");
    }
    in_netns(|| drop(loads([reads()], &Profile::linux_5_10())));
}

/// The process is known to more types of programs on newer kernels.
#[sock_ops]
fn namespaces(ops: &mut SockOps) -> Reply {
    QUARANTINE.set(&ops.netns_cookie(), &1, Update::Any);
    Reply::None
}

#[sk_msg]
fn spaces(msg: &mut SkMsg) -> SkAction {
    QUARANTINE.set(&msg.netns_cookie(), &1, Update::Any);
    SkAction::Pass
}

#[test]
fn namespaces_are_known() {
    if kernel() < (5, 15) {
        return println!("skip: netns_cookie needs Linux 5.15");
    }
    in_netns(|| {
        loads([namespaces(), spaces()], &Profile::linux_5_10());
    });
}

#[map]
static TASKS: TaskStorage<u64> = map();

#[tp_btf("sys_enter", default = 0)]
fn counts(_ctx: &mut TpBtf) -> Result<u32> {
    TASKS.get_or_zero(&task())?.atomic_add(1);
    Ok(0)
}

#[test]
fn tasks_have_storage() {
    if kernel() < (5, 11) {
        return println!("skip: task storage needs Linux 5.11");
    }
    in_netns(|| drop(loads([counts()], &Profile::linux_5_10())));
}

#[map]
static GROUPS: CgroupStorage<u64> = map();

#[tp_btf("sys_enter", default = 0)]
fn belongs(_ctx: &mut TpBtf) -> Result<u32> {
    let cgroup = task().cgroups.follow().dfl_cgrp.follow();
    GROUPS.get_or_zero(&cgroup)?.atomic_add(1);
    Ok(0)
}

#[test]
fn cgroups_have_storage() {
    if kernel() < (6, 2) {
        return println!("skip: cgroup storage needs Linux 6.2");
    }
    in_netns(|| drop(loads([belongs()], &Profile::linux_5_10())));
}

/// All atomic operations at once.
#[sock_ops(default = Reply::None)]
fn atomics(ops: &mut SockOps) -> Result<Reply> {
    let slot = SLOTS.get(&ops.family())?;
    slot.ready[0].atomic_or(1);
    slot.ready[0].atomic_and(3);
    slot.ready[0].atomic_xor(2);
    let was =
        slot.sent[0].fetch_add(1) + slot.sent[1].fetch_or(2) + slot.read[0].fetch_and(3) + slot.read[1].fetch_xor(4);
    let old = slot.ready[1].swap(1) + slot.ready[0].compare_exchange(0, 1);
    ops.set_reply(old + NEXT.place().compare_exchange(was, 9) as u32);
    Ok(Reply::Given)
}

#[test]
fn every_atomic_operation_loads() {
    if kernel() < (5, 12) {
        return println!("skip: atomics needs Linux 5.12");
    }
    in_netns(|| drop(loads([atomics()], &Profile::newest())));
}

/// Looks for the socket that a packet belongs to, and marks packets of listeners.
#[tc(default = TcAction::Ok)]
fn finds(skb: &mut Tc) -> Result<TcAction> {
    let mut pkt = skb.packet();
    let eth = pkt.read::<Eth>()?;
    if eth.proto != ETH_IPV4 {
        return Ok(TcAction::Ok);
    }
    let ip = pkt.read::<Ipv4>()?;
    let tcp = pkt.read::<Tcp>()?;
    let ends = Tuple4 { src: ip.src, dst: ip.dst, src_port: tcp.src, dst_port: tcp.dst };
    let sk = skb.lookup_tcp(&ends)?;
    if sk.state() == TcpState::Listen {
        skb.set_mark(7);
        skb.assign(&sk);
    }
    if let Some(view) = sk.tcp() {
        SLOTS.get(&(view.snd_cwnd() & 7));
    }
    sk.release();
    Ok(TcAction::Ok)
}

#[xdp(default = Action::Pass)]
fn knows(ctx: &mut Xdp) -> Result<Action> {
    let mut pkt = ctx.packet();
    pkt.read::<Eth>()?;
    let ip = pkt.read::<Ipv6>()?;
    let tcp = pkt.read::<Tcp>()?;
    let ends = Tuple6 { src: ip.src, dst: ip.dst, src_port: tcp.src, dst_port: tcp.dst };
    let Some(sk) = ctx.lookup_tcp_any(&ends) else { return Ok(Action::Drop) };
    let waits = sk.state() == TcpState::TimeWait;
    sk.release();
    Ok(if waits { Action::Drop } else { Action::Pass })
}

#[map]
static LISTENERS: SockMap<4> = map();

#[sk_lookup(default = SkAction::Pass)]
fn steers(ctx: &mut SkLookup) -> Result<SkAction> {
    let sk = LISTENERS.get(&(ctx.local_port() & 3))?;
    let status = ctx.assign(&sk);
    let failed = status.is_err();
    sk.release();
    Ok(if failed { SkAction::Drop } else { SkAction::Pass })
}

#[map]
static TABLES: ArrayOfMaps<Array<u64, 4>, 2> = map();
#[map]
static NAMED: HashOfMaps<u32, LruHashMap<Numbers, u32, 16>, 8> = map();
#[map]
static QUEUE: Queue<Numbers, 16> = map();
#[map]
static PILE: Stack<u32, 16> = map();
#[map]
static PORTS: DevMapHash<8> = map();

#[xdp(default = Action::Pass)]
fn nests(ctx: &mut Xdp) -> Result<Action> {
    let table = TABLES.get(&(ctx.rx_queue_index() & 1))?;
    table.get(&2)?.atomic_add(1);
    let named = NAMED.get(&9)?;
    if let Some(last) = QUEUE.pop() {
        named.set(&Numbers { client: last.server, server: last.client }, &1, Update::Any);
        QUEUE.push(&Numbers { client: 1, server: 2 });
    }
    let top = PILE.peek()?;
    Ok(PORTS.redirect(ctx, *top, Action::Pass))
}

#[test]
fn sockets_and_maps_are_found() {
    in_netns(|| {
        loads([finds(), knows(), steers(), nests()], &Profile::linux_5_10());
    });
}

#[map]
static FILTER: Bloom<u64, 64> = map();

#[xdp]
fn filters(_ctx: &mut Xdp) -> Action {
    FILTER.push(&ktime_ns());
    if FILTER.contains(&7).is_err() { Action::Pass } else { Action::Drop }
}

#[test]
fn bloom_filters_answer() {
    if kernel() < (5, 16) {
        return println!("skip: bloom filter needs Linux 5.16");
    }
    in_netns(|| drop(loads([filters()], &Profile::linux_5_10())));
}
