//! Figures in few characters: they stand in narrow columns.

pub(super) use weir_control::timestamp::spoken as seconds;

/// What is not known.
pub(super) const UNKNOWN: &str = "-";

/// A number a second: `0`, `0.4`, `123`, `12.3k`.
pub(super) fn rate(rate: f64) -> String {
    match rate {
        0.0 => "0".to_owned(),
        rate if rate < 0.05 => "<0.1".to_owned(),
        rate if rate < 9.95 => format!("{rate:.1}"),
        rate => count(rate.round() as u64),
    }
}

/// A count: `1234`, `12.3k`, `1.2M`.
pub(super) fn count(count: u64) -> String {
    let shown = count as f64;
    match count {
        0..10_000 => count.to_string(),
        10_000..99_950 => format!("{:.1}k", shown / 1e3),
        99_950..999_500 => format!("{:.0}k", shown / 1e3),
        999_500..99_950_000 => format!("{:.1}M", shown / 1e6),
        _ => format!("{:.0}M", shown / 1e6),
    }
}

/// A share, rounded down so that 99.96 % does not read as all.
pub(super) fn share(part: f64) -> String {
    let thousandths = (part * 1e3 + 1e-6).floor() as i64;
    match thousandths {
        1000.. => "100 %".to_owned(),
        thousandths => format!("{}.{} %", thousandths / 10, thousandths % 10),
    }
}

/// Milliseconds, without their unit.
pub(super) fn millis(millis: f64) -> String {
    match millis {
        millis if millis < 9.995 => format!("{millis:.2}"),
        millis if millis < 99.95 => format!("{millis:.1}"),
        millis => count(millis.round() as u64),
    }
}

/// `812 B`, `1.2 MiB`.
pub(super) fn bytes(bytes: f64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut rest = bytes;
    let mut units = UNITS.iter();
    let mut unit = units.next();
    // What would be shown as 1024 is one of the next.
    while rest >= 1023.5 && units.len() > 0 {
        rest /= 1024.0;
        unit = units.next();
    }
    let unit = unit.copied().unwrap_or_default();
    if unit != "B" && rest < 9.95 {
        format!("{rest:.1} {unit}")
    } else {
        format!("{rest:.0} {unit}")
    }
}

/// How long something took: `0.36 ms`, `1.2 s`, `3 min`.
pub(super) fn took(ms: f64) -> String {
    match ms {
        ms if ms < 999.5 => format!("{} ms", millis(ms)),
        ms if ms < 9_950.0 => format!("{:.1} s", ms / 1e3),
        ms => seconds((ms / 1e3) as u64),
    }
}

/// A text of at most `width` characters; what is too long loses its middle, because URLs differ at
/// their ends.
pub(super) fn fitted(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let Some(kept) = width.checked_sub(1) else { return String::new() };
    let end = kept * 2 / 3;
    let begin: String = text.chars().take(kept - end).collect();
    let end: String = text.chars().skip(length - end).collect();
    format!("{begin}\u{2026}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_take_few_characters() {
        let shown = [0.0, 0.001, 0.44, 9.94, 9.96, 1234.4, 12_345.0, 250_000.0, 3_200_000.0];
        let expected = ["0", "<0.1", "0.4", "9.9", "10", "1234", "12.3k", "250k", "3.2M"];
        assert_eq!(shown.map(rate), expected);
        assert!(rate(f64::MAX).len() > 6, "nothing a node can do");
        assert_eq!(count(99_949_999), "99.9M");
    }

    #[test]
    fn a_share_is_all_only_if_it_is() {
        assert_eq!([0.0, 0.875, 0.9996, 1.0].map(share), ["0.0 %", "87.5 %", "99.9 %", "100 %"]);
        assert_eq!(share(0.29), "29.0 %");
    }

    #[test]
    fn times_and_sizes_have_their_unit() {
        assert_eq!([0.0, 0.42, 12.34, 123.4].map(millis), ["0.00", "0.42", "12.3", "123"]);
        assert_eq!(
            [0.0, 1023.0, 1023.9, 1536.0, 104_857_600.0].map(bytes),
            ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "100 MiB"]
        );
        assert_eq!(
            [0, 119, 120, 7_200, 172_800].map(seconds),
            ["0 s", "119 s", "2 min", "2 h", "2 d"]
        );
        assert_eq!([0.36, 1500.0, 64_000.0].map(took), ["0.36 ms", "1.5 s", "64 s"]);
    }

    #[test]
    fn what_is_too_long_loses_its_middle() {
        assert_eq!(fitted("http://h/a", 10), "http://h/a");
        assert_eq!(fitted("http://host/a/very/long/path.jpg", 16), "http:\u{2026}g/path.jpg");
        assert_eq!(fitted("abc", 1), "\u{2026}");
        assert_eq!(fitted("abc", 0), "");
    }
}
