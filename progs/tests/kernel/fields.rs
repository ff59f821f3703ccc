//! Fields of the kernel's own objects: where they lie, the loader asks the running kernel.
//!
//! Input: tracepoints and functions with the kernel's objects as arguments. Output: what stands in them, beside what user space
//! knows of the same. Next file to read: `random.rs`.

use asm::{
    codegen::Profile,
    dsl::{kernel::kernel_struct, prelude::*},
};

use crate::support::{in_netns, kernel, loads, tried};

/// What the kernel says of a thread.
#[derive(Layout)]
#[repr(C)]
struct Seen {
    pid: i32,
    tgid: i32,
    parent: i32,
    /// Bits: what exists.
    exists: u32,
    name: [u8; 16],
    /// The parent, by its address.
    beside: i32,
    /// Nothing.
    pad: u32,
    /// What the kernel told the process of itself, at places 1 and 3.
    told: u64,
    /// The same by the address of it.
    third: u64,
}

#[map]
static SEEN: LruHashMap<u32, Seen, 1024> = map();

/// What no kernel has.
#[kernel_struct("no_such_struct")]
struct Nothing {
    /// Some field.
    none: u32,
}

/// A thread with a field that no kernel has.
#[kernel_struct("task_struct")]
struct Odd {
    /// It is not there.
    no_such_field: u64,
    /// When it began, in nanoseconds since boot.
    start_time: u64,
    /// Where who made it lies.
    real_parent: kernel::Address,
    /// Its number.
    tgid: i32,
}

/// A thread, of which nothing is read but a pointer.
#[kernel_struct("task_struct")]
struct Pointing {
    /// Itself, if it is the first one of its process.
    group_leader: kernel::Address,
}

/// The memory of a process.
#[kernel_struct("mm_struct")]
struct Memory {
    /// What the kernel told it: numbers, and what they mean in front of each.
    saved_auxv: [u64; 4],
}

/// A thread with its memory.
#[kernel_struct("task_struct")]
struct Remembering {
    /// It.
    mm: Kptr<Memory>,
}

/// A thread with the place of its memory.
#[kernel_struct("task_struct")]
struct Placed {
    /// Where it lies.
    mm: kernel::Address,
}

#[raw_tracepoint("sys_enter")]
fn looks(_ctx: &mut RawTracepoint) {
    let task = task();
    let odd = task.cast::<Odd>();
    let mut exists = 0u32;
    if task.pid.exists() {
        exists |= 1;
    }
    if kernel::has::<Nothing>() {
        exists |= 2;
    }
    if odd.no_such_field.exists() {
        exists |= odd.no_such_field as u32;
    }
    if kernel::has::<kernel::Task>() {
        exists |= 8;
    }
    let parent = task.real_parent.follow().tgid;
    let above = odd.real_parent.load();
    // The same by a detour: the field's place in it, and back.
    let leader = kernel::at::<Pointing>(above).group_leader;
    let beside = kernel::at::<Odd>(leader + odd.real_parent.offset() - odd.real_parent.offset()).tgid.load();
    if task.cast::<Remembering>().mm.follow().saved_auxv.exists() {
        exists |= 16;
    }
    let told = task.cast::<Remembering>().mm.follow().saved_auxv.load::<1>();
    let third = kernel::at::<Memory>(task.cast::<Placed>().mm.load()).saved_auxv.load::<3>();
    SEEN.set(
        &tid(),
        &Seen { pid: task.pid, tgid: task.tgid, parent, exists, name: task.comm, beside, pad: 0, told, third },
        Update::Any,
    );
}

#[test]
fn a_thread_is_as_user_space_knows_it() {
    if kernel() < (5, 11) {
        return println!("skip: task storage needs Linux 5.11");
    }
    in_netns(|| {
        let loaded = loads([looks()], &Profile::linux_5_10());
        let link =
            loader::link::tracing::attach_raw_tracepoint(loaded.prog("looks").expect("it is there"), c"sys_enter");
        let tid = nix::unistd::gettid().as_raw();
        drop(link.expect("it is attached"));
        let seen = loaded.map("seen").expect("it is there").lookup(&tid.to_ne_bytes()).expect("it can be read");
        let seen = seen.expect("this thread has made a system call");
        let number = |at: usize| i32::from_ne_bytes(seen[at..at + 4].try_into().expect("four bytes"));
        assert_eq!((number(0), number(4)), (tid, std::process::id().cast_signed()));
        assert_eq!([8, 32].map(number), [nix::unistd::getppid().as_raw(); 2]);
        assert_eq!(number(12), 25, "a thread has a number and memory, and there is no such struct or field");
        let told = std::fs::read("/proc/self/auxv").expect("procfs is mounted");
        assert_eq!((&seen[40..48], &seen[48..56]), (&told[8..16], &told[24..32]), "numbers in a row");
        let name = std::fs::read_to_string(format!("/proc/self/task/{tid}/comm")).expect("procfs is mounted");
        assert_eq!(&seen[16..16 + name.trim().len()], name.trim().as_bytes());
    });
}

#[map]
static PEERS: HashMap<Be32, u64, 64> = map();

/// By probing, which old kernels need.
#[kprobe("tcp_close")]
fn closes(ctx: &mut Kprobe) {
    let sk = ctx.ptr::<0, kernel::Sock>();
    let common = sk.__sk_common.skc_daddr;
    if sk.__sk_common.skc_family == 2 {
        PEERS.set(&common, &(sk.sk_rcvbuf as u64), Update::Any);
    }
}

/// Directly, by the tracepoint's types.
#[tp_btf("tcp_destroy_sock")]
fn destroys(ctx: &mut TpBtf) {
    let sk = ctx.ptr::<0, kernel::Sock>();
    if sk.__sk_common.skc_family == 2 && sk.__sk_common.skc_dport == Be16::new(80) {
        PEERS.set(&sk.__sk_common.skc_daddr.load(), &1, Update::Any);
    }
}

#[test]
fn sockets_are_read_by_types_and_by_probing() {
    in_netns(|| {
        loads([closes(), destroys()], &Profile::linux_5_10());
    });
}

/// Where a function begins, and where it ends.
#[fentry("tcp_close")]
fn begins(ctx: &mut Fentry) {
    let sk = ctx.ptr::<0, kernel::Sock>();
    PEERS.set(&sk.__sk_common.skc_daddr.load(), &ctx.arg::<1>(), Update::Any);
}

#[fexit("tcp_sendmsg")]
fn ends(ctx: &mut Fentry) {
    let sk = ctx.ptr::<0, kernel::Sock>();
    let (asked, sent) = (ctx.arg::<2>(), ctx.arg::<3>() as i32);
    if sent > 0 && (sent as u64) < asked {
        PEERS.set(&sk.__sk_common.skc_rcv_saddr.load(), &(sk.sk_sndbuf as u64), Update::Any);
    }
}

/// Some machines forbid these programs altogether; no guest does.
#[test]
fn functions_are_entered_and_left() {
    in_netns(|| match tried([begins(), ends()], &Profile::linux_5_10()) {
        Ok(_) => {}
        Err(error) if error.contains("EPERM") => println!("skip: fentry needs Linux 5.5"),
        Err(error) => panic!("{error}"),
    });
}
