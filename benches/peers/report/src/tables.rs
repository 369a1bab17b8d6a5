//! Markdown tables of the results, each with the name under which the document asks for it.

use std::iter;

use crate::results::{Estimate, Group, HttpResults, LayerResults, NotRaced, Provenance, Row};

/// The row that others of its group are measured by.
const COLD: &str = "ours-cold";
const WARM: &str = "ours-warm";
const FORGED: &str = "ours-forged";

/// The layer that does nothing.
const GAUGE: &str = "pass-through";

/// The rows of the race that are compared across machines.
const ACROSS: &[&str] = &[
    COLD,
    "oxitoken",
    "jsonwebtoken",
    WARM,
    "static-framed",
    "dashmap-foldhash",
    "ours-everything",
    "ours-query",
    "ours-session",
];

/// A table and its name.
pub type Named = (&'static str, String);

/// Makes the tables of the race in one process.
pub fn of_layers(results: &LayerResults) -> Vec<Named> {
    let rows = |group| rows_of(results, group);
    let rejections = rows(Group::Rejection);
    let (checks, answers): (Vec<&Row>, Vec<&Row>) =
        rejections.into_iter().partition(|row| row.base.is_none());
    vec![
        ("layers-provenance", layers_provenance(results)),
        (
            "full-verification",
            lanes("full verification", &rows(Group::FullVerification), COLD),
        ),
        (
            "remembered",
            lanes("remembered", &rows(Group::Remembered), WARM),
        ),
        ("warm-against-uncached", warm_against_uncached(results)),
        ("session", lanes("session", &rows(Group::Session), "")),
        (
            "rejections",
            lanes("turned away, with the answer", &answers, FORGED),
        ),
        (
            "rejection-checks",
            lanes("turned away, the check alone", &checks, ""),
        ),
        ("hostile", lanes("far too large", &rows(Group::Hostile), "")),
        ("threads", threads(results)),
        ("many", many(results)),
        ("memory", memory(results)),
        ("layers-not-raced", not_raced(&results.not_raced)),
    ]
}

/// Makes the table that sets the race beside those of other machines and commits.
pub fn of_machines(runs: &[LayerResults]) -> Named {
    let heads = runs.iter().map(|run| {
        let Provenance { cpu, commit, .. } = &run.provenance;
        format!("{cpu}, {}", &commit[..commit.len().min(7)])
    });
    let heads: Vec<String> = iter::once("added, ns".to_owned()).chain(heads).collect();
    let mut table = Table::new(&heads.iter().map(String::as_str).collect::<Vec<_>>());
    for id in ACROSS {
        let found = runs
            .iter()
            .map(|run| run.rows.iter().find(|row| row.id == *id));
        let found: Vec<Option<&Row>> = found.collect();
        let Some(name) = found.iter().flatten().next() else {
            continue;
        };
        let times = found.iter().map(|row| match row {
            Some(row) => nanoseconds(row.added_ns.median),
            None => "–".to_owned(),
        });
        let cells = iter::once(label(&name.label, name.ours)).chain(times);
        table.push(cells.collect::<Vec<_>>());
    }
    let many = runs.iter().map(|run| match &run.many[..] {
        [one, .., most] => format!("{:.2}", most.added_ns.median / one.added_ns.median),
        _ => "–".to_owned(),
    });
    let name = "**ours:** a million live tokens, × one".to_owned();
    table.push(iter::once(name).chain(many).collect::<Vec<_>>());
    ("machines", table.render())
}

/// Makes the tables of the comparison over HTTP.
pub fn of_http(results: &HttpResults) -> Vec<Named> {
    vec![
        ("http-provenance", http_provenance(results)),
        ("http", http(results)),
        ("http-not-raced", not_raced(&results.not_raced)),
    ]
}

/// Returns the rows of a group, the fastest of ours first and then the others by their time.
pub(crate) fn rows_of(results: &LayerResults, group: Group) -> Vec<&Row> {
    let mut rows: Vec<&Row> = results
        .rows
        .iter()
        .filter(|row| row.group == group)
        .collect();
    if group != Group::Session {
        rows.sort_by(|a, b| {
            let key = |row: &Row| (!row.ours, row.added_ns.median);
            key(a)
                .partial_cmp(&key(b))
                .unwrap_or(std::cmp::Ordering::Equal)
        });
    }
    rows
}

fn lanes(title: &str, rows: &[&Row], reference: &str) -> String {
    let reference = rows.iter().find(|row| row.id == reference);
    let mut table = Table::new(&[title, "ns", "95 %", "× ours", "allocations", ""]);
    for row in rows {
        let ratio = reference.map(|ours| row.added_ns.median / ours.added_ns.median);
        table.push([
            label(&row.label, row.ours),
            nanoseconds(row.added_ns.median),
            interval(&row.added_ns),
            ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
            row.allocations.map_or_else(String::new, count),
            row.note.clone(),
        ]);
    }
    table.render()
}

/// What a token that was seen costs here, beside what every request costs there.
fn warm_against_uncached(results: &LayerResults) -> String {
    let full = rows_of(results, Group::FullVerification);
    let warm = results.rows.iter().find(|row| row.id == WARM);
    let rows: Vec<&Row> = warm
        .into_iter()
        .chain(full.into_iter().filter(|row| !row.ours))
        .collect();
    lanes("ours warm, the others verify each time", &rows, WARM)
}

fn threads(results: &LayerResults) -> String {
    let mut table = Table::new(&["two threads", "tokens", "× one thread", "95 %"]);
    for row in &results.threads {
        table.push([
            label(&row.label, row.ours),
            thousands(row.tokens as f64),
            format!("{:.2}", row.ratio.median),
            format!("{:.2} to {:.2}", row.ratio.low, row.ratio.high),
        ]);
    }
    table.render()
}

fn many(results: &LayerResults) -> String {
    let one = results
        .many
        .first()
        .map_or(f64::NAN, |row| row.added_ns.median);
    let mut table = Table::new(&["live tokens", "ns", "95 %", "× one"]);
    for row in &results.many {
        table.push([
            thousands(row.tokens as f64),
            nanoseconds(row.added_ns.median),
            interval(&row.added_ns),
            format!("{:.2}", row.added_ns.median / one),
        ]);
    }
    table.render()
}

fn memory(results: &LayerResults) -> String {
    let mut table = Table::new(&["remembered in", "tokens", "bytes for each"]);
    for row in &results.memory {
        table.push([
            label(&row.label, row.ours),
            thousands(row.tokens as f64),
            thousands(row.bytes_per_token),
        ]);
    }
    table.render()
}

fn http(results: &HttpResults) -> String {
    let mut table = Table::new(&[
        "over HTTP",
        "requests/s",
        "× its bare axum",
        "95 %",
        "CPU for a request, ×",
        "p99 at half load, ×",
        "95 %",
    ]);
    for row in &results.rows {
        let of_base = |estimate: &Estimate| {
            if row.base == row.id {
                "1".to_owned()
            } else {
                format!("{:.3}", estimate.median)
            }
        };
        let range = |estimate: &Estimate| {
            if row.base == row.id {
                String::new()
            } else {
                format!("{:.3} to {:.3}", estimate.low, estimate.high)
            }
        };
        table.push([
            label(&row.label, row.ours),
            thousands(row.requests_per_second.median),
            of_base(&row.throughput),
            range(&row.throughput),
            of_base(&row.cpu),
            of_base(&row.p99),
            range(&row.p99),
        ]);
    }
    table.render()
}

fn not_raced(candidates: &[NotRaced]) -> String {
    let line =
        |NotRaced { label, reason }: &NotRaced| format!("- {label} was not raced: {reason}\n");
    match candidates {
        [] => "Every candidate passed its check.\n".to_owned(),
        candidates => candidates.iter().map(line).collect(),
    }
}

fn layers_provenance(results: &LayerResults) -> String {
    let mut text = provenance(&results.provenance);
    text += &format!(
        "{} rounds.\nA request without a layer took {} ns.\n",
        thousands(results.rounds as f64),
        nanoseconds(results.bare_ns.median)
    );
    if let Some(gauge) = results.rows.iter().find(|row| row.id == GAUGE) {
        text += &format!(
            "A layer that does nothing added {} ns, with an interval of {}.\n",
            nanoseconds(gauge.added_ns.median),
            interval(&gauge.added_ns)
        );
    }
    text
}

fn http_provenance(results: &HttpResults) -> String {
    provenance(&results.provenance)
        + &format!(
            "{} rounds over {} connections.\nThe closed loop was {}; the open loop sent {} requests/s.\n",
            results.rounds,
            results.connections,
            results.load,
            thousands(results.open_loop_rate)
        )
}

fn provenance(of: &Provenance) -> String {
    format!(
        "{} with {} cores, Linux {}, {}, {} allocator; commit {}, {}.\n",
        of.cpu, of.cores, of.kernel, of.rustc, of.allocator, of.commit, of.date
    )
}

fn label(label: &str, ours: bool) -> String {
    if ours {
        format!("**ours:** {label}")
    } else {
        label.to_owned()
    }
}

fn interval(estimate: &Estimate) -> String {
    format!(
        "{} to {}",
        nanoseconds(estimate.low),
        nanoseconds(estimate.high)
    )
}

/// Writes a time with as many digits as mean something.
fn nanoseconds(value: f64) -> String {
    if value.abs() < 9.95 {
        format!("{value:.1}")
    } else {
        thousands(value)
    }
}

fn count(value: f64) -> String {
    let whole = format!("{value:.0}");
    if (value - value.round()).abs() < 0.05 {
        whole
    } else {
        format!("{value:.1}")
    }
}

/// Writes a whole number with a comma before every third digit from the right.
pub(crate) fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value.round() < 0.0 {
        text.insert(0, '-');
    }
    text
}

