//! Thirteen small programs through the IR builder, as a front end would record them: their meaning is that of C programs
//! that are compiled by others for comparison.

mod maglev;
mod sockets;

use asm::insn::{AtomicOp, Cond, helper};
use asm::ir::{Block, Func, FuncBuilder, GlobalDecl, MapDecl, Ty, Value};
use asm::object::MapType;

/// Bytes of an Ethernet header; where IPv4 starts.
const IP: i32 = 14;
/// Where the header behind an IPv4 header without options starts.
const L4: i32 = 34;
/// EtherType of IPv4 and IPv6 as they lie in the packet, read on a little-endian machine.
const ETH_IP: u64 = 0x0008;
const ETH_IPV6: u64 = 0xdd86;
const DROP: u64 = 1;
const PASS: u64 = 2;
const TX: u64 = 3;

/// Every program with its name.
pub(crate) fn all() -> Vec<(&'static str, Func)> {
    vec![
        ("count", count()),
        ("drop-port", drop_port()),
        ("icmp-echo", icmp_echo()),
        ("ipip-decap", ipip_decap()),
        ("ipv6-ext", ipv6_ext()),
        ("lpm-acl", lpm_acl()),
        ("maglev", maglev::maglev()),
        ("ratelimit", ratelimit()),
        ("ringbuf", ringbuf()),
        ("sk-msg", sockets::sk_msg()),
        ("sockops", sockets::sockops()),
        ("synflood", synflood()),
        ("tiny", tiny()),
    ]
}

/// A map.
fn map(name: &str, map_type: MapType, key_size: u32, value_size: u32, max_entries: u32) -> MapDecl {
    MapDecl { name: name.into(), map_type, key_size, value_size, max_entries, inner: None }
}

/// An XDP program that is being written.
struct Xdp {
    b: FuncBuilder,
    data: Value,
    end: Value,
    pass: Block,
    drop: Block,
}

impl Xdp {
    fn new(name: &str) -> Self {
        let mut b = FuncBuilder::prog("xdp", name);
        let (pass, drop) = (b.block(), b.block());
        let (data, end) = (b.packet(), b.packet_end());
        Self { b, data, end, pass, drop }
    }

    fn c(&mut self, ty: Ty, number: u64) -> Value {
        self.b.iconst(ty, number)
    }

    /// Leaves for pass unless the packet has that many bytes.
    fn need(&mut self, bytes: u32) {
        self.b.check(self.data, bytes, self.end, self.pass);
    }

    fn read(&mut self, ty: Ty, off: i32) -> Value {
        self.b.load(ty, self.data, off)
    }

    /// Goes on where `a cond number` holds, else leaves for `away`.
    fn only(&mut self, cond: Cond, a: Value, number: u64, away: Block) {
        let number = self.c(self.b.ty(a), number);
        let on = self.b.block();
        self.b.branch(cond, a, number, on, away);
        self.b.seal(on);
        self.b.switch_to(on);
    }

    /// Goes on where the packet is IPv4; checks both headers.
    fn ipv4(&mut self) {
        self.need(14);
        let proto = self.read(Ty::I16, 12);
        self.only(Cond::Eq, proto, ETH_IP, self.pass);
        self.need(34);
    }

    fn no_options(&mut self) {
        let byte = self.read(Ty::I8, IP);
        let mask = self.c(Ty::I8, 15);
        let ihl = self.b.and(byte, mask);
        self.only(Cond::Eq, ihl, 5, self.pass);
    }

    fn protocol(&mut self, number: u64) {
        let protocol = self.read(Ty::I8, IP + 9);
        self.only(Cond::Eq, protocol, number, self.pass);
    }

    /// A key on the stack.
    fn key(&mut self, value: Value) -> Value {
        let bytes = self.b.ty(value).bits().unwrap_or(64) / 8;
        let key = self.b.stack(bytes, bytes);
        self.b.store(key, 0, value);
        key
    }

    fn lookup(&mut self, map: &MapDecl, key: Value) -> Value {
        let map = self.b.map(map);
        self.b.call(helper::MAP_LOOKUP_ELEM, &[map, key]).expect("a lookup gives a pointer")
    }

