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
    let mut reasons: BTreeMap<(u32, bool), u64> = BTreeMap::new();
    for (_, inbox) in inboxes {
        share.messages += inbox.messages;
        share.of_messages += inbox.messages + inbox.passed;
        share.bytes += inbox.redirected;
        share.of_bytes += inbox.sent;
        if inbox.passed > 0 {
            *reasons.entry((inbox.reason, inbox.heard != 0)).or_default() += 1;
        }
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(reason, directions)| (std::cmp::Reverse(*directions), *reason));
    share.because = reasons.into_iter().map(|((reason, heard), _)| words(reason, heard)).collect();
    share
}

/// A reason's number in words. `heard`: whether the reader has read since by a call that sees the queue.
fn words(reason: u32, heard: bool) -> String {
    if reason == Reason::Unheard.number() {
        return if heard {
            "a direction's first message goes by TCP: nobody has read yet".to_owned()
        } else {
            "nobody was heard reading; a kernel that takes neither `heard` nor `heard_fexit` cannot tell".to_owned()
        };
    }
    if reason == Reason::Room.number() {
        return "a sender that waits in calls found little room to write, and left".to_owned();
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
            (1, Inbox { heard: 1, ..way(9, 1, 90, 100, Reason::Unheard) }),
            (2, way(0, 0, 0, 0, Reason::Closed)),
            (3, way(5, 5, 50, 100, Reason::Credit)),
            (4, way(0, 1, 0, 7, Reason::Credit)),
            (5, way(0, 1, 0, 60, Reason::Unheard)),
        ];
        let want = Share {
            ends: 5,
            messages: 14,
            of_messages: 22,
            bytes: 140,
            of_bytes: 267,
            because: ["credit", &words(Reason::Unheard.number(), false), &words(Reason::Unheard.number(), true)]
                .map(str::to_owned)
                .into(),
        };
        assert_eq!(share(&all), want);
        assert_eq!(share(&[]), Share::default());
    }
}
