//! Gets one certificate from the authority: account, order, TLS-ALPN-01 challenge (RFC 8555 §7, RFC 8737), also for an
//! address (RFC 8738).
//!
//! HTTP goes through our own client: that of the ACME library does not expose `Retry-After` of an error response, and
//! adds HTTP/2.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use axum::http::{HeaderMap, Request, header};
use bytes::Bytes;
use instant_acme::{
    Account, AuthorizationStatus, BodyWrapper, BytesResponse, ChallengeType, HttpClient, Identifier,
    NewAccount, NewOrder, Order, OrderStatus, Problem, RetryPolicy,
};
use rustls::ClientConfig;
use tokio::time::timeout;
use tracing::info;
use webrtc_box_cluster::ClusterHandle;

use super::error::{AcmeError, AcmeProblem};
use super::store::{CertStore, StoredAccount};
use crate::clock;
use crate::error::Hint as _;
use crate::net::https_client::{self, HttpConnection};
use crate::task::run_blocking;
use crate::tls::active_certificate::ActiveCertificate;
use crate::tls::challenges::{ChallengeGuard, SHARED_LIFETIME};
use crate::tls::key_pair::{LoadedCertificate, PemPair};

/// For one request, its connection included.
const REQUEST_LIMIT: Duration = Duration::from_secs(45);
/// Bytes of a response body; certificate chains have a tenth of it.
const MAX_RESPONSE: usize = 256 << 10;

/// How long the authority may take for one step; `Retry-After` counts within it.
const STEP_LIMIT: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(500))
    .backoff(1.5)
    .timeout(Duration::from_secs(90));

/// The profile of Let's Encrypt that addresses need: certificates for six days.
const SHORT_LIVED: &str = "shortlived";

/// What certificate to get, and from which authority.
#[derive(Debug)]
pub(super) struct AcmeClient {
    pub(super) domain: String,
    /// The name of this server in its cluster, in the certificate too.
    pub(super) node_name: Option<String>,
    /// Shares the challenge for `domain` with the other servers.
    pub(super) cluster: Option<ClusterHandle>,
    pub(super) email: String,
    pub(super) directory: String,
    pub(super) store: CertStore,
    pub(super) active: Arc<ActiveCertificate>,
}

/// A certificate chain and its key, both PEM. Has no `Debug`: it holds a key.
pub(super) struct Issued {
    pub(super) chain: String,
    pub(super) key: String,
}

impl AcmeClient {
    /// A certificate that works, loaded and as it is to be stored; otherwise the error and the `Retry-After` of the
    /// authority.
    pub(super) async fn obtain(&self) -> Result<(LoadedCertificate, Issued), (AcmeError, Option<Duration>)> {
        let http = run_blocking(AcmeHttp::new).await.map_err(|error| (error, None))?;
        let outcome = self.obtain_over(&http).await;
        outcome.map_err(|error| (error, http.take_retry_after()))
    }

    async fn obtain_over(&self, http: &AcmeHttp) -> Result<(LoadedCertificate, Issued), AcmeError> {
        let names = self.names().collect::<Vec<_>>().join(", ");
        info!(names, directory = self.directory, "requesting a certificate");
        let issued = match self.order(http).await {
            Err(AcmeError::Refused(problem)) if problem.is_unknown_account() => {
                self.store.delete_account().await;
                self.order(http).await?
            }
            outcome => outcome?,
        };
        Ok((self.load(&issued)?, issued))
    }

