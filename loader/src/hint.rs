//! Stage: errors. Input: a command and the errno it failed with. Output: what that usually means.
//!
//! bpf(2) answers with a bare number, and the same number means different things for each command. Read next:
//! `permission.rs`, which looks into `EPERM`.

use std::fmt;

use crate::sys::Errno;
use crate::sys::uapi::Cmd;

/// One row a meaning: command, errno, words.
#[rustfmt::skip]
const HINTS: &[(Cmd, Errno, &str)] = &[
    (Cmd::MAP_CREATE, Errno::EINVAL, "the kernel does not know this map type or flag, or the sizes do not fit the type"),
    (Cmd::MAP_CREATE, Errno::E2BIG, "the map would be too large, or a field is set that this kernel does not know"),
    (Cmd::MAP_CREATE, Errno::ENOMEM, "not enough memory for so many entries, or the memory cgroup's limit"),
    (Cmd::MAP_CREATE, Errno::ENOTSUPP, "this kernel does not support such keys, values or flags for the type"),
    (Cmd::MAP_CREATE, Errno::EBUSY, "too many maps of this kind at once"),
    (Cmd::MAP_LOOKUP_ELEM, Errno::ENOTSUPP, "maps of this type cannot be read from user space"),
    (Cmd::MAP_LOOKUP_ELEM, Errno::EOPNOTSUPP, "maps of this type cannot be read from user space"),
    (Cmd::MAP_LOOKUP_ELEM, Errno::EPERM, "this descriptor is write-only"),
    (Cmd::MAP_LOOKUP_ELEM, Errno::ENOSPC, "sockets are read as 8-byte cookies: the value must have 8 bytes"),
    (Cmd::MAP_UPDATE_ELEM, Errno::E2BIG, "the map is full, or the index is beyond its end"),
    (Cmd::MAP_UPDATE_ELEM, Errno::EPERM, "the map is frozen, or this descriptor read-only"),
    (Cmd::MAP_UPDATE_ELEM, Errno::EEXIST, "the key is there already"),
    (Cmd::MAP_UPDATE_ELEM, Errno::ENOENT, "the key is not there"),
    (Cmd::MAP_UPDATE_ELEM, Errno::EBUSY, "a program on this CPU is changing the same part of the map"),
    (Cmd::MAP_UPDATE_ELEM, Errno::EOPNOTSUPP, "the socket's family, protocol or state does not fit the map"),
    (Cmd::MAP_UPDATE_ELEM, Errno::ENOTSUPP, "maps of this type cannot be written from user space"),
    (Cmd::MAP_DELETE_ELEM, Errno::EINVAL, "elements of this map type cannot be deleted"),
    (Cmd::MAP_DELETE_ELEM, Errno::EPERM, "the map is frozen, or this descriptor read-only"),
    (Cmd::MAP_GET_NEXT_KEY, Errno::ENOTSUPP, "maps of this type have no keys to list"),
    (Cmd::MAP_LOOKUP_AND_DELETE_ELEM, Errno::ENOTSUPP, "not for this map type on this kernel: hashes since Linux 5.14"),
    (Cmd::MAP_LOOKUP_AND_DELETE_ELEM, Errno::EINVAL, "not for this map type on this kernel: hashes since Linux 5.14"),
    (Cmd::MAP_LOOKUP_BATCH, Errno::ENOTSUPP, "batches are not for this map type on this kernel"),
    (Cmd::MAP_LOOKUP_BATCH, Errno::ENOSPC, "one bucket of the hash holds more elements than the buffers"),
    (Cmd::MAP_UPDATE_BATCH, Errno::ENOTSUPP, "batches are not for this map type on this kernel"),
    (Cmd::MAP_FREEZE, Errno::EBUSY, "the map is mapped writable, or frozen already"),
    (Cmd::MAP_FREEZE, Errno::ENOTSUPP, "maps of this type, or with timers and the like in the value, cannot be frozen"),
    (Cmd::PROG_LOAD, Errno::EINVAL, "the kernel does not know this program type, attach type or flag, or a record is malformed"),
    (Cmd::PROG_LOAD, Errno::E2BIG, "no or too many instructions, or a field is set that this kernel does not know"),
    (Cmd::PROG_LOAD, Errno::ENOTSUPP, "no JIT for this program, or no such kernel function, on this kernel or architecture"),
    (Cmd::PROG_LOAD, Errno::ENOMEM, "no memory for the program, the verifier or its log"),
    (Cmd::PROG_LOAD, Errno::EACCES, "an instruction, or the kind of program, is not allowed"),
    (Cmd::PROG_LOAD, Errno::EAGAIN, "signals interrupted the verifier again and again"),
    (Cmd::PROG_TEST_RUN, Errno::ENOTSUPP, "programs of this type cannot be run on test data"),
    (Cmd::PROG_TEST_RUN, Errno::EINVAL, "the test data does not fit the type: a packet needs 14 bytes"),
    (Cmd::PROG_BIND_MAP, Errno::EINVAL, "one of the two is not what it should be"),
    (Cmd::LINK_CREATE, Errno::EINVAL, "the program's type or attach type is not for this hook, or the kernel has no links for it"),
    (Cmd::LINK_CREATE, Errno::EBUSY, "the hook takes one program and has one"),
    (Cmd::LINK_CREATE, Errno::ENODEV, "there is no such interface in this network namespace"),
    (Cmd::LINK_CREATE, Errno::EBADF, "what it was to be attached to is no cgroup, namespace or map"),
    (Cmd::RAW_TRACEPOINT_OPEN, Errno::ENOENT, "there is no tracepoint of this name"),
    (Cmd::RAW_TRACEPOINT_OPEN, Errno::EINVAL, "the program reads more arguments than the tracepoint has, or is of another type"),
    (Cmd::RAW_TRACEPOINT_OPEN, Errno::ENOTSUPP, "this architecture or kernel has no trampolines into functions"),
    (Cmd::RAW_TRACEPOINT_OPEN, Errno::EBUSY, "the function has another program that excludes this one"),
    (Cmd::PROG_ATTACH, Errno::EOPNOTSUPP, "maps of this type take no programs"),
    (Cmd::PROG_DETACH, Errno::ENOENT, "this program is not attached there"),
    (Cmd::LINK_UPDATE, Errno::EPERM, "the program attached now is not the expected one: somebody else changed it"),
    (Cmd::LINK_UPDATE, Errno::EINVAL, "the new program's type or expected attach type is not the old one's; a link cannot change it"),
    (Cmd::LINK_UPDATE, Errno::ENOLINK, "what it was attached to is gone"),
    (Cmd::LINK_DETACH, Errno::EOPNOTSUPP, "links of this type go only when the last descriptor is closed"),
    (Cmd::ENABLE_STATS, Errno::EPERM, "that needs CAP_SYS_ADMIN"),
];

/// What the errno usually means for the command, in brackets after a space; nothing if there is no row.
pub(crate) struct Hint(pub(crate) Cmd, pub(crate) Errno);

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match HINTS.iter().find(|(cmd, errno, _)| (*cmd, *errno) == (self.0, self.1)) {
            Some((_, _, words)) => write!(f, " ({words})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_row_a_command_and_errno() {
        for (at, (cmd, errno, _)) in HINTS.iter().enumerate() {
            let first = HINTS.iter().position(|(c, e, _)| (c, e) == (cmd, errno));
            assert_eq!(first, Some(at), "{cmd} {errno}");
        }
        assert_eq!(
            Hint(Cmd::MAP_DELETE_ELEM, Errno::EINVAL).to_string(),
            " (elements of this map type cannot be deleted)"
        );
        assert_eq!(Hint(Cmd::OBJ_PIN, Errno::EINVAL).to_string(), "");
    }
}
