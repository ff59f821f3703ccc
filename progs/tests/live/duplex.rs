//! Sockets on which one thread waits for something to read while another one sends: the queue's reader is woken for nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use loader::btf::KernelBtf;
use loader::{LoadOptions, Spec};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use progs::bypass::policy::Refusal;
use progs::bypass::quarantine::Misfit;

use crate::rig::{LONG, Mode, Rig, accept, each_way, exchange, one_way, plain_and_ours, read_exactly};

/// What a read gives.
type Got = Result<usize, ErrorKind>;

/// A thread that waits for something to read: it is asleep when this returns.
pub(crate) fn reader(end: &TcpStream) -> JoinHandle<Got> {
    let mut end = end.try_clone().expect("a second handle");
    let (tell, told) = channel();
    let reading = thread::spawn(move || {
        tell.send(nix::unistd::gettid()).expect("somebody listens");
        end.read(&mut [0; 10]).map_err(|error| error.kind())
    });
    asleep(&format!("/proc/self/task/{}", told.recv().expect("it has a number")), RECVFROM);
    reading
}

/// Waits until a thread is in this system call, and waits there.
fn asleep(thread: &str, call: u32) {
    let (file, number, begun) = (format!("{thread}/syscall"), format!("{call} "), Instant::now());
    while !std::fs::read_to_string(&file).is_ok_and(|call| call.starts_with(&number)) {
        assert!(begun.elapsed() < LONG, "it waits");
        thread::sleep(Duration::from_millis(1));
    }
}

/// System calls that read from a socket.
#[cfg(target_arch = "x86_64")]
const READ: u32 = 0;
#[cfg(target_arch = "x86_64")]
const RECVFROM: u32 = 45;
#[cfg(target_arch = "aarch64")]
const READ: u32 = 63;
#[cfg(target_arch = "aarch64")]
const RECVFROM: u32 = 207;

/// What a read that waits is told when its own side is closed meanwhile, the answer coming later.
fn closed_while_it_waits(rig: &Rig) -> Got {
    let (client, mut server) = rig.talking();
    let waiting = reader(&client);
    client.shutdown(Shutdown::Write).expect("our side is closed");
    assert_eq!(server.read(&mut [0; 10]).expect("it comes"), 0, "the end");
    // What wakes the reader has happened, or does now.
    thread::sleep(Duration::from_millis(20));
    server.write_all(b"later").expect("somebody reads");
    waiting.join().expect("it ends")
}

/// The same twice, and whether what is read is counted.
pub(crate) fn closed_twice(rig: &mut Rig) -> (Got, Got, bool) {
    (closed_while_it_waits(rig), closed_while_it_waits(rig), rig.counted())
}

/// The state of the stream wakes it, and the queue's reader does not wait again. Nobody can prevent that, so who made the socket is left with
/// TCP from then on. Where nobody counts, ours has enrolled nobody.
#[test]
fn a_read_that_waits_when_its_own_side_is_closed() {
    let saw = each_way(closed_twice);
    println!("{saw:?}");
    let told = Err(ErrorKind::WouldBlock);
    assert_eq!((saw.plain.0, saw.plain.1), (Ok(5), Ok(5)));
    assert_eq!((saw.naive.0, saw.naive.1), (told, told));
    assert_eq!((saw.ours.0, saw.ours.1), (if saw.ours.2 { told } else { Ok(5) }, Ok(5)));
}

/// More than TCP's buffers hold.
const MUCH: usize = 16 << 20;

/// What a read that waits is told on a socket on which another thread sends: first a little, which is answered, and then so much that it has
/// to wait for room.
fn sent_while_it_waits(rig: &mut Rig) -> (Got, Got) {
    let (mut client, mut server) = rig.talking();
    let waiting = reader(&client);
    exchange(&mut client, &mut server, b"little");
    server.write_all(b"heard").expect("somebody reads");
    let first = waiting.join().expect("it ends");
    let waiting = reader(&client);
    let sending = thread::spawn(move || client.write_all(&vec![7; MUCH]).expect("it is taken"));
    assert_eq!(read_exactly(&mut server, MUCH).len(), MUCH);
    sending.join().expect("it ends");
    // Room to write has woken the reader, or does now.
    thread::sleep(Duration::from_millis(20));
    server.write_all(b"later").expect("somebody reads");
    (first, waiting.join().expect("it ends"))
}

/// Room to write wakes the reader; the usual pair's sender never waits for it, which is another thing that is wrong with it. Ours has found him
/// out by the first message, and is a plain socket when he reads again.
#[test]
fn a_read_that_waits_while_much_is_sent() {
    assert_eq!(plain_and_ours(sent_while_it_waits), [(Ok(5), Ok(5)); 2]);
}

/// Who is in quarantine for it, and sockets that are enrolled: before the thread sends, and after; and ends that were left with TCP since.
fn found_out(rig: &mut Rig) -> Option<(Vec<u32>, [usize; 2], u64)> {
    let (mut client, mut server) = rig.talking();
    let before = enrolled(rig);
    let waiting = reader(&client);
    exchange(&mut client, &mut server, b"little");
    server.write_all(b"heard").expect("somebody reads");
    assert_eq!(waiting.join().expect("it ends"), Ok(5));
    let after = enrolled(rig);
    let ours = rig.ours.as_ref()?;
    drop(rig.talking());
    let held = ours.quarantine().expect("it can be read").iter().map(|(_, held)| held.misfit).collect();
    rig.counted().then(|| (held, [before, after], ours.refused(Refusal::Quarantine).expect("it is counted")))
}

