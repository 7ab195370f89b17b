//! The repository itself passes its lint.

use std::path::Path;

#[test]
fn the_repository_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let (files, findings) = motet_tidy::check_repository(&root).expect("the repository can be read");
    assert!(files > 50, "only {files} files: is this the repository?");
    let list: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(list.is_empty(), "to mend:\n{}", list.join("\n"));
}
