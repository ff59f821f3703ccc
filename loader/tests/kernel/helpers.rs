//! The table of helper functions against the running kernel: who may call what, and under which license.

use std::os::fd::OwnedFd;

use asm::insn::helper::{ALL, Helper};
use asm::insn::{Insn, Since};
use asm::object::{AttachType, ProgType};
use loader::permission::kernel_release;
use loader::sys::name_text;
use loader::sys::prog::{Load, LoadFailed, Log, load};
use loader::sys::uapi::{LogLevel, ProgFlags};
use zerocopy::IntoBytes as _;

use crate::support::need_root;

/// Types that load without BTF, a hook's id or hardware, with the attach type they want; our own systems' types first.
/// `HELPER_TYPES` in the environment says how many are asked about: under emulation five thousand loads take a while.
const TYPES: &[(ProgType, Option<AttachType>)] = &[
    (ProgType::XDP, None),
    (ProgType::SCHED_CLS, None),
    (ProgType::SOCK_OPS, None),
    (ProgType::SK_MSG, None),
    (ProgType::KPROBE, None),
    (ProgType::CGROUP_SOCK_ADDR, Some(AttachType::CGROUP_INET4_CONNECT)),
    (ProgType::SOCKET_FILTER, None),
    (ProgType::TRACEPOINT, None),
    (ProgType::PERF_EVENT, None),
    (ProgType::CGROUP_SKB, None),
    (ProgType::CGROUP_SOCK, Some(AttachType::CGROUP_INET_SOCK_CREATE)),
    (ProgType::LWT_XMIT, None),
    (ProgType::SK_SKB, None),
    (ProgType::CGROUP_DEVICE, None),
    (ProgType::RAW_TRACEPOINT, None),
    (ProgType::SK_REUSEPORT, None),
    (ProgType::FLOW_DISSECTOR, None),
    (ProgType::CGROUP_SYSCTL, None),
    (ProgType::CGROUP_SOCKOPT, Some(AttachType::CGROUP_SETSOCKOPT)),
    (ProgType::SK_LOOKUP, Some(AttachType::SK_LOOKUP)),
    (ProgType::SYSCALL, None),
    (ProgType::NETFILTER, Some(AttachType::NETFILTER)),
];

/// The table is that of this kernel: from here on all of it must be there.
const NEWEST: Since = Since::Kernel(6, 18);
/// What the kernel's configuration, its lockdown or the place of attachment can take away.
const CONDITIONAL: &[&str] = &["probe_write_user", "override_return", "setsockopt", "getsockopt"];

/// What the kernel says to a program of one call.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// This type has no such helper, or the kernel has not.
    Unknown,
    /// Only for programs under the GPL, which this one is not.
    Gpl,
    /// It looks at the arguments, so the helper is allowed.
    Allowed,
    /// The kernel does not have this type.
    NoType,
}

fn ask(prog_type: ProgType, attach: Option<AttachType>, helper: &Helper) -> (Answer, String) {
    let call = [Insn::new(0x85, 0, 0, 0, helper.id.0), Insn::new(0xb7, 0, 0, 0, 0), Insn::new(0x95, 0, 0, 0, 0)];
    let options = Load {
        prog_type: prog_type.0,
        expected_attach_type: attach.map_or(0, |attach| attach.0),
        insns: call.as_bytes(),
        license: c"MIT",
        // Sleepable, as programs of this type have to be.
        flags: if prog_type == ProgType::SYSCALL { ProgFlags::SLEEPABLE } else { ProgFlags::empty() },
        ..Load::default()
    };
    let mut log = vec![0; 4096];
    let done: Result<OwnedFd, LoadFailed> = load(&options, Some(Log { level: LogLevel::REFUSAL, buf: &mut log }));
    let text = name_text(&log);
    let answer = match &done {
        Ok(_) => Answer::Allowed,
        Err(_) if text.contains("unknown func") || text.contains("cannot use helper") => Answer::Unknown,
        Err(_) if text.contains("invalid func") => Answer::Unknown,
        Err(_) if text.contains("GPL") => Answer::Gpl,
        Err(_) if text.is_empty() => Answer::NoType,
        Err(_) => Answer::Allowed,
    };
    (answer, text)
}

/// What this kernel is among first kernels.
fn now() -> Since {
    let (major, minor) = kernel_release().expect("a release number");
    let number = |n: u32| u8::try_from(n).unwrap_or(u8::MAX);
    Since::Kernel(number(major), number(minor))
}

/// A kernel refuses a number that it does not have in other words than a helper that is not for this type.
#[test]
fn a_kernel_has_exactly_the_helpers_of_its_release() {
    need_root();
    let now = now();
    let has = |helper: &Helper| !ask(ProgType::XDP, None, helper).1.contains("invalid func");
    let wrong: Vec<_> = ALL.iter().filter(|helper| has(helper) != (helper.since <= now)).collect();
    assert!(wrong.is_empty(), "{now:?}: {wrong:?}");
    let last = ALL.last().expect("a row");
    for number in 1..10 {
        let beyond = Helper { id: asm::insn::helper::Id(last.id.0 + number), ..*last };
        assert!(!has(&beyond), "helper {} is not in the table", beyond.id.0);
    }
    println!("{} helpers on {now:?}", ALL.iter().filter(|helper| helper.since <= now).count());
}

#[test]
fn the_helper_table_tells_the_truth_about_this_kernel() {
    need_root();
    let now = now();
    let (mut wrong, mut missing) = (Vec::new(), Vec::new());
    let (mut types, mut allowed) = (0, 0);
    let count = std::env::var("HELPER_TYPES").map_or(TYPES.len(), |n| n.parse().expect("a number of types"));
    for (prog_type, attach) in TYPES.iter().take(count) {
        types += usize::from(ask(*prog_type, *attach, &ALL[0]).0 != Answer::NoType);
        for helper in ALL {
            let (answer, log) = ask(*prog_type, *attach, helper);
            let known = helper.progs.has(*prog_type) && helper.since <= now;
            // Stack numbers are free for perf events, which the license of the event guards.
            let free = *prog_type == ProgType::PERF_EVENT && helper.name == "get_stackid";
            let right = match answer {
                Answer::Gpl => known && helper.gpl_only,
                Answer::Allowed => known && (!helper.gpl_only || free),
                Answer::Unknown | Answer::NoType => true,
            };
            allowed += usize::from(matches!(answer, Answer::Gpl | Answer::Allowed));
            if known && answer == Answer::Unknown && !CONDITIONAL.contains(&helper.name) {
                missing.push(format!("{prog_type}: {}", helper.name));
            }
            if !right {
                wrong.push(format!("{prog_type}: {} (since {:?}) is {answer:?}: {log}", helper.name, helper.since));
            }
        }
    }
    println!("{types} program types, {allowed} pairs of type and helper allowed on {now:?}");
    println!("{} pairs that the table has and this kernel refuses: {missing:?}", missing.len());
    assert!(now < NEWEST || missing.is_empty(), "{missing:?}");
    assert!(wrong.is_empty(), "{} rows are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(allowed > 30 * types, "only {allowed} pairs: was anything loaded at all?");
}
