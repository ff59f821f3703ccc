//! The kernel inside of a kernel image.
//!
//! In: a bzImage, as distributions ship it. Out: the uncompressed ELF file, which QEMU starts directly (PVH), saving the
//! guest the work of unpacking itself under emulation. Where the payload lies is read from the boot protocol's setup
//! header; the payload's own first bytes say how it is compressed. Next to read: `image.rs`.

use std::io::Read;

use anyhow::{Context, Result, bail, ensure};
use flate2::read::GzDecoder;
use lzma_rust2::XzReader;

/// Offset of `setup_sects` in the boot sector.
const SETUP_SECTS: usize = 0x1f1;
/// Offset of the magic `HdrS`.
const MAGIC: usize = 0x202;
/// Offset of the boot protocol's version; the payload fields exist from 2.08 on.
const PROTOCOL: usize = 0x206;
/// Offset of `payload_offset`, counted from the protected-mode code.
const PAYLOAD_OFFSET: usize = 0x248;
/// Offset of `payload_length`, the four bytes of the uncompressed size included.
const PAYLOAD_LENGTH: usize = 0x24c;
/// Bytes of a sector.
const SECTOR: usize = 512;
/// The largest kernel believed; a damaged size field must not take all memory.
const LIMIT: usize = 1 << 30;

/// Extracts the ELF file from a bzImage.
///
/// # Errors
/// The image is not one, is damaged, or is compressed in a way that is not read here (bzip2, lzma, lzo).
pub fn extract(image: &[u8]) -> Result<Vec<u8>> {
    ensure!(image.get(MAGIC..MAGIC + 4) == Some(b"HdrS"), "no kernel image: `HdrS` is missing at offset {MAGIC:#x}");
    let version = u16_at(image, PROTOCOL)?;
    ensure!(version >= 0x208, "boot protocol {version:#x} is older than 2.08 and does not say where the kernel lies");
    let setup = match image.get(SETUP_SECTS).copied().context("cut off before setup_sects")? {
        0 => 4,
        sectors => usize::from(sectors),
    };
    let begin = (setup + 1) * SECTOR + u32_at(image, PAYLOAD_OFFSET)?;
    let length = u32_at(image, PAYLOAD_LENGTH)?;
    let payload = begin.checked_add(length).and_then(|end| image.get(begin..end));
    let payload = payload.with_context(|| format!("payload at {begin:#x}, {length} bytes, is outside of the image"))?;
    let kernel = decompress(payload)?;
    ensure!(kernel.starts_with(b"\x7fELF"), "the payload at {begin:#x} is not an ELF file");
    Ok(kernel)
}

/// Tells the compression by its magic number.
fn decompress(payload: &[u8]) -> Result<Vec<u8>> {
    // What follows the compressed stream is its uncompressed size.
    let (stream, size) = payload.split_last_chunk::<4>().context("payload without size")?;
    let size = usize::try_from(u32::from_le_bytes(*size)).context("size")?;
    ensure!(size <= LIMIT, "the kernel says it is {size} bytes long");
    let mut kernel = Vec::with_capacity(size);
    match payload {
        [0x1f, 0x8b, ..] => GzDecoder::new(stream).read_to_end(&mut kernel).context("gzip")?,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => XzReader::new(stream, false).read_to_end(&mut kernel).context("xz")?,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let mut decoder = ruzstd::decoding::StreamingDecoder::new(stream).context("zstd")?;
            decoder.read_to_end(&mut kernel).context("zstd")?
        }
        [0x02, 0x21, 0x4c, 0x18, ..] => lz4_legacy(stream, &mut kernel).context("lz4")?,
        _ => bail!("unknown compression, first bytes {:02x?}", payload.get(..6).unwrap_or(payload)),
    };
    Ok(kernel)
}

/// LZ4's legacy frame: the magic number, then blocks of up to 8 MiB uncompressed, each after its length. Returns the
/// number of bytes written.
fn lz4_legacy(stream: &[u8], out: &mut Vec<u8>) -> Result<usize> {
    let mut rest = stream.get(4..).context("magic number")?;
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_le_bytes(*length)).context("block length")?;
        let block = after.get(..length).with_context(|| format!("a block of {length} bytes is cut off"))?;
        lz4_block(block, out)?;
        rest = &after[length..];
    }
    Ok(out.len())
}

/// One LZ4 block: sequences of literals and a match in what this block has written already.
fn lz4_block(mut block: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let start = out.len();
    while let Some((&token, rest)) = block.split_first() {
        block = rest;
        let literals = lz4_length(usize::from(token >> 4), &mut block)?;
        out.extend_from_slice(block.get(..literals).context("literals are cut off")?);
        block = &block[literals..];
        ensure!(out.len() <= LIMIT, "more than {LIMIT} bytes");
        // The last sequence of a block ends after its literals.
        let Some((offset, rest)) = block.split_first_chunk::<2>() else {
            ensure!(block.is_empty(), "a match is cut off");
            return Ok(());
        };
        block = rest;
        let offset = usize::from(u16::from_le_bytes(*offset));
        ensure!(offset > 0 && offset <= out.len() - start, "a match reaches {offset} bytes back, before its block");
        let length = lz4_length(usize::from(token & 15), &mut block)? + 4;
        ensure!(out.len() + length <= LIMIT, "more than {LIMIT} bytes");
        copy_match(out, offset, length);
    }
    Ok(())
}

