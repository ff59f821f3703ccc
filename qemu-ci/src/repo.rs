//! Where the workspace lies, and how a command is run in it.
//!
//! In: the environment. Out: a [`Repo`]. Next to read: `steps.rs`.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use anyhow::{Context, Result, bail};

/// The workspace's root directory.
#[derive(Clone, Debug)]
pub struct Repo {
    root: PathBuf,
}

impl Repo {
    /// Finds the workspace: the parent of the package that cargo runs, else the nearest directory above with a
    /// `qemu-ci/kernels.toml`.
    ///
    /// # Errors
    /// The current directory is not in the workspace.
    pub fn find() -> Result<Self> {
        let mut starts = Vec::new();
        starts.extend(env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from));
        starts.push(env::current_dir().context("current directory")?);
        for start in &starts {
            let found = start.ancestors().find(|directory| directory.join("qemu-ci/kernels.toml").is_file());
            if let Some(root) = found {
                return Ok(Self { root: root.to_owned() });
            }
        }
        bail!("no workspace with qemu-ci/kernels.toml here; run `cargo ci` inside of it")
    }

    /// A path in the workspace.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(relative)
    }

    /// Where reports, consoles and statically linked binaries go: below cargo's target directory.
    pub fn out(&self) -> PathBuf {
        let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| self.root.join("target"), PathBuf::from);
        target.join("qemu-ci")
    }

    /// A command that will run in the root directory.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        command
    }

    /// `cargo` with these arguments, of the toolchain that runs us, without the environment of `cargo run`.
    pub fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST") || text == "CARGO_BIN_NAME" {
                command.env_remove(&name);
            }
        }
        command.args(arguments);
        command
    }
}

/// Shows the command on standard error, runs it and waits.
///
/// # Errors
/// It could not be started.
pub fn show_and_run(command: &mut Command) -> Result<ExitStatus> {
    show(command);
    command.status().with_context(|| format!("start {}", command.get_program().display()))
}

/// Shows the command on standard error, as a user would type it.
pub fn show(command: &Command) {
    let program = Path::new(command.get_program());
    let mut words = vec![program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    eprintln!("$ {}", words.join(" "));
}
