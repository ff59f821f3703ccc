//! `loader bypass`: what is asked of `bypass` beside bringing it up. And what `up` has to know before it does that: how this kernel wants it.
//!
//! Input: [`Args`], or a manifest. Output: the verdicts of the self-probe; a manifest in which they are obeyed. Read next:
//! `progs::bypass::probe`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result};
use loader::manifest::{Deployment, Manifest};
use loader::map::{Map, RingBuf};
use loader::pin;
use progs::bypass::first::MOST;
use progs::bypass::flows::{self, Event, Flow, Told};
use progs::bypass::host;
use progs::bypass::probe::{self, Verdicts};

use crate::interrupt;
use crate::render::{Out, table};

/// What `loader bypass` is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

/// One question.
#[derive(Debug, clap::Subcommand)]
enum What {
    /// Try what this kernel does with connections that go past the stack
    ///
    /// On real sockets in a network namespace and a cgroup of its own, with the programs that `up` would load; nothing stays behind.
    /// `!` marks what is not as in TCP. `up` tries the same before it brings `bypass` up, and does as the last column says.
    Probe,
    /// The pairs that live: both ends, whose they are, what went past the stack and what by TCP
    ///
    /// One a row: bytes past the stack, bytes by TCP, and in brackets why the last message went there. With `--follow` the pairs that begin
    /// and end, one a line as it happens, until ^C: with `--json`, for a collector. Each is told once, to one reader. What is sent first
    /// is among it if the manifest sets `first_bytes` of `audit`. `docs/bypass.md` says more.
    Flows(Flows),
}

/// What `loader bypass flows` is asked for.
#[derive(Debug, clap::Args)]
struct Flows {
    /// The deployment that brought the programs up
    #[arg(default_value = OBJECT)]
    name: String,
    /// Tell of those that begin and end instead
    #[arg(long)]
    follow: bool,
    /// Show what each end has sent first, if the manifest has that copied
    #[arg(long, conflicts_with = "follow")]
    head: bool,
    /// End after so many
    #[arg(long, value_name = "N", requires = "follow")]
    count: Option<usize>,
}

/// Runs the command.
pub(crate) fn run(args: &Args, out: &mut Out) -> Result<()> {
    match &args.what {
        What::Probe => out.result(&probe::run()?, text),
        What::Flows(args) if args.follow => follow(args, out),
        What::Flows(args) => {
            let living = flows::living(&args.map("ends")?, &args.map("inboxes")?);
            let mut living = living.with_context(|| {
                format!("`{}` may be of another version: `loader up` again puts this one in its place", args.name)
            })?;
            for side in living.iter_mut().flat_map(|flow| [&mut flow.client, &mut flow.server]).filter(|_| !args.head) {
                side.sent_first.clear();
            }
            out.result(&living, |living| match living.as_slice() {
                [] => "no connection is enrolled\n".to_owned(),
                living => table(Flow::HEAD, living.iter().map(Flow::row)),
            })
        }
    }
}

impl Flows {
    /// A map of the deployment.
    fn map(&self, name: &str) -> Result<Map> {
        let deployment = Path::new(pin::BPFFS).join("loader").join(&self.name);
        Map::from_pin(pin::pin_path(&deployment, pin::Kind::Map, name)?)
            .with_context(|| format!("`{}` is not up, or has no map `{name}`", self.name))
    }
}

/// How long to wait at most before looking whether somebody wants to stop.
const PATIENCE: Duration = Duration::from_millis(200);

/// Tells of pairs as they begin and end.
fn follow(args: &Flows, out: &mut Out) -> Result<()> {
    let mut ring = RingBuf::new(&args.map("flows")?)?;
    let stop = interrupt::watch()?;
    let mut left = args.count.unwrap_or(usize::MAX);
    while left > 0 && !stop.load(Ordering::Relaxed) {
        ring.wait(Some(PATIENCE))?;
        let mut all = Vec::new();
        ring.read(|record| all.extend(flows::told(record)))?;
        for one in all.iter().take(left) {
            out.line(&serde_json::to_value(one)?, |_| line(one))?;
        }
        left = left.saturating_sub(all.len());
    }
    Ok(())
}

/// What is told, in a line.
fn line(told: &Told) -> String {
    match told {
        Told::Pair(event) => pair(event),
        Told::Said(said) => said.line(),
    }
}

fn pair(Event { event, flow, .. }: &Event) -> String {
    let [row @ .., _, _] = flow.row();
    let row = row.join("  ");
    format!("{event}  {row}  client closed {}, server {}", flow.client.how, flow.server.how)
}

