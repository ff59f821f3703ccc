//! `loader::check::here`: each program judged by itself, the refused ones explained at their source lines, nothing left.

use loader::Spec;
use loader::check::{Verdict, here};
use loader::prog::Prog;
use loader::sys::obj::{Kind, ids};

use crate::support::need_root;

/// A good program between two that the verifier refuses, and one that does not come as far as the verifier.
const TEXT: &str = r#".license "GPL"
.map counts_of_check: array { key: u32, value: u64, max_entries: 1 }
.section xdp
.func unwritten(ctx: *void) -> int
.globl unwritten
unwritten:
    r0 = r3
    exit
.func counts(ctx: *void) -> int
.globl counts
counts:
    *(u32 *)(r10 - 4) = 0
    r1 = counts_of_check ll
    r2 = r10
    r2 += -4
    call bpf_map_lookup_elem
    if r0 == 0 goto out
    r1 = 1
    lock *(u64 *)(r0 + 0) += r1
out:
    r0 = 2
    exit
.func untested(ctx: *void) -> int
.globl untested
untested:
    *(u32 *)(r10 - 4) = 0
    r1 = counts_of_check ll
    r2 = r10
    r2 += -4
    call bpf_map_lookup_elem
    r0 = *(u64 *)(r0 + 8)
    exit
.section fentry/no_such_function_here
.func nowhere(ctx: *u64) -> int
nowhere:
    r0 = 0
    exit
"#;

#[test]
fn a_refused_program_hides_no_other() {
    need_root();
    let object = asm::text::parse("check.s", TEXT).expect("it assembles").object().write().expect("an object");
    let reports = here(&Spec::parse(&object).expect("it is read"));
    let found: Vec<&str> = reports.iter().map(|report| report.program.as_str()).collect();
    assert_eq!(found, ["unwritten", "counts", "untested", "nowhere"]);
    let line = |verdict: &Verdict| match verdict {
        Verdict::Refused { why, log, .. } => {
            assert!(why.reason.is_some() && why.advice.is_some() && !log.is_empty(), "{why:?}");
            why.at.as_ref().map(|at| (at.file.clone(), at.line))
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(line(&reports[0].verdict), Some(("check.s".to_owned(), 7)));
    assert_eq!(line(&reports[2].verdict), Some(("check.s".to_owned(), 31)));
    match &reports[1].verdict {
        Verdict::Accepted(cost) => {
            assert!(cost.insns.is_some_and(|insns| insns >= 10) && cost.states.is_some(), "{cost:?}");
            // Newer kernels round it up.
            assert!(matches!(cost.stack.as_slice(), [4 | 8]), "{cost:?}");
        }
        other => panic!("{other:?}"),
    }
    match &reports[3].verdict {
        Verdict::Failed { causes } => assert!(causes[0].contains("no_such_function_here"), "{causes:?}"),
        other => panic!("{other:?}"),
    }
    let names =
        ids(Kind::Prog).expect("ids").into_iter().filter_map(|id| Some(Prog::from_id(id).ok()?.name().to_owned()));
    assert!(names.into_iter().all(|name| name != "counts"), "the program is still there");
}
