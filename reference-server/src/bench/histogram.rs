//! Durations, counted in buckets that are at most one part in 128 wide.

/// How often each duration occurred.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    counts: Vec<u64>,
}

impl Histogram {
    pub(super) fn record(&mut self, nanos: u64) {
        self.counts[bucket(nanos)] += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
    }

    /// Returns the least duration, in nanoseconds, that `percent` of all did not exceed; 0 if there is none.
    pub(super) fn percentile(&self, percent: u64) -> u64 {
        let total: u64 = self.counts.iter().sum();
        let rank = (total * percent).div_ceil(100);
        let mut seen = 0;
        let reached = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        reached.map_or(0, lowest)
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS],
        }
    }
}

/// Up to 127 ns each nanosecond has its bucket; from there on each power of two has 128 of them.
fn bucket(nanos: u64) -> usize {
    let nanos = nanos.min(LONGEST);
    let shift = nanos.max(PER_OCTAVE).ilog2() - PER_OCTAVE.ilog2();
    (u64::from(shift) * PER_OCTAVE + (nanos >> shift)) as usize
}

/// Returns the shortest duration that is counted in `bucket`.
fn lowest(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    match bucket / PER_OCTAVE {
        0 => bucket,
        octave => (bucket % PER_OCTAVE + PER_OCTAVE) << (octave - 1),
    }
}

const PER_OCTAVE: u64 = 128;
/// Over a minute: no operation takes longer, and one that does is counted as this.
const LONGEST: u64 = (1 << 36) - 1;
const BUCKETS: usize = (36 - 7 + 1) * PER_OCTAVE as usize;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_is_counted_within_a_part_in_128_of_itself() {
        let mut before = None;
        let octaves = (7..36).flat_map(|octave| [0, 1, 100].map(|more| (1_u64 << octave) + more));
        for nanos in (0..1000).chain(octaves).chain([LONGEST]) {
            let (bucket, below) = (bucket(nanos), lowest(bucket(nanos)));
            assert!(
                below <= nanos && nanos - below <= below / PER_OCTAVE,
                "{nanos}"
            );
            assert!(bucket < BUCKETS, "{nanos}");
            let rises = before.is_none_or(|(shorter, number)| nanos < shorter || bucket >= number);
            assert!(rises, "{nanos}");
            before = Some((nanos, bucket));
        }
        assert_eq!(bucket(u64::MAX), bucket(LONGEST));
        assert_eq!(bucket(LONGEST), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_those_of_all_that_was_recorded() {
        let mut one = Histogram::default();
        assert_eq!(one.percentile(50), 0);
        let mut other = Histogram::default();
        (1..=60).for_each(|nanos| one.record(nanos));
        (61..=100).for_each(|nanos| other.record(nanos));
        one.add(&other);
        let percentiles = [1, 50, 99, 100].map(|percent| one.percentile(percent));
        assert_eq!(percentiles, [1, 50, 99, 100]);
    }
}
