//! Who asks the authority: with the account that is kept or a new one, for one certificate, which is
//! looked at before anybody is served with it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use instant_acme::{Account, NewAccount};
use tracing::info;

use super::https::Https;
use super::order::{Issued, issue};
use super::problem::AcmeError;
use super::store::{CertStore, StoredAccount};
use crate::error::Hint as _;
use crate::task::run_blocking;
use crate::tls::ActiveCertificate;
use crate::tls::key_pair::{Loaded, Texts};

/// For whom a certificate is asked, and of whom.
#[derive(Debug)]
pub(super) struct AcmeClient {
    pub(super) domain: String,
    pub(super) email: String,
    pub(super) directory: String,
    pub(super) kept: CertStore,
    pub(super) in_force: Arc<ActiveCertificate>,
}

impl AcmeClient {
    /// A certificate that can be served, and as it is to be kept; else why not, and what the authority
    /// asked us to wait.
    pub(super) async fn obtain(&self) -> Result<(Loaded, Issued), (AcmeError, Option<Duration>)> {
        let https = run_blocking(Https::with_roots_of_the_system).await.map_err(|error| (error, None))?;
        let outcome = self.obtain_over(&https).await;
        outcome.map_err(|error| (error, https.asked_to_wait()))
    }

    async fn obtain_over(&self, https: &Https) -> Result<(Loaded, Issued), AcmeError> {
        info!(domain = self.domain, directory = self.directory, "asking for a certificate");
        let issued = match self.order(https).await {
            Err(AcmeError::Refused(complaint)) if complaint.is_unknown_account() => {
                self.kept.forget_account().await;
                self.order(https).await?
            }
            outcome => outcome?,
        };
        Ok((self.examine(&issued)?, issued))
    }

    async fn order(&self, https: &Https) -> Result<Issued, AcmeError> {
        issue(&self.account(https).await?, &self.domain, &self.in_force).await
    }

    /// The account that is kept, or a new one. The terms of the authority are agreed to by setting
    /// `acme-email`; docs/operations.md says so.
    async fn account(&self, https: &Https) -> Result<Account, AcmeError> {
        let builder = Account::builder_with_http(Box::new(https.clone()));
        let contact = format!("mailto:{}", self.email);
        if let Some(kept) = self.kept.account().await? {
            let account = builder.from_credentials(kept.credentials()?).await?;
            if kept.email != self.email {
                account.update_contacts(&[&contact]).await?;
                self.kept.keep_account(&StoredAccount { email: self.email.clone(), ..kept }).await?;
            }
            return Ok(account);
        }
        let wish =
            NewAccount { contact: &[&contact], terms_of_service_agreed: true, only_return_existing: false };
        let (account, credentials) = builder.create(&wish, self.directory.clone(), None).await?;
        info!(directory = self.directory, "a new account with the authority");
        self.kept.keep_account(&StoredAccount::new(&self.email, &credentials)?).await?;
        Ok(account)
    }

    fn examine(&self, issued: &Issued) -> Result<Loaded, AcmeError> {
        let useless = |fault: String| AcmeError::Unusable(fault);
        let loaded = Texts::new(&issued.chain, &issued.key)
            .load(Path::new("(issued)"), Path::new("(issued)"))
            .map_err(|error| useless(error.with_hint()))?;
        if loaded.leaf.is_over(crate::clock::now().unix) {
            return Err(useless("it has run out already; check this host's clock".to_owned()));
        }
        if !loaded.leaf.covers(&self.domain) {
            return Err(useless("it is for another name; choose another acme-directory".to_owned()));
        }
        Ok(loaded)
    }
}
