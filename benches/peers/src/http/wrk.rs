//! wrk as the load of the closed loop, where it is installed: known to everybody, and fast enough to keep a
//! server busy from one core.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};

use crate::request::{JSON, PATH, common_headers};

/// wrk and the requests that it sends.
#[derive(Debug)]
pub struct Wrk {
    version: String,
    folder: PathBuf,
}

impl Wrk {
    /// Finds wrk; `None` where it is not installed.
    pub fn find() -> Option<Self> {
        let output = Command::new("wrk").arg("--version").output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let version = text.lines().next()?.split_whitespace().take(2);
        let folder = std::env::temp_dir().join(format!("peers-http-{}", std::process::id()));
        fs::create_dir_all(&folder).ok()?;
        Some(Self {
            version: version.collect::<Vec<_>>().join(" "),
            folder,
        })
    }

    /// Returns its name and version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Keeps `connections` busy for `time` and returns how many answers there were in how long.
    ///
    /// # Errors
    /// wrk fails, or reports an answer that is no success.
    pub fn closed_loop(
        &self,
        address: SocketAddr,
        token: &str,
        connections: usize,
        time: Duration,
    ) -> anyhow::Result<(u64, Duration)> {
        let script = self.folder.join("request.lua");
        fs::write(&script, request(token))?;
        let output = Command::new("wrk")
            .args(["--threads", "1", "--connections", &connections.to_string()])
            // It takes whole seconds.
            .args(["--duration", &format!("{}s", time.as_secs().max(1))])
            .arg("--script")
            .arg(&script)
            .arg(format!("http://{address}{PATH}"))
            .stdin(Stdio::null())
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "wrk: {text}");
        result(&text)
    }
}

impl Drop for Wrk {
    fn drop(&mut self) {
        // A small script in the folder for temporary files may stay.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Writes the request as wrk's script; nothing of it runs for each request.
fn request(token: &str) -> String {
    let mut script = format!("wrk.method = \"POST\"\nwrk.body = [[{JSON}]]\n");
    script += &format!("wrk.headers[\"authorization\"] = \"Bearer {token}\"\n");
    for (name, value) in &common_headers() {
        if name != http::header::CONTENT_LENGTH {
            let value = value.to_str().unwrap_or_default();
            script += &format!("wrk.headers[\"{name}\"] = \"{value}\"\n");
        }
    }
    script
}

/// Reads `N requests in T` and refuses what wrk counts as an error.
fn result(text: &str) -> anyhow::Result<(u64, Duration)> {
    ensure!(
        !text.contains("Non-2xx"),
        "there were other answers: {text}"
    );
    ensure!(!text.contains("Socket errors"), "there were errors: {text}");
    let line = text.lines().find(|line| line.contains(" requests in "));
    let (requests, rest) = line
        .and_then(|line| line.trim().split_once(" requests in "))
        .with_context(|| format!("wrk says no count: {text}"))?;
    let time = rest.split(',').next().unwrap_or_default();
    let seconds = match (time.strip_suffix("ms"), time.strip_suffix('s')) {
        (Some(number), _) => number.parse::<f64>()? / 1e3,
        (None, Some(number)) => number.parse()?,
        _ => anyhow::bail!("wrk says no time: {text}"),
    };
    Ok((requests.parse()?, Duration::from_secs_f64(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_wrk_prints() {
        let text = "  4 threads\n  73244 requests in 1.10s, 9.01MB read\nRequests/sec:  66585.44\n";
        assert_eq!(result(text).unwrap(), (73_244, Duration::from_millis(1100)));
        let text = text.to_owned() + "  Non-2xx or 3xx responses: 3\n";
        assert!(result(&text).is_err());
        assert!(result("nothing").is_err());
    }
}
