//! Time as an argument: what a caller's clocks say, and Patroni's scheduled times.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What the caller's clocks say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For intervals: a clock that never goes back, counted from any moment that stays the same.
    pub monotonic: Duration,
    /// For times that others have written down.
    pub wall: SystemTime,
}

/// Reads an RFC 3339 time such as Patroni writes (`2030-01-01T00:00:00+00:00`). A space may
/// stand for the `T`; fractions of a second are dropped. `None` if the text is none, if it has
/// no offset, or if it is before 1970.
pub(crate) fn parse(text: &str) -> Option<SystemTime> {
    let bytes = text.as_bytes();
    let mut separators = [(4, "-"), (7, "-"), (10, "Tt "), (13, ":"), (16, ":")].into_iter();
    if !separators.all(|(at, any)| bytes.get(at).is_some_and(|b| any.as_bytes().contains(b))) {
        return None;
    }
    let part = |from: usize, to: usize| number(text.get(from..to)?);
    let (year, month, day) = (part(0, 4)?, part(5, 7)?, part(8, 10)?);
    let (hour, minute, second) = (part(11, 13)?, part(14, 16)?, part(17, 19)?);
    // A leap second counts as the second after it.
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let offset = offset(fraction_dropped(text.get(19..)?)?)?;
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset;
    Some(UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).ok()?))
}

fn number(digits: &str) -> Option<i64> {
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}

fn fraction_dropped(rest: &str) -> Option<&str> {
    let Some(fraction) = rest.strip_prefix('.') else { return Some(rest) };
    let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
    (digits > 0).then(|| fraction.get(digits..))?
}

/// Seconds east of Greenwich.
fn offset(text: &str) -> Option<i64> {
    if text.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, digits) = match text.as_bytes().first()? {
        b'+' => (1, text.get(1..)?),
        b'-' => (-1, text.get(1..)?),
        _ => return None,
    };
    let (hours, minutes) = match digits.len() {
        5 => digits.split_once(':')?,
        4 => (digits.get(..2)?, digits.get(2..)?),
        2 => (digits, "00"),
        _ => return None,
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 3600 + minutes * 60))
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01, by years of 365 days and the leap days before them.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let before = year - 1;
    let leaps = before / 4 - before / 100 + before / 400 - 477;
    let months: i64 = (1..month).map(|month| days_in(year, month)).sum();
    (year - 1970) * 365 + leaps + months + day - 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(text: &str) -> Option<u64> {
        Some(parse(text)?.duration_since(UNIX_EPOCH).unwrap().as_secs())
    }

    #[test]
    fn known_times() {
        assert_eq!(seconds("1970-01-01T00:00:00+00:00"), Some(0));
        assert_eq!(seconds("2000-02-29T12:34:56Z"), Some(951_827_696));
        assert_eq!(seconds("2030-01-01T00:00:00+00:00"), Some(1_893_456_000));
        assert_eq!(seconds("2030-01-01 02:00:00.123456+02:00"), Some(1_893_456_000));
        assert_eq!(seconds("2029-12-31T18:30:00-0530"), Some(1_893_456_000));
        assert_eq!(seconds("2100-03-01T00:00:00z"), Some(4_107_542_400));
    }

    #[test]
    fn what_is_no_time() {
        for bad in [
            "",
            "2030",
            "2030-01-01",
            "2030-01-01T00:00:00",
            "2030-13-01T00:00:00Z",
            "2030-02-29T00:00:00Z",
            "2030-00-01T00:00:00Z",
            "2030-01-01T24:00:00Z",
            "2030-01-01T00:60:00Z",
            "2030-01-01T00:00:00.Z",
            "2030-01-01T00:00:00+1",
            "2030-01-01T00:00:00+24:00",
            "+030-01-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "2030-01-01T00:00:00+00:00x",
            "ä030-01-01T00:00:00Z",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9é]{2}\\PC{0,9}|\\PC{0,40}") {
            let _ = parse(&text);
        }

        #[test]
        fn days_follow_each_other(year in 1970_i64..4000, month in 1_i64..=12) {
            let (next_year, next) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
            prop_assert_eq!(days(year, month, days_in(year, month)) + 1, days(next_year, next, 1));
        }
    }
}
