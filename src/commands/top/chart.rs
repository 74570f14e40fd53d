//! The course of the traffic, a character a step.

use super::figures::{Point, Traffic};
use weir_control::timestamp::parse_rfc3339;

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The last steps in at most `width` characters, blank if there was no report; and the highest of them.
pub(super) fn requests(traffic: &Traffic, width: usize) -> (String, f64) {
    let Some(last) = traffic.points.last() else { return (String::new(), 0.0) };
    let back = |point: &Point| steps(&point.at, &last.at, traffic.step_seconds);
    let shown: Vec<_> = traffic
        .points
        .iter()
        .filter_map(|point| Some((back(point)?, point.requests_per_second)))
        .filter(|(back, _)| *back < width)
        .collect();
    let most = shown.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
    let length = shown.iter().map(|(back, _)| back + 1).max().unwrap_or_default();
    let mut bars = vec![' '; length];
    for (back, rate) in shown {
        let height = if most > 0.0 { rate / most * BARS.len() as f64 } else { 0.0 };
        bars[length - 1 - back] = BARS[(height.ceil() as usize).clamp(1, BARS.len()) - 1];
    }
    (bars.into_iter().collect(), most)
}

/// Steps from one time of RFC 3339 to a later one.
fn steps(from: &str, to: &str, step_seconds: u64) -> Option<usize> {
    let seconds = parse_rfc3339(to)?.duration_since(parse_rfc3339(from)?).ok()?.as_secs();
    // To the nearest: times are told to the millisecond and cut off here.
    let steps = (seconds + step_seconds / 2).checked_div(step_seconds)?;
    usize::try_from(steps).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(points: &[(&str, f64)]) -> Traffic {
        let point = |(at, rate): &(&str, f64)| Point {
            at: format!("2026-01-{at}.004Z"),
            requests_per_second: *rate,
        };
        Traffic {
            step_seconds: 2,
            points: points.iter().map(point).collect(),
            ..Traffic::default()
        }
    }

    #[test]
    fn steps_are_bars_and_what_nobody_told_is_blank() {
        let told = [
            ("01T23:59:56", 1.0),
            ("01T23:59:58", 0.0),
            ("02T00:00:04", 4.0),
            ("02T00:00:06", 8.0),
        ];
        assert_eq!(requests(&traffic(&told), 80), ("▁▁  ▄█".to_owned(), 8.0));
        assert_eq!(requests(&traffic(&told), 2), ("▄█".to_owned(), 8.0));
        assert_eq!(requests(&traffic(&told), 0), (String::new(), 0.0));
    }

    #[test]
    fn steps_may_be_days_apart() {
        let told = [("01T12:00:00", 1.0), ("02T12:00:00", 2.0), ("04T12:00:00", 4.0)];
        let traffic = Traffic { step_seconds: 86_400, ..traffic(&told) };
        assert_eq!(requests(&traffic, 80), ("\u{2582}\u{2584} \u{2588}".to_owned(), 4.0));
    }

    #[test]
    fn without_traffic_it_is_flat() {
        assert_eq!(requests(&traffic(&[("02T00:00:00", 0.0)]), 9), ("▁".to_owned(), 0.0));
        assert_eq!(requests(&traffic(&[]), 9), (String::new(), 0.0));
        let odd = Traffic { step_seconds: 0, ..traffic(&[("02T00:00:00", 1.0)]) };
        assert_eq!(requests(&odd, 9).0, "");
    }
}
