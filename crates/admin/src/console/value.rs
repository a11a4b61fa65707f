//! The types of the console's columns, and values in text and in binary.

use std::borrow::Cow;
use std::error::Error;
use std::time::{Duration, SystemTime};

use bytes::{BufMut, BytesMut};
use pgwire::types::ToSqlText;
use pgwire::types::format::FormatOptions;
use postgres_types::{IsNull, ToSql, Type, to_sql_checked};
use time::OffsetDateTime;

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `boolean`.
    Bool,
    /// `integer`.
    Int4,
    /// `bigint`.
    Int8,
    /// `numeric`.
    Numeric,
    /// `oid`.
    Oid,
    /// `text`.
    Text,
}

/// A value, whose column says in which type it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// True or false.
    Bool(bool),
    /// NULL.
    Null,
    /// A whole number; too large a one is sent as the largest of its type.
    Number(u64),
    /// A text.
    Text(Cow<'static, str>),
}

impl Kind {
    /// Postgres' type.
    pub(crate) fn to_type(self) -> Type {
        match self {
            Self::Bool => Type::BOOL,
            Self::Int4 => Type::INT4,
            Self::Int8 => Type::INT8,
            Self::Numeric => Type::NUMERIC,
            Self::Oid => Type::OID,
            Self::Text => Type::TEXT,
        }
    }

    /// Bytes of a value, −1 if they differ: `pg_type.typlen`.
    pub(crate) fn size(self) -> i16 {
        match self {
            Self::Bool => 1,
            Self::Int4 | Self::Oid => 4,
            Self::Int8 => 8,
            Self::Numeric | Self::Text => -1,
        }
    }
}

impl Value {
    /// The moment in UTC, as PgBouncer writes moments; NULL if it is in no year of four digits.
    pub(crate) fn moment(time: SystemTime) -> Self {
        let passed = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let seconds = i64::try_from(passed).unwrap_or(i64::MAX);
        let Ok(it) = OffsetDateTime::from_unix_timestamp(seconds) else { return Self::Null };
        let (year, month, day) = (it.year(), u8::from(it.month()), it.day());
        let (hour, minute, second) = (it.hour(), it.minute(), it.second());
        format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC").into()
    }

    /// Whole milliseconds.
    pub(crate) fn milliseconds(time: Option<Duration>) -> Self {
        time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)).into()
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

type Encoded = Result<IsNull, Box<dyn Error + Sync + Send>>;

/// A value in a column of another type is our mistake, and an error for whoever asked.
fn mismatch(value: &Value, ty: &Type) -> Box<dyn Error + Sync + Send> {
    let kind = match value {
        Value::Bool(_) => "a truth value",
        Value::Null => "null",
        Value::Number(_) => "a number",
        Value::Text(_) => "a text",
    };
    format!("{kind} in a column of type {ty}").into()
}