    /// The names of the certificate; the first one is the domain.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.domain.as_str()).chain(self.node_name.as_deref())
    }

    async fn order(&self, http: &AcmeHttp) -> Result<Issued, AcmeError> {
        let account = self.account(http).await?;
        let names: Vec<_> = self.names().map(identifier).collect();
        let mut request = NewOrder::new(&names);
        let is_address = names.iter().any(|name| matches!(name, Identifier::Ip(_)));
        if is_address && account.profiles().any(|profile| profile.name == SHORT_LIVED) {
            request = request.profile(SHORT_LIVED);
        }
        let mut order = account.new_order(&request).await?;
        let challenges = self.answer_challenges(&mut order).await?;
        let outcome = order.poll_ready(&STEP_LIMIT).await;
        drop(challenges);
        match outcome {
            Ok(OrderStatus::Ready) => {}
            Ok(_) => return Err(failed_challenge(&mut order, None).await),
            Err(instant_acme::Error::Api(problem)) => {
                return Err(failed_challenge(&mut order, Some(problem)).await);
            }
            Err(error) => return Err(error.into()),
        }
        let key = order.finalize().await?;
        let chain = order.poll_certificate(&STEP_LIMIT).await?;
        Ok(Issued { chain, key })
    }

    /// The stored account, or a new one. Setting `acme-email` accepts the terms of the authority
    /// (docs/operations.md).
    async fn account(&self, http: &AcmeHttp) -> Result<Account, AcmeError> {
        let builder = Account::builder_with_http(Box::new(http.clone()));
        let contact = format!("mailto:{}", self.email);
        if let Some(stored) = self.store.account().await? {
            let account = builder.from_credentials(stored.credentials()?).await?;
            if stored.email != self.email {
                account.update_contacts(&[&contact]).await?;
                self.store.save_account(&StoredAccount { email: self.email.clone(), ..stored }).await?;
            }
            return Ok(account);
        }
        let request =
            NewAccount { contact: &[&contact], terms_of_service_agreed: true, only_return_existing: false };
        let (account, credentials) = builder.create(&request, self.directory.clone(), None).await?;
        info!(directory = self.directory, "new ACME account created");
        self.store.save_account(&StoredAccount::new(&self.email, &credentials)?).await?;
        Ok(account)
    }

    /// Answers the challenges of `order` and asks the authority to validate them. There are none if the authority still
    /// accepts an earlier validation.
    async fn answer_challenges(&self, order: &mut Order) -> Result<Vec<ChallengeGuard>, AcmeError> {
        let mut authorizations = order.authorizations();
        let mut guards = Vec::new();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let mut challenge =
                authorization.challenge(ChallengeType::TlsAlpn01).ok_or(AcmeError::NoTlsAlpn)?;
            let name = challenge.identifier().to_string();
            guards.push(self.answer_challenge(&name, challenge.key_authorization().as_str()).await?);
            challenge.set_ready().await?;
        }
        Ok(guards)
    }

    /// Answers the challenge for `name`. The domain of a cluster leads to all its servers, so they answer as well.
    async fn answer_challenge(
        &self,
        name: &str,
        key_authorization: &str,
    ) -> Result<ChallengeGuard, AcmeError> {
        if let Some(cluster) = self.cluster.as_ref().filter(|_| name == self.domain)
            && !cluster.put_challenge(name, key_authorization, SHARED_LIFETIME).await
        {
            return Err(AcmeError::NotShared);
        }
        let guard = self.active.challenges().answer(name, key_authorization);
        guard.map_err(|error| AcmeError::Library(error.to_string()))
    }

    fn load(&self, issued: &Issued) -> Result<LoadedCertificate, AcmeError> {
        let unusable = |reason: &str| Err(AcmeError::Unusable(reason.to_owned()));
        let loaded = PemPair::new("(issued)", &issued.chain, &issued.key)
            .load()
            .map_err(|error| AcmeError::Unusable(error.with_hint()))?;
        if loaded.leaf.is_expired(clock::now().unix) {
            return unusable("it has expired already; check this host's clock");
        }
        if !self.names().all(|name| loaded.leaf.covers(name)) {
            return unusable("it is for another name; choose another acme-directory");
        }
        Ok(loaded)
    }
}

/// `domain` as ACME has it: a name, or an address (RFC 8738).
fn identifier(domain: &str) -> Identifier {
    domain.parse().map_or_else(|_| Identifier::Dns(domain.to_owned()), Identifier::Ip)
}

/// Why the authority rejected the challenge. It reports that in the challenge, and sometimes in the order.
async fn failed_challenge(order: &mut Order, mut elsewhere: Option<Problem>) -> AcmeError {
    let mut problems = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        match authorization.refresh().await {
            Ok(state) => {
                problems.extend(state.challenges.iter().filter_map(|challenge| challenge.error.clone()));
            }
            Err(instant_acme::Error::Api(problem)) => elsewhere = elsewhere.or(Some(problem)),
            // The problems found so far are more relevant.
            Err(_) => {}
        }
    }
    challenge_error(&problems, elsewhere.as_ref())
}