    /// Adds one to a number in memory, at once for all CPUs.
    fn bump(&mut self, value: Value) {
        let one = self.c(Ty::I64, 1);
        self.b.atomic(AtomicOp::Add, value, 0, one);
    }

    /// Adds to a number in memory.
    fn add(&mut self, ptr: Value, off: i32, more: Value) {
        let old = self.b.load(Ty::I64, ptr, off);
        let new = self.b.add(old, more);
        self.b.store(ptr, off, new);
    }

    fn ret(&mut self, action: u64) {
        let action = self.c(Ty::I32, action);
        self.b.ret(Some(action));
    }

    fn finish(mut self) -> Func {
        for (block, action) in [(self.pass, PASS), (self.drop, DROP)] {
            self.b.seal(block);
            self.b.switch_to(block);
            self.ret(action);
        }
        self.b.finish().unwrap_or_else(|error| panic!("{error}"))
    }
}

fn count() -> Func {
    let mut x = Xdp::new("count");
    let zero = x.c(Ty::I32, 0);
    let key = x.key(zero);
    let found = x.lookup(&map("counter", MapType::ARRAY, 4, 8, 1), key);
    let value = x.b.non_null(found, x.pass);
    x.bump(value);
    x.b.jump(x.pass);
    x.finish()
}

fn drop_port() -> Func {
    let mut x = Xdp::new("drop_port");
    x.ipv4();
    x.protocol(6);
    x.need(54);
    let port = x.read(Ty::I16, L4 + 2);
    let host = x.b.bswap(port);
    x.only(Cond::Eq, host, 9999, x.pass);
    let zero = x.c(Ty::I32, 0);
    let key = x.key(zero);
    let found = x.lookup(&map("dropped", MapType::ARRAY, 4, 8, 1), key);
    let value = x.b.non_null(found, x.drop);
    x.bump(value);
    x.b.jump(x.drop);
    x.finish()
}

/// The sum with its carries folded in, and inverted.
fn fold(x: &mut Xdp, sum: Value) -> Value {
    let (mask, sixteen) = (x.c(Ty::I32, 0xffff), x.c(Ty::I32, 16));
    let mut sum = sum;
    for _ in 0..2 {
        let (low, high) = (x.b.and(sum, mask), x.b.shr(sum, sixteen));
        sum = x.b.add(low, high);
    }
    let inverted = x.b.not(sum);
    x.b.trunc(inverted, Ty::I16)
}

fn icmp_echo() -> Func {
    let mut x = Xdp::new("icmp_echo");
    x.ipv4();
    x.no_options();
    x.protocol(1);
    x.need(42);
    let kind = x.read(Ty::I8, L4);
    x.only(Cond::Eq, kind, 8, x.pass);
    for (ty, a, b) in [(Ty::I32, 0, 6), (Ty::I16, 4, 10), (Ty::I32, IP + 12, IP + 16)] {
        let (first, second) = (x.read(ty, a), x.read(ty, b));
        x.b.store(x.data, a, second);
        x.b.store(x.data, b, first);
    }
    let old = x.read(Ty::I16, L4 + 2);
    let old = x.b.not(old);
    let old = x.b.zext(old, Ty::I32);
    let change = x.c(Ty::I32, 0xfff7);
    let sum = x.b.add(old, change);
    let sum = fold(&mut x, sum);
    let reply = x.c(Ty::I8, 0);
    x.b.store(x.data, L4, reply);
    x.b.store(x.data, L4 + 2, sum);
    x.ret(TX);
    x.finish()
}

