//! `loader bench codegen`: every teaching program has its figures on the running kernel.

use crate::ground::alone;

#[test]
fn generated_code_is_measured_on_this_kernel() {
    alone(|ground| {
        let report = ground.json(["bench", "codegen", "--kernel", "5.10", "--clang", "no-such-clang", "--json"]);
        let rows = report["rows"].as_array().expect("rows");
        let names: Vec<_> = rows.iter().filter_map(|row| row["case"].as_str()).collect();
        assert_eq!(names, progs::examples::NAMES);
        for row in rows {
            let (slots, jited) = (row["slots"].as_u64(), row["jited"].as_u64());
            assert!(slots.is_some_and(|n| (5..400).contains(&n)) && jited.is_some(), "{row}");
        }
        assert!(report["generation_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{report}");
        assert!(report["ratio"].is_null(), "without C texts there is nothing to compare with");
    });
}

#[test]
fn a_directory_without_texts_is_an_error() {
    alone(|ground| {
        let dir = ground.dir().to_owned();
        ground
            .run(["bench".as_ref(), "codegen".as_ref(), "--c".as_ref(), dir.as_os_str()])
            .failed(&["has none of", "tiny.c"]);
        ground.file("tiny.c", "no C at all");
        let args = ["bench".as_ref(), "codegen".as_ref(), "--clang".as_ref(), "no-such-clang".as_ref(), "--c".as_ref()];
        ground.run(args.into_iter().chain([dir.as_os_str()])).failed(&["cannot run no-such-clang"]);
    });
}
