//! A conversation by chance.
//!
//! Stage: test support. Input: a seed, an end of a connection. Output: everything that was said came, once and in order, and the end when
//! it was closed; or what did not. Both ends have the same script, and play it each on its own. Next file to read: `soak.rs`.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::chance::{Chance, PIECE, bytes};

/// Who waits so long for the other end, which may be on a slow and busy machine, waits for something that is lost.
const STALLED: Duration = Duration::from_secs(60);

/// How often a read that waits was told to try again after its own side was closed, in this process.
pub(crate) static RETRIES: AtomicU64 = AtomicU64::new(0);

/// One end says something, and the other one listens.
struct Step {
    /// Is it the client who speaks?
    client: bool,
    /// Bytes.
    len: u64,
    /// In pieces of so many.
    write: usize,
    /// Read in pieces of so many.
    read: usize,
}

/// A conversation.
pub(crate) struct Script {
    /// What it is like, in words.
    kind: &'static str,
    steps: Vec<Step>,
    /// Both ends say so much at the same time.
    at_once: Option<Step>,
    /// Do both ends poll, and not wait in a call?
    polls: bool,
    /// Who does not speak here closes its side first, and then listens to this.
    last: Step,
    /// Where the streams begin, the client's and the server's: no two connections have the same bytes.
    begin: [u64; 2],
}

impl Script {
    pub(crate) fn new(seed: u64) -> Self {
        let mut chance = Chance(seed);
        let begin = [chance.below(1 << 40), chance.below(1 << 40)];
        let (mut steps, mut at_once) = (Vec::new(), None);
        let kind = match chance.below(16) {
            0 => {
                steps.extend([message(&mut chance), stream(&mut chance), message(&mut chance)]);
                "a stream that nobody waits for"
            }
            1 | 2 => {
                steps.extend(greeting());
                steps.extend((0..3).flat_map(|_| [stream(&mut chance), message(&mut chance)]));
                "streams"
            }
            3 => {
                steps.extend([message(&mut chance), small(&mut chance), message(&mut chance)]);
                "many small messages"
            }
            4 | 5 => {
                steps.extend(greeting());
                at_once = Some(stream(&mut chance));
                "both at once"
            }
            6..=9 => {
                steps.extend(greeting());
                steps.extend((0..8).flat_map(|_| answered(&mut chance)));
                "requests and large answers"
            }
            _ => {
                steps.extend((0..24).map(|_| message(&mut chance)));
                "a talk"
            }
        };
        let polls = at_once.is_some() || chance.below(4) == 0;
        Self { kind, steps, at_once, polls, last: message(&mut chance), begin }
    }

    /// What both ends say.
    pub(crate) fn bytes(&self) -> u64 {
        let at_once = self.at_once.iter().flat_map(|step| [step; 2]);
        self.steps.iter().chain(at_once).chain([&self.last]).map(|step| step.len).sum()
    }

    /// Plays one end.
    pub(crate) fn play(&self, stream: TcpStream, client: bool) -> Result<(), String> {
        self.played(stream, client).map_err(|wrong| format!("in {}: {wrong}", self.kind))
    }

    fn played(&self, stream: TcpStream, client: bool) -> Result<(), String> {
        stream.set_read_timeout(Some(STALLED)).expect("it is a socket");
        stream.set_write_timeout(Some(STALLED)).expect("it is a socket");
        // With Nagle's algorithm two messages in a row wait for a delayed acknowledgement, and the conversation with them.
        stream.set_nodelay(!self.begin[0].is_multiple_of(8)).expect("it is TCP");
        stream.set_nonblocking(self.polls).expect("it can be");
        let [said, heard] = if client { self.begin } else { [self.begin[1], self.begin[0]] };
        let mut end = End { stream, polls: self.polls, closed: false, said, heard, begun: Instant::now() };
        for step in &self.steps {
            if step.client == client { end.say(step)? } else { end.listen(step)? }
        }
        if let Some(step) = &self.at_once {
            end.both(step)?;
        }
        if self.last.client == client {
            end.ends()?;
            end.say(&self.last)
        } else {
            end.shut()?;
            end.listen(&self.last)?;
            end.ends()
        }
    }
}

/// A word each way: from then on everybody is known to read.
fn greeting() -> [Step; 2] {
    [true, false].map(|client| Step { client, len: 5, write: 5, read: PIECE })
}

/// A request, and its answer in one write.
fn answered(chance: &mut Chance) -> [Step; 2] {
    let most = if chance.below(4) == 0 { 200_000 } else { 60_000 };
    let len = chance.up_to(most);
    let read = if chance.below(2) == 0 { PIECE } else { chance.up_to(20_000) };
    [(true, chance.up_to(300), PIECE), (false, len, read)].map(|(client, len, read)| Step {
        client,
        len: len as u64,
        write: len,
        read,
    })
}

fn message(chance: &mut Chance) -> Step {
    let len = match chance.below(6) {
        0 => 1,
        1..=3 => chance.up_to(300),
        4 => chance.up_to(5_000),
        _ => chance.up_to(60_000),
    };
    let read = if chance.below(3) == 0 { chance.up_to(5_000) } else { PIECE };
    Step { client: chance.below(2) == 0, len: len as u64, write: len, read }
}

