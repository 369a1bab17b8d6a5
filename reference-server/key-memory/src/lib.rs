//! A vault of memory for keys, and the allocator that puts into it what is made [within](hold) it.
//!
//! Keys and what is derived from them (states of a MAC) lie in boxes of crates that know nothing of locked
//! pages. But every box comes from the process's allocator: so that is what tells keys from the rest. What
//! is allocated inside of [`hold`] lies in the vault until it is freed, wherever it is handed on to.
//!
//! The vault is of the best pages that the kernel gives ([`Protection`]), 256 KiB of them. It is for what is
//! made seldom and kept long; what no longer fits goes where everything else is, and is [counted](spilled).
//!
//! It is for Linux, as the server is: elsewhere it does not compile.
//!
//! All `unsafe` of this repository is in this crate, each with its argument. Its tests pass under Miri:
//! `cargo +nightly miri test -p workspace-token-key-memory`.

#[cfg(not(target_os = "linux"))]
compile_error!("the memory for keys is locked and kept out of core dumps by means of Linux alone");

mod allocator;
mod blocks;
mod pages;
mod vault;

use std::cell::Cell;

pub use allocator::KeyMemory;
pub use pages::Protection;
use vault::Vault;

/// The one vault of the process.
static VAULT: Vault = Vault::new();

thread_local! {
    /// Constant and without a destructor, so that the allocator may look at it at any time.
    static IS_WANTED: Cell<bool> = const { Cell::new(false) };
}

/// Furnishes the vault, once; says how it is protected.
///
/// Until then, what is made within [`hold`] lies where everything else does.
pub fn open() -> Protection {
    VAULT.open()
}

/// Runs `make`, whose allocations all lie in the vault if [`KeyMemory`] is the process's allocator.
///
/// Of this thread, and while `make` runs: a future that it returns allocates where it is polled.
pub fn hold<T>(make: impl FnOnce() -> T) -> T {
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            IS_WANTED.set(self.0);
        }
    }
    let _before = Before(IS_WANTED.replace(true));
    make()
}

/// How many allocations did not fit into the vault so far.
pub fn spilled() -> usize {
    VAULT.spilled()
}

fn is_wanted() -> bool {
    IS_WANTED.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vault_is_wanted_inside_alone_also_when_it_ends_in_a_panic() {
        assert!(!is_wanted());
        hold(|| {
            assert!(is_wanted());
            hold(|| assert!(is_wanted()));
            assert!(is_wanted());
            let elsewhere = std::thread::spawn(is_wanted);
            assert!(!elsewhere.join().unwrap());
        });
        let panicked = std::panic::catch_unwind(|| hold(|| panic!("on purpose")));
        assert!(panicked.is_err() && !is_wanted());
    }
}
