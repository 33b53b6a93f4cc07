//! The roots this system trusts, and what they make of a chain.

use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::ring;
use rustls::{CertificateError, Error, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::doctor::judge::certificate::Trust;

/// A verifier with this system's roots; `None` where there are none.
#[derive(Clone, Debug)]
pub(in crate::doctor) struct Roots(Option<Arc<WebPkiServerVerifier>>);

impl Roots {
    /// Those of the system, or of the file that `SSL_CERT_FILE` names.
    pub(in crate::doctor) fn load() -> Self {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(ring::default_provider());
        Self(WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider).build().ok())
    }

    /// What a browser with these roots would think of `chain` as that of `name`.
    pub(in crate::doctor) fn judge(
        &self,
        chain: &[CertificateDer<'static>],
        name: &str,
        now: SystemTime,
    ) -> Trust {
        let Some(verifier) = &self.0 else { return Trust::NoRoots };
        let Some((leaf, rest)) = chain.split_first() else {
            return Trust::Other("there is no certificate".to_owned());
        };
        let Ok(name) = ServerName::try_from(name.to_owned()) else { return Trust::WrongName };
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let verdict = verifier.verify_server_cert(leaf, rest, &name, &[], UnixTime::since_unix_epoch(since));
        verdict.map_or_else(|error| trust(&error), |_| Trust::Trusted)
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what has no cure of its own is told in the library's words"
)]
fn trust(error: &Error) -> Trust {
    let Error::InvalidCertificate(fault) = error else { return Trust::Other(error.to_string()) };
    match fault {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Trust::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Trust::NotYetValid,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Trust::WrongName
        }
        // A bad signature: another authority has the name of a root, and not its key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => Trust::UnknownIssuer,
        // What `openssl req -x509` makes: an authority that stands at its own door.
        other if other.to_string().contains("CaUsedAsEndEntity") => Trust::UnknownIssuer,
        other => Trust::Other(other.to_string()),
    }
}
