//! Versions: Debian's, to find the newest package, and the kernel's, to judge a skip.
//!
//! In: text. Out: values with an order. Next to read: `config.rs`.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// A kernel's version as far as features go: major and minor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Kernel {
    /// 6 of 6.12.
    pub major: u32,
    /// 12 of 6.12.
    pub minor: u32,
}

impl FromStr for Kernel {
    type Err = anyhow::Error;

    /// Reads the beginning of `6.12.117+deb13-cloud-amd64` or all of `5.10`.
    fn from_str(text: &str) -> Result<Self> {
        let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
            return Err(anyhow::anyhow!("`{text}` is no kernel version like 6.12"));
        };
        Ok(Self { major, minor })
    }
}

impl TryFrom<String> for Kernel {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Kernel> for String {
    fn from(version: Kernel) -> Self {
        version.to_string()
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What a kernel is asked for by: `6.12`, or `7` for its newest minor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Series {
    major: u32,
    minor: Option<u32>,
}

impl Series {
    /// True when a kernel is of this series.
    pub fn contains(self, version: Kernel) -> bool {
        self.major == version.major && self.minor.is_none_or(|minor| minor == version.minor)
    }

    /// True for a series that means the newest minor there is.
    pub fn is_open(self) -> bool {
        self.minor.is_none()
    }
}

impl TryFrom<String> for Series {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Self> {
        let number = |text: &str| text.parse::<u32>().ok();
        match text.split_once('.') {
            None => number(&text).map(|major| Self { major, minor: None }),
            Some((major, minor)) => {
                number(major).zip(number(minor)).map(|(major, minor)| Self { major, minor: Some(minor) })
            }
        }
        .with_context(|| format!("series `{text}`: write 6.12, or 7 for the newest 7"))
    }
}

impl From<Series> for String {
    fn from(series: Series) -> Self {
        match series.minor {
            Some(minor) => format!("{}.{minor}", series.major),
            None => series.major.to_string(),
        }
    }
}

/// Compares two versions as Debian does: `1.0~rc1` is older than `1.0`, `1.9` than `1.10`.
///
/// Digits compare as numbers; elsewhere `~` comes before the end, the end before letters, letters before the rest.
pub fn compare_debian(a: &str, b: &str) -> Ordering {
    let (epoch_a, a) = split_epoch(a);
    let (epoch_b, b) = split_epoch(b);
    let (upstream_a, revision_a) = a.rsplit_once('-').unwrap_or((a, "0"));
    let (upstream_b, revision_b) = b.rsplit_once('-').unwrap_or((b, "0"));
    epoch_a
        .cmp(&epoch_b)
        .then_with(|| compare_part(upstream_a, upstream_b))
        .then_with(|| compare_part(revision_a, revision_b))
}

/// The number before a colon; 0 without.
fn split_epoch(text: &str) -> (u64, &str) {
    match text.split_once(':') {
        Some((epoch, rest)) => (epoch.parse().unwrap_or(0), rest),
        None => (0, text),
    }
}

/// Compares upstream versions, or revisions.
fn compare_part(mut a: &str, mut b: &str) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        let (word_a, rest_a) = a.split_at(a.find(|c: char| c.is_ascii_digit()).unwrap_or(a.len()));
        let (word_b, rest_b) = b.split_at(b.find(|c: char| c.is_ascii_digit()).unwrap_or(b.len()));
        let words = compare_words(word_a, word_b);
        if words.is_ne() {
            return words;
        }
        let (number_a, rest_a) = rest_a.split_at(rest_a.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest_a.len()));
        let (number_b, rest_b) = rest_b.split_at(rest_b.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest_b.len()));
        let (number_a, number_b) = (number_a.trim_start_matches('0'), number_b.trim_start_matches('0'));
        let numbers = number_a.len().cmp(&number_b.len()).then_with(|| number_a.cmp(number_b));
        if numbers.is_ne() {
            return numbers;
        }
        (a, b) = (rest_a, rest_b);
    }
    Ordering::Equal
}

/// Compares what stands between numbers.
fn compare_words(a: &str, b: &str) -> Ordering {
    let weight = |c: Option<char>| match c {
        Some('~') => (0, '~'),
        None => (1, ' '),
        Some(c) if c.is_ascii_alphabetic() => (2, c),
        Some(c) => (3, c),
    };
    let (mut a, mut b) = (a.chars(), b.chars());
    loop {
        let (x, y) = (a.next(), b.next());
        let order = weight(x).cmp(&weight(y));
        if order.is_ne() || x.is_none() {
            return order;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn debian_versions_have_an_order() {
        for (older, newer) in [
            ("5.10.223-1", "5.10.262-1"),
            ("6.12.9-1", "6.12.10-1"),
            ("7.3~rc7-1~exp1", "7.3-1"),
            ("6.12.117-1~deb12u1", "6.12.117-1"),
            ("6.18.15-1~bpo13+1", "6.18.15-1"),
            ("9-1", "1:1-1"),
            ("1.0", "1.0a"),
            ("1.0a", "1.0+"),
            ("1", "1-1"),
        ] {
            assert_eq!(compare_debian(older, newer), Ordering::Less, "{older} < {newer}");
            assert_eq!(compare_debian(newer, older), Ordering::Greater, "{newer} > {older}");
            assert_eq!(compare_debian(newer, newer), Ordering::Equal, "{newer}");
        }
        assert_eq!(compare_debian("1.010-1", "1.10-1"), Ordering::Equal);
    }

    #[test]
    fn kernels_and_series() {
        for (release, series, want) in [
            ("5.10.0-46-cloud-amd64", "5.10", true),
            ("6.1.0-56-cloud-amd64", "6.12", false),
            ("6.12.117+deb13-cloud-amd64", "6.12", true),
            ("7.3.4+deb13-cloud-amd64", "7", true),
            ("7.3-rc7-cloud-amd64", "7.3", true),
        ] {
            let series = Series::try_from(series.to_owned()).unwrap();
            assert_eq!(series.contains(release.parse().unwrap()), want, "{release} in {series:?}");
        }
        assert!("six".parse::<Kernel>().is_err());
        assert!(Series::try_from("6.x".to_owned()).is_err());
        assert!("5.10".parse::<Kernel>().unwrap() < "6.1".parse().unwrap());
    }

    proptest! {
        #[test]
        fn the_order_is_an_order(a in "[0-9a-z.~+-]{0,9}", b in "[0-9a-z.~+-]{0,9}", c in "[0-9a-z.~+-]{0,9}") {
            prop_assert_eq!(compare_debian(&a, &b), compare_debian(&b, &a).reverse());
            if compare_debian(&a, &b).is_le() && compare_debian(&b, &c).is_le() {
                prop_assert!(compare_debian(&a, &c).is_le());
            }
        }
    }
}
