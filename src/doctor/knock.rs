//! Knocks at a box as people do: the page, the redirect, a seat, and every way to the relay, all at once
//! as far as one does not need the other.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::{OptionFuture, join_all};
use tokio::time::{sleep, timeout};

use super::judge::certificate::Facts;
use super::judge::page::{self, Expected, Joined, Redirect, Visit};
use super::judge::relay::{self as relay_judge, Fault, Tried};
use super::probe::https::{self, Found, Sheet};
use super::probe::relay::Attempt;
use super::probe::roots::Roots;
use super::probe::{host, join, redirect};
use super::report::Finding;
use super::target::{RelayPorts, Target};
use crate::clock::UnixSeconds;
use webrtc_box_turn::credential::Credential;

/// For the ways that are tried again.
const SECOND_TRIES: Duration = Duration::from_secs(2);

const PAUSE: Duration = Duration::from_millis(50);

/// What came of it.
#[derive(Debug)]
pub(super) struct Knocked {
    visits: Vec<Visit>,
    redirect: Option<Redirect>,
    joined: Option<Joined>,
    /// `None`: there was nothing to try it on.
    tried: Option<Vec<Tried>>,
    no_credential: Option<String>,
    /// What the box's clock says.
    pub(super) clock: Option<UnixSeconds>,
}

/// What is known of the certificate beforehand.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OnDisk<'a> {
    /// The leaf in its file.
    pub(super) leaf: Option<&'a Facts>,
    /// The authority has not issued one yet.
    pub(super) awaited: bool,
}

/// Where and with what to knock.
pub(super) struct Door<'a> {
    pub(super) target: &'a Target,
    /// At most one of each family.
    pub(super) addresses: &'a [IpAddr],
    pub(super) roots: &'a Roots,
    /// The box is set up on this host.
    pub(super) here: bool,
}

impl Door<'_> {
    /// `spare` makes a credential where the box hands out none, or says why not.
    pub(super) async fn knock(&self, spare: impl FnOnce() -> Result<Credential, String>) -> Knocked {
        let (visits, redirect) = tokio::join!(self.visits(), self.redirect());
        let (visits, found): (Vec<_>, Vec<_>) = visits.into_iter().unzip();
        let clock = found.iter().flatten().find_map(|found| found.clock);
        let open = visits.iter().find(|visit| visit.outcome.is_ok()).map(|visit| visit.address);
        let mut knocked = Knocked { visits, redirect, joined: None, tried: None, no_credential: None, clock };
        if self.here && self.target.page.is_some() && page::is_absent(&knocked.visits) {
            knocked.redirect = None;
            return knocked;
        }
        let sheet = found.into_iter().flatten().find_map(|found| found.sheet);
        let credential = sheet.as_ref().map(Sheet::credential).map_or_else(spare, Ok);
        let joined = OptionFuture::from(open.map(|address| self.join(address)));
        let (joined, tried) = tokio::join!(joined, self.relay(sheet.as_ref(), credential.as_ref().ok()));
        Knocked { joined, tried: Some(tried), no_credential: credential.err(), ..knocked }
    }

    async fn visits(&self) -> Vec<(Visit, Option<Found>)> {
        let Some(port) = self.target.page else { return Vec::new() };
        let authority = self.target.authority();
        let visit = async |ip: &IpAddr| {
            let address = SocketAddr::new(*ip, port);
            match https::visit(address, self.target.page_proxies(), &self.target.name, &authority, self.roots)
                .await
            {
                Ok(found) => (Visit { address, outcome: Ok(found.visited.clone()) }, Some(found)),
                Err(trouble) => (Visit { address, outcome: Err(trouble) }, None),
            }
        };
        join_all(self.addresses.iter().map(visit)).await
    }

    async fn redirect(&self) -> Option<Redirect> {
        let (port, ip) = (self.target.http?, self.addresses.first()?);
        let outcome = redirect::follow(SocketAddr::new(*ip, port), &self.target.name).await;
        Some(Redirect { port, outcome })
    }

    async fn join(&self, address: SocketAddr) -> Joined {
        let mut chance = [0; 16];
        if getrandom::fill(&mut chance).is_err() {
            return Joined::NoSocket("there is no randomness for the name of a room".to_owned());
        }
        let room = format!("check-{}", URL_SAFE_NO_PAD.encode(chance));
        join::join(address, self.target.page_proxies(), &self.target.name, &self.target.authority(), &room)
            .await
    }

    /// The box itself knows its ports best.
    async fn relay(&self, sheet: Option<&Sheet>, credential: Option<&Credential>) -> Vec<Tried> {
        let told = sheet.map(|sheet| RelayPorts {
            udp: sheet.ports("turn-udp"),
            tcp: sheet.ports("turn-tcp"),
            tls: sheet.ports("turn-tls"),
        });
        let ways = told.as_ref().unwrap_or(&self.target.ports).ways(self.addresses);
        let attempt =
            Attempt { name: &self.target.name, proxies: &self.target.proxies, credential, roots: self.roots };
        let mut tried = join_all(ways.into_iter().map(|way| attempt.over(way))).await;
        // Where one seat may not have as much at once, one way after the other.
        let again = async {
            for one in &mut tried {
                while one.outcome.as_ref().is_err_and(Fault::is_quota) {
                    // What the way before gave back is on its way.
                    sleep(PAUSE).await;
                    *one = attempt.over(one.way).await;
                }
            }
        };
        // Whoever has not had a turn by then is told so.
        let _ = timeout(SECOND_TRIES, again).await;
        tried
    }
}

impl Knocked {
    /// Whether somebody opened.
    pub(super) fn is_running(&self) -> bool {
        self.visits.iter().any(|visit| visit.outcome.is_ok())
            || self.tried.iter().flatten().any(|tried| tried.outcome.is_ok())
    }

    pub(super) fn judge(&self, door: &Door<'_>, on_disk: OnDisk<'_>) -> Vec<Finding> {
        let origin = door.target.origin();
        let expected = Expected {
            name: &door.target.name,
            origin: &origin,
            try_out: door.target.try_out,
            here: door.here,
            now: host::unix(SystemTime::now()).unwrap_or(0),
            awaited: on_disk.awaited,
            on_disk: on_disk.leaf,
        };
        let mut findings = Vec::new();
        if !self.visits.is_empty() {
            findings.extend(page::judge(&self.visits, &expected));
        }
        findings.extend(self.redirect.iter().map(|redirect| page::judge_redirect(redirect, &expected)));
        findings.extend(self.joined.iter().map(page::judge_join));
        let why = self.no_credential.as_deref();
        findings.extend(
            self.tried
                .iter()
                .flat_map(|tried| relay_judge::judge(tried, door.target.try_out || on_disk.awaited, why)),
        );
        findings
    }
}
