//! Small charts, for where a look beats reading: bars as SVG in the page, with the numbers in words beside.
//!
//! Colours come from classes alone: the pages allow no style in attributes.

use askama::Template;

use crate::{
    actions::HourLine,
    tasks::{AnswerTimes, Waits},
};

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

    /// Half of each day's answers were there within the time that its bar shows; nothing without answers.
    pub(super) fn of_answers(times: &AnswerTimes) -> Option<Self> {
        let of_day = |waits: &Waits| match waits.answers {
            0 => (0, 0),
            // An answer that took no time is one all the same.
            _ => (waits.median_ms.max(1), 0),
        };
        let days = times.days.iter();
        let values: Vec<_> = days.map(|day| of_day(&day.waits)).collect();
        let Waits {
            answers,
            median_ms,
            slowest_ms,
        } = times.all;
        let words = match answers {
            0 => return None,
            1 => format!(
                "The last {} days: 1 answer, within {}.",
                values.len(),
                duration(median_ms)
            ),
            _ => format!(
                "The last {} days: {answers} answers, half of them within {}, the slowest within {}.",
                values.len(),
                duration(median_ms),
                duration(slowest_ms),
            ),
        };
        Some(Self::new(&values, words))
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
            "The last {} hours: {calls} call{} (blue), {rejections} refused request{} (red).",
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

/// A time as one says it, rounded up: within it, the answer was there.
fn duration(millis: u64) -> String {
    let units = [
        (DAY, 2, "day"),
        (HOUR, 2, "hour"),
        (MINUTE, 2, "minute"),
        (SECOND, 0, "second"),
    ];
    let fits = |(unit, least, _): &(u64, u64, &str)| millis > unit * least;
    let (unit, _, name) = units
        .into_iter()
        .find(fits)
        .unwrap_or((SECOND, 0, "second"));
    let count = millis.div_ceil(unit).max(1);
    format!("{count} {name}{}", plural(count))
}

fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
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
            html.contains(
                "aria-label=\"The last 3 hours: 144 calls (blue), 1 refused request (red).\""
            ),
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
    fn says_how_long_answers_took_and_nothing_without_any() {
        let of = |waits: &[Waits], all| {
            let days = waits.iter().map(|waits| crate::tasks::AnswerDay {
                at: String::new(),
                waits: *waits,
            });
            Chart::of_answers(&AnswerTimes {
                days: days.collect(),
                all,
            })
        };
        let waits = |answers, median_ms, slowest_ms| Waits {
            answers,
            median_ms,
            slowest_ms,
        };
        assert!(of(&[Waits::default()], Waits::default()).is_none());
        let days = [
            waits(2, 0, 90_000),
            Waits::default(),
            waits(1, 150_000, 150_000),
        ];
        let html = of(&days, waits(3, 90_000, 150_000))
            .unwrap()
            .render()
            .unwrap();
        let words = "The last 3 days: 3 answers, half of them within 90 seconds, the slowest within 3 minutes.";
        assert!(html.contains(words), "{html}");
        // The day without answers has no bar; the one whose answer took no time has.
        assert_eq!(html.matches("<rect").count(), 2);
        let one = of(&days[2..], days[2]).unwrap();
        assert_eq!(one.words, "The last 1 days: 1 answer, within 3 minutes.");
    }

    #[test]
    fn durations_are_rounded_up_to_what_one_says() {
        for (millis, words) in [
            (0, "1 second"),
            (1, "1 second"),
            (1_001, "2 seconds"),
            (2 * MINUTE, "120 seconds"),
            (2 * MINUTE + 1, "3 minutes"),
            (2 * HOUR + 1, "3 hours"),
            (2 * DAY, "48 hours"),
            (9 * DAY, "9 days"),
            (u64::MAX, "213503982335 days"),
        ] {
            assert_eq!(duration(millis), words);
        }
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
