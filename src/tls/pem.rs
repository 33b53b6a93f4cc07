//! PEM text (RFC 7468) into certificates and a private key, or what is wrong with it. Pure.
//!
//! The parser's own error texts repeat the line they stumble over, which may be a whole private key, so
//! none of them is passed on.

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Written by Windows editors before the first character of a file, and in the middle of files that
/// were concatenated.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a text is no usable PEM. `fault` and `cure` are fixed texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// BEGIN, base64 and END stand on one line.
    LineBreaksLost,
    /// The two characters `\n` stand where a line should end.
    LineBreaksEscaped,
    /// The END line is missing.
    CutOff,
    /// Characters between BEGIN and END that are not base64.
    NotBase64,
    /// UTF-16, as PowerShell writes it.
    Utf16,
    /// DER or PKCS#12.
    Binary,
    /// Sound PEM whose contents are not what the label says.
    Contents,
}

impl Damage {
    pub(super) fn fault(self) -> &'static str {
        match self {
            Self::LineBreaksLost => "its line breaks are lost",
            Self::LineBreaksEscaped => "its line breaks are lost, \\n is written in their place",
            Self::CutOff => "its END line is missing",
            Self::NotBase64 => "there are characters in it that are not base64",
            Self::Utf16 => "it is UTF-16",
            Self::Binary => "it is binary and not PEM",
            Self::Contents => "its contents are not what its label says",
        }
    }

    pub(super) fn cure(self) -> &'static str {
        match self {
            Self::LineBreaksLost | Self::CutOff | Self::NotBase64 | Self::Contents => {
                "copy the file again, whole and unchanged"
            }
            Self::LineBreaksEscaped => "put line breaks back: printf %b \"$(cat FILE)\" > FILE.pem",
            Self::Utf16 => "save it as ASCII or UTF-8",
            Self::Binary => {
                "convert it: openssl x509 or openssl pkey with -inform DER, or openssl pkcs12 -nodes"
            }
        }
    }
}

/// The text as the parser wants it: no byte-order marks, no space around a line.
pub(super) fn normalized(text: &[u8]) -> Result<Vec<u8>, Damage> {
    if text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff") {
        return Err(Damage::Utf16);
    }
    // A DER SEQUENCE of more than 127 bytes.
    if matches!(text, [0x30, 0x81..=0x84, ..]) {
        return Err(Damage::Binary);
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
pub(super) fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, Damage> {
    let all = CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>();
    match all.map_err(|fault| damage(text, &fault))? {
        none if none.is_empty() => lost_line_breaks(text).map_or(Ok(none), Err),
        all => Ok(all),
    }
}

/// The first private key of a [`normalized`] text; it may hold none.
pub(super) fn private_key(text: &[u8]) -> Result<Option<PrivateKeyDer<'static>>, Damage> {
    match PrivateKeyDer::from_pem_slice(text) {
        Ok(key) => Ok(Some(key)),
        Err(pem::Error::NoItemsFound) => lost_line_breaks(text).map_or(Ok(None), Err),
        Err(fault) => Err(damage(text, &fault)),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the library may learn further errors")]
fn damage(text: &[u8], fault: &pem::Error) -> Damage {
    lost_line_breaks(text).unwrap_or(match fault {
        pem::Error::MissingSectionEnd { .. } => Damage::CutOff,
        pem::Error::Base64Decode(_) => Damage::NotBase64,
        _ => Damage::Contents,
    })
}

/// A BEGIN or END that does not have its line to itself.
fn lost_line_breaks(text: &[u8]) -> Option<Damage> {
    let line = text.split(|byte| *byte == b'\n').find(|line| {
        let marks = mentions(line, "-----BEGIN ") || mentions(line, "-----END ");
        marks && !(line.starts_with(b"-----") && line.ends_with(b"-----") && dashes(line) == 10)
    })?;
    Some(if mentions(line, "\\n") { Damage::LineBreaksEscaped } else { Damage::LineBreaksLost })
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

    fn key_in(text: &str) -> Result<bool, Damage> {
        private_key(&normalized(text.as_bytes())?).map(|key| key.is_some())
    }

    #[test]
    fn a_text_whose_line_breaks_are_lost_is_told_from_one_cut_off() {
        let (cert, key) = pair();
        assert_eq!(key_in(&key.replace('\n', "")), Err(Damage::LineBreaksLost));
        assert_eq!(key_in(&key.replace('\n', " ")), Err(Damage::LineBreaksLost));
        assert_eq!(key_in(&key.replace('\n', "\\n")), Err(Damage::LineBreaksEscaped));
        assert_eq!(key_in(&format!("TLS_KEY={key}")), Err(Damage::LineBreaksLost));
        assert_eq!(key_in(&key.replace("\n-----END", "-----END")), Err(Damage::LineBreaksLost));
        assert_eq!(key_in(key.split("-----END").next().unwrap()), Err(Damage::CutOff));
        assert_eq!(key_in(&key.replacen("MIG", "M*G", 1)), Err(Damage::NotBase64));
        let one_line = normalized(cert.replace('\n', "").as_bytes()).unwrap();
        assert_eq!(certificates(&one_line), Err(Damage::LineBreaksLost));
    }

    #[test]
    fn byte_order_marks_indentation_and_foreign_line_ends_do_no_harm() {
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
    fn other_encodings_of_a_key_are_named() {
        let (_, key) = pair();
        let utf16: Vec<u8> =
            [0xfeff].into_iter().chain(key.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        assert_eq!(normalized(&utf16), Err(Damage::Utf16));
        let der = private_key(key.as_bytes()).unwrap().unwrap();
        assert_eq!(normalized(der.secret_der()), Err(Damage::Binary));
        assert_eq!(key_in("hello"), Ok(false));
    }
}
