//! Rate of an open loop over time: constant, in steps, or a ramp. Each segment has a name, which the report uses for
//! its results.

use std::fmt;
use std::rc::Rc;
use std::str::FromStr;
use std::time::Duration;

/// Rate over time, in messages per second. After the last segment its final rate continues. Clones share the segments.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct RateCurve {
    parts: Rc<[RateSegment]>,
}

/// Segment of a curve, whose rate changes linearly.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct RateSegment {
    pub(crate) name: String,
    pub(crate) length: Duration,
    pub(crate) from: f64,
    pub(crate) to: f64,
}

/// Rate in text form: `500`, or `100..2000` for a ramp.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct RateRange {
    pub(crate) from: f64,
    pub(crate) to: f64,
}

/// Number of segments in which a ramp is reported.
const RAMP_PARTS: u32 = 10;

// === impl RateCurve ===

impl RateCurve {
    /// Returns the curve of consecutive segments.
    pub(crate) fn of(parts: Vec<RateSegment>) -> RateCurve {
        RateCurve { parts: parts.into() }
    }

    /// Creates a curve of constant rates in turn, each for an equal part of the time.
    pub(crate) fn steps(rates: &[f64], time: Duration) -> RateCurve {
        let length = time / rates.len().max(1) as u32;
        let step = |rate: &f64| RateSegment {
            name: format!("{rate}/s"),
            length,
            from: *rate,
            to: *rate,
        };
        RateCurve::of(rates.iter().map(step).collect())
    }

    /// Creates a linear ramp over the time.
    pub(crate) fn ramp(from: f64, to: f64, time: Duration) -> RateCurve {
        let at = |part: u32| from + (to - from) * f64::from(part) / f64::from(RAMP_PARTS);
        let part = |part: u32| RateSegment {
            name: format!("{:.0}..{:.0}/s", at(part), at(part + 1)),
            length: time / RAMP_PARTS,
            from: at(part),
            to: at(part + 1),
        };
        RateCurve::of((0..RAMP_PARTS).map(part).collect())
    }

    pub(crate) fn parts(&self) -> &[RateSegment] {
        &self.parts
    }

    /// Returns the time in seconds at which this number of messages is due; infinite if the rate ends at 0.
    pub(crate) fn reaches(&self, messages: f64) -> f64 {
        let (mut left, mut before) = (messages, 0.0);
        for part in self.parts.iter() {
            let seconds = part.length.as_secs_f64();
            let holds = (part.from + part.to) / 2.0 * seconds;
            if left <= holds {
                // The smaller root of from*x + bend*x*x = left, in the form that allows bend = 0.
                let bend = (part.to - part.from) / (2.0 * seconds);
                let root = (part.from * part.from + 4.0 * bend * left).max(0.0).sqrt();
                return before + 2.0 * left / (part.from + root).max(f64::MIN_POSITIVE);
            }
            left -= holds;
            before += seconds;
        }
        // The last rate continues, because a load may be longer than its curve.
        let last = self.parts.last().map_or(0.0, |part| part.to);
        if last > 0.0 {
            before + left / last
        } else {
            f64::INFINITY
        }
    }
}

impl From<f64> for RateCurve {
    fn from(rate: f64) -> RateCurve {
        RateCurve::steps(&[rate], Duration::from_secs(1))
    }
}

impl fmt::Display for RateCurve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (self.parts.first(), self.parts.last());
        let straight = self.parts.windows(2).all(|two| two[0].to == two[1].from);
        match (first, last) {
            (Some(first), Some(last)) if straight && first.from == last.to => write!(f, "{}", first.from),
            (Some(first), Some(last)) if straight => write!(f, "{}..{}", first.from, last.to),
            _ => {
                let rates: Vec<_> = self.parts.iter().map(RateSegment::rates).collect();
                f.write_str(&rates.join(","))
            }
        }
    }
}

// === impl RateSegment, RateRange ===

impl RateSegment {
    fn rates(&self) -> String {
        if self.from == self.to {
            self.from.to_string()
        } else {
            format!("{}..{}", self.from, self.to)
        }
    }
}

impl RateRange {
    /// Returns the curve over the time: constant without an end, or a ramp.
    pub(crate) fn over(self, time: Duration) -> RateCurve {
        if self.from == self.to {
            self.from.into()
        } else {
            RateCurve::ramp(self.from, self.to, time)
        }
    }
}

impl FromStr for RateRange {
    type Err = String;

    fn from_str(text: &str) -> Result<RateRange, String> {
        let rate = |text: &str| {
            let rate = text.trim().parse::<f64>().ok();
            rate.filter(|rate| rate.is_finite() && *rate >= 0.0)
                .ok_or_else(|| format!("{text:?} is not a rate; example: 500, or 100..2000 for a ramp"))
        };
        let (from, to) = text.split_once("..").unwrap_or((text, text));
        Ok(RateRange {
            from: rate(from)?,
            to: rate(to)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ramp_holds_its_mean_and_what_follows_its_last_rate() {
        let ramp = RateCurve::ramp(100.0, 300.0, Duration::from_secs(10));
        assert!(
            (ramp.reaches(2000.0) - 10.0).abs() < 1e-6,
            "200 a second on average"
        );
        assert!((ramp.reaches(2300.0) - 11.0).abs() < 1e-6, "then 300 a second");
        assert!(
            (ramp.reaches(750.0) - 5.0).abs() < 1e-6,
            "100 to 200 in the first half"
        );
        let down = RateCurve::ramp(300.0, 0.0, Duration::from_secs(10));
        assert!((down.reaches(1500.0) - 10.0).abs() < 1e-3);
        assert_eq!(down.reaches(1501.0), f64::INFINITY);
    }

    #[test]
    fn rates_are_read_as_they_are_written() {
        assert_eq!(
            "500".parse(),
            Ok(RateRange {
                from: 500.0,
                to: 500.0
            })
        );
        assert_eq!(
            "100..2000".parse(),
            Ok(RateRange {
                from: 100.0,
                to: 2000.0
            })
        );
        for wrong in ["", "..", "5..", "-3", "fast", "inf"] {
            assert!(wrong.parse::<RateRange>().is_err(), "{wrong}");
        }
        let second = Duration::from_secs(1);
        assert_eq!(RateCurve::ramp(1.0, 11.0, second).to_string(), "1..11");
        assert_eq!(RateCurve::steps(&[1.0, 2.0], second).to_string(), "1,2");
        assert_eq!(RateCurve::from(7.0).to_string(), "7");
    }
}
