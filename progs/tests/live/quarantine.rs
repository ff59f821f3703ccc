//! Who does what redirected bytes cannot bear is found out, and left with TCP from then on.

use std::io::Write;
use std::net::TcpStream;

use progs::bypass::policy::Refusal;
use progs::bypass::quarantine::{Misfit, Quarantined, Who};
use rustix::net::{RecvFlags, SendFlags, recv, send, sockopt};
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};

use crate::policy::{Apart, CLIENT, IP4, SERVER, done_by, redirected, with_rules, with_rules_and};
use crate::rig::{Rig, exchange};

/// What `splice` takes from a socket, in bytes.
fn spliced(from: &TcpStream) -> usize {
    let (_reading, writing) = pipe_with(PipeFlags::NONBLOCK).expect("a pipe");
    from.set_nonblocking(true).expect("it can be");
    let bytes = splice(from, None, &writing, None, 64, SpliceFlags::NONBLOCK).unwrap_or(0);
    from.set_nonblocking(false).expect("it can be");
    bytes
}

/// Who is in quarantine, and for what: commands by name, processes as their number.
fn held(rig: &Rig) -> Vec<(String, u32)> {
    let quarantine = rig.ours.as_ref().expect("they are up").quarantine().expect("it can be read");
    let mut held: Vec<_> = quarantine
        .iter()
        .map(|(who, held)| (if who.pid == 0 { who.comm.to_string() } else { who.pid.to_string() }, held.misfit))
        .collect();
    held.sort();
    held.dedup();
    held
}

/// Takes everybody out of quarantine whom `these` says.
fn release(rig: &Rig, these: impl Fn(&Who) -> bool) {
    let ours = rig.ours.as_ref().expect("they are up");
    for (who, _) in ours.quarantine().expect("it can be read").iter().filter(|(who, _)| these(who)) {
        ours.set_quarantine(who, None).expect("it goes");
    }
}

fn refused(rig: &Rig) -> u64 {
    rig.ours.as_ref().expect("they are up").refused(Refusal::Quarantine).expect("it is counted")
}

/// In quarantine for one thing: this process, and the command of one of the test's threads.
fn for_what(command: &str, misfit: Misfit) -> Vec<(String, u32)> {
    let number = misfit.number();
    vec![(std::process::id().to_string(), number), (command.to_owned(), number)]
}

#[test]
fn who_splices_is_left_with_tcp() {
    with_rules(|rig, apart| {
        let mut living = IP4.open(rig, apart);
        assert_eq!(redirected(rig, &mut living), 4);
        assert_eq!(held(rig), []);
        spliced(&living.1);
        assert_eq!(held(rig), for_what(SERVER, Misfit::Splice));
        assert_eq!(redirected(rig, &mut living), 0, "the living connection goes by TCP");
        living.0.write_all(b"by TCP").expect("it is taken");
        living.1.peek(&mut [0; 8]).expect("it comes");
        assert_eq!(spliced(&living.1), 6, "where splice finds it");

        let mut next = IP4.open(rig, apart);
        assert_eq!((redirected(rig, &mut next), refused(rig)), (0, 1), "the next one is plain");
        exchange(&mut next.0, &mut next.1, b"read");
        next.0.write_all(b"plain").expect("it is taken");
        next.1.peek(&mut [0; 8]).expect("it comes");
        assert_eq!(spliced(&next.1), 5, "and splice works there after a read");

        release(rig, |who| who.pid != 0);
        assert_eq!(redirected(rig, &mut IP4.open(rig, apart)), 0, "another process of that command would be, too");
        release(rig, |_| true);
        assert_eq!(redirected(rig, &mut IP4.open(rig, apart)), 4, "until it is taken out by hand");
        assert_eq!(
            redirected(rig, &mut living),
            2,
            "the living one follows, but where nobody counted what was spliced"
        );
    });
}

#[test]
fn a_time_ends_it() {
    with_rules(|rig, apart| {
        let ours = rig.ours.as_ref().expect("they are up");
        let who = Who { pid: std::process::id(), ..Who::default() };
        for (until, messages) in [(u64::MAX, 0), (1, 4)] {
            ours.set_quarantine(&who, Some(&Quarantined { until, ..Quarantined::default() })).expect("an entry");
            assert_eq!(redirected(rig, &mut IP4.open(rig, apart)), messages, "until {until}");
        }
    });
}

/// A thing that a client does with its socket, which cannot be borne.
type Done = fn(&TcpStream);

/// Does each thing with a socket of its own, and looks who is in quarantine for it.
fn each(rig: &Rig, apart: &Apart, things: &[(&str, Misfit, Done)]) {
    for (name, misfit, done) in things {
        let mut living = IP4.open(rig, apart);
        assert_eq!(redirected(rig, &mut living), 4, "{name}: before");
        let (client, done) = (living.0.try_clone().expect("a second handle"), *done);
        done_by(CLIENT, rig, &apart.client, move || done(&client));
        assert_eq!(held(rig), for_what(CLIENT, *misfit), "{name}");
        let before = refused(rig);
        assert_eq!(redirected(rig, &mut IP4.open(rig, apart)), 0, "{name}: the next one");
        assert_eq!(refused(rig), before + 1, "{name}");
        release(rig, |_| true);
    }
}

#[test]
fn options_show_it() {
    with_rules(|rig, apart| {
        each(
            rig,
            apart,
            &[
                ("TLS in the kernel", Misfit::Ulp, |client| {
                    // A kernel without it says so, which is no matter.
                    let _answer =
                        nix::sys::socket::setsockopt(client, nix::sys::socket::sockopt::TcpUlp::default(), b"tls");
                }),
                ("urgent bytes in the stream", Misfit::Urgent, |client| {
                    sockopt::set_socket_oobinline(client, true).expect("TCP has it");
                }),
            ],
        );
        assert_eq!(held(rig), []);
        // Other options, and values longer than a page, are none of our business.
        done_by(CLIENT, rig, &apart.client, || {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
            sockopt::set_socket_reuseaddr(&socket, true).expect("every socket has it");
        });
        assert_eq!(held(rig), []);
    });
}

#[test]
fn sockets_of_mptcp_show_it() {
    with_rules(|rig, apart| {
        let made = done_by(CLIENT, rig, &apart.client, || {
            rustix::net::socket(
                rustix::net::AddressFamily::INET,
                rustix::net::SocketType::STREAM,
                Some(rustix::net::ipproto::MPTCP),
            )
            .is_ok()
        });
        if !made {
            return assert_eq!(held(rig), [], "this kernel has no MPTCP");
        }
        assert_eq!(held(rig), for_what(CLIENT, Misfit::Mptcp));
        assert_eq!(redirected(rig, &mut IP4.open(rig, apart)), 0);
    });
}

#[test]
fn calls_show_it_where_somebody_asks_for_that() {
    with_rules_and(
        |ours| ours.watch_calls().expect("it is taken"),
        |rig, apart| {
            each(
                rig,
                apart,
                &[
                    ("readable bytes", Misfit::Fionread, |client| {
                        rustix::io::ioctl_fionread(client).expect("it is a socket");
                    }),
                    ("an urgent byte is sent", Misfit::Urgent, |client| {
                        send(client, b"!", SendFlags::OOB).expect("it is taken");
                    }),
                    ("an urgent byte is asked for", Misfit::Urgent, |client| {
                        let none = recv(client, &mut [0; 1][..], RecvFlags::OOB | RecvFlags::DONTWAIT);
                        none.expect_err("nobody sends one");
                    }),
                    ("splice", Misfit::Splice, |client| assert_eq!(spliced(client), 0)),
                ],
            );
        },
    );
}
