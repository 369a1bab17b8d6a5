//! What README and the heads of the examples say of them; that they work, `.ci/examples` shows.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot read the sources has to fail"
)]

use std::{fs, path::Path};

/// Between these two marks stands what an app gains.
const BEGIN: &str = "// --- what is added to the ";
const END: &str = "// --- and ";

#[test]
fn an_app_gains_at_most_four_lines() {
    // And so many outside of the marks.
    for (name, elsewhere) in [("axum", 0), ("plain_tower", 0), ("tonic", 1), ("warp", 1)] {
        let added = added_lines(name);
        // A call that rustfmt breaks is one line to whoever writes it.
        let lines = added.iter().filter(|line| !line.starts_with('.')).count();
        assert!((2..=4 - elsewhere).contains(&lines), "{name}: {added:?}");
        let words = ["TokenAuthority::builder", "WorkspaceTokenLayer::new"];
        for word in words {
            assert!(added.iter().any(|line| line.contains(word)), "{name}");
        }
    }
}

#[test]
fn the_lines_of_the_readme_are_those_of_the_example() {
    let readme = read("README.md");
    let (_, block) = readme.split_once("## Protect an axum app").unwrap();
    let (_, block) = block.split_once("```rust\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let (added, handler) = block.split_once("\n\n").unwrap();
    let added: Vec<&str> = added.lines().map(str::trim).collect();
    assert_eq!(added, added_lines("axum"));
    let example = read("examples/axum.rs");
    // But for the end of the line, which a terminal wants.
    let example = example.replace("\\n\"", "\"");
    assert!(example.contains(handler.trim()), "{handler}");
}

#[test]
fn every_example_says_how_it_is_run_and_is_run_so() {
    let (manifest, ci) = (read("Cargo.toml"), read(".ci/run"));
    let mut found = 0;
    for entry in fs::read_dir(package().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        found += 1;
        let name = path.file_stem().unwrap().to_str().unwrap();
        let source = fs::read_to_string(&path).unwrap();
        let command = source.lines().find(|line| line.contains("cargo run"));
        let command = command.unwrap_or_else(|| panic!("{name}: no `cargo run` in its head"));
        assert!(source.starts_with("//!") && command.starts_with("//! "));
        let is_named = |word: &str| word.split_whitespace().any(|word| word == name);
        assert!(is_named(command), "{name}: {command}");
        let required = required_features(&manifest, name);
        let given = command.split_once("--features ").map(|(_, given)| given);
        let given = given.and_then(|given| given.split_whitespace().next());
        assert_eq!(given, required.as_deref(), "{name}");
        let is_run = ci.lines().any(|line| {
            let mut words =
                line.split(|character: char| !character.is_alphanumeric() && character != '_');
            line.contains("examples") && words.any(|word| word == name)
        });
        assert!(is_run, "{name}: .ci/run does not run it");
    }
    assert!(found >= 7, "only {found} examples");
}

/// The features of an example in the manifest, as `--features` takes them.
fn required_features(manifest: &str, name: &str) -> Option<String> {
    let (_, entry) = manifest.split_once(&format!("[[example]]\nname = \"{name}\"\n"))?;
    let line = entry
        .lines()
        .next()?
        .strip_prefix("required-features = [")?;
    let features = line.trim_end_matches(']').split(", ");
    let features: Vec<&str> = features.map(|feature| feature.trim_matches('"')).collect();
    Some(features.join(","))
}

/// The lines between the marks of an example.
fn added_lines(name: &str) -> Vec<String> {
    let source = read(&format!("examples/{name}.rs"));
    let (_, from) = source.split_once(BEGIN).unwrap();
    let (added, _) = from.split_once(END).unwrap();
    let lines = added.lines().skip(1).map(|line| line.trim().to_owned());
    lines.filter(|line| !line.is_empty()).collect()
}

fn read(file: &str) -> String {
    fs::read_to_string(package().join(file)).unwrap()
}

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
