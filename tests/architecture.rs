//! The invariants of `docs/ARCHITECTURE.md` that can be read off the sources.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot read the sources has to fail"
)]

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

/// The floor of each module of the library. A module uses its own floor and those below it.
const FLOORS: [(&str, u8); 19] = [
    ("prove", 0),
    ("sync", 0),
    ("id", 0),
    ("token", 0),
    ("clock", 0),
    ("error", 0),
    ("cipher", 1),
    ("jwt", 1),
    ("store", 2),
    ("authority", 3),
    ("rejection", 3),
    ("exchange", 4),
    ("layer", 4),
    ("session", 4),
    ("serve", 4),
    ("axum", 5),
    ("warp", 5),
    ("testing", 5),
    ("manual", 5),
];

/// `error.rs` converts the errors of the floors above it, as `From` implementations have to stand somewhere.
const EXCEPTIONS: [(&str, &str); 2] = [("error", "cipher"), ("error", "store")];

const CRYPTOGRAPHY: [&str; 8] = [
    "aes_gcm",
    "ctutils",
    "getrandom",
    "hkdf",
    "hmac",
    "jsonwebtoken",
    "sha2",
    "subtle",
];

#[test]
fn a_module_uses_its_own_floor_and_those_below_it() {
    let mut checked = 0;
    for (module, source) in sources() {
        for line in code(&source) {
            for used in crate_paths(line) {
                checked += 1;
                let is_exception = EXCEPTIONS.contains(&(module.as_str(), used));
                assert!(
                    floor(used) <= floor(&module) || is_exception,
                    "`{module}` (floor {}) uses `{used}` (floor {}): {line}",
                    floor(&module),
                    floor(used),
                );
            }
        }
    }
    assert!(
        checked > 50,
        "only {checked} uses were found: does this test still read the sources?"
    );
}

#[test]
fn only_cipher_and_jwt_name_a_cryptography_crate() {
    for (module, source) in sources() {
        if matches!(&*module, "cipher" | "jwt") {
            continue;
        }
        for line in code(&source) {
            for name in CRYPTOGRAPHY {
                assert!(
                    !line.contains(&format!("{name}::")),
                    "`{module}` names `{name}`: {line}"
                );
            }
        }
    }
}

#[test]
fn only_the_clock_reads_the_time() {
    for (module, source) in sources() {
        let reads = code(&source).filter(|line| {
            ["SystemTime::now", "Instant::now", "clock_gettime"]
                .iter()
                .any(|read| line.contains(read))
        });
        assert_eq!(reads.count() > 0, module == "clock", "`{module}`");
    }
}