/// Appends `length` bytes that begin `offset` bytes before the end; the two may overlap, and then repeat.
fn copy_match(out: &mut Vec<u8>, offset: usize, mut length: usize) {
    let begin = out.len() - offset;
    while length > 0 {
        let part = length.min(out.len() - begin);
        out.extend_from_within(begin..begin + part);
        length -= part;
    }
}

/// A length whose four bits were all set goes on in the bytes that follow.
fn lz4_length(bits: usize, block: &mut &[u8]) -> Result<usize> {
    let mut length = bits;
    if bits == 15 {
        loop {
            let (&byte, rest) = block.split_first().context("a length is cut off")?;
            *block = rest;
            length += usize::from(byte);
            if byte != 255 {
                break;
            }
        }
    }
    Ok(length)
}

/// A little-endian 16-bit field of the setup header.
fn u16_at(image: &[u8], at: usize) -> Result<u16> {
    let bytes = image.get(at..at + 2).and_then(|bytes| bytes.try_into().ok());
    bytes.map(u16::from_le_bytes).with_context(|| format!("cut off at {at:#x}"))
}

/// A little-endian 32-bit field of the setup header.
fn u32_at(image: &[u8], at: usize) -> Result<usize> {
    let bytes = image.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    let value = bytes.map(u32::from_le_bytes).with_context(|| format!("cut off at {at:#x}"))?;
    usize::try_from(value).context("32-bit value")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    /// A bzImage around a compressed payload.
    fn image(compressed: &[u8], size: usize) -> Vec<u8> {
        let mut image = vec![0; 2 * SECTOR + 32];
        image[SETUP_SECTS] = 1;
        image[MAGIC..MAGIC + 4].copy_from_slice(b"HdrS");
        image[PROTOCOL..PROTOCOL + 2].copy_from_slice(&0x20f_u16.to_le_bytes());
        image[PAYLOAD_OFFSET..PAYLOAD_OFFSET + 4].copy_from_slice(&32_u32.to_le_bytes());
        let length = u32::try_from(compressed.len() + 4).unwrap();
        image[PAYLOAD_LENGTH..PAYLOAD_LENGTH + 4].copy_from_slice(&length.to_le_bytes());
        image.extend(compressed);
        image.extend(u32::try_from(size).unwrap().to_le_bytes());
        image
    }

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(data).unwrap();
        gz.finish().unwrap()
    }

    fn xz(data: &[u8]) -> Vec<u8> {
        let mut xz = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(1)).unwrap();
        xz.write_all(data).unwrap();
        xz.finish().unwrap()
    }

    /// LZ4 without a compressor: literals, and runs of the byte before them.
    fn lz4(data: &[u8]) -> Vec<u8> {
        let mut block = Vec::new();
        let long = |block: &mut Vec<u8>, mut left: usize| {
            while left >= 255 {
                block.push(255);
                left -= 255;
            }
            block.push(u8::try_from(left).unwrap());
        };
        let literals = |block: &mut Vec<u8>, bytes: &[u8], match_bits: u8| {
            block.push(u8::try_from(bytes.len().min(15)).unwrap() << 4 | match_bits);
            if bytes.len() >= 15 {
                long(block, bytes.len() - 15);
            }
            block.extend(bytes);
        };
        let mut at = 0;
        while at < data.len() {
            let run = data[at..].iter().take_while(|&&b| b == data[at]).count();
            if run >= 20 {
                literals(&mut block, &data[at..=at], 15);
                block.extend(1_u16.to_le_bytes());
                long(&mut block, run - 1 - 4 - 15);
                at += run;
            } else {
                // A sequence must have a match: repeat the last literal four times when the data allows, else end.
                literals(&mut block, &data[at..], 0);
                break;
            }
        }
        let mut out = 0x184c_2102_u32.to_le_bytes().to_vec();
        out.extend(u32::try_from(block.len()).unwrap().to_le_bytes());
        out.extend(block);
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_kernel_comes_out_as_it_went_in(
            tail in prop::collection::vec(any::<u8>(), 0..4000), run in 0usize..5000, how in 0..4
        ) {
            let kernel = [b"\x7fELF".as_slice(), &tail].concat();
            let kernel = [kernel, vec![9; run]].concat();
            let packed = match how {
                0 => gzip(&kernel),
                1 => xz(&kernel),
                2 => ruzstd::encoding::compress_to_vec(
                    kernel.as_slice(), ruzstd::encoding::CompressionLevel::Fastest),
                _ => lz4(&kernel),
            };
            prop_assert_eq!(extract(&image(&packed, kernel.len())).unwrap(), kernel);
        }

        #[test]
        fn damaged_images_are_errors_not_panics(at: prop::sample::Index, flip in 1u8.., how in 0..4, cut: prop::sample::Index) {
            let kernel = [b"\x7fELF".as_slice(), &[3; 3000]].concat();
            let packed = match how { 0 => gzip(&kernel), 1 => xz(&kernel), _ => lz4(&kernel) };
            let mut bytes = image(&packed, kernel.len());
            bytes.truncate(bytes.len() - cut.index(40));
            let length = bytes.len();
            bytes[at.index(length)] ^= flip;
            let _ = extract(&bytes);
        }
    }

    #[test]
    fn runs_of_lz4_overlap() {
        let kernel = vec![5; 1000];
        let mut out = Vec::new();
        lz4_legacy(&lz4(&kernel), &mut out).unwrap();
        assert_eq!(out, kernel);
        assert!(lz4_block(&[0x10, 7, 9, 0], &mut Vec::new()).unwrap_err().to_string().contains("before its block"));
    }
}
