//! Stage: systems. Kernel programs and their control planes.
#![forbid(unsafe_code)]

pub mod net;
