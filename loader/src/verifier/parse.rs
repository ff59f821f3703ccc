//! Stage: verification. Input: the verifier's log as text, in either of its forms. Output: [`Finding`].
//!
//! Until Linux 7.2 a log is a trace of instructions that ends with a terse line:
//!
//! ```text
//! 0: R1=ctx() R10=fp0
//! ; return verdict; @ pass.rs:12
//! 0: (95) exit
//! R0 !read_ok
//! processed 1 insns (limit 1000000) …
//! ```
//!
//! Linux 7.3 adds a [`Report`] after that line, with the headings `Verification failed`, `Reason`, `At`, `Causal path`
//! and `Suggestion`. Nothing here fails: what a log does not say is `None`. Read next: `explain.rs`.

/// What a log says about a refusal.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// The verifier's last line before the report and its statistics.
    pub last_line: String,
    /// The instruction it was at, counted in the whole program with its subprograms.
    pub insn: Option<u32>,
    /// That instruction as text, such as `(95) exit`.
    pub insn_text: Option<String>,
    /// The line of source the kernel showed for it.
    pub source: Option<Source>,
    /// The instructions it went through.
    pub processed: Option<u64>,
    /// The report of Linux 7.3 and later.
    pub report: Option<Report>,
}

/// A line of source in the log, from the program's line information.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Source {
    /// The line's text.
    pub text: String,
    /// The last part of the file's path, and the line (since Linux 6.9).
    pub place: Option<(String, u32)>,
}

/// The verifier's own explanation (Linux 7.3).
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// After `Verification failed:`, such as `Register Type Safety: Unreadable register`.
    pub title: String,
    /// Why.
    pub reason: String,
    /// Where, with the instructions around.
    pub at: String,
    /// What led there; empty if the verifier kept nothing of it.
    pub causal_path: String,
    /// What to do.
    pub suggestion: String,
}

/// What verifying a program took, from the statistics at a log's end. What the log does not say is `None` or empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Cost {
    /// Instructions stepped through, on all paths together; a kernel gives up at a million.
    pub insns: Option<u64>,
    /// States of the program that were kept to be compared with, over the whole run.
    pub states: Option<u64>,
    /// Bytes of stack of each function, in the order of the program (Linux 4.20).
    pub stack: Vec<u32>,
}

/// Reads the statistics of a log.
#[must_use]
pub fn cost(log: &str) -> Cost {
    let mut cost = Cost::default();
    for line in log.lines() {
        if let Some(insns) = processed(line) {
            cost.insns = Some(insns);
            let mut words = line.split_whitespace().skip_while(|word| *word != "total_states");
            cost.states = words.nth(1).and_then(|number| number.parse().ok());
        } else if let Some(depths) = line.strip_prefix("stack depth ") {
            let depths = depths.split_whitespace().next().unwrap_or_default();
            cost.stack = depths.split('+').filter_map(|bytes| bytes.parse().ok()).collect();
        } else if is_subprog(line) {
            // Linux 7.3: a line a function.
            cost.stack.extend(line.rsplit_once(" stack ").and_then(|(_, bytes)| bytes.trim().parse::<u32>().ok()));
        }
    }
    cost
}

/// How the report starts.
const REPORT: &str = "Verification failed:";
/// How the lines after the verdict start.
const STATISTICS: [&str; 4] = ["processed ", "verification time ", "stack depth ", "insns processed "];

/// Reads a log.
#[must_use]
pub fn parse(log: &str) -> Finding {
    let mut finding = Finding::default();
    let mut source = None;
    let mut lines = log.lines();
    for line in lines.by_ref() {
        let line = line.trim_end();
        if let Some(title) = line.strip_prefix(REPORT) {
            finding.report = Some(Report { title: title.trim().to_owned(), ..Report::default() });
            break;
        }
        if let Some(text) = line.strip_prefix("; ") {
            source = Some(parse_source(text));
        } else if let Some((insn, text)) = parse_insn(line) {
            (finding.insn, finding.insn_text) = (Some(insn), Some(text.to_owned()));
            finding.source.clone_from(&source);
        }
        if !line.trim().is_empty() && !is_statistics(line) {
            line.trim().clone_into(&mut finding.last_line);
        }
        finding.processed = finding.processed.or_else(|| processed(line));
    }
    if let Some(report) = &mut finding.report {
        finding.processed = parse_report(lines, report).or(finding.processed);
        finding.insn = insn_named(&report.at).or(finding.insn);
    }
    // A program whose shape is wrong is refused before the first instruction is traced.
    if finding.insn.is_none() {
        finding.insn = insn_named(&finding.last_line);
    }
    finding
}

