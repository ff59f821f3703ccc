//! The command `loader` as a whole, on the running kernel, as root: up, status, up again, down; killed, interrupted,
//! without rights, twice at once, and with everything that can be wrong with what it finds.
//!
//! Each test is alone with its own mounts and network: see `ground.rs`. Read next: `ground.rs`, then `whole.rs`.

mod bench;
mod broken;
mod bypass;
mod change;
mod contents;
mod drain;
mod ground;
mod hooks;
mod inspect;
mod killed;
mod lab;
mod soak;
mod sockets;
mod upgrade;
mod whole;
