//! Stage: verified programs. Which line of source each instruction of a program in the kernel comes from.
//!
//! Input: a program. Output: [`SourceLine`]s, as whoever loaded it told the kernel. Read next: `../verifier/parse.rs`.

use std::os::fd::AsFd;

use asm::btf::{StrOff, wire};
use serde::Serialize;
use zerocopy::FromBytes;

use super::{Error, Prog};
use crate::btf;
use crate::sys;
use crate::sys::uapi::Cmd;

/// A line of source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceLine {
    /// Position of the first instruction that comes from it, among [`Prog::xlated`]'s, in slots of 8 bytes.
    pub at: u32,
    /// The file, as its compiler names it.
    pub file: String,
    /// Number of the line, from 1.
    pub line: u32,
    /// The column in it, from 1; 0 when it is not known.
    pub column: u32,
    /// Its text, without the blanks around it; empty when it is not known.
    pub text: String,
}

impl Prog {
    /// The lines of source, in the order of the instructions; none for a program that was loaded without them.
    ///
    /// # Errors
    ///
    /// [`Error::Command`].
    pub fn source_lines(&self) -> Result<Vec<SourceLine>, Error> {
        let failed = |errno| self.error(Cmd::OBJ_GET_INFO_BY_FD, errno);
        let records = sys::info::prog_line_info(self.as_fd()).map_err(failed)?;
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let types = btf::loaded(self.info()?.btf_id).map_err(failed)?;
        let text = |at: u32| types.string(StrOff(at)).map(|text| text.trim().to_owned()).unwrap_or_default();
        let (records, _) = records.as_chunks::<{ size_of::<wire::LineInfo>() }>();
        let records = records.iter().filter_map(|bytes| wire::LineInfo::read_from_bytes(bytes).ok());
        let line = |record: wire::LineInfo| SourceLine {
            at: record.insn_off.get(),
            file: text(record.file_name_off.get()),
            line: record.line_col.get() >> 10,
            column: record.line_col.get() & 0x3ff,
            text: text(record.line_off.get()),
        };
        Ok(records.map(line).collect())
    }
}
