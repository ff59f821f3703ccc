//! The command line as plain values: one enum, and beside each option its help.
//!
//! Output: a [`Cli`]. Each command's own arguments are in its file. Read next: `up.rs`.

use clap::{Parser, Subcommand};

/// Loads eBPF objects, attaches their programs, and takes them away again.
#[derive(Debug, Parser)]
#[command(name = "loader", version, max_term_width = 100, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// Write the result as JSON, for programs
    #[arg(long, global = true)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Bring what a manifest describes to the wanted state
    ///
    /// Every object is verified before any hook changes. What cannot be finished is taken back; so is everything on ^C
    /// (a second ^C leaves at once, and the next `up` or `down` clears up). A second `up` changes nothing. While one
    /// `up` or `down` of a deployment is at work, another one fails at once.
    Up(crate::up::Args),
    /// Take deployments away, and prove that they are gone
    ///
    /// Works from what is pinned, so it also clears what a killed `up` has left.
    Down(crate::down::Args),
    /// Show what is wanted, what the kernel has, and where they differ
    Status(crate::status::Args),
    /// Tell whether programs load: here, on other kernels, or by another kernel's types
    ///
    /// Nothing is attached and nothing pinned. What is refused is explained at its source line. Exit status 0 when all
    /// programs load, 1 when some do not.
    Check(crate::check::Args),
    /// Show what this kernel can do, or what the driver of an interface can
    ///
    /// Everything is tried out or asked, nothing guessed from the release; nothing stays behind.
    Features(crate::features::Args),
    /// Show, dump and run programs in the kernel, whoever loaded them
    Prog(crate::prog::Args),
    /// Show maps in the kernel, and read and write their elements
    ///
    /// Keys and values are shown and taken as JSON by the types that the map was made with; as `hex:…` without.
    Map(crate::map::Args),
    /// Show the links in the kernel: what is attached where
    Link(crate::link::Args),
    /// Load every program and map of one object, and pin them
    Load(crate::load::Args),
    /// Write a built-in program, at any stage on its way to an object
    Emit(crate::emit::Args),
    /// Make an object file of assembly text
    Asm(crate::asm::Args),
    /// Show an object file as assembly text
    Disasm(crate::disasm::Args),
    /// Run a program in the interpreter: no kernel, no root
    ///
    /// Reads instructions as hex from standard input and prints r0 in hex. r1 is the memory's address, r2 its length. With
    /// `--object` it runs a program of an object or of assembly text on packets, and prints what became of each.
    Vm(crate::vm::Args),
    /// How `bypass` runs on this kernel, and what it carries
    Bypass(crate::bypass::Args),
    /// Repeat an experiment, ours and a peer side by side
    Bench(crate::bench::Args),
}
