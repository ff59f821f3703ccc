//! What a person reads of a check: a table, and below it each refusal, once for all kernels that word it alike.
//!
//! Input: [`Checked`]. Output: text. Pure. Read next: `../render.rs`.

use std::fmt::Write;

use loader::check::{Finding, ProgReport, Verdict};
use loader::verifier::Cost;

use super::{Checked, Checkup, Kernel};
use crate::render::{columns, number, table};

/// The whole result.
pub(super) fn of(checked: &Checked) -> String {
    let mut out = match checked.kernels.as_slice() {
        [one] => single(one),
        many => matrix(many),
    };
    for kernel in &checked.kernels {
        if let Some(fault) = &kernel.fault {
            let _ = writeln!(out, "\nLinux {}: {}", kernel.name, fault.replace('\n', "\n  "));
        }
    }
    for (who, what) in told(checked) {
        let prefix = if checked.kernels.len() > 1 { "Linux " } else { "" };
        let _ = writeln!(out, "\n{prefix}{}: {what}", who.join(", "));
    }
    out
}

/// One kernel: what each program cost.
fn single(kernel: &Kernel) -> String {
    let mut rows = Vec::new();
    for file in &kernel.files {
        if let Some(word) = word_of_file(file) {
            let empty = String::new;
            rows.push([file.file.clone(), empty(), empty(), word.to_owned(), empty(), empty(), empty()]);
        }
        for program in &file.programs {
            let (insns, states, stack) = match &program.verdict {
                Verdict::Accepted(cost) => cells(cost),
                _ => Default::default(),
            };
            let ProgReport { program: name, r#type, verdict } = program;
            let word = word(verdict).to_owned();
            rows.push([file.file.clone(), name.clone(), r#type.clone(), word, insns, states, stack]);
        }
    }
    let head = match (&kernel.release, kernel.name.as_str()) {
        (Some(release), "here") => format!("Linux {release}, the running kernel\n"),
        (Some(release), _) => format!("Linux {release}\n"),
        (None, name) => {
            // Nothing was run, so nothing has a cost.
            let rows = rows.into_iter().map(|[file, program, kind, word, ..]| [file, program, kind, word]);
            let head = format!("{name}: what these types know; the verifier was not asked\n");
            return head + &table(["file", "program", "type", "verdict"], rows);
        }
    };
    head + &table(["file", "program", "type", "verdict", "insns", "states", "stack"], rows)
}

/// Several kernels: program × kernel, with the instructions that the verifier stepped through where it accepted.
fn matrix(kernels: &[Kernel]) -> String {
    let mut rows = Vec::new();
    let mut head = vec!["FILE".to_owned(), "PROGRAM".to_owned()];
    head.extend(kernels.iter().map(|kernel| kernel.name.clone()));
    let Some(first) = kernels.first() else { return String::new() };
    for (index, file) in first.files.iter().enumerate() {
        let of_kernels = || kernels.iter().map(|kernel| kernel.files.get(index));
        if of_kernels().any(|file| file.is_none_or(|file| word_of_file(file).is_some())) {
            let words = of_kernels().map(|file| file.map_or(Some("LOST"), word_of_file).unwrap_or_default().to_owned());
            rows.push([file.file.clone(), String::new()].into_iter().chain(words).collect());
        }
        let most = of_kernels().flatten().map(|file| file.programs.as_slice()).max_by_key(|programs| programs.len());
        for program in most.unwrap_or_default() {
            let cell = |file: Option<&Checkup>| {
                let found = file?.programs.iter().find(|other| other.program == program.program)?;
                Some(match &found.verdict {
                    Verdict::Accepted(Cost { insns: Some(insns), .. }) => number(*insns),
                    verdict => word(verdict).to_owned(),
                })
            };
            let cells = of_kernels().map(|file| cell(file).unwrap_or_else(|| "-".to_owned()));
            rows.push([file.file.clone(), program.program.clone()].into_iter().chain(cells).collect());
        }
    }
    columns(&head, &rows) + "a number: accepted, after so many instructions of the verifier\n"
}

/// A verdict in the table: what is not well is in capitals.
fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Accepted(_) => "ok",
        Verdict::Known { doubts } if doubts.is_empty() => "known",
        Verdict::Known { .. } => "known?",
        Verdict::LeftOut => "left out",
        Verdict::Refused { .. } => "REFUSED",
        Verdict::Failed { .. } => "FAILED",
        Verdict::Lacks { .. } => "LACKS",
    }
}

/// For an object that was not judged, or not in peace.
fn word_of_file(file: &Checkup) -> Option<&'static str> {
    match (file.error.as_slice(), &file.complaint) {
        ([], None) => None,
        ([], Some(_)) => Some("COMPLAINT"),
        _ => Some("FAILED"),
    }
}

fn cells(cost: &Cost) -> (String, String, String) {
    let stack: Vec<String> = cost.stack.iter().map(u32::to_string).collect();
    (cost.insns.map(number).unwrap_or_default(), cost.states.map(number).unwrap_or_default(), stack.join("+"))
}

