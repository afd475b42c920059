//! Amounts and durations as people write them: `512M`, `1.5G`, `75%`, `max`, `30s`. K, M, G and T are powers
//! of 1024, as in the kernel's own cgroup files.

use super::compiled::Amount;
use std::fmt;

/// What is wrong with an amount or a duration; the text lists what is right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the texts say it
pub enum UnitError {
    #[error("`{0}` has no unit; write it as `{0}K`, `{0}M`, `{0}G` or `{0}T`")]
    NoUnit(String),
    #[error(
        "`{unit}` is no unit of memory; valid: K, M, G, T (powers of 1024), % (of the session's budget), or `max`"
    )]
    BadUnit { unit: String },
    #[error("`{unit}` is no unit of memory; did you mean `{meant}`? Valid: K, M, G, T (powers of 1024)")]
    NearUnit { unit: String, meant: String },
    #[error(
        "`{0}` is no amount of memory; valid: such as 512M, 1.5G, 75% (of the session's budget), or `max`"
    )]
    NoAmount(String),
    #[error("`{0}` is negative; valid: such as 512M, 1.5G, 75%, or `max`")]
    Negative(String),
    #[error("`{0}` is more than 100%; valid: 0.1% to 100% of the session's budget")]
    OverHundred(String),
    #[error("`{0}` is finer than 0.1%; valid: 0.1% to 100% of the session's budget")]
    TooFine(String),
    #[error("`{0}` is more than 64 bits can count; for no limit write `max`")]
    TooLarge(String),
    #[error("`{0}` is no duration; valid: such as 500ms, 30s, 2m, up to 1h")]
    NoDuration(String),
    #[error("`{0}` has no unit; write it as `{0}ms`, `{0}s` or `{0}m`")]
    NoDurationUnit(String),
}

/// Splits `1.5G` into thousandths (1,500) and `G`; none if it doesn't begin with a decimal number.
fn thousandths(text: &str) -> Option<(u128, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || whole.len() > 24 {
        return None;
    }
    let fraction: u128 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    Some((whole.parse::<u128>().ok()? * 1000 + fraction, unit.trim_start_matches(' ')))
}

/// Reads an amount of memory.
///
/// # Errors
/// If it is none; the error's text lists what is valid.
pub fn amount(text: &str) -> Result<Amount, UnitError> {
    let own = || text.to_string();
    if text == "max" {
        return Ok(Amount::Max);
    }
    if text.starts_with('-') && thousandths(&text[1..]).is_some() {
        return Err(UnitError::Negative(own()));
    }
    let (milli, unit) = thousandths(text).ok_or_else(|| UnitError::NoAmount(own()))?;
    let shift = match unit {
        "%" if milli > 100_000 => return Err(UnitError::OverHundred(own())),
        "%" if milli % 100 != 0 || finer_than_thousandths(text) => return Err(UnitError::TooFine(own())),
        "%" => return Ok(Amount::Permille(u16::try_from(milli / 100).unwrap_or(1000))),
        "" if milli == 0 => 0,
        "" => return Err(UnitError::NoUnit(own())),
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => {
            let meant = unit.chars().next().map(|c| c.to_ascii_uppercase()).filter(|c| "KMGT".contains(*c));
            let long = ["b", "ib", "B", "iB"].contains(&unit.get(1..).unwrap_or("-")) || unit.len() == 1;
            return Err(match meant {
                Some(c) if long => UnitError::NearUnit { unit: unit.into(), meant: c.into() },
                _ => UnitError::BadUnit { unit: unit.into() },
            });
        }
    };
    let bytes = (milli << shift) / 1000;
    u64::try_from(bytes).map(Amount::Bytes).map_err(|_| UnitError::TooLarge(own()))
}

/// Are there digits behind the third decimal that aren't 0?
fn finer_than_thousandths(text: &str) -> bool {
    text.split_once('.').is_some_and(|(_, f)| f.bytes().skip(3).any(|b| b.is_ascii_digit() && b != b'0'))
}

/// Reads a duration of up to an hour, in ms.
///
/// # Errors
/// If it is none.
pub fn duration_ms(text: &str) -> Result<u32, UnitError> {
    let bad = || UnitError::NoDuration(text.to_string());
    let (milli, unit) = thousandths(text).ok_or_else(bad)?;
    let factor = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "" => return Err(UnitError::NoDurationUnit(text.to_string())),
        _ => return Err(bad()),
    };
    u32::try_from(milli * factor / 1000).ok().filter(|&ms| ms <= 3_600_000).ok_or_else(bad)
}

/// Writes a duration in the unit that fits it exactly.
pub fn show_duration(ms: u32) -> String {
    match ms {
        ms if ms >= 60_000 && ms % 60_000 == 0 => format!("{}m", ms / 60_000),
        ms if ms >= 1000 && ms % 1000 == 0 => format!("{}s", ms / 1000),
        ms => format!("{ms}ms"),
    }
}

