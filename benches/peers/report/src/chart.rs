//! Bar charts as SVG, for light and dark pages, and for eyes that don't tell colours apart: this
//! library's bars are solid and all others hatched, and every value is written out.

use std::fmt::Write as _;

use crate::{
    results::{Estimate, Group, HttpResults, LayerResults},
    tables::{rows_of, thousands},
};

/// A chart and the name of its file.
pub type Named = (&'static str, String);

/// Draws the charts of the race in one process.
pub fn of_layers(results: &LayerResults) -> Vec<Named> {
    let chart = |group, title| {
        let rows = rows_of(results, group);
        let bars = rows.into_iter().map(|row| Bar {
            label: plain(&row.label),
            ours: row.ours,
            value: row.added_ns,
            text: format!("{} ns", thousands(row.added_ns.median)),
        });
        Chart {
            title,
            subtitle: "nanoseconds added to a request; less is better",
            end: None,
            bars: bars.collect(),
        }
        .draw()
    };
    vec![
        (
            "full-verification.svg",
            chart(
                Group::FullVerification,
                "A token is verified as if never seen",
            ),
        ),
        (
            "remembered.svg",
            chart(Group::Remembered, "A token was seen before"),
        ),
    ]
}

/// Draws the chart of the comparison over HTTP.
pub fn of_http(results: &HttpResults) -> Vec<Named> {
    let bars = results
        .rows
        .iter()
        .filter(|row| row.id != row.base)
        .map(|row| Bar {
            label: plain(&row.label),
            ours: row.ours,
            value: row.throughput,
            text: format!("{:.3}", row.throughput.median),
        });
    let chart = Chart {
        title: "Requests per second over HTTP",
        subtitle: "as a fraction of axum without a layer; more is better",
        end: Some(1.0),
        bars: bars.collect(),
    };
    vec![("http.svg", chart.draw())]
}

struct Chart {
    title: &'static str,
    subtitle: &'static str,
    /// What the right edge stands for, with a line there; the largest value if there is none.
    end: Option<f64>,
    bars: Vec<Bar>,
}

struct Bar {
    label: String,
    ours: bool,
    value: Estimate,
    text: String,
}

const WIDTH: f64 = 720.0;
const MARGIN: f64 = 16.0;
/// Right of the longest bar, for its value.
const VALUE_WIDTH: f64 = 90.0;
const HEAD: f64 = 96.0;
const ROW: f64 = 42.0;
const BAR: f64 = 14.0;

/// Light first; a page that prefers dark gets the second set.
const STYLE: &str = "\
text{font:14px system-ui,sans-serif;fill:#1f2328}\
.title{font-size:17px;font-weight:600}\
.bold{font-weight:600}\
.ground{fill:#fff}\
.ours{fill:#0b57a4;stroke:#0b57a4}\
.other{fill:url(#hatch);stroke:#57606a}\
.hatch{stroke:#57606a}\
.line{stroke:#1f2328}\
@media (prefers-color-scheme:dark){\
text{fill:#e6edf3}\
.ground{fill:#0d1117}\
.ours{fill:#79c0ff;stroke:#79c0ff}\
.other{stroke:#9198a1}\
.hatch{stroke:#9198a1}\
.line{stroke:#e6edf3}\
}";

impl Chart {
    fn draw(&self) -> String {
        let height = HEAD + ROW * self.bars.len() as f64 + MARGIN;
        let largest = self
            .bars
            .iter()
            .map(|bar| bar.value.high)
            .fold(0.0, f64::max);
        let end = self.end.unwrap_or(largest).max(largest);
        let scale = (WIDTH - 2.0 * MARGIN - VALUE_WIDTH) / end;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
             width=\"{WIDTH}\" height=\"{height}\" role=\"img\" aria-labelledby=\"title desc\">\n\
             <title id=\"title\">{}</title>\n<desc id=\"desc\">{}</desc>\n\
             <style>{STYLE}</style>\n\
             <defs><pattern id=\"hatch\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" \
             patternTransform=\"rotate(45)\"><line class=\"hatch\" x1=\"0\" y1=\"0\" x2=\"0\" y2=\"6\" \
             stroke-width=\"2\"/></pattern></defs>\n\
             <rect class=\"ground\" width=\"{WIDTH}\" height=\"{height}\"/>\n",
            escape(self.title),
            escape(&self.description()),
        );
        svg += &text(MARGIN, 30.0, "title", self.title);
        svg += &text(MARGIN, 52.0, "", self.subtitle);
        svg += &legend(70.0);
        for (place, bar) in self.bars.iter().enumerate() {
            svg += &bar.draw(HEAD + ROW * place as f64, scale);
        }
        if let Some(end) = self.end {
            let x = MARGIN + end * scale;
            let bottom = height - MARGIN;
            let _ = writeln!(
                svg,
                "<path class=\"line\" d=\"M{x:.1} {HEAD}V{bottom}\" stroke-dasharray=\"4 4\"/>"
            );
        }
        svg + "</svg>\n"
    }

    /// Says in words what the bars show.
    fn description(&self) -> String {
        let values = self.bars.iter().map(|bar| {
            let owner = if bar.ours { "ours: " } else { "" };
            format!("{owner}{}: {}", bar.label, bar.text)
        });
        let values: Vec<String> = values.collect();
        format!("{}. {}.", self.subtitle, values.join("; "))
    }
}

impl Bar {
    fn draw(&self, top: f64, scale: f64) -> String {
        let (class, weight) = if self.ours {
            ("ours", "bold")
        } else {
            ("other", "")
        };
        let label = if self.ours {
            format!("ours: {}", self.label)
        } else {
            self.label.clone()
        };
        let y = top + 18.0;
        let [length, low, high] = [self.value.median, self.value.low, self.value.high]
            .map(|value| value.max(0.0) * scale);
        let (from, to, middle) = (MARGIN + low, MARGIN + high, y + BAR / 2.0);
        let mut svg = text(MARGIN, top + 12.0, weight, &label);
        let _ = writeln!(
            svg,
            "<rect class=\"{class}\" x=\"{MARGIN}\" y=\"{y}\" width=\"{length:.1}\" height=\"{BAR}\"/>"
        );
        // Narrower than its own line, an interval is no information.
        if high - low > 3.0 {
            let _ = writeln!(
                svg,
                "<path class=\"line\" d=\"M{from:.1} {middle}H{to:.1}M{from:.1} {y}v{BAR}M{to:.1} {y}v{BAR}\"/>"
            );
        }
        let behind = MARGIN + length.max(high) + 6.0;
        svg + &text(behind, y + 12.0, weight, &self.text)
    }
}

fn legend(y: f64) -> String {
    let base = y + 11.0;
    let mut svg =
        format!("<rect class=\"ours\" x=\"{MARGIN}\" y=\"{y}\" width=\"24\" height=\"12\"/>\n");
    svg += &text(MARGIN + 30.0, base, "", "this library");
    let x = MARGIN + 130.0;
    let _ = writeln!(
        svg,
        "<rect class=\"other\" x=\"{x}\" y=\"{y}\" width=\"24\" height=\"12\"/>"
    );
    svg + &text(x + 30.0, base, "", "others")
}

fn text(x: f64, y: f64, class: &str, words: &str) -> String {
    let class = match class {
        "" => String::new(),
        class => format!(" class=\"{class}\""),
    };
    format!(
        "<text{class} x=\"{x:.1}\" y=\"{y:.1}\">{}</text>\n",
        escape(words)
    )
}

/// Takes the marks of Markdown out.
fn plain(label: &str) -> String {
    label.replace('`', "")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
