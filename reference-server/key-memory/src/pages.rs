//! The pages of a vault: the best that the kernel gives.

use std::ptr::NonNull;

/// How the pages of the vault are protected, the best first. Complete: a new kind would be a breaking change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// `memfd_secret(2)`: in no swap and no core dump, and the kernel itself has no way to them: no other
    /// process reads them through `/proc`, root's included.
    Secret,
    /// Locked against swap, and in no core dump.
    Locked,
    /// In no core dump. The kernel locked nothing, since the process may not have as much locked.
    Unlocked,
    /// There are none: keys lie where everything else does.
    Nowhere,
}

/// Maps `length` bytes of zeros that stay mapped as long as the process runs.
pub(crate) fn map(length: usize) -> Option<(NonNull<u8>, Protection)> {
    imp::secret(length)
        .map(|pages| (pages, Protection::Secret))
        .or_else(|| imp::anonymous(length))
}

#[cfg(not(miri))]
mod imp {
    use std::{
        os::fd::{FromRawFd as _, OwnedFd},
        ptr::{NonNull, null_mut},
    };

    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mlock, mmap, mmap_anonymous};

    use super::Protection;

    pub(super) fn secret(length: usize) -> Option<NonNull<u8>> {
        // SAFETY: The call takes one integer and touches no memory of ours; where the kernel does not know
        // it, it fails.
        let made = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
        let number = i32::try_from(made).ok().filter(|number| *number >= 0)?;
        // SAFETY: The kernel has just opened it for us, and nobody else knows its number.
        let file = unsafe { OwnedFd::from_raw_fd(number) };
        rustix::fs::ftruncate(&file, u64::try_from(length).ok()?).ok()?;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: The kernel chooses an address where nothing is mapped. The file was made above, has
        // `length` bytes, and is closed when this returns, so that nothing else can map or cut it.
        let pages = unsafe { mmap(null_mut(), length, access, MapFlags::SHARED, &file, 0) };
        NonNull::new(pages.ok()?.cast())
    }

    pub(super) fn anonymous(length: usize) -> Option<(NonNull<u8>, Protection)> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: The kernel chooses an address where nothing is mapped.
        let pages = unsafe { mmap_anonymous(null_mut(), length, access, MapFlags::PRIVATE) };
        let pages = pages.ok()?;
        // SAFETY: Advice about pages that were mapped above, all of them; this one changes nothing that a
        // program can see of its memory.
        let kept_out = unsafe { madvise(pages, length, Advice::LinuxDontDump) };
        // SAFETY: As above.
        let locked = unsafe { mlock(pages, length) };
        let protection = match (kept_out, locked) {
            (Ok(()), Ok(())) => Protection::Locked,
            _ => Protection::Unlocked,
        };
        Some((NonNull::new(pages.cast())?, protection))
    }
}

/// Miri knows neither the one nor the other.
#[cfg(miri)]
mod imp {
    use std::{
        alloc::{GlobalAlloc as _, Layout, System},
        ptr::NonNull,
    };

    use super::Protection;
    use crate::blocks::PAGE;

    pub(super) fn secret(_length: usize) -> Option<NonNull<u8>> {
        None
    }

    pub(super) fn anonymous(length: usize) -> Option<(NonNull<u8>, Protection)> {
        let layout = Layout::from_size_align(length, PAGE).ok()?;
        // SAFETY: The layout has a size, since a vault has.
        let pages = unsafe { System.alloc_zeroed(layout) };
        Some((NonNull::new(pages)?, Protection::Unlocked))
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use std::fs;

    use super::*;

    /// What the kernel says of the mapping that `address` is in.
    fn flags(address: usize) -> String {
        let maps = fs::read_to_string("/proc/self/smaps").unwrap();
        let is_it = |line: &str| {
            let range = line
                .split(' ')
                .next()
                .and_then(|range| range.split_once('-'));
            let bounds = range.and_then(|(from, to)| {
                let number = |text| usize::from_str_radix(text, 16).ok();
                Some(number(from)?..number(to)?)
            });
            bounds.is_some_and(|bounds| bounds.contains(&address))
        };
        let flags = maps.lines().skip_while(|line| !is_it(line));
        let flags = flags.skip_while(|line| !line.starts_with("VmFlags:"));
        flags.take(1).collect()
    }

    fn is_flagged(address: usize, flag: &str) -> bool {
        flags(address).split(' ').any(|word| word == flag)
    }

    #[test]
    fn pages_are_zero_locked_and_in_no_dump() {
        let (secret, locked) = (imp::secret(8192), imp::anonymous(8192));
        if secret.is_none() {
            eprintln!("skipped: the kernel gives no secret pages");
        }
        let locked = locked.unwrap();
        if locked.1 != Protection::Locked {
            eprintln!("skipped: this process may lock no pages");
        }
        let is_right = |(pages, protection): (NonNull<u8>, Protection)| {
            // SAFETY: As many bytes are mapped, and nobody writes to them.
            let bytes = unsafe { NonNull::slice_from_raw_parts(pages, 8192).as_ref() };
            assert!(bytes.iter().all(|byte| *byte == 0));
            let address = pages.as_ptr().addr();
            assert!(is_flagged(address, "dd"), "in no dump: {}", flags(address));
            if protection != Protection::Unlocked {
                assert!(is_flagged(address, "lo"), "locked: {}", flags(address));
            }
        };
        is_right(locked);
        if let Some(pages) = secret {
            is_right((pages, Protection::Secret));
        }
        let ordinary = Box::new(0_u8);
        let address = std::ptr::from_ref(&*ordinary).addr();
        assert!(
            !is_flagged(address, "dd"),
            "the control: {}",
            flags(address)
        );
    }
}