impl fmt::Display for Amount {
    /// As it can be read back: `max`, `75%`, `512M`; bytes that are no whole K are rounded to a tenth of a unit.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Amount::Max => f.pad("max"),
            Amount::Permille(p) if p % 10 == 0 => f.pad(&format!("{}%", p / 10)),
            Amount::Permille(p) => f.pad(&format!("{}.{}%", p / 10, p % 10)),
            Amount::Bytes(bytes) => f.pad(&show_bytes(bytes)),
        }
    }
}

/// Writes bytes in the largest unit that holds at least one of it.
pub fn show_bytes(bytes: u64) -> String {
    let (shift, unit) = match bytes {
        b if b >= 1 << 40 => (40, "T"),
        b if b >= 1 << 30 => (30, "G"),
        b if b >= 1 << 20 => (20, "M"),
        b if b >= 1 << 10 => (10, "K"),
        b => return b.to_string(),
    };
    // An exact smaller unit is better than a rounded larger one (1536M over 1.5G only where 1.5 isn't exact).
    let tenths = u128::from(bytes) * 10;
    if tenths % (1 << shift) == 0 {
        let tenths = tenths >> shift;
        return match tenths % 10 {
            0 => format!("{}{unit}", tenths / 10),
            rest => format!("{}.{rest}{unit}", tenths / 10),
        };
    }
    if bytes.is_multiple_of(1 << (shift - 10)) && shift > 10 && bytes >> (shift - 10) < 100_000 {
        return format!("{}{}", bytes >> (shift - 10), ["K", "M", "G"][(shift as usize - 20) / 10]);
    }
    let tenths = tenths >> shift;
    format!("{}.{}{unit}", tenths / 10, tenths % 10)
}

impl Amount {
    /// In bytes against the session's budget; none for no limit, and for a share of an unknown budget.
    pub fn bytes(self, budget: Option<u64>) -> Option<u64> {
        match self {
            Amount::Bytes(b) => Some(b),
            Amount::Max => None,
            Amount::Permille(p) => {
                budget.map(|b| u64::try_from(u128::from(b) * u128::from(p) / 1000).unwrap_or(b))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn amounts_are_read_in_powers_of_1024() {
        for (text, expected) in [
            ("512M", Amount::Bytes(512 << 20)),
            ("1.5G", Amount::Bytes(3 << 29)),
            ("4K", Amount::Bytes(4096)),
            ("2T", Amount::Bytes(2 << 40)),
            ("0", Amount::Bytes(0)),
            ("max", Amount::Max),
            ("75%", Amount::Permille(750)),
            ("12.5%", Amount::Permille(125)),
            ("100%", Amount::Permille(1000)),
        ] {
            assert_eq!(amount(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_says_what_would_be() {
        for (text, part) in [
            ("512", "write it as `512K`"),
            ("512MB", "did you mean `M`"),
            ("512MiB", "did you mean `M`"),
            ("1g", "did you mean `G`"),
            ("1X", "valid: K, M, G, T"),
            ("-1G", "negative"),
            ("101%", "more than 100%"),
            ("0.05%", "finer than 0.1%"),
            ("99999999T", "more than 64 bits"),
            ("lots", "is no amount of memory"),
            ("", "is no amount of memory"),
            ("1.2.3G", "is no amount of memory"),
            ("9999999999999999999999999999G", "is no amount of memory"),
        ] {
            let error = amount(text).map_err(|e| e.to_string()).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn durations_need_a_unit_and_end_at_an_hour() {
        assert_eq!(duration_ms("30s"), Ok(30_000));
        assert_eq!(duration_ms("500ms"), Ok(500));
        assert_eq!(duration_ms("2m"), Ok(120_000));
        assert_eq!(duration_ms("1.5s"), Ok(1500));
        for bad in ["30", "s", "2h", "30 sec", "-1s", ""] {
            assert!(duration_ms(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_share_of_an_unknown_budget_is_no_limit() {
        assert_eq!(Amount::Permille(750).bytes(Some(4 << 30)), Some(3 << 30));
        assert_eq!(Amount::Permille(750).bytes(None), None);
        assert_eq!(Amount::Permille(1000).bytes(Some(u64::MAX)), Some(u64::MAX));
    }

    proptest! {
        #[test]
        fn whole_units_are_read_back_as_they_were_written(n in 1u64..1023, unit in 1u32..4) {
            let value = Amount::Bytes(n << (unit * 10));
            prop_assert_eq!(amount(&value.to_string()), Ok(value));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,30}", bytes in any::<u64>()) {
            let _ = amount(&text);
            let _ = duration_ms(&text);
            show_bytes(bytes);
        }

        #[test]
        fn durations_are_read_back_as_they_were_written(ms in 1u32..3_600_000) {
            prop_assert_eq!(duration_ms(&show_duration(ms)), Ok(ms));
        }
    }
}
