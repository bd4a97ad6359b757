//! The five kinds of DER values (X.690) that the extensions are made of.

use jiff::Timestamp;
use jiff::tz::Offset;

const OCTET_STRING: u8 = 0x04;
const UTF8_STRING: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;
const SEQUENCE: u8 = 0x30;
/// Context-specific and constructed.
const EXPLICIT: u8 = 0xa0;

pub(super) fn octets(bytes: &[u8]) -> Vec<u8> {
    value(OCTET_STRING, bytes)
}

pub(super) fn text(text: &str) -> Vec<u8> {
    value(UTF8_STRING, text.as_bytes())
}

pub(super) fn utc_time(time: Timestamp) -> Vec<u8> {
    let text = Offset::UTC.to_datetime(time).strftime("%y%m%d%H%M%SZ").to_string();
    value(UTC_TIME, text.as_bytes())
}

pub(super) fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    value(SEQUENCE, &parts.concat())
}

pub(super) fn explicit(tag: u8, inner: &[u8]) -> Vec<u8> {
    value(EXPLICIT | tag, inner)
}

fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut encoded = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short) if short < 0x80 => encoded.push(short),
        _ => {
            let length = content.len().to_be_bytes();
            let zeros = length.iter().take_while(|byte| **byte == 0).count();
            let digits = length.get(zeros..).unwrap_or_default();
            encoded.push(0x80 | u8::try_from(digits.len()).unwrap_or_default());
            encoded.extend_from_slice(digits);
        }
    }
    encoded.extend_from_slice(content);
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_takes_the_fewest_bytes() {
        assert_eq!(text("a"), [0x0c, 1, b'a']);
        assert_eq!(octets(&[0; 127])[..2], [4, 127]);
        assert_eq!(octets(&[0; 128])[..3], [4, 0x81, 128]);
        assert_eq!(octets(&[0; 300])[..4], [4, 0x82, 1, 44]);
        assert_eq!(sequence(&[text("a"), octets(&[])]), [0x30, 5, 0x0c, 1, b'a', 4, 0]);
    }

    #[test]
    fn a_time_is_in_utc_with_two_digits_of_the_year() {
        let time = utc_time("2026-07-01T12:00:00Z".parse().unwrap());
        assert_eq!(time[2..], *b"260701120000Z");
    }
}
