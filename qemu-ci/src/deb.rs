//! Debian packages: an `ar` archive with a compressed tar in it.
//!
//! In: the bytes of a `.deb`. Out: each regular file of its data archive. Nothing is unpacked to disk here, and no path
//! from the archive is trusted: the caller picks files by name. Next to read: `image.rs`.

use std::io::Read;

use anyhow::{Context, Result, bail};
use flate2::read::GzDecoder;
use lzma_rust2::XzReader;
use object::read::archive::ArchiveFile;

/// Calls `each` with path (without a leading `./`), length and contents of every regular file of a package.
///
/// # Errors
/// The package is damaged, is compressed in a way we do not read, or `each` failed.
pub fn files(deb: &[u8], each: impl FnMut(&str, &mut dyn Read) -> Result<()>) -> Result<()> {
    let archive = ArchiveFile::parse(deb).context("not a Debian package: no ar archive")?;
    for member in archive.members() {
        let member = member.context("damaged ar archive")?;
        let name = String::from_utf8_lossy(member.name()).trim_end_matches('/').to_owned();
        if !name.starts_with("data.tar") {
            continue;
        }
        let data = member.data(deb).with_context(|| format!("{name} is cut off"))?;
        return tar(&name, data, each);
    }
    bail!("not a Debian package: no data.tar in it")
}

/// Calls `each` with path, length and contents of every regular file of a tar archive, whose compression its name tells.
///
/// # Errors
/// As of [`files`].
pub fn tar(name: &str, data: &[u8], mut each: impl FnMut(&str, &mut dyn Read) -> Result<()>) -> Result<()> {
    entries(decompress(name, data)?, &mut each).with_context(|| format!("in {name}"))
}

/// Reads the compression off the file's name.
fn decompress<'a>(name: &str, data: &'a [u8]) -> Result<Box<dyn Read + 'a>> {
    Ok(match name.rsplit_once(".tar").map_or("", |(_, end)| end) {
        "" => Box::new(data),
        ".gz" => Box::new(GzDecoder::new(data)),
        ".xz" => Box::new(XzReader::new(data, true)),
        ".zst" => Box::new(ruzstd::decoding::StreamingDecoder::new(data).context("start of a zstd stream")?),
        _ => bail!("{name}: this compression is not known here"),
    })
}

/// Walks a tar archive.
fn entries(tar: Box<dyn Read + '_>, each: &mut impl FnMut(&str, &mut dyn Read) -> Result<()>) -> Result<()> {
    let mut archive = tar::Archive::new(tar);
    for entry in archive.entries().context("tar archive")? {
        let mut entry = entry.context("damaged tar archive")?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = entry.path().context("path in tar archive")?.to_string_lossy().into_owned();
        let path = path.strip_prefix("./").unwrap_or(&path);
        each(path, &mut entry).with_context(|| format!("file {path}"))?;
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    /// Writes a package as Debian's tools do.
    pub(crate) fn deb(files: &[(String, Vec<u8>)], compression: &str) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, contents) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(contents.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, format!("./{path}"), contents.as_slice()).unwrap();
        }
        let tar = tar.into_inner().unwrap();
        let data = match compression {
            ".gz" => {
                let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                gz.write_all(&tar).unwrap();
                gz.finish().unwrap()
            }
            ".xz" => {
                let mut xz = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(1)).unwrap();
                xz.write_all(&tar).unwrap();
                xz.finish().unwrap()
            }
            ".zst" => {
                ruzstd::encoding::compress_to_vec(tar.as_slice(), ruzstd::encoding::CompressionLevel::Uncompressed)
            }
            _ => tar,
        };
        let mut ar = b"!<arch>\n".to_vec();
        let name = format!("data.tar{compression}");
        for (name, body) in [("debian-binary", b"2.0\n".as_slice()), ("control.tar", b""), (&name, &data)] {
            ar.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, body.len()).bytes());
            ar.extend(body);
            if body.len() % 2 == 1 {
                ar.push(b'\n');
            }
        }
        ar
    }

    fn all(deb: &[u8]) -> Result<Vec<(String, Vec<u8>)>> {
        let mut found = Vec::new();
        files(deb, |path, contents| {
            let mut bytes = Vec::new();
            contents.read_to_end(&mut bytes)?;
            found.push((path.to_owned(), bytes));
            Ok(())
        })?;
        Ok(found)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn packages_come_back_as_they_went(
            contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2000), 0..4),
            compression in prop::sample::select(vec!["", ".gz", ".xz", ".zst"]),
        ) {
            let files: Vec<_> = contents.into_iter().enumerate().map(|(i, c)| (format!("usr/lib/f{i}.ko"), c)).collect();
            prop_assert_eq!(all(&deb(&files, compression)).unwrap(), files);
        }

        #[test]
        fn damaged_packages_are_errors_not_panics(at in 0usize..600, flip in 1u8.., cut in 0usize..3000) {
            let mut bytes = deb(&[("boot/vmlinuz".into(), vec![7; 1500])], ".xz");
            let length = bytes.len();
            bytes[at % length] ^= flip;
            let _ = all(&bytes);
            bytes.truncate(cut);
            let _ = all(&bytes);
        }
    }

    #[test]
    fn what_is_no_package_is_said() {
        for (bytes, want) in [(b"".as_slice(), "no ar archive"), (b"!<arch>\n", "no data.tar")] {
            assert!(all(bytes).unwrap_err().to_string().contains(want), "{want}");
        }
    }
}
