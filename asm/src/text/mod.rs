//! Stage: assembly text, both ways. Input: text, or instructions. Output: the other one.
//!
//! Next: `print.rs`.

mod print;
