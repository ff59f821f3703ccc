//! Stage: apply. A plan → the kernel, step by step, undone when a step fails.

pub mod record;

/// Where bpffs is expected.
pub const BPFFS: &str = "/sys/fs/bpf";
