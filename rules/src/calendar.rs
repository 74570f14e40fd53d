//! Dates of the proleptic Gregorian calendar, in UTC: what HTTP-date, logs and signatures are made of.

/// The names of the months as HTTP-date and logs write them, January first.
pub const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Seconds of a day. Leap seconds are not counted, as in the time of POSIX.
pub const SECONDS_PER_DAY: u64 = 86_400;

/// The days between 1 January of year 0 and of 1970.
const TO_1970: u64 = 719_528;
/// 1 January to 29 February of year 0, a leap year.
const TO_MARCH: u64 = 60;
/// Days of 400 years: the calendar repeats after them.
const ERA: u64 = 146_097;

/// A day that exists, from year 0 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    year: u64,
    month: u64,
    day: u64,
}

impl Date {
    /// The date, with months and days counted from 1. `None` if there is no such day, and beyond year 9999, the last
    /// that the formats of dates can write.
    pub fn new(year: u64, month: u64, day: u64) -> Option<Self> {
        let exists =
            year <= 9_999 && (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
        exists.then_some(Self { year, month, day })
    }

    /// The date so many days after 1 January 1970.
    pub fn after_1970(days: u64) -> Self {
        // Counted from 1 March of year 0, so that a leap day ends a year.
        let days = days.saturating_add(TO_1970 - TO_MARCH);
        let (era, day_of_era) = (days / ERA, days % ERA);
        let leap_days = day_of_era / 1_460 + day_of_era / (ERA - 1) - day_of_era / 36_524;
        let year_of_era = (day_of_era - leap_days) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        Self {
            year: era * 400 + year_of_era + u64::from(month <= 2),
            month,
            day: day_of_year - (153 * from_march + 2) / 5 + 1,
        }
    }

    /// How many days after 1 January 1970 it is; `None` before.
    pub fn days_after_1970(self) -> Option<u64> {
        // Years begin in March here, too.
        let (year, month) = if self.month > 2 {
            (self.year, self.month - 3)
        } else {
            // January and February of year 0 belong to a year that cannot be counted.
            (self.year.checked_sub(1)?, self.month + 9)
        };
        let leap_days = year / 4 - year / 100 + year / 400;
        let days = year * 365 + leap_days + (153 * month + 2) / 5 + self.day - 1;
        (days + TO_MARCH).checked_sub(TO_1970)
    }

    /// The year.
    pub fn year(self) -> u64 {
        self.year
    }

    /// The month, 1 to 12.
    pub fn month(self) -> u64 {
        self.month
    }

    /// Its name in [`MONTHS`].
    pub fn month_name(self) -> &'static str {
        MONTHS[(self.month as usize + 11) % 12]
    }

    /// The day of the month, from 1.
    pub fn day(self) -> u64 {
        self.day
    }
}

fn days_in(year: u64, month: u64) -> u64 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 => 28 + u64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_eight_thousand_years_follows_the_one_before() {
        let mut date = Date::after_1970(0);
        assert_eq!(Date::new(1970, 1, 1), Some(date));
        for days in 0..ERA * 20 {
            assert_eq!(Date::after_1970(days), date);
            assert_eq!(date.days_after_1970(), Some(days));
            let Date { year, month, day } = date;
            let next = Date::new(year, month, day + 1)
                .or_else(|| Date::new(year, month + 1, 1))
                .or_else(|| Date::new(year + 1, 1, 1));
            date = next.expect("a day follows");
        }
    }

    #[test]
    fn days_before_1970_exist_and_are_not_counted() {
        for (year, month, day) in [(0, 1, 1), (0, 2, 29), (0, 3, 1), (1969, 12, 31)] {
            let date = Date::new(year, month, day).expect("it exists");
            assert_eq!(date.days_after_1970(), None, "{date:?}");
        }
    }

    #[test]
    fn days_that_do_not_exist_are_none() {
        for (year, month, day) in
            [(2026, 0, 1), (2026, 13, 1), (2026, 1, 0), (2026, 1, 32), (2026, 4, 31)]
        {
            assert_eq!(Date::new(year, month, day), None);
        }
        for year in [2023, 2100] {
            assert_eq!(Date::new(year, 2, 29), None, "{year}");
        }
        assert!(Date::new(2000, 2, 29).is_some());
        assert_eq!(Date::new(10_000, 1, 1), None);
        // A clock that is beyond all reason panics nowhere.
        assert!(Date::after_1970(u64::MAX).year() > 9_999);
    }

    #[test]
    fn months_have_their_names() {
        let names: Vec<_> =
            (1..=12).filter_map(|month| Date::new(2026, month, 1)).map(Date::month_name).collect();
        assert_eq!(names, MONTHS);
    }
}
