//! Stage: lab trial. The client's whole side: its sockets, every exchange, what systems say while the connections stand, the end.
//!
//! Input: a trial, in a thread that is in the client's namespace. Output: [`Asked`]: what worked, and how long it took. Read next:
//! `client.rs`, a single exchange.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use super::client::{self, Exchange};
use super::{Error, Shares};
use crate::lab::cgroup;
use crate::manifest::lab::{Protocol, Trial};
use crate::system::Share;

/// After so many failures in a row the rest is not tried: each may cost seconds.
const GIVE_UP: u32 = 3;

/// The first so many failures are told.
const TOLD: usize = 5;

/// What the client saw.
#[derive(Default)]
pub(super) struct Asked {
    /// What worked.
    pub(super) done: Vec<Exchange>,
    /// The same on sockets outside of the lab's cgroups.
    pub(super) plain: Vec<Exchange>,
    /// Exchanges begun.
    pub(super) tried: u32,
    /// The first failures, in words.
    pub(super) failures: Vec<String>,
    /// What systems say of the connections, when all of them stand.
    pub(super) shares: Vec<Share>,
}

/// Does all exchanges of a trial, from the calling thread's namespace, with sockets of a cgroup.
pub(super) fn ask(
    trial: &Trial,
    cgroup: Option<&Path>,
    shares: &Shares<'_>,
    cancel: &AtomicBool,
) -> Result<Asked, Error> {
    settle(trial);
    let mut asked = Asked::default();
    match trial.protocol {
        Protocol::Udp => asked.each(trial, cancel, |number| client::udp(trial, number)),
        Protocol::Tcp if trial.rounds > 1 || cgroup.is_some() => asked.standing(trial, cgroup, shares, cancel)?,
        Protocol::Tcp => asked.each(trial, cancel, |number| {
            let stream = client::tcp_socket(trial.to).map_err(|error| format!("make a socket: {error}"))?;
            let exchange = client::talk(&stream, trial, number)?;
            client::close(&stream)?;
            Ok(exchange)
        }),
    }
    Ok(asked)
}

impl Asked {
    /// One exchange after the other, until too many fail or somebody wants to stop.
    fn each(&mut self, trial: &Trial, cancel: &AtomicBool, mut exchange: impl FnMut(u32) -> Result<Exchange, String>) {
        let mut in_a_row = 0;
        for number in 0..trial.exchanges {
            if cancel.load(Ordering::Relaxed) || in_a_row == GIVE_UP {
                break;
            }
            self.tried += 1;
            match exchange(number) {
                Ok(exchange) => {
                    self.done.push(exchange);
                    in_a_row = 0;
                }
                Err(why) => {
                    self.failed(number, &why);
                    in_a_row += 1;
                }
            }
        }
    }

    /// The same, with connections that stand until all have talked. Sockets are made before, for entering a cgroup takes longer than
    /// many exchanges do.
    fn standing(
        &mut self,
        trial: &Trial,
        cgroup: Option<&Path>,
        shares: &Shares<'_>,
        cancel: &AtomicBool,
    ) -> Result<(), Error> {
        let make = || (0..trial.exchanges).map(|_| client::tcp_socket(trial.to)).collect::<io::Result<Vec<_>>>();
        let failed = |source| Error::Socket { host: trial.from.clone(), source };
        let inside = sockets(cgroup, make)?.map_err(failed)?;
        let outside = if trial.compare { make().map_err(failed)? } else { Vec::new() };
        let (mut open, mut plain) = (Vec::new(), Vec::new());
        self.each(trial, cancel, |number| {
            let at = usize::try_from(number).unwrap_or(usize::MAX);
            let stream = inside.get(at).ok_or("no socket")?;
            let exchange = client::talk(stream, trial, number)?;
            if let Some(stream) = outside.get(at) {
                plain.push(client::talk(stream, trial, number).map_err(|why| format!("outside of the cgroup: {why}"))?);
                client::close(stream)?;
            }
            open.push((number, stream));
            Ok(exchange)
        });
        self.plain = plain;
        self.shares = shares().map_err(Error::Share)?;
        for ((number, stream), exchange) in open.into_iter().zip(std::mem::take(&mut self.done)) {
            match client::close(stream) {
                Ok(()) => self.done.push(exchange),
                Err(why) => self.failed(number, &why),
            }
        }
        Ok(())
    }

    fn failed(&mut self, number: u32, why: &str) {
        if self.failures.len() < TOLD {
            self.failures.push(format!("exchange {number}: {why}"));
        }
    }
}

/// Makes sockets in a cgroup, if there is one.
pub(super) fn sockets<T>(cgroup: Option<&Path>, make: impl FnOnce() -> T) -> Result<T, Error> {
    match cgroup {
        Some(cgroup) => Ok(cgroup::within(cgroup, make)?),
        None => Ok(make()),
    }
}

/// Both ends of a connection with several requests share one CPU, the first that there is: what a round trip takes is then a matter of
/// the way the bytes go, and not of where the scheduler puts whom.
pub(super) fn settle(trial: &Trial) {
    let this_thread = Pid::from_raw(0);
    let Some(allowed) = sched_getaffinity(this_thread).ok().filter(|_| trial.rounds > 1) else { return };
    let first = (0..CpuSet::count()).find(|cpu| allowed.is_set(*cpu).unwrap_or(false));
    let mut one = CpuSet::new();
    if first.is_some_and(|cpu| one.set(cpu).is_ok()) {
        let _ = sched_setaffinity(this_thread, &one); // without it the figures are only less steady
    }
}
