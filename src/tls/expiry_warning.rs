//! Says what is wrong with the certificate in force, at the start and once a day.

use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use super::active_certificate::ActiveCertificate;
use crate::error::Hint as _;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Warns for ever; `subject` is how the certificate is called, `domain` the name it should be for.
pub(super) async fn warn_of_expiry(in_force: Arc<ActiveCertificate>, subject: String, domain: String) {
    loop {
        let summary = in_force.summary();
        for warning in summary.leaf.warnings(&subject, &domain, crate::clock::now().unix) {
            warn!("{}", warning.with_hint());
        }
        drop(summary);
        tokio::time::sleep(DAY).await;
    }
}