/// Everything there is to say below the table, with the kernels that say it.
fn told(checked: &Checked) -> Vec<(Vec<String>, String)> {
    let mut told: Vec<(Vec<String>, String)> = Vec::new();
    let several = checked.kernels.len() > 1;
    for kernel in &checked.kernels {
        for file in &kernel.files {
            for words in words_of(file) {
                let who = if several { kernel.name.clone() } else { file.file.clone() };
                let words = if several { format!("{}: {words}", file.file) } else { words };
                match told.iter_mut().find(|(_, other)| *other == words) {
                    Some((all, _)) if all.contains(&who) => {}
                    Some((all, _)) => all.push(who),
                    None => told.push((vec![who], words)),
                }
            }
        }
    }
    told
}

/// What there is to say of an object on one kernel.
fn words_of(file: &Checkup) -> Vec<String> {
    let mut words = Vec::new();
    if !file.error.is_empty() {
        words.push(file.error.join("\n  because: "));
    }
    words.extend(file.complaint.iter().map(|complaint| complaint.replace('\n', "\n  ")));
    for ProgReport { program, verdict, .. } in &file.programs {
        match verdict {
            Verdict::Accepted(_) | Verdict::LeftOut => {}
            Verdict::Refused { why, missing, .. } => {
                let mut text = format!("the verifier refused program `{program}` {why}");
                for missing in missing {
                    let _ = write!(text, "\n  missing: {missing}, which this kernel does not have");
                }
                words.push(text);
            }
            Verdict::Failed { causes } => {
                words.push(format!("program `{program}` was not loaded: {}", causes.join("\n  because: ")));
            }
            Verdict::Known { doubts } if doubts.is_empty() => {}
            Verdict::Known { doubts } => {
                words.push(format!("program `{program}` uses nothing unknown there, but:{}", list(doubts)));
            }
            Verdict::Lacks { missing, doubts } => {
                let doubts =
                    if doubts.is_empty() { String::new() } else { format!("\n  and perhaps:{}", list(doubts)) };
                words.push(format!("program `{program}` needs what is not there:{}{doubts}", list(missing)));
            }
        }
    }
    words
}

fn list(findings: &[Finding]) -> String {
    let line = |finding: &Finding| {
        let mut line = format!("\n  - {}", finding.what);
        if let Some(at) = &finding.at {
            let _ = write!(line, "\n    at {at}");
            if !at.text.is_empty() {
                let _ = write!(line, ": {}", at.text);
            }
        }
        line
    };
    findings.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(name: &str, verdict: Verdict) -> ProgReport {
        ProgReport { program: name.to_owned(), r#type: "xdp".to_owned(), verdict }
    }

    fn kernel(name: &str, fault: Option<&str>, files: Vec<Checkup>) -> Kernel {
        let release = Some(format!("{name}.1-cloud"));
        Kernel { name: name.to_owned(), release, fault: fault.map(str::to_owned), boot_seconds: None, files }
    }

    fn checkup(error: &[&str], complaint: Option<&str>, programs: Vec<ProgReport>) -> Checkup {
        let error = error.iter().map(|&cause| cause.to_owned()).collect();
        Checkup { file: "a.o".to_owned(), error, complaint: complaint.map(str::to_owned), programs }
    }

    fn programs(insns: u64) -> Vec<ProgReport> {
        let cost = Cost { insns: Some(insns), states: Some(2), stack: vec![8, 16] };
        let causes = vec!["no map".to_owned(), "ENOMEM".to_owned()];
        vec![program("fine", Verdict::Accepted(cost)), program("poor", Verdict::Failed { causes })]
    }

    #[test]
    fn kernels_that_say_the_same_are_told_once_and_dead_guests_are_told() {
        let kernels = vec![
            kernel("5.10", None, vec![checkup(&[], None, programs(1200))]),
            kernel("6.1", None, vec![checkup(&[], Some("the kernel complained:\nBUG: x"), programs(1300))]),
            kernel(
                "7",
                Some("kernel panic: no init"),
                vec![checkup(&["not judged: the guest ended before"], None, vec![])],
            ),
        ];
        let checked = Checked { kernels };
        assert!(!checked.is_well());
        let want = "   FILE  PROGRAM  5.10    6.1        7
   a.o                    COMPLAINT  FAILED
   a.o   fine     1,200   1,300      -
   a.o   poor     FAILED  FAILED     -
a number: accepted, after so many instructions of the verifier

Linux 7: kernel panic: no init

Linux 5.10, 6.1: a.o: program `poor` was not loaded: no map
  because: ENOMEM

Linux 6.1: a.o: the kernel complained:
  BUG: x

Linux 7: a.o: not judged: the guest ended before
";
        assert_eq!(of(&checked), want);
    }

    #[test]
    fn one_kernel_tells_what_each_program_cost() {
        let checked = Checked { kernels: vec![kernel("here", None, vec![checkup(&[], None, programs(1200))])] };
        let want = "Linux here.1-cloud, the running kernel
   FILE  PROGRAM  TYPE  VERDICT  INSNS  STATES  STACK
   a.o   fine     xdp   ok       1,200  2       8+16
   a.o   poor     xdp   FAILED

a.o: program `poor` was not loaded: no map
  because: ENOMEM
";
        assert_eq!(of(&checked), want);
    }
}
