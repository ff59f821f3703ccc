//! Tests of one binary that one process runs: to start a process for each would take longer than most of them.
//!
//! In: neighbours in the plan that differ in nothing but the test they name; then what Rust's test runner prints of them. Out:
//! where each begins and ends. No process is touched here. Next to read: `item.rs`, which starts the process.

use crate::Item;

/// How many of these items, from the first on, one process can run; 1 where it is no test.
pub(crate) fn together(items: &[Item]) -> usize {
    let Some(first) = items.first().and_then(frame) else { return 1 };
    items.iter().take_while(|item| frame(item).as_ref() == Some(&first)).count()
}

/// A test without what tells it from its neighbours.
fn frame(item: &Item) -> Option<Item> {
    let test = item.test.as_ref()?;
    let mut frame = Item { name: String::new(), test: None, ..item.clone() };
    frame.commands.iter_mut().flatten().filter(|word| *word == test).for_each(String::clear);
    Some(frame)
}

/// The item that runs them all: the first, with every one's name in place of its own.
pub(crate) fn merged(items: &[Item]) -> Option<Item> {
    let first = items.first()?;
    let names = names(items);
    let all = |word: &String| match &first.test {
        Some(test) if test == word => names.iter().map(|name| (*name).to_owned()).collect(),
        _ => vec![word.clone()],
    };
    let commands = first.commands.iter().map(|command| command.iter().flat_map(all).collect()).collect();
    Some(Item { commands, ..first.clone() })
}

/// The names of tests, as the test runner has them.
pub(crate) fn names(items: &[Item]) -> Vec<&str> {
    items.iter().filter_map(|item| item.test.as_deref()).collect()
}

/// What the test runner has said; numbers are places in the list of names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// A test begins.
    Begun(usize),
    /// A test has ended.
    Ended {
        number: usize,
        passed: bool,
        /// From `test NAME ... ` on.
        output: String,
    },
}

/// The test runner's words, as they come.
pub(crate) struct Words<'a> {
    names: Vec<&'a str>,
    /// The first that has not begun.
    next: usize,
}

impl<'a> Words<'a> {
    /// Nothing has been said yet of these tests, which will be run in this order.
    pub(crate) fn new(names: Vec<&'a str>) -> Self {
        Self { names, next: 0 }
    }

    /// The test that runs now.
    pub(crate) fn running(&self) -> Option<usize> {
        self.next.checked_sub(1)
    }

    /// Takes from `text` what is complete. A test has ended when the next begins; of the last only [`closed`] knows.
    pub(crate) fn read(&mut self, text: &mut Vec<u8>) -> Vec<Said> {
        let mut said = Vec::new();
        while let Some((at, number)) = self.begin(text) {
            let before: Vec<u8> = text.drain(..at).collect();
            if let Some(number) = self.running() {
                let output = String::from_utf8_lossy(&before).into_owned();
                said.push(Said::Ended { number, passed: passed(&output), output });
            }
            // The runner goes by the same order; one that it left out does not become another's result.
            for number in self.next..number {
                let output = "the test runner did not run it\n".to_owned();
                said.extend([Said::Begun(number), Said::Ended { number, passed: false, output }]);
            }
            said.push(Said::Begun(number));
            self.next = number + 1;
        }
        said
    }

    /// Where the next line stands that says which test begins.
    fn begin(&self, text: &[u8]) -> Option<(usize, usize)> {
        let mut at = 0;
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let begins = |name: &&str| {
                let rest = line.strip_prefix(b"test ").and_then(|rest| rest.strip_prefix(name.as_bytes()));
                rest.is_some_and(|rest| rest.starts_with(b" ... ") || rest.starts_with(b" - should panic ... "))
            };
            if let Some(ahead) = self.names.get(self.next..)?.iter().position(begins) {
                return Some((at, self.next + ahead));
            }
            at += line.len();
        }
        None
    }
}

/// True when the last word is that of success.
fn passed(output: &str) -> bool {
    output.ends_with("ok\n")
}

/// The last test's output and whether it passed, when the test runner came to its end: it closes with a list of failures and a count.
pub(crate) fn closed(text: &str) -> Option<(&str, bool)> {
    let (before, _) = text.rsplit_once("\n\ntest result: ")?;
    let output = before.split_once("\n\nfailures:\n").map_or(before, |(output, _)| output);
    let output = text.get(..=output.len())?;
    Some((output, passed(output)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(binary: &str, name: &str) -> Item {
        Item {
            name: format!("{binary} {name}"),
            commands: vec![[binary, "--exact", name, "--nocapture"].map(str::to_owned).to_vec()],
            test: Some(name.to_owned()),
            ..Item::default()
        }
    }

    #[test]
    fn neighbours_of_one_binary_are_run_together() {
        let mut items = [test("/a", "x"), test("/a", "y::z"), test("/b", "x"), test("/b", "y"), Item::default()];
        items[3].modules.push("veth".to_owned());
        assert_eq!([0, 1, 2, 3, 4].map(|first| together(&items[first..])), [2, 1, 1, 1, 1]);
        assert_eq!(merged(&items[..2]).unwrap().commands, [["/a", "--exact", "x", "y::z", "--nocapture"]]);
    }

    fn ended(number: usize, passed: bool, output: &str) -> Said {
        Said::Ended { number, passed, output: output.to_owned() }
    }

    #[test]
    fn what_the_test_runner_prints_is_told_apart() {
        let mut words = Words::new(vec!["a", "a::b", "c", "d"]);
        let mut text = b"\nrunning 4 tests\ntest a ".to_vec();
        assert_eq!(words.read(&mut text), []);
        text.extend(b"... ok\ntest a::b ... skip: tcx needs Linux 6.6\nok\ntest c - should panic ... thread 'c' pan");
        let want = [
            Said::Begun(0),
            ended(0, true, "test a ... ok\n"),
            Said::Begun(1),
            ended(1, true, "test a::b ... skip: tcx needs Linux 6.6\nok\n"),
            Said::Begun(2),
        ];
        assert_eq!(words.read(&mut text), want);
        text.extend(b"icked\ntest c ... test\nFAILED\ntest d ... ok\n");
        let output = "test c - should panic ... thread 'c' panicked\ntest c ... test\nFAILED\n";
        assert_eq!(words.read(&mut text), [ended(2, false, output), Said::Begun(3)]);
        assert_eq!(closed("test d ... ok\n"), None, "it may be the process that ended");
        let end = "test d ... ok\n\nfailures:\n\nfailures:\n    c\n\ntest result: FAILED. 3 passed; 1 failed\n";
        assert_eq!(closed(end), Some(("test d ... ok\n", true)));
        assert_eq!(closed("test d ... x\nFAILED\n\ntest result: F"), Some(("test d ... x\nFAILED\n", false)));
    }

    #[test]
    fn a_test_that_was_left_out_has_not_passed() {
        let mut words = Words::new(vec!["a", "b", "c"]);
        let said = words.read(&mut b"test a ... ok\ntest c ... ok\n".to_vec());
        let left_out = ended(1, false, "the test runner did not run it\n");
        assert_eq!(said, [Said::Begun(0), ended(0, true, "test a ... ok\n"), Said::Begun(1), left_out, Said::Begun(2)]);
        assert_eq!(words.running(), Some(2));
    }
}
