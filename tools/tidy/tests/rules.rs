//! Each rule fires on what it forbids, and on nothing else.

use std::path::Path;

use motet_tidy::{FILE_LINES_MAX, FUNCTION_LINES_MAX, check_file};

fn messages(path: &str, text: &str) -> Vec<String> {
    let there = |target: &Path| target == Path::new("docs/packet.md");
    check_file(Path::new(path), text, &there)
        .into_iter()
        .map(|f| format!("{}: {}", f.line, f.message))
        .collect()
}

#[track_caller]
fn finds(path: &str, text: &str, expected: &[&str]) {
    let found = messages(path, text);
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found} should begin with {expected}");
    }
}

#[test]
fn clocks_are_found_in_pure_crates_only() {
    let text = "fn f() {\n    let t = std::time::Instant::now();\n}\n";
    finds("engine/relay/src/leg.rs", text, &["2: Instant::now"]);
    finds("control/src/conference/step.rs", text, &["2: Instant::now"]);
    finds("engine/node/src/worker.rs", text, &[]);
    finds("engine/relay/tests/wall.rs", text, &[]);
    finds("engine/relay/src/leg/tests.rs", text, &[]);
}

#[test]
fn clocks_in_tests_comments_and_strings_are_left_alone() {
    let text = "// Instant::now\nconst A: &str = \"Instant::now {\";\nconst B: &str = r#\"SystemTime::now \"{\"#;\n\
                #[cfg(test)]\nmod tests {\n    fn f() { Instant::now(); }\n}\n";
    finds("engine/relay/src/leg.rs", text, &[]);
    let after = format!("{text}fn g() {{ Instant::now(); }}\n");
    finds("engine/relay/src/leg.rs", &after, &["8: Instant::now"]);
}

#[test]
fn random_numbers_are_found_but_not_words_that_end_alike() {
    finds("engine/rtp/src/seq.rs", "use rand::Rng;\n", &["1: rand::"]);
    finds("engine/rtp/src/seq.rs", "use operand::Rng;\n", &[]);
}

#[test]
fn files_at_the_limit_pass_and_longer_ones_do_not() {
    finds("tools/a.rs", &"\n".repeat(FILE_LINES_MAX), &[]);
    finds("tools/a.rs", &"\n".repeat(FILE_LINES_MAX + 1), &["0: the file has"]);
}

#[test]
fn functions_at_the_limit_pass_and_longer_ones_do_not() {
    let function =
        |lines: usize| format!("fn long<'a>(x: [u8; 3]) {{\n{}}}\n", "    f('{');\n".repeat(lines - 2));
    finds("tools/a.rs", &function(FUNCTION_LINES_MAX), &[]);
    finds("tools/a.rs", &function(FUNCTION_LINES_MAX + 1), &["1: fn long has"]);
}

#[test]
fn functions_without_a_body_do_not_swallow_what_follows() {
    let text = format!("trait T {{\n    fn short(&self);\n{}}}\n", "    const A: u8 = 1;\n".repeat(80));
    finds("tools/a.rs", &text, &[]);
}

#[test]
fn marks_of_unfinished_work_are_found() {
    finds("tools/a.rs", "fn f() { todo!() }\n", &["1: todo!"]);
    finds("tools/a.rs", &format!("// {}: later\n", concat!("FIX", "ME")), &["1: FIX"]);
    finds("tools/a.rs", "#[ignore]\n", &["1: #[ignore]"]);
    finds("tools/a.rs", "#[ignore = \"needs a network card\"]\nlet todo = 1; // \"todo!\"\n", &[]);
}

#[test]
fn unsafe_is_at_home_in_two_crates_and_explained_there() {
    let bare = "fn f() { unsafe { g() } }\n";
    let explained = "fn f() {\n    // SAFETY: g has no preconditions.\n    unsafe { g() }\n}\n";
    finds("engine/net/src/uring.rs", bare, &["1: unsafe without"]);
    finds("engine/net/src/uring.rs", explained, &[]);
    finds("codecs/src/ffi/opus.rs", explained, &[]);
    finds("engine/relay/src/leg.rs", explained, &["3: unsafe outside"]);
    finds("engine/relay/src/lib.rs", "#![forbid(unsafe_code)]\n", &[]);
    finds("engine/relay/tests/leg.rs", explained, &["3: unsafe outside"]);
}

#[test]
fn documents_have_one_title_and_links_that_lead_somewhere() {
    finds("docs/a.md", "# A\n\n```sh\n# a comment\n```\n", &[]);
    finds("docs/a.md", "# A\n\n# B\n", &["0: 2 lines begin with"]);
    finds("docs/a.md", "A\n", &["0: 0 lines begin with"]);
    finds("docs/a.md", "# A\n[x](packet.md#way) [y](https://a.example/b) [z](#here)\n", &[]);
    finds("docs/decisions/a.md", "# A\n[x](../packet.md)\n[x](packet.md)\n", &["3: link to packet.md"]);
    finds(
        "README.md",
        "# A\n`docs/packet.md` `docs/gone.md` `docs/*.md` `a/b`\n",
        &["2: names docs/gone.md"],
    );
}

#[test]
fn whitespace_is_clean() {
    finds("tools/a.rs", "a \n", &["1: space"]);
    finds("tools/a.rs", "\ta\n", &["1: a tab"]);
    finds("tools/a.rs", "a", &["1: no newline"]);
    finds("Makefile", "a:\n\tb\n", &[]);
}

#[test]
fn crates_take_the_lints_of_the_workspace() {
    finds("tools/a/Cargo.toml", "[package]\n\n[lints]\nworkspace = true\n", &[]);
    finds("tools/a/Cargo.toml", "[package]\n", &["0: no [lints]"]);
    finds("Cargo.toml", "[workspace]\nmembers = []\n", &[]);
}
