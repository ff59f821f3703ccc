//! Teaching examples: kernel programs of a page each, in `progs/examples/`.
//!
//! Stage: kernel programs. Input: a name. Output: the program's module, which `asm::dsl` turns into an object. Next file to
//! read: `../examples/count.rs`.

use asm::dsl::Module;

/// Declares the examples: file and name.
macro_rules! examples {
    ($($file:ident $path:literal $name:literal;)*) => {
        $(#[path = $path] mod $file;)*

        /// The names of the examples, in alphabetical order.
        pub const NAMES: &[&str] = &[$($name),*];

        /// The example of this name.
        #[must_use]
        pub fn by_name(name: &str) -> Option<Module> {
            match name { $($name => Some($file::module()),)* _ => None }
        }
    };
}

examples! {
    count "../examples/count.rs" "count";
    drop_port "../examples/drop_port.rs" "drop-port";
    firewall "../examples/firewall.rs" "firewall";
    icmp_echo "../examples/icmp_echo.rs" "icmp-echo";
    ipip_decap "../examples/ipip_decap.rs" "ipip-decap";
    ipv6_ext "../examples/ipv6_ext.rs" "ipv6-ext";
    logger "../examples/logger.rs" "logger";
    lpm_acl "../examples/lpm_acl.rs" "lpm-acl";
    maglev "../examples/maglev.rs" "maglev";
    ratelimit "../examples/ratelimit.rs" "ratelimit";
    ringbuf "../examples/ringbuf.rs" "ringbuf";
    sk_msg "../examples/sk_msg.rs" "sk-msg";
    sockops "../examples/sockops.rs" "sockops";
    synflood "../examples/synflood.rs" "synflood";
    tiny "../examples/tiny.rs" "tiny";
}

#[cfg(test)]
mod tests {
    use asm::codegen::Profile;

    use super::*;

    #[test]
    fn all_are_written_for_the_oldest_kernel() {
        for name in NAMES {
            let module = by_name(name).expect("it is in the list");
            let write = || module.object(&Profile::linux_5_10()).unwrap_or_else(|error| panic!("{name}: {error}"));
            let bytes = write().write().unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(bytes, write().write().expect("as before"), "{name}: the same bytes each time");
        }
    }
}