fn ipip_decap() -> Func {
    let mut x = Xdp::new("ipip_decap");
    x.ipv4();
    x.no_options();
    x.protocol(4);
    x.need(54);
    let local = x.b.global_addr(&GlobalDecl { name: "local".into(), size: 4, readonly: true }, 0);
    let (dst, local) = (x.read(Ty::I32, IP + 16), x.b.load(Ty::I32, local, 0));
    let ours = x.b.block();
    x.b.branch(Cond::Eq, dst, local, ours, x.pass);
    x.b.switch_to(ours);
    let inner = x.read(Ty::I32, L4 + 16);
    let key = x.key(inner);
    let found = x.lookup(&map("vips", MapType::HASH, 4, 8, 512), key);
    let value = x.b.non_null(found, x.drop);
    x.bump(value);
    let parts = [(Ty::I64, 0), (Ty::I32, 8), (Ty::I16, 12)];
    let eth = parts.map(|(ty, off)| x.read(ty, off));
    let (ctx, by) = (x.b.ctx(), x.c(Ty::I32, 20));
    let failed = x.b.call(helper::XDP_ADJUST_HEAD, &[ctx, by]).expect("a number");
    x.only(Cond::Eq, failed, 0, x.drop);
    let (data, end) = (x.b.packet(), x.b.packet_end());
    x.b.check(data, 14, end, x.drop);
    for ((_, off), value) in parts.into_iter().zip(eth) {
        x.b.store(data, off, value);
    }
    x.b.jump(x.pass);
    x.finish()
}

fn ipv6_ext() -> Func {
    let mut x = Xdp::new("ipv6_ext");
    x.need(14);
    let proto = x.read(Ty::I16, 12);
    x.only(Cond::Eq, proto, ETH_IPV6, x.pass);
    x.need(54);
    let (next, at, round) = (x.b.var(Ty::I32), x.b.var(Ty::Packet), x.b.var(Ty::I32));
    let first = x.read(Ty::I8, IP + 6);
    x.b.def(next, first);
    let start = x.b.ptr_offset(x.data, 54);
    x.b.def(at, start);
    let zero = x.c(Ty::I32, 0);
    x.b.def(round, zero);
    let (head, test, body, done) = (x.b.block(), x.b.block(), x.b.block(), x.b.block());
    x.b.jump(head);
    x.b.switch_to(head);
    let (i, eight) = (x.b.use_var(round), x.c(Ty::I32, 8));
    x.b.branch(Cond::Lt, i, eight, test, done);
    x.b.switch_to(test);
    for extension in [0, 43] {
        let (now, number, other) = (x.b.use_var(next), x.c(Ty::I32, extension), x.b.block());
        x.b.branch(Cond::Eq, now, number, body, other);
        x.b.seal(other);
        x.b.switch_to(other);
    }
    let (now, number) = (x.b.use_var(next), x.c(Ty::I32, 60));
    x.b.branch(Cond::Eq, now, number, body, done);
    x.b.seal(body);
    x.b.switch_to(body);
    let p = x.b.use_var(at);
    x.b.check(p, 2, x.end, x.pass);
    let follows = x.b.load(Ty::I8, p, 0);
    x.b.def(next, follows);
    let len = x.b.load(Ty::I8, p, 1);
    let (len, eight, one) = (x.b.zext(len, Ty::I32), x.c(Ty::I32, 8), x.c(Ty::I32, 1));
    let bytes = x.b.mul(len, eight);
    let bytes = x.b.add(bytes, eight);
    let moved = x.b.ptr_add(p, bytes);
    x.b.def(at, moved);
    let i = x.b.use_var(round);
    let i = x.b.add(i, one);
    x.b.def(round, i);
    x.b.jump(head);
    x.b.switch_to(done);
    let found = x.b.use_var(next);
    let key = x.key(found);
    let found = x.lookup(&map("protocols", MapType::PERCPU_ARRAY, 4, 8, 256), key);
    let value = x.b.non_null(found, x.pass);
    let one = x.c(Ty::I64, 1);
    x.add(value, 0, one);
    x.b.jump(x.pass);
    x.finish()
}

