//! Stage: loaded maps. Input: a storage map and the socket, task, cgroup or file that something is stored with. Output: its
//! value. The kernel finds the owner by a descriptor: of the socket, of a process (pidfd), of the cgroup's directory, of the
//! file. Read next: `ringbuf.rs`.

use std::os::fd::{AsFd, AsRawFd};

use super::{Error, Map};
use crate::sys::uapi::UpdateFlags;

impl Map {
    /// What is stored with `owner`, or nothing.
    ///
    /// ```no_run
    /// use loader::map::Map;
    /// let flows = Map::from_pin("/sys/fs/bpf/loader/bypass/maps/flows")?;
    /// let socket = std::net::TcpStream::connect("127.0.0.1:80").expect("somebody listens");
    /// println!("{:?}", flows.storage(&socket)?);
    /// # Ok::<(), loader::map::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Command`] with `EBADF`, or on older kernels `EINVAL`, if `owner` is of another kind; [`Error::Size`] for a map
    /// that is none of storage.
    #[doc(alias = "BPF_MAP_TYPE_SK_STORAGE")]
    #[doc(alias = "BPF_MAP_TYPE_TASK_STORAGE")]
    #[doc(alias = "BPF_MAP_TYPE_CGRP_STORAGE")]
    pub fn storage(&self, owner: impl AsFd) -> Result<Option<Vec<u8>>, Error> {
        self.lookup(&key(owner))
    }

    /// Stores with `owner`, in the place of what may be there.
    ///
    /// # Errors
    /// As [`Map::storage`].
    pub fn set_storage(&self, owner: impl AsFd, value: &[u8]) -> Result<(), Error> {
        self.update(&key(owner), value, UpdateFlags::ANY)
    }

    /// Removes what is stored with `owner`; says whether there was something.
    ///
    /// # Errors
    /// As [`Map::storage`].
    pub fn delete_storage(&self, owner: impl AsFd) -> Result<bool, Error> {
        self.delete(&key(owner))
    }
}

fn key(owner: impl AsFd) -> [u8; 4] {
    owner.as_fd().as_raw_fd().to_ne_bytes()
}
