//! The checks of the fuzz targets, where there is no libFuzzer: the kept cases, and a million changed ones.
//!
//! ```sh
//! CASES=10000000 cargo test --release --manifest-path fuzz/Cargo.toml
//! ```

mod kept;

use kept::Kept;
use workspace_token_fuzz::CHECKS;

#[test]
fn every_kept_case_holds() {
    for (target, check) in CHECKS {
        let kept = Kept::of(target);
        assert!(kept.cases.len() >= 10, "{target}: {}", kept.cases.len());
        for case in &kept.cases {
            check(case);
        }
    }
}

/// As many cases as `CASES` says, over all targets; a million otherwise.
#[test]
fn a_million_changed_cases_hold() {
    let cases = std::env::var("CASES").map(|cases| cases.parse().expect("a number"));
    let each = cases.unwrap_or(1_000_000_u32).div_ceil(CHECKS.len() as u32);
    std::thread::scope(|scope| {
        for (target, check) in CHECKS {
            scope.spawn(move || Kept::of(target).try_changed(each, check));
        }
    });
    eprintln!(
        "{each} changed cases of each of {} targets held",
        CHECKS.len()
    );
}
