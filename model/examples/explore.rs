//! Explores as much of the protocol as one has time and memory for.
//!
//! ```sh
//! cargo run --release --manifest-path model/Cargo.toml --example explore -- nodes=3 foreign=0 reads=0
//! ```
//!
//! What is not named is as in the tests; a name of [`Limits`] each: `nodes`, `rotations`, `lease`, `beat`,
//! `reads`, `xids`, and `ask_apart`, `foreign`, `reduced`, `healing` as 0 or 1.

use std::process::ExitCode;

use lease_model::{LeaseModel, Limits, explore::explore, variant::Broken};

fn main() -> ExitCode {
    let mut limits = Limits::SMALL;
    for argument in std::env::args().skip(1) {
        if set(&mut limits, &argument).is_none() {
            eprintln!(
                "not a limit and a number: {argument}; see the head of model/examples/explore.rs"
            );
            return ExitCode::from(2);
        }
    }
    limits.patience = limits.beat + limits.lease;
    let explored = explore(LeaseModel {
        limits,
        broken: Broken::Nothing,
    });
    println!("{explored}");
    ExitCode::from(u8::from(explored.violation.is_some()))
}

fn set(limits: &mut Limits, argument: &str) -> Option<()> {
    let (name, number) = argument.split_once('=')?;
    let number: u8 = number.parse().ok()?;
    match name {
        "nodes" if number <= 3 => limits.nodes = number.into(),
        "rotations" if number <= 2 => limits.rotations = number,
        "lease" => limits.lease = number,
        "beat" => limits.beat = number,
        "reads" => limits.reads = number.into(),
        "xids" if number <= 6 => limits.xids = number,
        "ask_apart" => limits.ask_apart = number != 0,
        "foreign" => limits.foreign = number != 0,
        "reduced" => limits.reduced = number != 0,
        "healing" => limits.healing = number != 0,
        _ => return None,
    }
    Some(())
}