fn lpm_acl() -> Func {
    let mut x = Xdp::new("lpm_acl");
    x.ipv4();
    let key = x.b.stack(8, 4);
    let (bits, source) = (x.c(Ty::I32, 32), x.read(Ty::I32, IP + 12));
    x.b.store(key, 0, bits);
    x.b.store(key, 4, source);
    let found = x.lookup(&map("acl", MapType::LPM_TRIE, 8, 4, 1024), key);
    let drop = x.b.var(Ty::I32);
    let zero = x.c(Ty::I32, 0);
    x.b.def(drop, zero);
    let (absent, decided) = (x.b.block(), x.b.block());
    let rule = x.b.non_null(found, absent);
    let rule = x.b.load(Ty::I32, rule, 0);
    let refused = x.b.compare(Cond::Eq, rule, zero);
    x.b.def(drop, refused);
    x.b.jump(decided);
    x.b.seal(absent);
    x.b.switch_to(absent);
    x.b.jump(decided);
    x.b.seal(decided);
    x.b.switch_to(decided);
    let verdict = x.b.use_var(drop);
    let key = x.key(verdict);
    let found = x.lookup(&map("verdicts", MapType::PERCPU_ARRAY, 4, 8, 2), key);
    let counted = x.b.block();
    let value = x.b.non_null(found, counted);
    let one = x.c(Ty::I64, 1);
    x.add(value, 0, one);
    x.b.jump(counted);
    x.b.switch_to(counted);
    let zero = x.c(Ty::I32, 0);
    x.b.branch(Cond::Ne, verdict, zero, x.drop, x.pass);
    x.finish()
}

/// Stores a value of two numbers under a key.
fn update(x: &mut Xdp, decl: &MapDecl, key: Value, parts: [Value; 2]) {
    let value = x.b.stack(16, 8);
    for (off, part) in [0, 8].into_iter().zip(parts) {
        x.b.store(value, off, part);
    }
    let (map, any) = (x.b.map(decl), x.c(Ty::I64, 0));
    x.b.call(helper::MAP_UPDATE_ELEM, &[map, key, value, any]);
}

fn ratelimit() -> Func {
    let mut x = Xdp::new("ratelimit");
    x.ipv4();
    let source = x.read(Ty::I32, IP + 12);
    let now = x.b.call(helper::KTIME_GET_NS, &[]).expect("a number");
    let key = x.key(source);
    let buckets = map("buckets", MapType::LRU_HASH, 4, 16, 65536);
    let found = x.lookup(&buckets, key);
    let new = x.b.block();
    let tokens = x.b.non_null(found, new);
    let (left, last) = (x.b.load(Ty::I64, tokens, 8), x.b.load(Ty::I64, tokens, 0));
    let passed = x.b.sub(now, last);
    let million = x.c(Ty::I64, 1_000_000);
    let more = x.b.div(passed, million);
    let left = x.b.add(left, more);
    let hundred = x.c(Ty::I64, 100);
    let left = x.b.select(Cond::Gt, left, hundred, hundred, left);
    x.only(Cond::Ne, left, 0, x.drop);
    let one = x.c(Ty::I64, 1);
    let left = x.b.sub(left, one);
    x.b.store(tokens, 0, now);
    x.b.store(tokens, 8, left);
    x.b.jump(x.pass);
    x.b.switch_to(new);
    let full = x.c(Ty::I64, 99);
    update(&mut x, &buckets, key, [now, full]);
    x.b.jump(x.pass);
    x.finish()
}

fn ringbuf() -> Func {
    let mut x = Xdp::new("ringbuf");
    x.ipv4();
    x.no_options();
    x.protocol(6);
    x.need(54);
    let flags = x.read(Ty::I8, L4 + 13);
    let reset = x.c(Ty::I8, 4);
    let reset = x.b.and(flags, reset);
    x.only(Cond::Ne, reset, 0, x.pass);
    let ring = x.b.map(&map("events", MapType::RINGBUF, 0, 0, 65536));
    let (size, zero) = (x.c(Ty::I64, 24), x.c(Ty::I64, 0));
    let record = x.b.call(helper::RINGBUF_RESERVE, &[ring, size, zero]).expect("a record");
    let record = x.b.non_null(record, x.pass);
    let now = x.b.call(helper::KTIME_GET_NS, &[]).expect("a number");
    x.b.store(record, 0, now);
    for (ty, from, to) in [(Ty::I32, IP + 12, 8), (Ty::I32, IP + 16, 12), (Ty::I16, L4, 16), (Ty::I16, L4 + 2, 18)] {
        let part = x.read(ty, from);
        x.b.store(record, to, part);
    }
    let len = x.read(Ty::I16, IP + 2);
    let len = x.b.bswap(len);
    let len = x.b.zext(len, Ty::I32);
    x.b.store(record, 20, len);
    x.b.call(helper::RINGBUF_SUBMIT, &[record, zero]);
    x.b.jump(x.pass);
    x.finish()
}

