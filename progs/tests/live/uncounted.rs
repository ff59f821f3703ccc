//! Where the kernel cannot say what was read, nobody is enrolled, and every row is plain TCP's: also those in which ours is not as TCP
//! elsewhere.

use std::fmt::Debug;

use crate::rig::{Mode, Rig, one_way};
use crate::{calls, closing, duplex};

/// What each row says.
fn rows(rig: &mut Rig) -> Vec<String> {
    fn said<T: Debug>(row: fn(&mut Rig) -> T, rig: &mut Rig) -> String {
        format!("{:?}", row(rig))
    }
    vec![
        said(calls::spliced_later, rig),
        said(calls::readable_later, rig),
        said(calls::waited_for_all, rig),
        said(calls::urgent, rig),
        said(calls::urgent_asked_for, rig),
        said(calls::redirected, rig),
        said(closing::unread_at_close, rig),
        said(closing::reset_while_it_waits, rig),
        said(duplex::closed_twice, rig),
    ]
}

#[test]
fn it_is_all_as_in_tcp() {
    assert_eq!(one_way(Mode::Uncounted, rows), one_way(Mode::Plain, rows));
}

/// Sockets that are enrolled while a connection talks, and directions.
fn enrolled(rig: &mut Rig) -> (usize, usize) {
    let _ends = rig.talking();
    let ours = rig.ours.as_ref().expect("it is ours");
    (ours.loaded().map("peers").expect("its name").keys().count(), ours.inboxes().expect("it can be walked").len())
}

#[test]
fn nobody_is_enrolled() {
    assert_eq!(one_way(Mode::Uncounted, enrolled), (0, 0));
}
