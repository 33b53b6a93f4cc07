//! Parses PEM text (RFC 7468) into certificates and a private key.
//!
//! The error texts of the PEM library repeat the line in question, which may be a whole private key; [`PemError`] never
//! holds one.

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::Hint;

/// Windows editors write it before the first character of a file, so concatenated files have it in the middle.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a text is no usable PEM. All texts are fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// BEGIN, base64 and END are on one line.
    #[error("its line breaks are lost")]
    LineBreaksLost,
    /// The two characters `\n` are in the place of line breaks.
    #[error("its line breaks are lost, \\n is written in their place")]
    LineBreaksEscaped,
    /// The END line is missing.
    #[error("its END line is missing")]
    CutOff,
    /// Characters between BEGIN and END that are not base64.
    #[error("it has characters that are not base64")]
    NotBase64,
    /// UTF-16, as PowerShell writes it.
    #[error("it is UTF-16")]
    Utf16,
    /// DER or PKCS#12.
    #[error("it is binary and not PEM")]
    Binary,
    /// Intact PEM whose contents are not what the label says.
    #[error("its contents are not what its label says")]
    Contents,
}

impl Hint for PemError {
    fn hint(&self) -> String {
        let hint = match self {
            Self::LineBreaksLost | Self::CutOff | Self::NotBase64 | Self::Contents => {
                "copy the file again, whole and unchanged"
            }
            Self::LineBreaksEscaped => "put line breaks back: printf %b \"$(cat FILE)\" > FILE.pem",
            Self::Utf16 => "save it as ASCII or UTF-8",
            Self::Binary => {
                "convert it: openssl x509 or openssl pkey with -inform DER, or openssl pkcs12 -nodes"
            }
        };
        hint.to_owned()
    }
}

/// The text in the form the library expects: no byte-order marks, no white space around a line.
pub(super) fn normalized(text: &[u8]) -> Result<Vec<u8>, PemError> {
    if text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff") {
        return Err(PemError::Utf16);
    }
    // A DER SEQUENCE of more than 127 bytes.
    if matches!(text, [0x30, 0x81..=0x84, ..]) {
        return Err(PemError::Binary);
    }
    let mut clean = Vec::with_capacity(text.len());
    for line in text.split(|byte| matches!(byte, b'\n' | b'\r')) {
        let line = line.trim_ascii_start();
        clean.extend_from_slice(line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line).trim_ascii());
        clean.push(b'\n');
    }
    Ok(clean)
}

/// All certificates of a [`normalized`] text, in order; it may hold none.
pub(super) fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let all = CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>();
    match all.map_err(|error| pem_error(text, &error))? {
        none if none.is_empty() => lost_line_breaks(text).map_or(Ok(none), Err),
        all => Ok(all),
    }
}

/// The first private key of a [`normalized`] text; it may hold none.
pub(super) fn private_key(text: &[u8]) -> Result<Option<PrivateKeyDer<'static>>, PemError> {
    match PrivateKeyDer::from_pem_slice(text) {
        Ok(key) => Ok(Some(key)),
        Err(pem::Error::NoItemsFound) => lost_line_breaks(text).map_or(Ok(None), Err),
        Err(error) => Err(pem_error(text, &error)),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the library may add errors")]
fn pem_error(text: &[u8], error: &pem::Error) -> PemError {
    lost_line_breaks(text).unwrap_or(match error {
        pem::Error::MissingSectionEnd { .. } => PemError::CutOff,
        pem::Error::Base64Decode(_) => PemError::NotBase64,
        _ => PemError::Contents,
    })
}

/// A BEGIN or END that shares its line.
fn lost_line_breaks(text: &[u8]) -> Option<PemError> {
    let line = text.split(|byte| *byte == b'\n').find(|line| {
        let marks = mentions(line, "-----BEGIN ") || mentions(line, "-----END ");
        marks && !(line.starts_with(b"-----") && line.ends_with(b"-----") && dashes(line) == 10)
    })?;
    Some(if mentions(line, "\\n") { PemError::LineBreaksEscaped } else { PemError::LineBreaksLost })
}

fn dashes(line: &[u8]) -> usize {
    line.iter().filter(|byte| **byte == b'-').count()
}

pub(super) fn mentions(text: &[u8], words: &str) -> bool {
    text.windows(words.len()).any(|window| window == words.as_bytes())
}

#[cfg(test)]
mod tests {
    use rcgen::generate_simple_self_signed;

    use super::*;

    fn pair() -> (String, String) {
        let made = generate_simple_self_signed(["box.test".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn key_in(text: &str) -> Result<bool, PemError> {
        private_key(&normalized(text.as_bytes())?).map(|key| key.is_some())
    }

    #[test]
    fn lost_line_breaks_are_told_from_a_missing_end() {
        let (cert, key) = pair();
        assert_eq!(key_in(&key.replace('\n', "")), Err(PemError::LineBreaksLost));
        assert_eq!(key_in(&key.replace('\n', " ")), Err(PemError::LineBreaksLost));
        assert_eq!(key_in(&key.replace('\n', "\\n")), Err(PemError::LineBreaksEscaped));
        assert_eq!(key_in(&format!("TLS_KEY={key}")), Err(PemError::LineBreaksLost));
        assert_eq!(key_in(&key.replace("\n-----END", "-----END")), Err(PemError::LineBreaksLost));
        assert_eq!(key_in(key.split("-----END").next().unwrap()), Err(PemError::CutOff));
        assert_eq!(key_in(&key.replacen("MIG", "M*G", 1)), Err(PemError::NotBase64));
        let one_line = normalized(cert.replace('\n', "").as_bytes()).unwrap();
        assert_eq!(certificates(&one_line), Err(PemError::LineBreaksLost));
    }

    #[test]
    fn byte_order_marks_indentation_and_other_line_ends_are_accepted() {
        let (cert, key) = pair();
        for text in [
            format!("\u{feff}{key}"),
            format!("\u{feff}{cert}\u{feff}{key}"),
            key.replace('\n', "\r\n"),
            key.replace('\n', "\r"),
            key.replace('\n', "\n    "),
            format!("  {key}"),
            format!("comment -- with dashes\n{key}"),
        ] {
            assert_eq!(key_in(&text), Ok(true), "{text}");
        }
        let twice = normalized(format!("\u{feff}{cert}\u{feff}{cert}").as_bytes()).unwrap();
        assert_eq!(certificates(&twice).unwrap().len(), 2);
    }

    #[test]
    fn other_encodings_of_a_key_have_their_own_error() {
        let (_, key) = pair();
        let utf16: Vec<u8> =
            [0xfeff].into_iter().chain(key.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        assert_eq!(normalized(&utf16), Err(PemError::Utf16));
        let der = private_key(key.as_bytes()).unwrap().unwrap();
        assert_eq!(normalized(der.secret_der()), Err(PemError::Binary));
        assert_eq!(key_in("hello"), Ok(false));
    }
}