pub(super) fn is_statistics(line: &str) -> bool {
    STATISTICS.iter().any(|start| line.starts_with(start)) || is_subprog(line)
}

/// `subprog 0 (name) main insns_self 4 insns_total 4 stack 8`.
fn is_subprog(line: &str) -> bool {
    line.starts_with("subprog ") && line.contains(" insns_self ")
}

/// The number in `processed 17 insns (limit 1000000) …`.
fn processed(line: &str) -> Option<u64> {
    line.strip_prefix("processed ")?.split_once(' ')?.0.parse().ok()
}

/// `12: (95) exit` with what follows from the state cut off.
fn parse_insn(line: &str) -> Option<(u32, &str)> {
    let (number, rest) = line.split_once(": ")?;
    let insn = number.parse().ok()?;
    let hex = rest.strip_prefix('(')?.split_once(')')?.0;
    if hex.len() != 2 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let end = rest.find(" ;").unwrap_or(rest.len());
    Some((insn, rest[..end].trim_end()))
}

/// `return verdict; @ pass.rs:12`.
fn parse_source(text: &str) -> Source {
    if let Some((code, place)) = text.rsplit_once(" @ ")
        && let Some((file, line)) = place.rsplit_once(':')
        && let Ok(line) = line.trim().parse()
    {
        return Source { text: code.trim().to_owned(), place: Some((file.to_owned(), line)) };
    }
    Source { text: text.trim().to_owned(), place: None }
}

/// The number after the first word `insn`, as in `unreachable insn 7`.
fn insn_named(text: &str) -> Option<u32> {
    let mut words = text.split_whitespace();
    words.by_ref().find(|word| *word == "insn")?;
    words.next()?.trim_end_matches([',', '.', ':', ')']).parse().ok()
}

