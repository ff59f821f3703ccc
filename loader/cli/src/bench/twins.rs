//! The C twins of the teaching programs, as text: `asm/benches/c/`.
//!
//! Output: names of files and what is in them, for clang. Read next: `codegen.rs`.

/// Declares the files.
macro_rules! texts {
    ($($name:literal)*) => {
        /// The files by name.
        pub(super) const TEXTS: &[(&str, &str)] = &[$(($name, include_str!(concat!("../../../../asm/benches/c/", $name))),)*];
    };
}

texts! {
    "kernel.h" "sockops.h"
    "count.c" "drop-port.c" "icmp-echo.c" "ipip-decap.c" "ipv6-ext.c" "lpm-acl.c" "maglev.c" "ratelimit.c" "ringbuf.c"
    "sk-msg.c" "sockops.c" "synflood.c" "tiny.c"
}
