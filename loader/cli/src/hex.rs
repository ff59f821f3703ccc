//! Bytes as people type them: hexadecimal digits, blanks between them as they like.
//!
//! Input: text. Output: bytes, and back. Read next: `vm.rs`.

use anyhow::{Context, Result, bail};

/// The bytes that the digits say.
///
/// # Errors
/// A character that is no digit, or an odd number of digits.
pub(crate) fn bytes(text: &str) -> Result<Vec<u8>> {
    let digits = text.char_indices().filter(|(_, c)| !c.is_whitespace());
    let digits: Vec<u8> = digits
        .map(|(at, c)| {
            let digit = c.to_digit(16).and_then(|d| u8::try_from(d).ok());
            digit.with_context(|| format!("`{c}` at character {} is no hex digit", at + 1))
        })
        .collect::<Result<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        bail!("{} hex digits; a byte has two", digits.len());
    }
    Ok(pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

/// Two digits a byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
