//! What `loader up` tells at its end, for people: what runs where, and what the lab's trials have shown.
//!
//! Input: a [`Report`]. Output: lines and tables. Read next: `render.rs`.

use loader::apply::Report;
use loader::lab::trial::{self, Served, Times};
use loader::system::Share;

use crate::render::{number, table};

/// One deployment.
pub(crate) fn text(report: &Report) -> String {
    if !report.changed {
        return format!("{}: as wanted, nothing changed\n", report.name);
    }
    let mut text = format!("{}: up\n", report.name);
    text += &table(
        ["attached to", "program", "mode", "refused"],
        report.links.iter().map(|link| {
            let refused = link.refused.iter().map(|one| format!("{}: {}", one.mode, one.words)).collect::<Vec<_>>();
            let mode = link.got.map_or_else(|| "attached".to_owned(), |mode| mode.to_string());
            [link.at(), link.program.clone(), mode, refused.join("; ")]
        }),
    );
    text += &report.left_out.iter().map(|(pin, why)| format!("  without {pin}: {why}\n")).collect::<String>();
    text += &report.migrated.iter().map(|migrated| format!("  {migrated}\n")).collect::<String>();
    text += &trials(&report.trials);
    let took = &report.took;
    text + &format!(
        "  load {:.1} ms, lab {:.1} ms, configure {:.1} ms, attach {:.1} ms, trials {:.1} ms\n",
        took.load_ms, took.lab_ms, took.configure_ms, took.attach_ms, took.trial_ms
    )
}

/// A row each.
fn trials(all: &[trial::Report]) -> String {
    let mut text = table(
        ["tried", "from", "worked", "round trip", "p99", "plain tcp", "past the stack", "answered by"],
        all.iter().map(|report| {
            let times = slowest(&report.servers);
            [
                report.trial.title(),
                report.trial.from.clone(),
                worked(report),
                us(times.median_us),
                us(times.p99_us),
                report.plain.map_or_else(String::new, |plain| beside(times, plain)),
                report.shares.iter().map(share).collect::<Vec<_>>().join("; "),
                answered(&report.servers),
            ]
        }),
    );
    for report in all {
        for share in report.shares.iter().filter(|share| share.messages == 0) {
            let because =
                if share.ends == 0 { "no connection was enrolled".to_owned() } else { share.because.join("; ") };
            text += &format!("  {}: everything went by TCP: {because}\n", report.trial.title());
        }
    }
    text
}

/// `8 of 8, 50 requests each`.
fn worked(report: &trial::Report) -> String {
    let trial = &report.trial;
    let count = format!("{} of {}", number(report.succeeded.into()), number(trial.exchanges.into()));
    if trial.rounds > 1 { format!("{count}, {} requests each", number(trial.rounds.into())) } else { count }
}

/// Of several servers the one with the slowest median.
fn slowest(servers: &[Served]) -> Times {
    let times = servers.iter().map(|one| one.times);
    times.max_by(|one, other| one.median_us.total_cmp(&other.median_us)).unwrap_or_default()
}

/// `17.7 µs, ours 0.63 of it`.
fn beside(ours: Times, plain: Times) -> String {
    format!("{}, ours {:.2} of it", us(plain.median_us), ours.median_us / plain.median_us)
}

/// `784 of 800 messages, 98 % of the bytes`.
fn share(share: &Share) -> String {
    if share.messages == 0 {
        return "nothing".to_owned();
    }
    let percent = (share.bytes * 100).checked_div(share.of_bytes).unwrap_or_default();
    format!("{} of {} messages, {percent} % of the bytes", number(share.messages), number(share.of_messages))
}

fn answered(servers: &[Served]) -> String {
    let each: Vec<_> = servers.iter().map(|one| format!("{} {}", one.host, number(one.served as u64))).collect();
    each.join(", ")
}

fn us(us: f64) -> String {
    format!("{us:.1} µs")
}

#[cfg(test)]
mod tests {
    use super::*;
    use loader::lab::trial::Report as Tried;
    use loader::manifest::lab::Trial;

    fn tried(toml: &str, servers: &[(&str, usize, f64)], plain: Option<f64>, messages: Option<u64>) -> Tried {
        let trial: Trial = toml::from_str(toml).expect("a trial");
        let times = |median_us: f64| Times { min_us: median_us / 2.0, median_us, p99_us: median_us * 4.0 };
        let served = |(host, served, us): &(&str, usize, f64)| {
            let answered = *served as u64;
            Served { host: (*host).to_owned(), served: *served, answered, times: times(*us) }
        };
        let all = 800;
        let share = |messages: u64| Share {
            ends: 16,
            messages,
            of_messages: all,
            bytes: messages * 72,
            of_bytes: all * 72,
            because: vec!["its reader was not heard".to_owned()],
        };
        Tried {
            tried: trial.exchanges,
            succeeded: trial.exchanges,
            servers: servers.iter().map(served).collect(),
            shares: messages.map(share).into_iter().collect(),
            plain: plain.map(times),
            failures: Vec::new(),
            trial,
        }
    }

    #[test]
    fn what_trials_showed_is_a_table() {
        let lb = "from = 'client'\nto = '10.10.0.5:80'\nprotocol = 'tcp'\nservers = ['real1', 'real2']";
        let servers = [("real1", 612, 91.25), ("real2", 388, 95.5)];
        let want = "   TRIED              FROM    WORKED          ROUND TRIP  P99       ANSWERED BY\n   \
                    10.10.0.5:80, tcp  client  1,000 of 1,000  95.5 µs     382.0 µs  real1 612, real2 388\n";
        assert_eq!(trials(&[tried(lb, &servers, None, None)]), want);

        let bypass = "name = 'NAME'\nfrom = 'a'\nto = '127.0.0.1:1'\nprotocol = 'tcp'\nservers = ['a']\nexchanges = 8\nrounds = 50";
        let row =
            |name, messages| tried(&bypass.replace("NAME", name), &[("a", 8, 11.25)], Some(17.75), Some(messages));
        let want = "   TRIED     FROM  WORKED                    ROUND TRIP  P99      PLAIN TCP                 PAST THE STACK                          ANSWERED BY\n   \
                    loopback  a     8 of 8, 50 requests each  11.2 µs     45.0 µs  17.8 µs, ours 0.63 of it  784 of 800 messages, 98 % of the bytes  a 8\n   \
                    old       a     8 of 8, 50 requests each  11.2 µs     45.0 µs  17.8 µs, ours 0.63 of it  nothing                                 a 8\n  \
                    old: everything went by TCP: its reader was not heard\n";
        assert_eq!(trials(&[row("loopback", 784), row("old", 0)]), want);
        assert_eq!(trials(&[]), "");
    }
}