/// Large writes.
fn stream(chance: &mut Chance) -> Step {
    let write = [16 << 10, 64 << 10, 100_000, PIECE][chance.up_to(4) - 1];
    let read = [PIECE, 64 << 10, chance.up_to(20_000)][chance.up_to(3) - 1];
    Step { client: chance.below(2) == 0, len: chance.below(2 << 20), write, read }
}

/// More small messages than stay in the map.
fn small(chance: &mut Chance) -> Step {
    let write = chance.up_to(100);
    Step {
        client: chance.below(2) == 0,
        len: write as u64 * (500 + chance.below(1_000)),
        write,
        read: chance.up_to(5_000),
    }
}

/// One end, and how far it is.
struct End {
    stream: TcpStream,
    polls: bool,
    /// Is its own side closed?
    closed: bool,
    said: u64,
    heard: u64,
    begun: Instant,
}

impl End {
    fn say(&mut self, step: &Step) -> Result<(), String> {
        let until = self.said + step.len;
        while self.said < until {
            self.wait(PollFlags::POLLOUT)?;
            self.write(step, until)?;
        }
        Ok(())
    }

    fn listen(&mut self, step: &Step) -> Result<(), String> {
        let (until, mut part) = (self.heard + step.len, vec![0; step.read]);
        while self.heard < until {
            self.wait(PollFlags::POLLIN)?;
            self.read(&mut part, until)?;
        }
        Ok(())
    }

    /// Both directions at once.
    fn both(&mut self, step: &Step) -> Result<(), String> {
        let (said, heard, mut part) = (self.said + step.len, self.heard + step.len, vec![0; step.read]);
        while (self.said, self.heard) != (said, heard) {
            let mut events = PollFlags::empty();
            events.set(PollFlags::POLLOUT, self.said < said);
            events.set(PollFlags::POLLIN, self.heard < heard);
            self.wait(events)?;
            self.write(step, said)?;
            self.read(&mut part, heard)?;
        }
        Ok(())
    }

    fn write(&mut self, step: &Step, until: u64) -> Result<(), String> {
        let piece = piece(step.write, until - self.said);
        let told = if piece == 0 { Ok(0) } else { self.stream.write(bytes(self.said, piece)) };
        self.said += self.done("write", told)?.unwrap_or(0) as u64;
        Ok(())
    }

    fn read(&mut self, part: &mut [u8], until: u64) -> Result<(), String> {
        let piece = piece(part.len(), until - self.heard);
        if piece == 0 {
            return Ok(());
        }
        let told = self.stream.read(&mut part[..piece]);
        let Some(got) = self.done("read", told)? else { return Ok(()) };
        self.check(&part[..got])
    }

    /// What a call has done, if it could; who does not poll is never told to try again, and if it is after its own side was closed, that
    /// is counted.
    fn done(&self, call: &str, told: io::Result<usize>) -> Result<Option<usize>, String> {
        match told {
            Err(error) if error.kind() == ErrorKind::WouldBlock && (self.polls || self.closed && !self.is_late()) => {
                RETRIES.fetch_add(u64::from(!self.polls), Ordering::Relaxed);
                Ok(None)
            }
            told => told.map(Some).map_err(|error| self.failed(call, &error)),
        }
    }

    /// Has it taken so long that a read may have given up?
    fn is_late(&self) -> bool {
        self.begun.elapsed() >= STALLED
    }

    fn wait(&self, events: PollFlags) -> Result<(), String> {
        if !self.polls {
            return Ok(());
        }
        let long = PollTimeout::try_from(STALLED).expect("it is not so long");
        match poll(&mut [PollFd::new(self.stream.as_fd(), events)], long) {
            Ok(0) => Err(self.failed("poll", &io::Error::from(ErrorKind::TimedOut))),
            Ok(_) => Ok(()),
            Err(error) => Err(self.failed("poll", &error.into())),
        }
    }

    fn check(&mut self, got: &[u8]) -> Result<(), String> {
        if got.is_empty() {
            return Err(self.failed("read", &io::Error::from(ErrorKind::UnexpectedEof)));
        }
        let want = bytes(self.heard, got.len());
        if got != want {
            let wrong = got.iter().zip(want).take_while(|(got, want)| got == want).count();
            return Err(format!("{}, and byte {wrong} of {} is another one", self.place(), got.len()));
        }
        self.heard += got.len() as u64;
        Ok(())
    }

    fn shut(&mut self) -> Result<(), String> {
        self.closed = true;
        self.stream.shutdown(Shutdown::Write).map_err(|error| self.failed("shutdown", &error))
    }

    /// The other end has said everything.
    fn ends(&mut self) -> Result<(), String> {
        loop {
            self.wait(PollFlags::POLLIN)?;
            let told = self.stream.read(&mut [0; 1]);
            match self.done("read at the end", told)? {
                None => {}
                Some(0) => return Ok(()),
                Some(_) => return Err(format!("{}, and there is more than was said", self.place())),
            }
        }
    }

    fn failed(&self, call: &str, error: &io::Error) -> String {
        format!("{}, {call}: {error}", self.place())
    }

    fn place(&self) -> String {
        format!(
            "after {:.1?}, at byte {} of what is said and {} of what is heard",
            self.begun.elapsed(),
            self.said,
            self.heard
        )
    }
}

fn piece(most: usize, left: u64) -> usize {
    usize::try_from(left).map_or(most, |left| left.min(most))
}
