//! Small charts, for where a look beats reading: bars as SVG in the page, with the numbers in words beside.
//!
//! Colours come from classes alone: the pages allow no style in attributes.

use askama::Template;

use crate::actions::HourLine;

/// Bars over time, the oldest first. In a page: `{{ chart|safe }}`.
#[derive(Clone, Debug, Template)]
#[template(
    source = r#"<figure class="figure"><svg class="chart" viewBox="0 0 {{ width }} {{ HEIGHT }}" preserveAspectRatio="none" role="img" aria-label="{{ words }}">{% for bar in bars %}<rect{% if bar.is_bad %} class="bad"{% endif %} x="{{ bar.x }}" y="{{ bar.y }}" width="{{ BAR }}" height="{{ bar.height }}"/>{% endfor %}</svg><figcaption class="hint">{{ words }}</figcaption></figure>"#,
    ext = "html"
)]
pub(super) struct Chart {
    bars: Vec<Bar>,
    width: usize,
    words: String,
}

#[derive(Clone, Debug)]
struct Bar {
    x: usize,
    y: u64,
    height: u64,
    is_bad: bool,
}

impl Chart {
    /// Draws a bar for each pair: how much went well, and on top of it how much did not. `words` say what the
    /// bars say.
    pub(super) fn new(values: &[(u64, u64)], words: String) -> Self {
        let sums = values.iter().map(|(good, bad)| good.saturating_add(*bad));
        let most = sums.max().unwrap_or(0).max(1);
        let mut bars = Vec::new();
        for (index, (good, bad)) in values.iter().enumerate() {
            let (good_height, bad_height) = (height(*good, most), height(*bad, most));
            let x = index * STEP;
            let stacked = [
                (good_height, good_height, false),
                (bad_height, good_height + bad_height, true),
            ];
            for (height, top, is_bad) in stacked {
                if height > 0 {
                    bars.push(Bar {
                        x,
                        y: HEIGHT.saturating_sub(top),
                        height,
                        is_bad,
                    });
                }
            }
        }
        Self {
            bars,
            width: values.len() * STEP,
            words,
        }
    }

    /// Calls and rejections per hour.
    pub(super) fn of_hours(hours: &[HourLine]) -> Self {
        let values: Vec<_> = hours
            .iter()
            .map(|hour| (hour.calls, hour.rejections))
            .collect();
        let (calls, rejections) =
            values
                .iter()
                .fold((0_u64, 0_u64), |(calls, rejections), hour| {
                    (
                        calls.saturating_add(hour.0),
                        rejections.saturating_add(hour.1),
                    )
                });
        let words = format!(
            "The last {} hours: {calls} call{}, {rejections} refused request{}.",
            hours.len(),
            plural(calls),
            plural(rejections),
        );
        Self::new(&values, words)
    }
}

/// What is there at all is seen.
fn height(value: u64, most: u64) -> u64 {
    match value {
        0 => 0,
        value => (u128::from(value) * u128::from(HEIGHT - 4) / u128::from(most)).max(3) as u64,
    }
}

fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

const HEIGHT: u64 = 100;
const BAR: usize = 8;
const STEP: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_bars_that_stand_on_each_other_and_says_what_they_say() {
        let hour = |calls, rejections| HourLine {
            at: String::new(),
            calls,
            rejections,
        };
        let chart = Chart::of_hours(&[hour(0, 0), hour(96, 0), hour(48, 1)]);
        let html = chart.render().unwrap();
        assert!(
            html.contains("aria-label=\"The last 3 hours: 144 calls, 1 refused request.\""),
            "{html}"
        );
        assert!(
            html.contains("<rect x=\"10\" y=\"4\" width=\"8\" height=\"96\"/>"),
            "{html}"
        );
        assert!(
            html.contains("<rect class=\"bad\" x=\"20\" y=\"49\" width=\"8\" height=\"3\"/>"),
            "{html}"
        );
        assert_eq!(html.matches("<rect").count(), 3);
        assert!(!html.contains("style"));
    }

    #[test]
    fn draws_nothing_of_nothing_and_all_of_much() {
        assert!(!Chart::of_hours(&[]).render().unwrap().contains("<rect"));
        let most = Chart::new(&[(u64::MAX, u64::MAX)], String::new())
            .render()
            .unwrap();
        assert_eq!(most.matches("<rect").count(), 2);
    }
}
