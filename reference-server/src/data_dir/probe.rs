//! Finds out whether the data directory takes writes, before anybody relies on it.

use std::{fs, io::Write as _};

use anyhow::Context as _;

use super::{DataDir, create_private};

/// Enough for a full disk to show, little enough not to fill one.
const PROBE: usize = 64 * 1024;

/// Writes a file and takes it away again.
pub(crate) fn probe_writes(data_dir: &DataDir) -> anyhow::Result<()> {
    let path = data_dir.path().join(".write-probe");
    // One that a crash left behind is in the way.
    let _ = fs::remove_file(&path);
    let probe = || -> std::io::Result<()> {
        let mut file = create_private(&path)?;
        file.write_all(&[0; PROBE])?;
        file.sync_all()
    };
    let outcome = probe();
    let _ = fs::remove_file(&path);
    outcome.with_context(|| {
        format!(
            "cannot write to the data directory {}: make room on the disk or mend its permissions; nothing was changed",
            data_dir.path().display()
        )
    })
}
