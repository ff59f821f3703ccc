//! Stage: spec → verified. The host's configuration. Input: `/proc/config.gz` or `/boot/config-…`, uname. Output: bytes as
//! the programs' variables want them. Next file: `maps.rs`.

use std::collections::HashMap;
use std::io::Read;

use crate::spec::KconfigType;

/// The kernel's configuration, read when the first `CONFIG_` value is asked for.
#[derive(Debug, Default)]
pub struct Config {
    values: Option<HashMap<String, String>>,
}

/// Why a value of the configuration does not fit its variable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The value is of another type.
    #[error("the kernel was built with `{value}`, which is no {wanted}: declare the variable otherwise")]
    Type {
        /// What the configuration says.
        value: String,
        /// What the variable holds.
        wanted: KconfigType,
    },
    /// The value is too large.
    #[error("the kernel was built with `{value}`, which does not fit {size} bytes")]
    Range {
        /// What the configuration says.
        value: String,
        /// Bytes of the variable.
        size: usize,
    },
}

/// What is asked of the kernel's types for the values that are no configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// A helper, by its enumerator.
    Helper(&'static str),
    /// A function.
    Function(&'static str),
}

impl Config {
    /// The running kernel's.
    #[must_use]
    pub fn running() -> Self {
        Self::default()
    }

    /// From the text of a configuration file; for tests, and for other kernels.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        Self { values: Some(parse(text)) }
    }

    /// The bytes of a variable, `None` if the kernel was built without. `has` says what else the kernel has.
    ///
    /// # Errors
    /// The value does not fit the variable.
    pub fn value(
        &mut self,
        name: &str,
        kind: KconfigType,
        size: usize,
        has: &dyn Fn(Probe) -> bool,
    ) -> Result<Option<Vec<u8>>, ConfigError> {
        let own = match name {
            "LINUX_KERNEL_VERSION" => Some(u64::from(kernel_version())),
            "LINUX_HAS_BPF_COOKIE" => Some(u64::from(has(Probe::Helper("BPF_FUNC_get_attach_cookie")))),
            "LINUX_HAS_SYSCALL_WRAPPER" => Some(u64::from(has(Probe::Function(syscall_wrapper())))),
            _ => None,
        };
        if let Some(value) = own {
            return encode(&value.to_string(), kind, size).map(Some);
        }
        let values = self.values.get_or_insert_with(|| parse(&text().unwrap_or_default()));
        values.get(name).map(|value| encode(value, kind, size)).transpose()
    }
}

/// A function that exists where system calls take their arguments in a struct of registers.
fn syscall_wrapper() -> &'static str {
    if cfg!(target_arch = "aarch64") { "__arm64_sys_bpf" } else { "__x64_sys_bpf" }
}

/// The text of the running kernel's configuration, from the kernel itself or from its package.
fn text() -> Option<String> {
    if let Ok(file) = std::fs::File::open("/proc/config.gz") {
        let mut text = String::new();
        if flate2::read::GzDecoder::new(file).read_to_string(&mut text).is_ok() {
            return Some(text);
        }
    }
    let release = nix::sys::utsname::uname().ok()?;
    std::fs::read_to_string(format!("/boot/config-{}", release.release().to_str()?)).ok()
}

/// Lines such as `CONFIG_HZ=250`; comments say what is not set.
fn parse(text: &str) -> HashMap<String, String> {
    let lines = text.lines().filter(|line| line.starts_with("CONFIG_"));
    lines
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}

/// A value as its variable wants it.
fn encode(value: &str, kind: KconfigType, size: usize) -> Result<Vec<u8>, ConfigError> {
    let wrong = || ConfigError::Type { value: value.to_owned(), wanted: kind };
    match (kind, value) {
        (KconfigType::Text, _) => {
            let text = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or_else(wrong)?;
            let mut bytes = vec![0; size];
            for (to, from) in bytes.iter_mut().take(size.saturating_sub(1)).zip(text.bytes()) {
                *to = from;
            }
            Ok(bytes)
        }
        (KconfigType::Tristate, "y" | "n" | "m") => {
            let number = match value {
                "n" => 0,
                "y" => 1,
                _ => 2,
            };
            fit(number, value, size)
        }
        (KconfigType::Bool, "y" | "n") => Ok(vec![u8::from(value == "y")]),
        (KconfigType::Char, "y" | "n" | "m") => Ok(value.as_bytes().to_vec()),
        (KconfigType::Bool, "0" | "1") => Ok(vec![u8::from(value == "1")]),
        (KconfigType::Int { .. } | KconfigType::Char, _) => fit(number(value).ok_or_else(wrong)?, value, size),
        _ => Err(wrong()),
    }
}