struct Table {
    lines: Vec<Vec<String>>,
}

impl Table {
    fn new(heads: &[&str]) -> Self {
        let heads = heads.iter().map(|head| (*head).to_owned()).collect();
        Self { lines: vec![heads] }
    }

    fn push(&mut self, cells: impl Into<Vec<String>>) {
        self.lines.push(cells.into());
    }

    /// Writes the table; columns that are empty in every line are left out.
    fn render(mut self) -> String {
        let columns = self.lines[0].len();
        let is_empty = |column: usize| self.lines[1..].iter().all(|line| line[column].is_empty());
        let kept: Vec<usize> = (0..columns).filter(|&column| !is_empty(column)).collect();
        let is_number = |column: usize| column > 0 && !self.lines[0][column].is_empty();
        let rule = kept
            .iter()
            .map(|&column| if is_number(column) { "--:" } else { "---" });
        let rule = rule.map(str::to_owned).collect();
        let mut text = String::new();
        for line in &mut self.lines {
            *line = kept
                .iter()
                .map(|&column| std::mem::take(&mut line[column]))
                .collect();
        }
        self.lines.insert(1, rule);
        for line in &self.lines {
            text += &format!("| {} |\n", line.join(" | "));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_digits_by_three() {
        for (value, text) in [
            (0.0, "0"),
            (999.4, "999"),
            (1000.0, "1,000"),
            (-1234.0, "-1,234"),
            (-0.2, "0"),
            (1_234_567.0, "1,234,567"),
        ] {
            assert_eq!(thousands(value), text);
        }
    }

    #[test]
    fn leaves_out_columns_without_a_value() {
        let mut table = Table::new(&["who", "ns", "note"]);
        table.push(["a".to_owned(), "1".to_owned(), String::new()]);
        assert_eq!(table.render(), "| who | ns |\n| --- | --: |\n| a | 1 |\n");
    }
}
