//! Durations as people write them.

use std::time::Duration;

/// Reads `20ms`, `1.5s`, `250us` or `2m`.
///
/// # Errors
/// A sentence that names the value and what is accepted.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let unit_secs = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return Err(wrong(text)),
    };
    let plain = number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let number: f64 = number.parse().ok().filter(|_| plain).ok_or_else(|| wrong(text))?;
    Duration::try_from_secs_f64(number * unit_secs).map_err(|_| wrong(text))
}

fn wrong(text: &str) -> String {
    format!("{text:?} is no duration: a number with us, ms, s or m is, such as 20ms or 1.5s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_number_and_a_unit() {
        for (text, millis) in [("20ms", 20), ("1.5s", 1500), ("2m", 120_000), ("0s", 0)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)));
        }
        assert_eq!(parse_duration("250us"), Ok(Duration::from_micros(250)));
        for text in ["", "20", "ms", "-1s", "1h", "inf s", "1e3s", "1..2s", "99999999999999999999m"]
        {
            assert!(parse_duration(text).is_err_and(|e| e.contains(text)), "{text}");
        }
    }
}
