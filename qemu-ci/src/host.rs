//! Programs of this machine, taken along into a guest.
//!
//! In: a program's name. Out: itself and the libraries it is linked with, at their own paths. Only what asks for such
//! programs has them: the second opinion of a test, `cargo ci run`, `cargo ci shell`. Next to read: `suites.rs`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::initramfs::Tree;
use crate::tools;

/// Adds a program under its own path and as `/bin/NAME`.
///
/// # Errors
/// There is no such program, or it cannot be read.
pub fn add(tree: &mut Tree, program: &str) -> Result<PathBuf> {
    let path = locate(program).with_context(|| format!("this machine has no program {program}"))?;
    add_file(tree, &path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let inside = format!("/bin/{name}");
    if Path::new(&inside) != path {
        tree.link(&inside, &path.to_string_lossy());
    }
    Ok(path)
}

/// A program by path or by name.
fn locate(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return std::path::absolute(program).ok().filter(|path| path.is_file());
    }
    tools::find(program)
}

/// Adds a program and its libraries, and for a script the interpreter in its first line.
fn add_file(tree: &mut Tree, path: &Path) -> Result<()> {
    let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    if let Some(interpreter) = interpreter(&bytes) {
        add(tree, &interpreter).with_context(|| format!("interpreter of {}", path.display()))?;
    } else {
        add_libraries(tree, path)?;
    }
    tree.program(&path.to_string_lossy(), bytes);
    Ok(())
}

/// Adds the libraries that a program is linked with, the one that starts it among them. A static program has none.
///
/// # Errors
/// One of them cannot be read, or the machine cannot list them.
pub fn add_libraries(tree: &mut Tree, path: &Path) -> Result<()> {
    // For a static program ldd fails: there is nothing to add.
    let output = Command::new("ldd").arg(path).env("LC_ALL", "C").output().context("start ldd")?;
    for library in libraries(&String::from_utf8_lossy(&output.stdout)) {
        tree.copy_program(&library, Path::new(&library))?;
    }
    Ok(())
}

/// The program in a script's first line; of `env NAME`, the name.
fn interpreter(bytes: &[u8]) -> Option<String> {
    let line = bytes.strip_prefix(b"#!")?.split(|&byte| byte == b'\n').next()?;
    let line = String::from_utf8_lossy(line).into_owned();
    let mut words = line.split_whitespace();
    let first = words.next()?;
    let program = if first.ends_with("/env") { words.next()? } else { first };
    Some(program.to_owned())
}

/// Paths in the output of `ldd`: `libc.so.6 => /lib/libc.so.6 (0x…)` and `/lib64/ld-linux.so.2 (0x…)`.
fn libraries(text: &str) -> Vec<String> {
    let path = |line: &str| {
        let path = line.split_once("=>").map_or(line, |(_, path)| path);
        let path = path.split_whitespace().next()?;
        path.starts_with('/').then(|| path.to_owned())
    };
    text.lines().filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_off_ldd() {
        let text = "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x2)\n\t/lib64/ld.so.2 (0x3)\n\tlibgone.so => \
                    not found\n";
        assert_eq!(libraries(text), ["/lib/x/libc.so.6", "/lib64/ld.so.2"]);
        assert_eq!(libraries("\tnot a dynamic executable\n"), Vec::<String>::new());
    }

    #[test]
    fn interpreters_of_scripts() {
        for (script, want) in [
            ("#!/bin/sh -e\necho", Some("/bin/sh")),
            ("#!/usr/bin/env bash\n", Some("bash")),
            ("#! /bin/sh", Some("/bin/sh")),
            ("\x7fELF", None),
            ("#!\n", None),
        ] {
            assert_eq!(interpreter(script.as_bytes()).as_deref(), want, "{script}");
        }
    }

    #[test]
    fn a_program_of_this_machine_comes_with_its_libraries() {
        let mut tree = Tree::new();
        let path = add(&mut tree, "cat").unwrap();
        assert!(path.ends_with("cat"), "{path:?}");
        assert!(add(&mut tree, "no-such-program-here").unwrap_err().to_string().contains("no-such-program-here"));
    }
}
