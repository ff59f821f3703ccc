//! How much of what its connections carry goes past the stack.
//!
//! Stage: control plane. Input: the directions there are. Output: a [`Share`]. Next file to read: `control.rs`.

use std::collections::BTreeMap;

use loader::system::Share;

use super::types::{Inbox, Reason};

/// Adds up the directions of the connections that stand.
#[must_use]
pub fn share(inboxes: &[(u64, Inbox)]) -> Share {
    let mut share = Share { ends: inboxes.len() as u64, ..Share::default() };
    let mut reasons: BTreeMap<u32, u64> = BTreeMap::new();
    for (_, inbox) in inboxes {
        share.messages += inbox.messages;
        share.of_messages += inbox.messages + inbox.passed;
        share.bytes += inbox.redirected;
        share.of_bytes += inbox.sent;
        if inbox.passed > 0 {
            *reasons.entry(inbox.reason).or_default() += 1;
        }
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(reason, directions)| (std::cmp::Reverse(*directions), *reason));
    share.because = reasons.into_iter().map(|(reason, _)| words(reason)).collect();
    share
}

/// A reason's number in words.
fn words(reason: u32) -> String {
    if reason == Reason::Unheard.number() {
        return "nobody was heard reading; a kernel that takes neither `heard` nor `heard_fexit` cannot tell"
            .to_owned();
    }
    Reason::word(reason).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_are_added_up() {
        let way = |messages, passed, redirected, sent, reason: Reason| Inbox {
            messages,
            passed,
            redirected,
            sent,
            reason: reason.number(),
            ..Inbox::default()
        };
        let all = [
            (1, way(9, 1, 90, 100, Reason::Unheard)),
            (2, way(0, 0, 0, 0, Reason::Closed)),
            (3, way(5, 5, 50, 100, Reason::Credit)),
            (4, way(0, 1, 0, 7, Reason::Credit)),
        ];
        let want = Share {
            ends: 4,
            messages: 14,
            of_messages: 21,
            bytes: 140,
            of_bytes: 207,
            because: vec!["credit".to_owned(), words(Reason::Unheard.number())],
        };
        assert_eq!(share(&all), want);
        assert_eq!(share(&[]), Share::default());
    }
}