#[test]
fn only_verify_makes_a_verified_token() {
    for (path, source) in files() {
        if source.contains("VerifiedToken::new(") {
            assert!(path.ends_with("authority/verify.rs"), "{}", path.display());
        }
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    for (path, source) in files() {
        assert!(
            source.starts_with("//!"),
            "{} does not open with `//!`",
            path.display()
        );
    }
}

/// The allocator of keys is the one place that may be unsafe, as no other code can say where they lie.
#[test]
fn nothing_is_unsafe_but_the_memory_of_keys() {
    const FORBIDDING: [&str; 4] = [
        "src/lib.rs",
        "mcp/src/lib.rs",
        "stores/postgres/src/lib.rs",
        "stores/sqlite/src/lib.rs",
    ];
    const OF_THE_SERVER: [&str; 2] = [
        "reference-server/src/lib.rs",
        "reference-server/src/main.rs",
    ];
    let mut found = 0;
    for (path, source) in repository("rs") {
        let path = path.strip_prefix(package()).unwrap().to_str().unwrap();
        let has = |attribute: &str| source.lines().any(|line| line == attribute);
        if FORBIDDING.contains(&path) {
            found += 1;
            assert!(has("#![forbid(unsafe_code)]"), "{path}");
        }
        let may_be = OF_THE_SERVER.contains(&path);
        if may_be {
            found += 1;
            assert!(has("#![forbid(unsafe_code)]"), "{path}");
        }
        let is_shipped = ["src/", "mcp/src/", "stores/", "reference-server/src/"]
            .iter()
            .any(|folder| path.starts_with(folder));
        if is_shipped {
            for line in code(&source) {
                let mut words = line.split(|character| !is_of_word(character));
                assert!(!words.any(|word| word == "unsafe"), "{path}: {line}");
            }
        }
    }
    assert_eq!(
        found,
        FORBIDDING.len() + OF_THE_SERVER.len(),
        "a root was not found"
    );
}

/// What the pages on security and on MCP name as a test is one: a name of at least three words, in backticks.
#[test]
fn every_test_that_a_page_names_exists() {
    const PAGES: [&str; 4] = [
        "asvs.md",
        "mcp-eras.md",
        "mutation-tests.md",
        "security-tests.md",
    ];
    let sources: Vec<String> = ["rs", "py"]
        .into_iter()
        .flat_map(repository)
        .map(|(_, source)| source)
        .collect();
    let functions: HashSet<&str> = sources
        .iter()
        .flat_map(|source| source.lines())
        .filter_map(|line| {
            let (_, name) = line.split_once("fn ").or_else(|| line.split_once("def "))?;
            name.split(|character: char| !is_of_word(character)).next()
        })
        .collect();
    let mut named = 0;
    for (path, page) in repository("md") {
        if !PAGES
            .iter()
            .any(|name| path == package().join("docs").join(name))
        {
            continue;
        }
        // What stands between backticks is every second piece.
        for name in page.split('`').skip(1).step_by(2) {
            let is_test = name.starts_with(char::is_lowercase)
                && name.chars().all(is_of_word)
                && name.matches('_').count() >= 2;
            if is_test {
                named += 1;
                assert!(functions.contains(name), "{}: no `{name}`", path.display());
            }
        }
    }
    assert!(named > 200, "only {named} names were found");
}

fn is_of_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The code of a file: no comments, and nothing from its test module on.
fn code(source: &str) -> impl Iterator<Item = &str> {
    let end = source
        .find("#[cfg(test)]\nmod tests")
        .unwrap_or(source.len());
    source[..end]
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
}

/// The modules that a line names as `crate::module`, also within `use crate::{…}` spread over lines.
fn crate_paths(line: &str) -> impl Iterator<Item = &str> {
    let direct = line.split("crate::").skip(1);
    let nested = line
        .strip_prefix("    ")
        .filter(|line| line.starts_with(char::is_alphabetic));
    let named = direct.chain(nested.filter(|line| line.contains("::") && line.ends_with(',')));
    named.filter_map(|path| {
        let name = path
            .split(|character: char| !character.is_alphanumeric() && character != '_')
            .next()?;
        FLOORS
            .iter()
            .find(|(module, _)| *module == name)
            .map(|(module, _)| *module)
    })
}

fn floor(module: &str) -> u8 {
    let known = FLOORS.iter().find(|(name, _)| *name == module);
    known
        .unwrap_or_else(|| {
            panic!("`{module}` has no floor: give it one here and in docs/ARCHITECTURE.md")
        })
        .1
}

/// Each file of the library but its root and its test files, with the module that it belongs to.
fn sources() -> impl Iterator<Item = (String, String)> {
    files().into_iter().filter_map(|(path, source)| {
        let inside = path.strip_prefix(root()).unwrap();
        let first = inside.components().next()?.as_os_str().to_str()?;
        let module = first.trim_end_matches(".rs").to_owned();
        (module != "lib" && !path.ends_with("tests.rs")).then_some((module, source))
    })
}

fn files() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    walk(&root(), "rs", &mut files);
    files
}

/// Each file of the repository that ends so, but what builds have made.
fn repository(extension: &str) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    walk(package(), extension, &mut files);
    files
}

fn walk(folder: &Path, extension: &str, files: &mut Vec<(PathBuf, String)>) {
    const NOT_OURS: [&str; 4] = [".git", ".venv", "node_modules", "target"];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_ours = !path
            .file_name()
            .is_some_and(|name| NOT_OURS.iter().any(|folder| name == *folder));
        if path.is_dir() && is_ours {
            walk(&path, extension, files);
        } else if path.is_file() && path.extension().is_some_and(|found| found == extension) {
            let source = fs::read_to_string(&path).unwrap();
            files.push((path, source));
        }
    }
}

fn root() -> PathBuf {
    package().join("src")
}

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