fn total(x: &mut Xdp, which: u64) {
    let which = x.c(Ty::I32, which);
    let key = x.key(which);
    let found = x.lookup(&map("totals", MapType::ARRAY, 4, 8, 2), key);
    let counted = x.b.block();
    let value = x.b.non_null(found, counted);
    x.bump(value);
    x.b.jump(counted);
    x.b.seal(counted);
    x.b.switch_to(counted);
}

fn synflood() -> Func {
    let mut x = Xdp::new("synflood");
    x.ipv4();
    x.protocol(6);
    x.no_options();
    x.need(54);
    let flags = x.read(Ty::I8, L4 + 13);
    for (bit, cond) in [(2, Cond::Ne), (16, Cond::Eq)] {
        let mask = x.c(Ty::I8, bit);
        let bit = x.b.and(flags, mask);
        x.only(cond, bit, 0, x.pass);
    }
    total(&mut x, 0);
    let source = x.read(Ty::I32, IP + 12);
    let now = x.b.call(helper::KTIME_GET_NS, &[]).expect("a number");
    let key = x.key(source);
    let sources = map("sources", MapType::LRU_HASH, 4, 16, 65536);
    let found = x.lookup(&sources, key);
    let (new, stale, fresh, over) = (x.b.block(), x.b.block(), x.b.block(), x.b.block());
    let bucket = x.b.non_null(found, new);
    let start = x.b.load(Ty::I64, bucket, 0);
    let age = x.b.sub(now, start);
    let second = x.c(Ty::I64, 1_000_000_000);
    x.b.branch(Cond::Gt, age, second, stale, fresh);
    x.b.switch_to(fresh);
    let (seen, one) = (x.b.load(Ty::I64, bucket, 8), x.c(Ty::I64, 1));
    let seen = x.b.add(seen, one);
    x.b.store(bucket, 8, seen);
    let limit = x.c(Ty::I64, 100);
    x.b.branch(Cond::Le, seen, limit, x.pass, over);
    x.b.switch_to(over);
    total(&mut x, 1);
    x.b.jump(x.drop);
    x.b.switch_to(stale);
    x.b.store(bucket, 0, now);
    let one = x.c(Ty::I64, 1);
    x.b.store(bucket, 8, one);
    x.b.jump(x.pass);
    x.b.switch_to(new);
    let one = x.c(Ty::I64, 1);
    update(&mut x, &sources, key, [now, one]);
    x.b.jump(x.pass);
    x.finish()
}

fn tiny() -> Func {
    let mut x = Xdp::new("tiny");
    x.ipv4();
    x.protocol(6);
    let first = x.read(Ty::I8, IP);
    let (mask, four) = (x.c(Ty::I8, 15), x.c(Ty::I32, 4));
    let ihl = x.b.and(first, mask);
    let ihl = x.b.zext(ihl, Ty::I32);
    let len = x.b.mul(ihl, four);
    let ip = x.b.ptr_offset(x.data, i64::from(IP));
    let tcp = x.b.ptr_add(ip, len);
    x.b.check(tcp, 20, x.end, x.pass);
    let port = x.b.load(Ty::I16, tcp, 2);
    let key = x.key(port);
    let found = x.lookup(&map("ports", MapType::HASH, 2, 8, 1024), key);
    let value = x.b.non_null(found, x.pass);
    x.bump(value);
    let tx = x.b.map(&map("tx", MapType::DEVMAP, 4, 4, 64));
    let zero = x.c(Ty::I64, 0);
    let action = x.b.call(helper::REDIRECT_MAP, &[tx, zero, zero]).expect("a number");
    let action = x.b.trunc(action, Ty::I32);
    x.b.ret(Some(action));
    x.finish()
}
