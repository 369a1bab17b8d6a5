//! Prints figures: a line each, a column for each size, and how much the last is of the first.

use std::{fs, process::Command};

use serde_json::{Value, json};

/// What was measured, where, and when.
pub(crate) fn machine() -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let cpu = cpuinfo.lines().find(|line| line.starts_with("model name"));
    let cpu = cpu
        .and_then(|line| line.split_once(": "))
        .map_or("unknown", |(_, cpu)| cpu);
    json!({
        "cpu": cpu,
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "date": output("date", &["-u", "+%F %H:%M"]),
        "commit": output("git", &["-C", env!("CARGO_MANIFEST_DIR"), "rev-parse", "--short=12", "HEAD"]),
    })
}

/// The average load of the last minute.
pub(crate) fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ')
        .next()
        .and_then(|load| load.parse().ok())
        .unwrap_or(0.0)
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or(String::new(), |output| {
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    })
}

pub(crate) fn print(rows: &[Value]) {
    let Some(Value::Object(last)) = rows.last() else {
        return;
    };
    for (name, value) in last {
        let inner: Vec<Option<&str>> = match value {
            Value::Object(figure) => figure.keys().map(|key| Some(key.as_str())).collect(),
            _ => vec![None],
        };
        for key in inner {
            let cells: Vec<f64> = rows.iter().map(|row| number(&row[name], key)).collect();
            let title = key.map_or(name.clone(), |key| format!("{name} {key}"));
            let printed: String = cells.iter().map(|cell| format!("{cell:>14}")).collect();
            let factor = cells.last().unwrap_or(&0.0) / cells[0];
            println!("{title:<44}{printed}{:>10}", format!("x{factor:.2}"));
        }
    }
}

fn number(value: &Value, key: Option<&str>) -> f64 {
    let value = key.map_or(value, |key| &value[key]);
    value.as_f64().unwrap_or(0.0)
}
