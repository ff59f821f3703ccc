//! Stage: lab. A private network to try a deployment in: namespaces, veth pairs and one bridge, and real traffic through it.
//!
//! Input: the manifest's [`Lab`](crate::manifest::Lab). Output: namespaces under `/run/netns`, named after the deployment.
//! The machine's own interfaces, routes and settings are never touched. Read next: `build.rs`, then `trial/mod.rs`.

pub mod build;
pub mod cgroup;
pub mod netns;
pub mod settings;
pub mod trial;
