//! Words that a log must contain, one behind the other. `{{…}}` in them is an extended regular expression.
//!
//! Input: the log and the words. Output: the first words that are missing. Read next: `mod.rs`.

use regex::Regex;

/// The first of `words` that the log does not have behind those before it.
pub(super) fn missing<'w>(log: &str, words: &'w [String]) -> Option<&'w str> {
    let mut rest = log;
    for word in words {
        match find(rest, word) {
            Some(end) => rest = rest.get(end..).unwrap_or_default(),
            None => return Some(word),
        }
    }
    None
}

/// Where the first place of the word ends.
fn find(text: &str, word: &str) -> Option<usize> {
    if !word.contains("{{") {
        return text.find(word).map(|at| at + word.len());
    }
    let mut pattern = String::from("(?m)");
    for (number, part) in word.split("{{").enumerate() {
        match part.split_once("}}").filter(|_| number > 0) {
            Some((expression, plain)) => {
                pattern.push_str(&format!("(?:{expression}){}", regex::escape(plain)));
            }
            None => pattern.push_str(&regex::escape(part)),
        }
    }
    Regex::new(&pattern).ok()?.find(text).map(|found| found.end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_in_order() {
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let log = "0: (b7) r1 = 5\nR1=5 [x] id=42\nprocessed 9 insns";
        for (list, want) in [
            (vec!["r1 = 5", "processed 9"], None),
            (vec!["processed 9", "r1 = 5"], Some("r1 = 5")),
            (vec!["[x] id={{[0-9]+}}", "processed {{(8|9)}} insns"], None),
            (vec!["^{{0: .* = 5}}"], Some("^{{0: .* = 5}}")),
        ] {
            assert_eq!(missing(log, &words(&list)), want, "{list:?}");
        }
    }
}