fn enrolled(rig: &Rig) -> usize {
    rig.ours.as_ref().map_or(0, |ours| ours.loaded().map("peers").expect("its name").keys().count())
}

#[test]
fn who_waits_while_another_sends_is_found_out() {
    let Some(saw) = one_way(Mode::Ours, found_out) else {
        return println!("skip: counting what is read needs Linux 5.11");
    };
    let duplex = Misfit::Duplex.number();
    assert_eq!(saw, (vec![duplex, duplex], [2, 0], 1), "the process, and its command; both ends leave");
}

/// Who polls, or reads by the thread that sends, is not found out: messages of these that are redirected, of eight each way.
fn others(rig: &mut Rig) -> (bool, usize, u64) {
    let (mut client, mut server) = rig.talking();
    let before = rig.redirected();
    let (tell, told) = channel();
    let polled = client.try_clone().expect("a second handle");
    let polling = thread::spawn(move || {
        tell.send(nix::unistd::gettid()).expect("somebody listens");
        let events = rustix::event::PollFlags::RDHUP;
        rustix::event::poll(&mut [rustix::event::PollFd::new(&polled, events)], None).expect("it waits")
    });
    let _tid = told.recv().expect("it has a number");
    thread::sleep(Duration::from_millis(20));
    for _ in 0..8 {
        exchange(&mut client, &mut server, b"question");
        exchange(&mut server, &mut client, b"answer");
    }
    let redirected = rig.redirected() - before;
    let held = rig.ours.as_ref().expect("it is ours").quarantine().expect("it can be read").len();
    server.shutdown(Shutdown::Write).expect("its side is closed");
    polling.join().expect("it ends");
    (rig.counted(), held, redirected)
}

#[test]
fn who_polls_is_not() {
    let (counted, held, redirected) = one_way(Mode::Ours, others);
    assert_eq!((held, redirected), (0, if counted { 16 } else { 0 }));
}

/// Calls of helpers in `redirect` and `enrol` as the kernel keeps them: without what never runs.
fn calls(watched: u32, types: Option<&Arc<KernelBtf>>) -> usize {
    let object = progs::bypass::control::object().expect("it is written");
    let small = ["inboxes", "peers", "ends"].map(|map| (map.to_owned(), 1));
    let options = LoadOptions {
        only: Some(["redirect", "enrol"].map(str::to_owned).into()),
        variables: [("watched".to_owned(), watched.to_ne_bytes().to_vec())].into(),
        max_entries: small.into(),
        kernel_btf: types.cloned(),
        ..LoadOptions::default()
    };
    let loaded = loader::load(&Spec::parse(object).expect("ours"), &options).expect("it is taken");
    let insns = ["redirect", "enrol"].map(|name| loaded.prog(name).expect("its name").xlated().expect("we may see it"));
    // A call whose source register says nothing is one of a helper.
    insns.concat().chunks(8).filter(|insn| insn[0] == 0x85 && insn[1] >> 4 == 0).count()
}

/// Where the kernel is locked down, `bpf_probe_read_kernel` is refused: then the programs are told so, and do not call it.
#[test]
fn a_kernel_that_is_locked_down_is_not_asked_for_its_memory() {
    let types = KernelBtf::running().ok().map(Arc::new);
    let [without, with] = [0, 1].map(|watched| calls(watched, types.as_ref()));
    assert!(without < with, "{without} calls, and {with}");
}

/// What a shell reads that was stopped while it waited, and goes on: nothing, if it was told to try again. `None` without one.
fn stopped_while_it_waits(rig: &mut Rig) -> Option<(String, bool)> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("its address").port();
    let script = format!(
        "exec 3<>/dev/tcp/127.0.0.1/{port}; echo -n hello >&3; read -r -N5 -u3 one; read -r -N5 -u3 two; echo -n \"$two\""
    );
    let shell = Command::new("bash").args(["-c", &script]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let shell = shell.ok()?;
    let mut server = accept(&listener);
    assert_eq!(read_exactly(&mut server, 5), b"hello");
    server.write_all(b"world").expect("somebody reads");
    asleep(&format!("/proc/{}", shell.id()), READ);
    let pid = Pid::from_raw(shell.id().cast_signed());
    for signal in [Signal::SIGSTOP, Signal::SIGCONT] {
        kill(pid, signal).expect("it is ours");
        thread::sleep(Duration::from_millis(50));
    }
    server.write_all(b"later").expect("somebody reads");
    let said = shell.wait_with_output().expect("it ends").stdout;
    Some((String::from_utf8(said).expect("text"), rig.counted()))
}

/// Not as in TCP: a signal wakes a read that waits, too.
#[test]
fn a_read_that_waits_while_its_process_is_stopped() {
    let saw = each_way(stopped_while_it_waits);
    println!("{saw:?}");
    let (Some(plain), Some(naive), Some(ours)) = (saw.plain, saw.naive, saw.ours) else {
        return println!("not installed, and not judged: bash");
    };
    assert_eq!((&*plain.0, &*naive.0), ("later", ""));
    assert_eq!(ours.0, if ours.1 { "" } else { "later" });
}
