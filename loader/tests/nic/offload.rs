//! A program that runs in the device: loaded for it, attached to it, and what is refused, in the driver's words. In: a device that
//! offloads, which of the cards here only netdevsim is. Next to read: `setup.rs`.

use asm::object::ProgType;
use loader::link::occupants;
use loader::link::xdp::{Error, Mode, XdpOptions, attach, attach_netlink};
use loader::prog::{Options, Prog};

use super::drivers::name;
use super::setup::{self, Wire};

/// `r0 = 2; exit`: lets every packet pass.
const PASS: [u8; 16] = [0xb7, 0, 0, 0, 2, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];

/// The program for the device of this index; for the processor with 0.
fn pass(ifindex: u32) -> Prog {
    let options = Options { prog_type: ProgType::XDP, insns: &PASS, license: c"GPL", ifindex, ..Options::default() };
    Prog::load("pass", &options).unwrap_or_else(|error| panic!("for {ifindex}: {error:?}"))
}

/// What is said of attaching a program in a mode.
fn refusal(prog: &Prog, ifindex: u32, mode: Mode) -> String {
    match attach(prog, ifindex, &XdpOptions { modes: vec![mode], displace: false }) {
        Err(Error::Refused { attempts, .. }) => attempts.iter().map(ToString::to_string).collect(),
        other => panic!("{mode}: {other:?}"),
    }
}

#[test]
fn a_program_runs_in_the_device() {
    if name() != "netdevsim" {
        return;
    }
    let Wire { mut rt, near, .. } = setup::wire();
    let (ours, plain) = (pass(near), pass(0));
    let said = refusal(&plain, near, Mode::Offload);
    assert!(said.contains("xdpoffload of non-bound program"), "{said}");
    let said = refusal(&ours, near, Mode::Native);
    assert!(said.contains("without HW_MODE flag is not supported"), "{said}");
    assert_eq!(occupants(&mut rt, near).expect("occupants"), []);

    let wish = XdpOptions { modes: vec![Mode::Offload, Mode::Native], displace: false };
    let link = attach(&ours, near, &wish).expect("by a link");
    assert_eq!(link.mode, Mode::Offload);
    // The device and the driver have a program each.
    let other = attach(&plain, near, &XdpOptions { modes: vec![Mode::Native], displace: false }).expect("both");
    let modes: Vec<_> = occupants(&mut rt, near).expect("occupants").iter().map(|one| one.mode).collect();
    assert_eq!(modes, [Mode::Offload, Mode::Native]);
    other.link.close_proven().expect("taken off");
    link.link.close_proven().expect("taken off");

    let hook = attach_netlink(&ours, near, &wish).expect("by netlink");
    assert_eq!(hook.mode, Mode::Offload);
    hook.link.detach(&ours).expect("taken off");
    assert_eq!(occupants(&mut rt, near).expect("occupants"), []);

    // A wish whose first mode the driver refuses goes on to the next.
    let got = attach(&plain, near, &wish).expect("in the driver");
    assert_eq!(got.mode, Mode::Native);
    got.link.close_proven().expect("taken off");
}
