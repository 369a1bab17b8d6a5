//! Medians with confidence intervals that suppose nothing about how times are distributed.

use peers_report::results::Estimate;

/// 97.5 % of a normal distribution lie below this many standard deviations.
const Z: f64 = 1.96;

/// Returns the median of `samples` and the order statistics that enclose it with 95 % confidence.
///
/// # Panics
/// There is no sample.
pub fn median(mut samples: Vec<f64>) -> Estimate {
    assert!(!samples.is_empty(), "there is no sample");
    samples.sort_by(f64::total_cmp);
    let count = samples.len();
    // How many samples lie below the median is binomial, with p = 1/2.
    let reach = Z * (count as f64).sqrt() / 2.0;
    let middle = count as f64 / 2.0;
    let low = (middle - reach).floor().max(0.0) as usize;
    let high = ((middle + reach).ceil() as usize).min(count - 1);
    Estimate {
        median: (samples[(count - 1) / 2] + samples[count / 2]) / 2.0,
        low: samples[low],
        high: samples[high],
    }
}

/// Returns the value below which `fraction` of the samples lie.
///
/// # Panics
/// There is no sample.
pub fn quantile(samples: &mut [f64], fraction: f64) -> f64 {
    let place = ((samples.len() - 1) as f64 * fraction).round() as usize;
    *samples.select_nth_unstable_by(place, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encloses_the_median_of_fifteen_by_the_order_statistics_of_the_binomial() {
        // Of 15, the 4th and the 12th enclose the median with 96.5 % (binomial tables); the normal
        // approximation is one wider at most.
        let estimate = median((1..=15).map(f64::from).collect());
        assert_eq!(estimate.median, 8.0);
        assert_eq!((estimate.low, estimate.high), (4.0, 13.0));
    }

    #[test]
    fn takes_the_middle_of_an_even_number() {
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]).median, 2.5);
    }

    #[test]
    fn never_leaves_the_samples() {
        let one = median(vec![7.0]);
        assert_eq!((one.low, one.median, one.high), (7.0, 7.0, 7.0));
    }

    #[test]
    fn finds_a_percentile() {
        let mut samples: Vec<f64> = (0..=100).map(f64::from).rev().collect();
        assert_eq!(quantile(&mut samples, 0.99), 99.0);
    }
}
