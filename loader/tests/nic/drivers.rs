//! What drivers take and refuse, measured: by driver, kernel, MTU. In: the variable `NIC`, the running kernel. Out: rows.
//! Next to read: `main.rs`, which judges them.

/// A kernel's version.
type Version = (u32, u32);

/// Does the program say that it can do with a packet in several buffers?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frags {
    Yes,
    No,
}

/// What comes of attaching natively.
pub(crate) struct Row {
    of: &'static str,
    since: Version,
    before: Version,
    pub(crate) mtu: u32,
    pub(crate) frags: Frags,
    pub(crate) says: &'static str,
}

/// The first kernel whose drivers know programs for packets in several buffers.
const FRAGS: Version = (5, 18);
const FIRST: Version = (5, 10);
const LAST: Version = (u32::MAX, 0);
const GOT: &str = "attached";

const fn row(of: &'static str, since: Version, before: Version, mtu: u32, frags: Frags, says: &'static str) -> Row {
    Row { of, since, before, mtu, frags, says }
}

/// The table. Words are the drivers' own; some kernels put the driver's name before them.
const ROWS: [Row; 14] = [
    row("virtio_net", FIRST, LAST, 1500, Frags::No, GOT),
    row("virtio_net", FIRST, (6, 12), 3520, Frags::No, GOT),
    row("virtio_net", FIRST, (6, 12), 9000, Frags::No, "MTU too large to enable XDP"),
    row("virtio_net", (6, 12), LAST, 9000, Frags::No, "MTU too large to enable XDP without frags"),
    row("virtio_net", (6, 12), LAST, 3520, Frags::No, "MTU too large to enable XDP without frags"),
    row("virtio_net", FRAGS, LAST, 3520, Frags::Yes, GOT),
    row("vmxnet3", (6, 12), LAST, 3046, Frags::No, GOT),
    row("vmxnet3", (6, 12), LAST, 3520, Frags::No, "MTU 3520 too large for XDP"),
    row("vmxnet3", FIRST, (6, 12), 1500, Frags::No, "nderlying driver does not support XDP in native mode"),
    row("igb", FIRST, LAST, 1500, Frags::No, GOT),
    row("igb", FIRST, LAST, 3046, Frags::No, GOT),
    row("igb", FIRST, LAST, 3498, Frags::No, "RX buffer size is too small"),
    row("netdevsim", FIRST, LAST, 4000, Frags::No, GOT),
    row("netdevsim", FIRST, LAST, 4001, Frags::No, "MTU too large w/ XDP enabled"),
];

/// Drivers whose native mode came after 5.10.
const NATIVE: [(&str, Version); 2] = [("vmxnet3", (6, 6)), ("bond", (5, 15))];

/// The card's name in `suites.toml`. What is before a hyphen is the driver's: `virtio_net-queues` has that of `virtio_net`.
pub(crate) fn name() -> String {
    std::env::var("NIC").expect("the variable NIC: run it with `cargo ci kernels --nic NAME`")
}

/// The driver of the card on the running kernel.
pub(crate) struct Driver {
    name: String,
    kernel: Version,
}

impl Driver {
    pub(crate) fn of_this_test() -> Self {
        let uname = nix::sys::utsname::uname().expect("uname");
        let release = uname.release().to_string_lossy();
        let mut numbers = release.split('.').map_while(|number| number.parse().ok());
        let kernel = numbers.next().zip(numbers.next()).expect("a release starts with two numbers");
        let name = name();
        Self { name: name.split_once('-').map_or(name.clone(), |(driver, _)| driver.to_owned()), kernel }
    }

    /// Queues that the card was given, where it has several.
    pub(crate) fn queues(&self) -> Option<u32> {
        (name() == "virtio_net-queues").then_some(4)
    }

    /// An MTU that is not refused once a program is there, and would be before.
    pub(crate) fn grows_to(&self) -> Option<u32> {
        (["virtio_net", "vmxnet3"].contains(&self.name.as_str()) && self.is_native()).then_some(9000)
    }

    pub(crate) fn has_frags(&self) -> bool {
        self.kernel >= FRAGS
    }

    pub(crate) fn is_native(&self) -> bool {
        NATIVE.iter().all(|(of, since)| *of != self.name || self.kernel >= *since)
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = &'static Row> {
        let holds = |row: &&Row| row.of == self.name && (row.since..row.before).contains(&self.kernel);
        ROWS.iter().filter(holds)
    }
}
