//! How old a response was when it arrived (RFC 9111 §4.2.3, §5.1).

use crate::cache_control::parse::delta_seconds;
use crate::time::Time;
use http::HeaderMap;
use http::header::AGE;

/// age_value in seconds, at most 2^31: the first member of the first `Age` line, 0 when that is not
/// a number (RFC 9111 §5.1: then the field is ignored).
pub(crate) fn age_value(headers: &HeaderMap) -> u32 {
    let first = headers.get(AGE).map_or(&b""[..], |line| line.as_bytes());
    let member = first.split(|byte| *byte == b',').next().unwrap_or_default();
    delta_seconds(member.trim_ascii()).unwrap_or(0)
}

/// corrected_initial_age in milliseconds (RFC 9111 §4.2.3).
pub(crate) fn corrected_initial_age(
    age_value: u32,
    date: Option<Time>,
    request_time: Time,
    response_time: Time,
) -> u64 {
    let apparent_age = date.map_or(0, |date| response_time.millis_since(date));
    let response_delay = response_time.millis_since(request_time);
    let corrected_age_value = (u64::from(age_value) * 1000).saturating_add(response_delay);
    apparent_age.max(corrected_age_value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn value(lines: &[&str]) -> u32 {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(AGE, HeaderValue::from_str(line).expect("a field value"));
        }
        age_value(&headers)
    }

    #[test]
    fn the_first_member_counts() {
        assert_eq!(value(&["7200, 0"]), 7200);
        assert_eq!(value(&["0, 7200"]), 0);
        assert_eq!(value(&["7200", "0"]), 7200);
        assert_eq!(value(&["0", "7200"]), 0);
    }

    #[test]
    fn what_is_no_number_is_ignored() {
        for text in ["abc", "-7200", "7200.0", "7200;foo=bar", "", "\"5\"", "+5"] {
            assert_eq!(value(&[text]), 0, "{text}");
        }
    }

    #[test]
    fn large_values_stop_at_2_to_the_31() {
        assert_eq!(value(&["2147483647"]), 2_147_483_647);
        for text in ["2147483648", "2147483649", "18446744073709551615", "9".repeat(90).as_str()] {
            assert_eq!(value(&[text]), 1 << 31, "{text}");
        }
    }

    #[test]
    fn the_larger_of_both_ages_counts() {
        let at = Time::from_secs;
        assert_eq!(corrected_initial_age(0, None, at(100), at(103)), 3000);
        assert_eq!(corrected_initial_age(10, Some(at(95)), at(100), at(103)), 13_000);
        assert_eq!(corrected_initial_age(10, Some(at(50)), at(100), at(103)), 53_000);
        assert_eq!(corrected_initial_age(0, Some(at(500)), at(100), at(100)), 0);
        assert_eq!(corrected_initial_age(0, None, at(100), at(50)), 0);
    }
}
