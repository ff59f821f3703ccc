//! Programs: accepted, refused with a log, run on packets, told about, gone after drop.

use asm::object::{AttachType, ProgType};
use loader::prog::{Error, Options, Prog, enable_stats};
use loader::sys::Errno;
use loader::sys::obj::Kind;
use loader::sys::uapi::LogLevel;

use crate::support::{gone, insn, need_root, verdict, verdict_insns, xdp};

#[test]
fn a_program_runs_on_a_packet() {
    let prog = verdict("pass", 2);
    let run = prog.test_run(&[7; 60], 3).unwrap();
    assert_eq!((run.retval, run.data_out), (2, vec![7; 60]));
    let info = prog.info().unwrap();
    assert_eq!((info.name.as_str(), info.prog_type, info.xlated_insns), ("pass", ProgType::XDP, 2));
    assert_eq!(info.tag.len(), 16);
    assert_eq!(prog.xlated().unwrap().len(), 16);
    assert_eq!(prog.jited().unwrap().len(), usize::try_from(info.jited_bytes).unwrap());
    assert!(info.map_ids.is_empty() && info.gpl_compatible);
    assert_eq!(Prog::from_id(info.id).unwrap().info().unwrap().tag, info.tag);
    drop(prog);
    gone(Kind::Prog, info.id);
    assert!(matches!(Prog::from_id(info.id), Err(Error::NoId { .. })));
}

#[test]
fn runs_are_counted_while_statistics_are_on() {
    let prog = verdict("counted", 2);
    let stats = enable_stats().unwrap();
    prog.test_run(&[0; 60], 100).unwrap();
    drop(stats);
    assert!(prog.info().unwrap().run_count >= 100);
}

#[test]
fn an_errno_without_a_name_is_named_and_explained() {
    need_root();
    let code = verdict_insns(1);
    let attach = Some(AttachType::CGROUP_SOCK_OPS);
    let options = Options { prog_type: ProgType::SOCK_OPS, expected_attach_type: attach, ..xdp(&code) };
    let error = Prog::load("sock_ops", &options).unwrap().test_run(&[0; 60], 1).unwrap_err();
    assert!(error.to_string().contains("programs of this type cannot be run on test data"), "{error}");
    let source = std::error::Error::source(&error).map(ToString::to_string);
    assert!(source.as_deref().is_some_and(|text| text.starts_with("ENOTSUPP (524)")), "{source:?}");
}

#[test]
fn a_refused_program_shows_the_verifiers_last_words() {
    need_root();
    // exit with r0 never written
    let error = Prog::load("bad", &xdp(&insn(0x95, 0, 0, 0))).unwrap_err();
    let Error::Refused(refusal) = &error else { panic!("{error:?}") };
    assert_eq!(refusal.errno, Errno::EACCES);
    assert!(refusal.log.contains("R0 !read_ok"), "{}", refusal.log);
    assert!(error.to_string().contains("R0 !read_ok"), "{error}");
    assert_eq!(refusal.finding.insn, Some(0), "{}", refusal.log);
}

#[test]
fn what_the_verifier_never_saw_is_no_refusal() {
    need_root();
    let code = verdict_insns(0);
    let options = Options { prog_type: ProgType(9999), ..xdp(&code) };
    let error = Prog::load("odd", &options).unwrap_err();
    assert!(matches!(error, Error::Load { source: Errno::EINVAL, .. }), "{error:?}");
    assert!(error.to_string().contains("does not know this program type"), "{error}");
}

#[test]
fn a_log_longer_than_the_first_buffer_is_whole() {
    use asm::insn::{Builder, InsnIdx, LineRec, R0, Source};
    use asm::object::{Object, ProgDef};
    need_root();
    // The log shows the source line of each instruction: long lines fill it sooner than many instructions.
    let (lines, text) = (1_300, "a long line ".repeat(75));
    let mut code = Builder::new();
    (0..lines).for_each(|_| code.mov(R0, 0));
    code.exit();
    let mut code = code.finish().unwrap();
    let file: std::sync::Arc<str> = "long.c".into();
    let line = |n: u32| LineRec { at: InsnIdx(n), file: file.clone(), line: n + 1, col: 1 };
    code.lines = (0..lines).map(line).collect();
    code.sources = vec![Source::from_lines("long.c", (1..=lines).map(|n| (n, text.as_str())))];
    let object = Object::new("GPL").prog(ProgDef::new("xdp", "long", code)).write().unwrap();
    let options = loader::LoadOptions { log: Some(LogLevel::EVERYTHING), ..Default::default() };
    let loaded = loader::load(&loader::Spec::parse(&object).unwrap(), &options).unwrap();
    let log = loaded.prog("long").unwrap().log().unwrap();
    assert!(log.len() > 1 << 20 && log.contains("processed 1301 insns"), "{} bytes", log.len());
}

#[test]
fn a_refusal_names_the_line_of_the_source() {
    use asm::insn::{Builder, R0, R1, Size};
    use asm::object::{Object, ProgDef};
    need_root();
    let mut code = Builder::new();
    code.load(Size::W, R1, R1, 0);
    let line = line!() + 1;
    code.load(Size::B, R0, R1, 0);
    code.exit();
    let object = Object::new("GPL").prog(ProgDef::new("xdp", "unchecked", code.finish().unwrap())).write().unwrap();
    let spec = loader::Spec::parse(&object).unwrap();
    let Err(error) = loader::load(&spec, &loader::LoadOptions::default()) else { panic!("accepted") };
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    assert!(text.contains(&format!("loader/tests/kernel/progs.rs:{line}:")), "{text}");
    assert!(text.contains("outside of the"), "{text}");
    // Ours, or the kernel's own from 7.3 on.
    assert!(text.contains("with data_end first") || text.contains("bounds check"), "{text}");
}