/// Decimal, or hexadecimal behind `0x`; negative ones as two's complement.
fn number(text: &str) -> Option<i128> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let hex = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    let number = match hex {
        Some(hex) => i128::from_str_radix(hex, 16),
        None => digits.parse(),
    };
    number.ok().map(|number| sign * number)
}

/// The low `size` bytes, if nothing is lost.
fn fit(number: i128, value: &str, size: usize) -> Result<Vec<u8>, ConfigError> {
    let bits = u32::try_from(size.min(8) * 8).unwrap_or(64);
    if number >= 1 << bits || number < -(1 << (bits - 1)) {
        return Err(ConfigError::Range { value: value.to_owned(), size });
    }
    let bytes = number.to_le_bytes();
    let mut bytes = bytes.get(..size).unwrap_or(&bytes).to_vec();
    if cfg!(target_endian = "big") {
        bytes.reverse();
    }
    Ok(bytes)
}

/// The version as `KERNEL_VERSION(a, b, c)`. Distributions with a frozen release string say the true one elsewhere.
fn kernel_version() -> u32 {
    let Ok(uname) = nix::sys::utsname::uname() else { return 0 };
    let release = uname.release().to_string_lossy().into_owned();
    let version = uname.version().to_string_lossy().into_owned();
    let ubuntu = std::fs::read_to_string("/proc/version_signature").unwrap_or_default();
    let of_ubuntu = ubuntu.split_whitespace().last().map(str::to_owned);
    let of_debian = version.split_once("Debian ").map(|(_, rest)| rest.to_owned());
    let all = [of_ubuntu, of_debian, Some(release)];
    all.into_iter().flatten().find_map(|text| version_code(&text)).unwrap_or(0)
}

/// `5.10.262-1` → 0x050aff: the last part has eight bits.
fn version_code(text: &str) -> Option<u32> {
    let mut parts = text.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let (major, minor) = (parts.next()?.ok()?, parts.next()?.ok()?);
    let patch = parts.next().and_then(Result::ok).unwrap_or(0);
    Some((major & 0xffff) << 16 | (minor & 0xff) << 8 | patch.min(255))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_as_the_variables_want_them() {
        let text = "CONFIG_A=y\nCONFIG_M=m\n# CONFIG_N is not set\nCONFIG_HZ=250\nCONFIG_X=0x10\nCONFIG_S=\"text\"\nCONFIG_NEG=-3\n";
        let unsigned = KconfigType::Int { signed: false };
        let wrong = |value: &str, wanted| Err(ConfigError::Type { value: value.into(), wanted });
        let rows = [
            ("CONFIG_A", KconfigType::Bool, 1, Ok(Some(vec![1]))),
            ("CONFIG_A", KconfigType::Char, 1, Ok(Some(b"y".to_vec()))),
            ("CONFIG_M", KconfigType::Tristate, 4, Ok(Some(vec![2, 0, 0, 0]))),
            ("CONFIG_M", KconfigType::Bool, 1, wrong("m", KconfigType::Bool)),
            ("CONFIG_N", KconfigType::Bool, 1, Ok(None)),
            ("CONFIG_HZ", unsigned, 4, Ok(Some(vec![250, 0, 0, 0]))),
            ("CONFIG_X", unsigned, 2, Ok(Some(vec![16, 0]))),
            ("CONFIG_NEG", KconfigType::Int { signed: true }, 2, Ok(Some(vec![0xfd, 0xff]))),
            ("CONFIG_S", KconfigType::Text, 3, Ok(Some(b"te\0".to_vec()))),
            ("CONFIG_S", unsigned, 4, wrong("\"text\"", unsigned)),
            ("CONFIG_HZ", KconfigType::Char, 1, Ok(Some(vec![250]))),
        ];
        for (name, kind, size, want) in rows {
            assert_eq!(Config::from_text(text).value(name, kind, size, &|_| false), want, "{name} as {kind}");
        }
    }

    #[test]
    fn versions() {
        for (text, want) in [
            ("5.10.262-1", Some(0x0005_0aff)),
            ("6.18.44-x", Some(0x0006_122c)),
            ("6.1", Some(0x0006_0100)),
            ("x", None),
        ] {
            assert_eq!(version_code(text), want, "{text}");
        }
    }
}
