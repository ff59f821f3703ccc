//! Golden files: an assembly text, and behind it, in comments that start with `#>`, what becomes of it.
//!
//! With `UPDATE_GOLDEN=1` in the environment the expectations are written anew; review reads the difference.

use std::path::Path;

use asm::btf::Btf;
use asm::text::{Options, parse, print_with};
use object::{Object as _, ObjectSection as _};

/// The mistakes; or every function, and the types of the object.
fn outcome(name: &str, text: &str) -> String {
    let program = match parse(name, text) {
        Ok(program) => program,
        Err(mistakes) => return mistakes.to_string(),
    };
    let mut out = String::new();
    for function in program.functions() {
        let linkage = if function.global { "global" } else { "static" };
        out += &format!("{} {} {linkage}\n", function.section, function.name);
        out += &print_with(&function.code, Options { numbers: true, lines: true, first: 0 });
    }
    let bytes = match program.object().write() {
        Ok(bytes) => bytes,
        Err(error) => return out + &error.to_string(),
    };
    let file = object::File::parse(&*bytes).expect("our own ELF");
    for section in file.sections() {
        let (name, relocations) = (section.name().unwrap_or("?"), section.relocations().count());
        if ![".BTF", ".rel", ".symtab", ".strtab", ".shstrtab"].iter().any(|ours| name.starts_with(ours)) {
            out += &format!("{name} {} bytes, {relocations} relocations\n", section.size());
        }
    }
    let btf = file.section_by_name(".BTF").and_then(|section| section.data().ok()).unwrap_or_default();
    out + &Btf::parse(btf).expect("our own BTF").to_string()
}

fn check(path: &Path) -> datatest_stable::Result<()> {
    let whole = std::fs::read_to_string(path)?;
    let text: String = whole.lines().filter(|line| !line.starts_with("#>")).map(|line| format!("{line}\n")).collect();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let got = outcome(&name, text.trim_end());
    let shown: String = got.lines().map(|line| format!("#> {line}").trim_end().to_owned() + "\n").collect();
    let want = format!("{}\n{shown}", text.trim_end());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, want)?;
        return Ok(());
    }
    if whole != want {
        return Err(format!("not as recorded; UPDATE_GOLDEN=1 records it anew:\n{shown}").into());
    }
    Ok(())
}

datatest_stable::harness! { { test = check, root = "tests/golden/text", pattern = r"\.s$" } }