/// The table.
pub(crate) fn text(verdicts: &Verdicts) -> String {
    format!("self-probe of bypass, {} ms\n{verdicts}", verdicts.took_ms)
}

/// The object that is asked about.
const OBJECT: &str = "bypass";

/// Refuses settings that the programs would not follow.
pub(crate) fn check(manifest: &Manifest) -> Result<()> {
    for deployment in manifest.deployments.iter().filter(|one| wants_us(one)) {
        let Some(section) = &deployment.data else { continue };
        let values: BTreeMap<String, serde_json::Value> = section.read()?;
        let bytes = values.get("audit").and_then(|audit| audit.get("first_bytes")).and_then(serde_json::Value::as_u64);
        if let Some(bytes) = bytes.filter(|bytes| *bytes > u64::from(MOST)) {
            let error = section.locate("audit.first_bytes").error(format!("{bytes} first bytes are too many"));
            return Err(error.help(format!("`bypass` copies 0 to {MOST} bytes of each direction")).into());
        }
    }
    Ok(())
}

fn wants_us(deployment: &Deployment) -> bool {
    deployment.programs.iter().any(|program| program.object == OBJECT)
}

/// Where a manifest wants `bypass`, asks this kernel how it is to run, and has the manifest want that.
pub(crate) fn settle(manifest: &mut Manifest) -> Result<Option<Verdicts>> {
    let mut wanting = manifest.deployments.iter_mut().filter(|one| wants_us(one));
    let Some(first) = wanting.next() else { return Ok(None) };
    let verdicts = probe::run()?;
    for deployment in std::iter::once(first).chain(wanting) {
        deployment.programs.retain(|program| program.object != OBJECT || verdicts.choice.wants(&program.name));
        if !verdicts.choice.open {
            deployment.settled.insert("open".to_owned(), 0.into());
        }
        deployment.settled.extend(host::told().into_iter().map(|(name, value)| (name.to_owned(), value.into())));
        let mut policy = serde_json::Map::new();
        if verdicts.choice.fionread {
            // Where it counts all, nobody has to be kept from it.
            policy.insert("hold_fionread".to_owned(), 0.into());
        }
        if !verdicts.choice.everybody && deployment.lab.is_none() {
            // In a lab are none but its own, who read in no such way.
            policy.insert("only_allowed".to_owned(), 1.into());
        }
        if !policy.is_empty() {
            deployment.settled.insert("policy".to_owned(), policy.into());
        }
    }
    Ok(Some(verdicts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use progs::bypass::flows::{Received, Side};

    fn side(pid: u32, command: &str, [local, remote]: [&str; 2], how: &'static str) -> Side {
        Side {
            pid,
            command: command.to_owned(),
            cgroup: 77,
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
            since_ns: 1,
            closed_ns: 0,
            how,
            sent_first: Vec::new(),
            received: Received {
                redirected_bytes: 4096,
                redirected_messages: 2,
                passed_bytes: 12,
                passed_messages: 1,
                reason: "unheard",
            },
        }
    }

    /// A client behind a translation of addresses, and a server that was there before the programs were.
    fn flow() -> Flow {
        Flow {
            state: "open",
            client: side(12, "psql", ["10.0.0.2:40000", "10.96.0.1:5432"], "first"),
            server: side(0, "", ["[2001:db8::1]:5432", "10.0.0.2:40000"], "second"),
        }
    }

    #[test]
    fn flows_as_a_table() {
        let text = table(Flow::HEAD, [flow().row()]);
        let want = "   CLIENT          WHO      SERVER              WHO  TO SERVER                       TO CLIENT                       STATE\n   \
                    10.0.0.2:40000  12/psql  [2001:db8::1]:5432  -    4096 past, 12 by TCP (unheard)  4096 past, 12 by TCP (unheard)  open\n";
        assert_eq!(text, want);
        let mut spoken = flow();
        spoken.client.sent_first = b"GET /\r\n\0".to_vec();
        let text = table(Flow::HEAD, [spoken.row()]);
        assert!(text.lines().next().is_some_and(|head| head.ends_with("STATE  CLIENT BEGAN")), "{text}");
        assert!(text.ends_with("open   \"GET /\\r\\n\\x00\"\n"), "{text}");
    }

    #[test]
    fn an_event_as_a_line() {
        let event = Event { event: "ended", at_ns: 5, flow: flow() };
        let told = Told::Pair(Box::new(event.clone()));
        assert!(line(&told).starts_with("ended  10.0.0.2:40000  12/psql  [2001:db8::1]:5432  -  4096 past"));
        assert!(line(&told).ends_with("client closed first, server second"));
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!((&json["event"], &json["client"]["remote"]), (&"ended".into(), &"10.96.0.1:5432".into()));
    }
}
