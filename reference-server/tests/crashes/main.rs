//! What is left after a crash: of the process, of the power, of a disk, and when the clock is wrong.
//!
//! All of it is done to the real `wst`, as a server and as a command. [`kills`] kills it; [`power`] writes down
//! what it does to its files and puts together what a power cut may leave of that; [`faults`] lets one operation
//! on a file fail after the other; [`damage`] spoils pages of the database; [`clock`] moves the wall clock. What
//! has to hold afterwards is in [`ledger`], and `run` in this folder repeats it as often as one likes.

mod client;
mod clock;
mod damage;
mod disk;
mod faults;
mod kills;
mod ledger;
mod place;
mod power;
mod shim;

/// Returns how often a test does what it does: as often as the variable `name` says, or else `default`.
fn rounds(name: &str, default: u64) -> u64 {
    let said = std::env::var(name).ok();
    said.map_or(default, |said| said.parse().unwrap())
}

/// Returns the seed of all chance: another one with each run, unless `SEED` repeats one.
fn seed() -> u64 {
    let seed = rounds("SEED", fastrand::u64(..));
    // Shown if the test fails.
    println!("seed {seed}");
    seed
}