impl ToSql for Value {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Encoded {
        match (self, ty) {
            (Self::Null, _) => return Ok(IsNull::Yes),
            (Self::Bool(value), &Type::BOOL) => out.put_u8(u8::from(*value)),
            (Self::Number(number), &Type::INT4) => {
                out.put_i32(i32::try_from(*number).unwrap_or(i32::MAX));
            }
            (Self::Number(number), &Type::INT8) => {
                out.put_i64(i64::try_from(*number).unwrap_or(i64::MAX));
            }
            (Self::Number(number), &Type::OID) => {
                out.put_u32(u32::try_from(*number).unwrap_or(u32::MAX));
            }
            (Self::Number(number), &Type::NUMERIC) => put_numeric(*number, out),
            (Self::Text(text), &Type::TEXT) => out.put_slice(&without_zeros(text)),
            _ => return Err(mismatch(self, ty)),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl ToSqlText for Value {
    fn to_sql_text(&self, ty: &Type, out: &mut BytesMut, _: &FormatOptions) -> Encoded {
        let number = match (self, ty) {
            (Self::Null, _) => return Ok(IsNull::Yes),
            (Self::Bool(value), &Type::BOOL) => {
                out.put_u8(if *value { b't' } else { b'f' });
                return Ok(IsNull::No);
            }
            (Self::Text(text), &Type::TEXT) => {
                out.put_slice(&without_zeros(text));
                return Ok(IsNull::No);
            }
            (Self::Number(number), &Type::INT4) => (*number).min(i32::MAX.unsigned_abs().into()),
            (Self::Number(number), &Type::INT8) => (*number).min(i64::MAX.unsigned_abs()),
            (Self::Number(number), &Type::OID) => (*number).min(u32::MAX.into()),
            (Self::Number(number), &Type::NUMERIC) => *number,
            _ => return Err(mismatch(self, ty)),
        };
        out.put_slice(number.to_string().as_bytes());
        Ok(IsNull::No)
    }
}

/// A text of Postgres has no zero byte.
fn without_zeros(text: &str) -> Cow<'_, [u8]> {
    match text.contains('\0') {
        false => Cow::Borrowed(text.as_bytes()),
        true => Cow::Owned(text.bytes().filter(|&byte| byte != 0).collect()),
    }
}

/// Count of digits to the base of 10,000, weight of the first, sign, digits behind the point;
/// then the digits, with zeros at the end left out (PostgreSQL, `numeric_send`).
fn put_numeric(number: u64, out: &mut BytesMut) {
    const BASE: u64 = 10_000;
    // 10,000⁵ > 2⁶⁴: five digits are always enough.
    let mut digits = [0_i16; 5];
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        *digit = i16::try_from(rest % BASE).unwrap_or(0);
        rest /= BASE;
    }
    let leading = digits.iter().take_while(|&&digit| digit == 0).count();
    let significant = digits.get(leading..).unwrap_or_default();
    let kept = significant.iter().rposition(|&digit| digit != 0).map_or(0, |last| last + 1);
    out.put_i16(i16::try_from(kept).unwrap_or(0));
    out.put_i16(i16::try_from(significant.len().saturating_sub(1)).unwrap_or(0));
    out.put_i16(0);
    out.put_i16(0);
    for &digit in significant.iter().take(kept) {
        out.put_i16(digit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn binary(value: &Value, kind: Kind) -> Vec<u8> {
        let mut out = BytesMut::new();
        value.to_sql(&kind.to_type(), &mut out).unwrap();
        out.to_vec()
    }

    fn text(value: &Value, kind: Kind) -> String {
        let mut out = BytesMut::new();
        value.to_sql_text(&kind.to_type(), &mut out, &FormatOptions::default()).unwrap();
        String::from_utf8(out.to_vec()).unwrap()
    }

    /// As a driver reads it.
    fn read_numeric(bytes: &[u8]) -> u128 {
        let words: Vec<i16> =
            bytes.chunks(2).map(|pair| i16::from_be_bytes([pair[0], pair[1]])).collect();
        assert_eq!((words[0] as usize, words[2], words[3]), (words.len() - 4, 0, 0));
        let digits = words[4..].iter().chain(std::iter::repeat(&0));
        let count = usize::try_from(words[1]).unwrap() + 1;
        digits.take(count).fold(0, |number, &digit| number * 10_000 + u128::from(digit as u16))
    }

    #[test]
    fn moments_are_written_as_pgbouncer_writes_them() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(Value::moment(at(0)), "1970-01-01 00:00:00 UTC".into());
        assert_eq!(Value::moment(at(1_709_210_096)), "2024-02-29 12:34:56 UTC".into());
        assert_eq!(Value::moment(at(400_000_000_000)), Value::Null);
    }

    #[test]
    fn a_number_too_large_is_the_largest_of_its_type() {
        let value = Value::Number(u64::MAX);
        assert_eq!(text(&value, Kind::Int4), i32::MAX.to_string());
        assert_eq!(binary(&value, Kind::Int4), i32::MAX.to_be_bytes());
        assert_eq!(text(&value, Kind::Int8), i64::MAX.to_string());
        assert_eq!(binary(&value, Kind::Int8), i64::MAX.to_be_bytes());
        assert_eq!(text(&value, Kind::Oid), u32::MAX.to_string());
        assert_eq!(text(&value, Kind::Numeric), u64::MAX.to_string());
    }

    #[test]
    fn a_value_of_the_wrong_type_is_an_error_and_no_panic() {
        let mut out = BytesMut::new();
        assert!(Value::Number(1).to_sql(&Type::TEXT, &mut out).is_err());
        assert!(Value::from("x").to_sql(&Type::INT4, &mut out).is_err());
        let options = FormatOptions::default();
        assert!(Value::Bool(true).to_sql_text(&Type::TEXT, &mut out, &options).is_err());
        assert!(matches!(Value::Null.to_sql(&Type::INT4, &mut out), Ok(IsNull::Yes)));
    }

    proptest! {
        #[test]
        fn a_numeric_reads_back(number in any::<u64>(), shift in 0_u32..64) {
            for number in [number >> shift, (number >> shift) / 10_000 * 10_000, 0] {
                let bytes = binary(&Value::Number(number), Kind::Numeric);
                prop_assert_eq!(read_numeric(&bytes), u128::from(number));
            }
        }
    }
}
