//! Durations and sizes as people write them: `"500ms"`, `"1h30m"`, `"64MiB"`.

use std::time::Duration;

/// Units a duration may be written in, with their length in microseconds, longest first.
const UNITS: [(&str, u64); 6] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

/// What to write instead, appended to every refusal.
pub(crate) const DURATION_FORM: &str =
    "write a number and a unit (us, ms, s, m, h, d), such as \"30s\" or \"1h30m\"";

/// Units of sizes with their bytes, largest first; those of Postgres (kB, MB, GB, in 1024s) and
/// those that say so.
const SIZES: [(&str, u64); 10] = [
    ("TiB", 1 << 40),
    ("TB", 1 << 40),
    ("GiB", 1 << 30),
    ("GB", 1 << 30),
    ("MiB", 1 << 20),
    ("MB", 1 << 20),
    ("KiB", 1 << 10),
    ("kB", 1 << 10),
    ("KB", 1 << 10),
    ("B", 1),
];

/// What to write instead, appended to every refusal.
pub(crate) const SIZE_FORM: &str =
    "write a number and a unit (B, KiB, MiB, GiB, TiB), such as \"64MiB\"";

/// Reads `"64MiB"`; `"0"` alone needs no unit.
pub(crate) fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    if text == "0" {
        return Some(0);
    }
    let (number, unit) = split_at_first(text, |c| !c.is_ascii_digit())?;
    let (_, bytes) = SIZES.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*bytes)
}

/// Writes a size so that [`size`] reads it back.
pub(crate) fn write_size(value: u64) -> String {
    let whole = SIZES.iter().find(|(_, bytes)| value >= *bytes && value.is_multiple_of(*bytes));
    whole.map_or_else(|| "0".to_owned(), |(unit, bytes)| format!("{}{unit}", value / bytes))
}

/// Reads `"1h30m"`; units descend and each appears once. `"0"` alone needs no unit.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut micros: u64 = 0;
    let mut units = UNITS.as_slice();
    while !rest.is_empty() {
        let (number, after) = split_at_first(rest, |c| !c.is_ascii_digit())?;
        let (unit, after) = match split_at_first(after.trim_start(), |c| !c.is_ascii_alphabetic()) {
            Some(parts) => parts,
            None => (after.trim_start(), ""),
        };
        let at = units.iter().position(|(name, _)| *name == unit)?;
        let (_, length) = units.get(at)?;
        units = units.get(at + 1..)?;
        micros = number.parse::<u64>().ok()?.checked_mul(*length)?.checked_add(micros)?;
        rest = after.trim_start();
    }
    (!text.trim().is_empty()).then(|| Duration::from_micros(micros))
}

/// Writes a duration so that [`duration`] reads it back.
pub(crate) fn write_duration(value: Duration) -> String {
    let mut micros = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
    if micros == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, length) in UNITS {
        if micros >= length {
            text.push_str(&format!("{}{unit}", micros / length));
            micros %= length;
        }
    }
    text
}

/// Both sides of the first character that `pred` accepts; `None` when there is none.
fn split_at_first(text: &str, pred: impl Fn(char) -> bool) -> Option<(&str, &str)> {
    text.find(pred).map(|at| text.split_at(at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_as_people_write_them() {
        for (text, micros) in [
            ("0", 0),
            ("0s", 0),
            ("250us", 250),
            ("500ms", 500_000),
            ("30s", 30_000_000),
            ("30 s", 30_000_000),
            ("1h30m", 5_400_000_000),
            ("1h 30m", 5_400_000_000),
            ("2d", 172_800_000_000),
        ] {
            assert_eq!(duration(text), Some(Duration::from_micros(micros)), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in
            ["", " ", "30", "s", "-1s", "1.5s", "30m1h", "1s1s", "1y", "1S", "99999999999999999d"]
        {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_as_people_write_them() {
        for (text, bytes) in
            [("0", 0), ("1B", 1), ("16 MB", 16 << 20), ("64MiB", 64 << 20), ("3GiB", 3 << 30)]
        {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in ["", "64", "MiB", "-1B", "1.5GiB", "1mib", "99999999TiB"] {
            assert_eq!(size(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn written_sizes_read_back(value in any::<u64>()) {
            prop_assert_eq!(size(&write_size(value)), Some(value));
        }

        #[test]
        fn written_durations_read_back(micros in any::<u64>()) {
            let value = Duration::from_micros(micros);
            prop_assert_eq!(duration(&write_duration(value)), Some(value));
        }

        #[test]
        fn any_text_is_survived(text in ".*") {
            let _ = duration(&text);
        }
    }
}
