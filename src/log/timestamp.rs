//! Points in time as RFC 3339 text in UTC, the form that the log's `ts` has.

use super::json;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `2026-11-21T02:29:14.123Z`. Times before 1970 are shown as 1970: no call has been made then.
pub fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (days, rest) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    let mut out = String::with_capacity(24);
    let parts = [
        (year, 4, '-'),
        (month, 2, '-'),
        (day, 2, 'T'),
        (hour, 2, ':'),
        (minute, 2, ':'),
        (second, 2, '.'),
        (since.subsec_millis().into(), 3, 'Z'),
    ];
    for (value, width, behind) in parts {
        padded(&mut out, value, width);
        out.push(behind);
    }
    out
}

/// Appends a number with leading zeros. Every record has a time in it: the general way of writing it takes ten times as long.
fn padded(out: &mut String, value: u64, width: usize) {
    let from = out.len();
    json::decimal(out, value);
    for _ in out.len() - from..width {
        out.insert(from, '0');
    }
}

/// Year, month and day of the proleptic Gregorian calendar, from days since 1970-01-01.
///
/// Years are counted from March, so that the leap day is a year's last; 146,097 days are 400 years.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // since 0000-03-01
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let months_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * months_from_march + 2) / 5 + 1;
    let month = if months_from_march < 10 { months_from_march + 3 } else { months_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64, ms: u64) -> String {
        rfc3339(UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_millis(ms))
    }

    #[test]
    fn known_seconds_give_the_dates_that_date_1_prints() {
        // date -u -d @SECONDS +%FT%TZ
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_400, 7), "2000-02-29T00:00:00.007Z");
        assert_eq!(at(1_709_251_199, 999), "2024-02-29T23:59:59.999Z");
        assert_eq!(at(1_795_228_154, 120), "2026-11-21T02:29:14.120Z");
        assert_eq!(at(4_107_542_399, 0), "2100-02-28T23:59:59.000Z");
        assert_eq!(at(4_107_542_400, 0), "2100-03-01T00:00:00.000Z");
    }

    #[test]
    fn the_days_of_four_centuries_follow_each_other() {
        let mut last = date(0);
        for days in 1..=146_097 {
            let next = date(days);
            let follows = next == (last.0, last.1, last.2 + 1)
                || (next == (last.0, last.1 + 1, 1) && last.2 >= 28)
                || (next == (last.0 + 1, 1, 1) && last.1 == 12 && last.2 == 31);
            assert!(follows, "{last:?} then {next:?}");
            last = next;
        }
        assert_eq!(last, (2370, 1, 1));
    }

    #[test]
    fn a_time_before_1970_is_not_a_panic() {
        assert_eq!(rfc3339(UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00.000Z");
    }
}
