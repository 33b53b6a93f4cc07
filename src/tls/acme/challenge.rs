//! What proves to an authority that a name is ours: a certificate signed by itself that holds a digest
//! of what only the two know, and is shown to whoever speaks `acme-tls/1` (RFC 8737 §3).

use std::sync::Arc;

use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::problem::AcmeError;
use crate::tls::active_certificate::ACME_TLS;
use crate::tls::key_pair::server_config;

/// Bytes of a SHA-256 digest.
const DIGEST: usize = 32;

/// The configuration that shows `digest` for `domain`.
pub(super) fn config(domain: &str, digest: &[u8]) -> Result<Arc<ServerConfig>, AcmeError> {
    if digest.len() != DIGEST {
        return Err(AcmeError::Library("a digest of another length".to_owned()));
    }
    let pair = certificate(domain, digest).map_err(|fault| AcmeError::Library(fault.to_string()))?;
    let config = server_config(pair, &[ACME_TLS]).map_err(|fault| AcmeError::Library(fault.to_string()))?;
    Ok(Arc::new(config))
}

fn certificate(domain: &str, digest: &[u8]) -> Result<CertifiedKey, Box<dyn std::error::Error>> {
    let mut params = CertificateParams::new([domain.to_owned()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Ok(CertifiedKey::new(vec![certificate.der().clone()], ring::sign::any_supported_type(&key)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_shown_to_nobody_but_authorities() {
        assert_eq!(config("box.test", &[7; DIGEST]).unwrap().alpn_protocols, [b"acme-tls/1"]);
        assert!(config("box.test", &[7; 31]).is_err());
    }
}
