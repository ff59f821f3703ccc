//! The serial port on which results leave the guest, and the machine's off switch.
//!
//! In: [`Event`]s. Out: one JSON line each. Next to read: `lib.rs`, for the events.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::termios::{SetArg, cfmakeraw, tcdrain, tcgetattr, tcsetattr};

use crate::{DETAIL_LIMIT, Event, Item, Line, Status, kmsg, shorten};

/// The result stream.
pub(crate) struct Port {
    tty: File,
    seq: u64,
}

impl Port {
    /// Opens the port, in raw mode: a terminal would turn each newline into two characters.
    ///
    /// # Errors
    /// There is no such port, or it cannot be set up.
    pub(crate) fn open(path: &str) -> Result<Self> {
        let tty = OpenOptions::new().read(true).write(true).open(path).with_context(|| format!("open {path}"))?;
        let mut settings = tcgetattr(&tty).with_context(|| format!("settings of {path}"))?;
        cfmakeraw(&mut settings);
        tcsetattr(&tty, SetArg::TCSANOW, &settings).with_context(|| format!("set {path} to raw mode"))?;
        Ok(Self { tty, seq: 0 })
    }

    /// Sends one line.
    ///
    /// # Errors
    /// The port takes no more.
    pub(crate) fn send(&mut self, nonce: &str, event: Event) -> Result<()> {
        let line = Line { nonce: nonce.to_owned(), seq: self.seq, event };
        let mut text = serde_json::to_vec(&line).context("encode a result line")?;
        text.push(b'\n');
        self.seq += 1;
        self.tty.write_all(&text).context("write to the result port")
    }

    /// Waits until the last byte has left the port; without it the end of the stream is lost when the machine stops.
    ///
    /// # Errors
    /// The wait was broken off.
    pub(crate) fn drain(&self) -> Result<()> {
        tcdrain(&self.tty).context("drain the result port")
    }
}

/// Reports of items, with what the kernel complained about while each ran.
pub(crate) struct Report<'a> {
    port: &'a mut Port,
    nonce: &'a str,
    log: &'a mut kmsg::Log,
    begin: Instant,
}

impl<'a> Report<'a> {
    /// Reports of this run's items on this port.
    pub(crate) fn new(port: &'a mut Port, nonce: &'a str, log: &'a mut kmsg::Log) -> Self {
        Self { port, nonce, log, begin: Instant::now() }
    }

    /// The item begins.
    ///
    /// # Errors
    /// The port takes no more.
    pub(crate) fn begin(&mut self, index: usize) -> Result<()> {
        self.begin = Instant::now();
        self.port.send(self.nonce, Event::Start { item: index })
    }

    /// The item that has begun last has ended.
    ///
    /// # Errors
    /// The port takes no more.
    pub(crate) fn end(&mut self, index: usize, item: &Item, status: Status, output: &str) -> Result<()> {
        let ms = u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        let detail = shorten(output, item.output_limit.unwrap_or(DETAIL_LIMIT));
        self.port.send(self.nonce, Event::End { item: index, status, ms, detail, splat: self.log.splats() })
    }
}

/// Switches the machine off. Usually the host has ended it before: it does so as soon as it has read the goodbye.
pub(crate) fn leave() -> ! {
    let refused = reboot(RebootMode::RB_POWER_OFF);
    eprintln!("guest-init: cannot switch off: {refused:?}");
    loop {
        sleep(Duration::from_secs(3600));
    }
}
