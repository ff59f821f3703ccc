//! Every check of the workspace, and real kernels to run it on: the library behind `cargo ci`.
//!
//! The road of a kernel, one function from one value to the next:
//!
//! ```text
//! kernels.toml   what we want: suite, series, flavour          intent
//! → kernels.lock what that is today: package, version, sha256  resolve, over signed apt indexes
//! → .deb         downloaded by apt, kept by sha256             fetch
//! → image        vmlinux, modules, config                      deb, vmlinux
//! → initramfs    process 1, modules, tests, plan               modules, initramfs
//! → arguments    a pure function of the configuration          qemu
//! → events       lines of the second serial port               guest, console
//! → verdicts     what each test is worth on this kernel        verdicts
//! → report       text table, JSON, JUnit                       report
//! ```
//!
//! This crate uses none of the workspace's other crates but [`guest_init`], process 1 of a guest: it runs binaries.
//! Next to read: `main.rs` for the commands, then the files in the order above.
#![forbid(unsafe_code)]

pub mod apt;
pub mod arch;
pub mod build;
pub mod cache;
pub mod config;
pub mod console;
pub mod crew;
pub mod cross;
pub mod deb;
pub mod driver;
pub mod fetch;
pub mod guest;
pub mod host;
pub mod image;
pub mod initramfs;
pub mod kernels;
pub mod lint;
pub mod matrix;
pub mod modules;
pub mod nic;
pub mod qemu;
pub mod red;
pub mod repeat;
pub mod repo;
pub mod report;
pub mod run;
pub mod seed;
pub mod selftests;
pub mod source;
pub mod sources;
pub mod steps;
pub mod suites;
pub mod tally;
pub mod tools;
pub mod verdicts;
pub mod version;
pub mod vmlinux;