/// Fills the report's parts from the lines after its first; returns what the statistics at the end say.
fn parse_report<'a>(lines: impl Iterator<Item = &'a str>, report: &mut Report) -> Option<u64> {
    let mut part: Option<&mut String> = None;
    let mut done = None;
    for line in lines {
        let line = line.trim_end();
        match line {
            "Reason:" => part = Some(&mut report.reason),
            "At:" => part = Some(&mut report.at),
            "Causal path:" => part = Some(&mut report.causal_path),
            "Suggestion:" => part = Some(&mut report.suggestion),
            line if is_statistics(line) => {
                done = done.or_else(|| processed(line));
                part = None;
            }
            // What belongs to a part is indented.
            line => {
                if let Some(part) = &mut part
                    && !line.is_empty()
                {
                    if !part.is_empty() {
                        part.push('\n');
                    }
                    part.push_str(line.strip_prefix("  ").unwrap_or(line));
                }
            }
        }
    }
    if report.causal_path.starts_with("no retained diagnostic events") {
        report.causal_path.clear();
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Row {
        name: &'static str,
        log: &'static str,
        last_line: &'static str,
        insn: Option<u32>,
        insn_text: Option<&'static str>,
        source: Option<(&'static str, Option<(&'static str, u32)>)>,
        processed: Option<u64>,
    }

    const ROWS: &[Row] = &[
        Row {
            name: "6.18",
            log: "0: R1=ctx() R10=fp0\n0: (95) exit\nR0 !read_ok\nprocessed 1 insns (limit 1000000) max_states_per_insn 0\n",
            last_line: "R0 !read_ok",
            insn: Some(0),
            insn_text: Some("(95) exit"),
            source: None,
            processed: Some(1),
        },
        Row {
            name: "5.10, with source",
            log: "; int verdict(ctx)\n0: (61) r2 = *(u32 *)(r1 +0)\n; return data[20];\n1: (71) r0 = *(u8 *)(r2 +20)\n\
                  invalid access to packet, off=20 size=1, R2(id=0,off=20,r=0)\nR2 offset is outside of the packet\n\
                  processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n",
            last_line: "R2 offset is outside of the packet",
            insn: Some(1),
            insn_text: Some("(71) r0 = *(u8 *)(r2 +20)"),
            source: Some(("return data[20];", None)),
            processed: Some(2),
        },
        Row {
            name: "6.12, state after the instruction and a place",
            log: "func#0 @0\n; let x = map[k]; @ lb.rs:31\n17: (85) call bpf_map_lookup_elem#1 ; R0_w=map_value_or_null(id=1)\n\
                  from 17 to 19: R0=map_value\n; x.count += 1; @ lb.rs:32\n19: (79) r1 = *(u64 *)(r0 +0)\n\
                  R0 invalid mem access 'map_value_or_null'\nverification time 81 usec\nstack depth 16\nprocessed 20 insns (limit 1000000)\n",
            last_line: "R0 invalid mem access 'map_value_or_null'",
            insn: Some(19),
            insn_text: Some("(79) r1 = *(u64 *)(r0 +0)"),
            source: Some(("x.count += 1;", Some(("lb.rs", 32)))),
            processed: Some(20),
        },
        Row {
            name: "refused by its shape",
            log: "unreachable insn 7\nprocessed 0 insns (limit 1000000)\n",
            last_line: "unreachable insn 7",
            insn: Some(7),
            insn_text: None,
            source: None,
            processed: Some(0),
        },
        Row {
            name: "too large",
            log: "BPF program is too large. Processed 1000001 insn\nprocessed 1000001 insns (limit 1000000)",
            last_line: "BPF program is too large. Processed 1000001 insn",
            insn: None,
            insn_text: None,
            source: None,
            processed: Some(1_000_001),
        },
        Row { name: "nothing", log: "", last_line: "", insn: None, insn_text: None, source: None, processed: None },
    ];

    #[test]
    fn traces_of_each_kernel() {
        for row in ROWS {
            let found = parse(row.log);
            let source = row.source.map(|(text, place)| Source {
                text: text.to_owned(),
                place: place.map(|(file, line)| (file.to_owned(), line)),
            });
            let want = Finding {
                last_line: row.last_line.to_owned(),
                insn: row.insn,
                insn_text: row.insn_text.map(str::to_owned),
                source,
                processed: row.processed,
                report: None,
            };
            assert_eq!(found, want, "{}", row.name);
        }
    }

    #[test]
    fn statistics() {
        let log = "verification time 81 usec\nstack depth 16+0+8\nprocessed 20 insns (limit 1000000) \
            max_states_per_insn 0 total_states 3 peak_states 2 mark_read 1\n";
        assert_eq!(cost(log), Cost { insns: Some(20), states: Some(3), stack: vec![16, 0, 8] });
        let newest = "stack depth max 24\nsubprog 0 (main) main insns_self 4 insns_total 4 stack 16\n\
            subprog 1 (sub) static insns_self 2 insns_total 2 stack 8\nprocessed 6 insns (limit 1000000)\n";
        assert_eq!(cost(newest), Cost { insns: Some(6), states: None, stack: vec![16, 8] });
        assert_eq!(cost("stack depth x max 4\nprocessed"), Cost::default());
    }

    const LOG_7_3: &str = "0: R1=ctx() R10=fp0\n0: (95) exit\nR0 !read_ok\n\n\
        Verification failed: Register Type Safety: Unreadable register\n\n\
        Reason:\n  R0 has never been initialized on this path, so the verifier cannot use it as an input.\n\n\
        At:\n  insn 0\n        | ^-- error: R0 is not readable\n  Instruction context:\n  >>> 0 | (95) exit\n\n\
        Causal path:\n  no retained diagnostic events on this path\n\n\
        Suggestion:\n  Initialize R0 on every path before this instruction.\n\n\
        processed 1 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n";

    #[test]
    fn the_report_of_7_3() {
        let found = parse(LOG_7_3);
        assert_eq!((found.last_line.as_str(), found.insn, found.processed), ("R0 !read_ok", Some(0), Some(1)));
        let report = found.report.unwrap();
        assert_eq!(report.title, "Register Type Safety: Unreadable register");
        assert!(report.reason.starts_with("R0 has never been initialized") && report.reason.ends_with("an input."));
        assert!(report.at.starts_with("insn 0\n      | ^-- error"), "{}", report.at);
        assert_eq!(report.causal_path, "");
        assert_eq!(report.suggestion, "Initialize R0 on every path before this instruction.");
    }

    proptest! {
        #[test]
        fn any_text_is_read(log in "(?s).{0,400}") {
            drop((parse(&log), cost(&log)));
        }

        #[test]
        fn any_mixture_of_real_lines_is_read(picks in prop::collection::vec(0..100_usize, 0..40)) {
            let lines: Vec<&str> = ROWS.iter().flat_map(|row| row.log.lines()).chain(LOG_7_3.lines()).collect();
            let log: Vec<&str> = picks.iter().map(|pick| lines[pick % lines.len()]).collect();
            drop(parse(&log.join("\n")));
        }
    }
}
