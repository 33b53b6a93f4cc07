//! One certificate from one authority: order, proof, certificate (RFC 8555 §7.4, RFC 8737).

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Identifier, NewOrder, Order, OrderStatus, RetryPolicy,
};

use super::proof;
use super::refusal::{AcmeError, Complaint};
use crate::tls::InForce;
use crate::tls::in_force::Proof;

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

/// Orders a certificate for `domain`; while the authority looks, `in_force` answers it.
pub(super) async fn issue(
    account: &Account,
    domain: &str,
    in_force: &Arc<InForce>,
) -> Result<Issued, AcmeError> {
    let names = [Identifier::Dns(domain.to_owned())];
    let mut order = account.new_order(&NewOrder::new(&names)).await?;
    let proof = prove(&mut order, domain, in_force).await?;
    let outcome = order.poll_ready(&PATIENCE).await;
    drop(proof);
    match outcome {
        Ok(OrderStatus::Ready) => {}
        Ok(_) | Err(instant_acme::Error::Api(_)) => return Err(why_unproven(&mut order).await),
        Err(error) => return Err(error.into()),
    }
    let key = order.finalize().await?;
    let chain = order.poll_certificate(&PATIENCE).await?;
    Ok(Issued { chain, key })
}

/// Puts up the proof that `domain` is ours, and has the authority look. Nothing to prove where the
/// authority remembers the last time.
async fn prove(order: &mut Order, domain: &str, in_force: &Arc<InForce>) -> Result<Option<Proof>, AcmeError> {
    let mut authorizations = order.authorizations();
    let mut put_up = None;
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let mut challenge = authorization.challenge(ChallengeType::TlsAlpn01).ok_or(AcmeError::NoTlsAlpn)?;
        let digest = challenge.key_authorization().digest();
        put_up = Some(in_force.prove(proof::config(domain, digest.as_ref())?));
        challenge.set_ready().await?;
    }
    Ok(put_up)
}

/// What the authority has against our proof; it says so where the proof is, not in the order.
async fn why_unproven(order: &mut Order) -> AcmeError {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let Ok(state) = authorization.refresh().await else { continue };
        if let Some(problem) = state.challenges.iter().find_map(|challenge| challenge.error.as_ref()) {
            return AcmeError::Unproven(Complaint::from(problem));
        }
    }
    AcmeError::TooSlow
}
