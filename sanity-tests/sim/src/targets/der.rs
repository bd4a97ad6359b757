//! Just enough DER to read what EFS's clients put into their certificates: ITU-T X.690.

use std::str;

/// What is left to read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Der<'a>(&'a [u8]);

/// `UTF8String`.
const TEXT: u8 = 0x0c;
/// `OCTET STRING`.
const OCTETS: u8 = 0x04;
/// `UTCTime`.
const UTC_TIME: u8 = 0x17;
/// `SEQUENCE`.
const SEQUENCE: u8 = 0x30;

impl<'a> Der<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The next element's content, if it has that tag.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, rest) = self.0.split_first()?;
        let (first, mut rest) = rest.split_first()?;
        let mut length = usize::from(*first);
        if *first >= 0x80 {
            let (digits, after) = rest.split_at_checked(usize::from(*first & 0x7f))?;
            if !(1..=3).contains(&digits.len()) || digits.first() == Some(&0) {
                return None;
            }
            length = digits.iter().fold(0, |all, digit| all << 8 | usize::from(*digit));
            if length < 0x80 {
                return None;
            }
            rest = after;
        }
        let (content, after) = rest.split_at_checked(length)?;
        if *found != tag {
            return None;
        }
        self.0 = after;
        Some(content)
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        str::from_utf8(self.take(TEXT)?).ok()
    }

    pub(super) fn octets(&mut self) -> Option<&'a [u8]> {
        self.take(OCTETS)
    }

    pub(super) fn utc_time(&mut self) -> Option<&'a str> {
        str::from_utf8(self.take(UTC_TIME)?).ok()
    }

    pub(super) fn sequence(&mut self) -> Option<Self> {
        self.take(SEQUENCE).map(Self)
    }

    /// An element with an explicit context tag, if it comes next.
    pub(super) fn explicit(&mut self, number: u8) -> Option<Self> {
        self.take(0xa0 | number).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn elements_are_read_in_order_and_only_with_their_tag() {
        let mut der = Der::new(&[0x30, 0x07, 0x0c, 0x01, b'a', 0xa0, 0x02, 0x04, 0x00]);
        let mut inner = der.sequence().unwrap();
        assert!(der.is_empty());
        assert_eq!(inner.octets(), None);
        assert_eq!(inner.text(), Some("a"));
        assert_eq!(inner.explicit(0).unwrap().octets(), Some(&[][..]));
    }

    #[test]
    fn long_lengths_are_read_and_needlessly_long_ones_refused() {
        let mut long = vec![0x0c, 0x81, 0x80];
        long.extend([b'x'; 0x80]);
        assert_eq!(Der::new(&long).text().map(str::len), Some(0x80));
        assert_eq!(Der::new(&[0x0c, 0x81, 0x01, b'x']).text(), None);
        assert_eq!(Der::new(&[0x0c, 0x05, b'x']).text(), None);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut der = Der::new(&bytes);
            let _ = (der.text(), der.octets(), der.sequence().map(|mut inner| inner.utc_time()));
        }
    }
}
