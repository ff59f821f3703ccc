//! Judged by the running kernel; needs root (CAP_BPF), and no other program, so that it also runs alone in a guest.

mod scalar;

/// Stops with a clear text where the tests cannot run.
fn need_root() {
    assert!(nix::unistd::geteuid().is_root(), "the kernel tests need root: run them with `cargo ci test` as root");
}

/// How many random programs a test makes: `DIFFERENTIAL_CASES`, or `default`.
fn cases(default: u32) -> u32 {
    std::env::var("DIFFERENTIAL_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}
