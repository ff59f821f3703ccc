//! What is measured, and what each figure is called.
//!
//! Input: a case. Output: its figures, by name. A name says what it is, then the size: `p50_64b`, `throughput_64k`. Without more it was
//! measured with both ends on one CPU and sockets as they come (Nagle's algorithm on); `_nodelay` and `_free` (on any CPU) say otherwise.
//! Read next: `traffic.rs`, `clients.rs`.

use std::time::Duration;

use anyhow::Result;

use super::clients::{self, Outside};
use super::traffic::{self, Placement};

/// One measurement; it gives one or several figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Case {
    kind: Kind,
    placement: Placement,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A request of so many bytes, and an answer of so many.
    Trips { request: usize, answer: usize },
    /// Messages of so many bytes, one after the other.
    Stream { size: usize, nodelay: bool },
    /// `sockperf ping-pong` with messages of so many bytes.
    Sockperf { size: usize },
    /// `redis-benchmark`, GET, with so many clients.
    Redis { clients: usize },
}

/// How long a case is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effort {
    /// Round trips.
    pub(super) trips: usize,
    /// Of a stream.
    pub(super) stream: Duration,
}

/// A figure: its name, its unit, what came out.
pub(super) type Figure = (String, &'static str, f64);

const SHAPES: [(usize, usize); 4] = [(64, 64), (64, 16 << 10), (16 << 10, 64), (16 << 10, 16 << 10)];

/// Sizes of messages in a stream.
pub(super) const SIZES: [usize; 7] = [64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10];

/// All cases, in the order of the table.
pub(super) fn all() -> Vec<Case> {
    let trips = SHAPES.map(|(request, answer)| Kind::Trips { request, answer });
    let streams = [false, true].into_iter().flat_map(|nodelay| SIZES.map(|size| Kind::Stream { size, nodelay }));
    let outside = [Kind::Sockperf { size: 64 }, Kind::Redis { clients: 1 }, Kind::Redis { clients: 50 }];
    let kinds: Vec<Kind> = trips.into_iter().chain(streams).chain(outside).collect();
    [Placement::OneCpu, Placement::Free]
        .into_iter()
        .flat_map(|placement| kinds.iter().map(move |kind| Case { kind: *kind, placement }))
        .collect()
}

impl Case {
    /// The program of others that it needs, if any.
    pub(super) fn needs(self) -> Option<Outside> {
        match self.kind {
            Kind::Sockperf { .. } => Some(Outside::Sockperf),
            Kind::Redis { .. } => Some(Outside::Redis),
            Kind::Trips { .. } | Kind::Stream { .. } => None,
        }
    }

    /// Measures it once.
    pub(super) fn measure(self, effort: Effort) -> Result<Vec<Figure>> {
        let values = match self.kind {
            Kind::Trips { request, answer } => {
                let trips = traffic::trips(request, answer, effort.trips, self.placement)?;
                vec![trips.p50, trips.p90, trips.p99, trips.rate, trips.kernel]
            }
            Kind::Stream { size, nodelay } => {
                let stream = traffic::stream(size, nodelay, effort.stream, self.placement)?;
                vec![stream.throughput, stream.kernel]
            }
            Kind::Sockperf { size } => {
                let latency = clients::sockperf(size, self.placement)?;
                vec![latency.p50, latency.p99]
            }
            Kind::Redis { clients } => {
                let latency = clients::redis(clients, effort.trips, self.placement)?;
                vec![latency.rate, latency.p99]
            }
        };
        let names = self.names().into_iter().zip(values);
        Ok(names.map(|((name, unit), value)| (name, unit, value)).collect())
    }

    /// Names and units of its figures, in the order of [`Case::measure`].
    pub(super) fn names(self) -> Vec<(String, &'static str)> {
        let free = if self.placement == Placement::Free { "_free" } else { "" };
        let (stems, of): (&[(&str, &'static str)], String) = match self.kind {
            Kind::Trips { request, answer } => (
                &[("p50", "us"), ("p90", "us"), ("p99", "us"), ("rate", "1/s"), ("kernel", "us")],
                if request == answer { bytes(request) } else { format!("{}_{}", bytes(request), bytes(answer)) },
            ),
            Kind::Stream { size, nodelay } => (
                &[("throughput", "MB/s"), ("kernel_stream", "ns/KiB")],
                format!("{}{}", bytes(size), if nodelay { "_nodelay" } else { "" }),
            ),
            Kind::Sockperf { size } => (&[("sockperf_p50", "us"), ("sockperf_p99", "us")], bytes(size)),
            // The busy server is what one asks of; the idle one is named.
            Kind::Redis { clients: 50 } => (&[("redis_rps", "1/s"), ("redis_p99", "ms")], String::new()),
            Kind::Redis { clients } => (&[("redis_rps", "1/s"), ("redis_p99", "ms")], format!("c{clients}")),
        };
        let of = if of.is_empty() { of } else { format!("_{of}") };
        stems.iter().map(|(stem, unit)| (format!("{stem}{of}{free}"), *unit)).collect()
    }
}

/// A size in the way names have it.
pub(super) fn bytes(size: usize) -> String {
    if size >= 1 << 10 { format!("{}k", size >> 10) } else { format!("{size}b") }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_figures_have_one_name() {
        let names: Vec<String> =
            all().into_iter().flat_map(|case| case.names().into_iter().map(|(name, _)| name)).collect();
        assert_eq!(names.len(), names.iter().collect::<BTreeSet<_>>().len(), "{names:?}");
    }

    #[test]
    fn the_figures_that_scripts_ask_for_are_there() {
        let names: BTreeSet<String> =
            all().into_iter().flat_map(|case| case.names().into_iter().map(|(name, _)| name)).collect();
        for name in ["p50_64b", "p99_64b", "redis_rps", "redis_p99", "throughput_1k", "throughput_64k"] {
            assert!(names.contains(name), "{name}");
        }
    }
}
