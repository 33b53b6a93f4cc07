//! The kind of a private key that TLS cannot use here, for the person who made it. Pure.

use rustls_pki_types::PrivateKeyDer;

/// Kinds of key by the DER of their object identifier, as it stands in PKCS#8 (RFC 5208) and SEC1 (RFC 5915).
const KINDS: [(&[u8], &str); 14] = [
    (b"\x06\x05\x2b\x81\x04\x00\x23", "an EC key on P-521"),
    (b"\x06\x05\x2b\x81\x04\x00\x0a", "an EC key on secp256k1"),
    (b"\x06\x05\x2b\x81\x04\x00\x21", "an EC key on P-224"),
    (b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x01", "an EC key on P-192"),
    (b"\x06\x09\x2b\x24\x03\x03\x02\x08\x01\x01", "an EC key on a Brainpool curve"),
    (b"\x06\x08\x2a\x81\x1c\xcf\x55\x01\x82\x2d", "an SM2 key"),
    (b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a", "an RSA-PSS key"),
    (b"\x06\x07\x2a\x86\x48\xce\x38\x04\x01", "a DSA key"),
    (b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x03\x01", "a Diffie-Hellman key"),
    (b"\x06\x03\x2b\x65\x71", "an Ed448 key"),
    (b"\x06\x03\x2b\x65\x6e", "an X25519 key"),
    (b"\x06\x03\x2b\x65\x6f", "an X448 key"),
    (b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03", "a post-quantum signature key"),
    // Last: in PKCS#8 all EC keys have it, and one whose curve is written out has no other.
    (b"\x06\x07\x2a\x86\x48\xce\x3d\x01\x01", "an EC key whose curve has no name"),
];

const P256: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
const P384: &[u8] = b"\x06\x05\x2b\x81\x04\x00\x22";
const EC_PUBLIC_KEY: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01";
const ED25519: &[u8] = b"\x06\x03\x2b\x65\x70";

/// Where the object identifiers of a PKCS#8 key stand, before the key itself.
const ALGORITHM: usize = 40;

/// Labels of private keys that are not DER of a form that TLS knows.
const LABELS: [(&str, &str); 3] = [
    ("BEGIN OPENSSH PRIVATE KEY", "a key for SSH"),
    ("BEGIN DSA PRIVATE KEY", "a DSA key"),
    ("BEGIN PGP PRIVATE KEY", "a key for PGP"),
];

/// Whether a private key of an unusable kind stands under a label of its own.
pub(super) fn by_label(text: &[u8]) -> Option<String> {
    let found = LABELS.into_iter().find(|(label, _)| super::pem::mentions(text, label));
    found.map(|(_, kind)| kind.to_owned())
}

/// What `key` is, if that is why it cannot be used.
pub(super) fn unusable(key: &PrivateKeyDer<'_>) -> Option<String> {
    match key {
        PrivateKeyDer::Pkcs1(rsa) => rsa_kind(rsa.secret_pkcs1_der()),
        PrivateKeyDer::Sec1(ec) => ec_kind(ec.secret_sec1_der()),
        PrivateKeyDer::Pkcs8(any) => pkcs8_kind(any.secret_pkcs8_der()),
        _ => None,
    }
}

fn pkcs8_kind(der: &[u8]) -> Option<String> {
    let head = &der[..der.len().min(ALGORITHM)];
    if holds(head, EC_PUBLIC_KEY) {
        return ec_kind(der);
    }
    if holds(head, ED25519) {
        return None;
    }
    named(head).map(str::to_owned).or_else(|| {
        // PrivateKeyInfo: version, algorithm, and the PKCS#1 key in an OCTET STRING.
        let (_, inside, _) = element(der)?;
        let (_, _, rest) = element(inside)?;
        let (_, _, rest) = element(rest)?;
        let (_, key, _) = element(rest)?;
        rsa_kind(key)
    })
}

fn ec_kind(der: &[u8]) -> Option<String> {
    let usable = holds(der, P256) || holds(der, P384);
    // A curve that is written out may name the field of P-256 without being P-256 to anybody.
    named(der).filter(|_| !usable).map(str::to_owned)
}

/// RSAPrivateKey (RFC 8017 A.1.2): version, modulus, public exponent, …
fn rsa_kind(der: &[u8]) -> Option<String> {
    let (_, inside, _) = element(der)?;
    let (_, _, rest) = element(inside)?;
    let (_, modulus, _) = element(rest)?;
    let first = modulus.iter().position(|byte| *byte != 0)?;
    let bits = (modulus.len() - first) * 8 - modulus[first].leading_zeros() as usize;
    (!(2048..=4096).contains(&bits)).then(|| format!("an RSA key of {bits} bits"))
}

fn named(der: &[u8]) -> Option<&'static str> {
    KINDS.into_iter().find(|(identifier, _)| holds(der, identifier)).map(|(_, kind)| kind)
}

fn holds(der: &[u8], part: &[u8]) -> bool {
    der.windows(part.len()).any(|window| window == part)
}

/// Tag, contents and what follows, of the first element.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, length], rest) = der.split_first_chunk()?;
    let long = usize::from(length & 0x7f);
    let (length, rest) = match length {
        0..0x80 => (usize::from(length), rest),
        _ if long > 4 => return None,
        _ => {
            let (bytes, rest) = rest.split_at_checked(long)?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    Some((tag, contents, rest))
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::PrivatePkcs1KeyDer;
    use rustls_pki_types::pem::PemObject as _;

    use super::*;

    /// Made with `openssl genpkey`, `openssl ecparam -genkey` and `openssl dsaparam -genkey`, for this test alone.
    const KEYS: &str = include_str!("../../tests/fixtures/unusable-keys.pem");

    #[test]
    fn keys_that_tls_cannot_use_are_named_by_their_kind() {
        let keys = KEYS.split_inclusive("PRIVATE KEY-----\n").collect::<Vec<_>>();
        let texts = keys.chunks(2).map(<[_]>::concat);
        let mut named = 0;
        for text in texts {
            let (kind, _) = text.trim_start().split_once('\n').unwrap();
            let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).unwrap();
            assert!(rustls::crypto::ring::sign::any_supported_type(&key).is_err(), "{kind}");
            assert_eq!(unusable(&key).as_deref(), Some(kind));
            named += 1;
        }
        assert_eq!(named, 8);
    }

    #[test]
    fn a_key_is_named_by_its_size_where_that_is_why() {
        let rsa = |bits: usize| {
            let modulus = vec![0x80; bits / 8];
            let length = |length: usize| [&[0x82][..], &(length as u16).to_be_bytes()].concat();
            let integer = [&[2][..], &length(modulus.len() + 1), &[0], &modulus].concat();
            let inside = [&[2, 1, 0][..], &integer].concat();
            let der = [&[0x30][..], &length(inside.len()), &inside].concat();
            unusable(&PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(der)))
        };
        assert_eq!(rsa(8192).as_deref(), Some("an RSA key of 8192 bits"));
        assert_eq!(rsa(1024).as_deref(), Some("an RSA key of 1024 bits"));
        assert_eq!(rsa(2048), None);
    }

    #[test]
    fn nonsense_in_place_of_a_key_has_no_kind() {
        for der in [&[][..], &[0x30], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &[0x30, 0x80], &[0x30, 2, 2, 9]]
        {
            assert_eq!(pkcs8_kind(der), None, "{der:?}");
            assert_eq!(rsa_kind(der), None, "{der:?}");
        }
    }
}
