//! One certificate from one authority: order, proof, certificate (RFC 8555 §7.4, RFC 8737).

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Identifier, NewOrder, Order, OrderStatus, Problem,
    RetryPolicy,
};

use super::challenge;
use super::problem::{AcmeError, AcmeProblem};
use crate::tls::ActiveCertificate;
use crate::tls::active_certificate::ChallengeGuard;

/// How long an authority may be at work on one step; `Retry-After` is heeded within it.
const PATIENCE: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(500))
    .backoff(1.5)
    .timeout(Duration::from_secs(90));

/// A certificate and its key, both PEM. Has no `Debug`: it holds a key.
pub(super) struct Issued {
    pub(super) chain: String,
    pub(super) key: String,
}

/// Orders a certificate for `domain`; while the authority policy, `in_force` answers it.
pub(super) async fn issue(
    account: &Account,
    domain: &str,
    in_force: &Arc<ActiveCertificate>,
) -> Result<Issued, AcmeError> {
    let names = [Identifier::Dns(domain.to_owned())];
    let mut order = account.new_order(&NewOrder::new(&names)).await?;
    let proof = prove(&mut order, domain, in_force).await?;
    let outcome = order.poll_ready(&PATIENCE).await;
    drop(proof);
    match outcome {
        Ok(OrderStatus::Ready) => {}
        Ok(_) => return Err(challenge_error(&mut order, None).await),
        Err(instant_acme::Error::Api(problem)) => {
            return Err(challenge_error(&mut order, Some(problem)).await);
        }
        Err(error) => return Err(error.into()),
    }
    let key = order.finalize().await?;
    let chain = order.poll_certificate(&PATIENCE).await?;
    Ok(Issued { chain, key })
}

/// Puts up the proof that `domain` is ours, and has the authority look. Nothing to prove where the
/// authority remembers the last time.
async fn prove(
    order: &mut Order,
    domain: &str,
    in_force: &Arc<ActiveCertificate>,
) -> Result<Option<ChallengeGuard>, AcmeError> {
    let mut authorizations = order.authorizations();
    let mut put_up = None;
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let mut challenge = authorization.challenge(ChallengeType::TlsAlpn01).ok_or(AcmeError::NoTlsAlpn)?;
        let digest = challenge.key_authorization().digest();
        put_up = Some(in_force.prove(challenge::config(domain, digest.as_ref())?));
        challenge.set_ready().await?;
    }
    Ok(put_up)
}

/// What the authority has against our proof; it says so where the proof is, and at times in the order.
async fn challenge_error(order: &mut Order, of_order: Option<Problem>) -> AcmeError {
    let (mut against, mut unsaid) = (Vec::new(), of_order);
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        match authorization.refresh().await {
            Ok(state) => {
                against.extend(state.challenges.iter().filter_map(|challenge| challenge.error.clone()));
            }
            Err(instant_acme::Error::Api(problem)) => unsaid = unsaid.or(Some(problem)),
            // What was said so far is more to the point.
            Err(_) => {}
        }
    }
    verdict(&against, unsaid.as_ref())
}

/// What of it to tell: what is `against` our proof, else what was said `elsewhere`.
fn verdict(against: &[Problem], elsewhere: Option<&Problem>) -> AcmeError {
    match (against.first(), elsewhere) {
        (Some(problem), _) => AcmeError::ChallengeFailed(AcmeProblem::from(problem)),
        (None, Some(problem)) => AcmeError::Refused(AcmeProblem::from(problem)),
        (None, None) => AcmeError::NoReason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(kind: &str) -> Problem {
        let json =
            serde_json::json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": "why" });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn what_the_authority_says_is_told_wherever_it_says_it() {
        let said = |against: &[Problem], elsewhere| verdict(against, elsewhere).to_string();
        let limit = problem("rateLimited");
        assert!(said(&[problem("dns")], Some(&limit)).contains("(dns: why)"));
        assert!(said(&[], Some(&limit)).contains("(rateLimited: why); nothing to do but wait"));
        assert!(said(&[], None).contains("says nothing of why"));
    }
}