/// A problem of the challenge comes first.
fn challenge_error(of_challenges: &[Problem], elsewhere: Option<&Problem>) -> AcmeError {
    match (of_challenges.first(), elsewhere) {
        (Some(problem), _) => AcmeError::ChallengeFailed(AcmeProblem::from(problem)),
        (None, Some(problem)) => AcmeError::Refused(AcmeProblem::from(problem)),
        (None, None) => AcmeError::NoReason,
    }
}

/// HTTPS for the ACME library, with a new connection for each request. Clones share their state.
#[derive(Clone)]
struct AcmeHttp {
    tls: Arc<ClientConfig>,
    /// `Retry-After` of the last error response.
    retry_after: Arc<Mutex<Option<Duration>>>,
}

impl AcmeHttp {
    /// Trusts the roots of this system. Reads files.
    fn new() -> Result<Self, AcmeError> {
        let roots = https_client::system_roots();
        if roots.is_empty() {
            return Err(AcmeError::NoRoots);
        }
        let config = https_client::tls_config().map_err(|error| AcmeError::Library(error.to_string()))?;
        let tls = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
        Ok(Self { tls, retry_after: Arc::default() })
    }

    fn take_retry_after(&self) -> Option<Duration> {
        self.retry_after.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn exchange(&self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, AcmeError> {
        let stream = https_client::connect(request.uri(), &self.tls)
            .await
            .map_err(|error| AcmeError::Unreachable { reason: error.to_string(), is_sent: false })?;
        let lost = |reason: String| AcmeError::Unreachable { reason, is_sent: true };
        let mut connection = HttpConnection::open(stream).await.map_err(|error| lost(error.to_string()))?;
        let response =
            connection.send(request, MAX_RESPONSE).await.map_err(|error| lost(error.to_string()))?;
        let (parts, body) = response.into_parts();
        if parts.status.is_client_error() || parts.status.is_server_error() {
            let retry_after = retry_after(&parts.headers, SystemTime::now());
            *self.retry_after.lock().unwrap_or_else(PoisonError::into_inner) = retry_after;
            if !body.starts_with(b"{") {
                return Err(lost(format!("it answers {}", parts.status)));
            }
        }
        Ok(BytesResponse { parts, body: Box::new(body) })
    }
}

impl HttpClient for AcmeHttp {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let http = self.clone();
        Box::pin(async move {
            let response = timeout(REQUEST_LIMIT, http.exchange(request)).await;
            let response = response.unwrap_or_else(|_| {
                let reason = "it does not answer in time".to_owned();
                Err(AcmeError::Unreachable { reason, is_sent: true })
            });
            response.map_err(|error| instant_acme::Error::Other(Box::new(error)))
        })
    }
}

/// `Retry-After`: seconds, or a date (RFC 9110 §10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let date = || httpdate::parse_http_date(text).ok()?.duration_since(now).ok();
    text.parse().ok().map(Duration::from_secs).or_else(date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_reported_wherever_the_authority_puts_it() {
        let problem = |kind: &str| -> Problem {
            let kind = format!("urn:ietf:params:acme:error:{kind}");
            serde_json::from_value(serde_json::json!({ "type": kind, "detail": "why" })).unwrap()
        };
        let text = |problems: &[Problem], elsewhere| challenge_error(problems, elsewhere).with_hint();
        let limit = problem("rateLimited");
        assert!(text(&[problem("dns")], Some(&limit)).contains("(dns: why)"));
        assert!(text(&[], Some(&limit)).contains("(rateLimited: why); wait"));
        assert!(text(&[], None).contains("without a reason"));
    }

    #[test]
    fn retry_after_is_a_number_of_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let wait = |text: &str| {
            let headers = HeaderMap::from_iter([(header::RETRY_AFTER, text.parse().unwrap())]);
            retry_after(&headers, now).map(|wait| wait.as_secs())
        };
        assert_eq!(wait("120"), Some(120));
        assert_eq!(wait("Tue, 14 Nov 2023 22:14:20 GMT"), Some(60));
        assert_eq!(wait("Tue, 14 Nov 2023 22:10:00 GMT"), None);
        assert_eq!(wait("soon"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
