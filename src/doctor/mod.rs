//! `webrtc-box check`: looks at the settings, the host and the running box, and says in sentences what is
//! wrong and how to mend it.
//!
//! `probe` looks and knocks, `judge` turns what was seen into findings and is pure, `report` puts them in
//! order. The box is tried from outside only, with clients of other makers: nothing here knows the
//! insides of either wing. No third party is asked anything, unless the user names a STUN server.

mod here;
mod judge;
mod knock;
mod probe;
mod report;
mod target;

use std::time::SystemTime;

use crate::config::{Settings, SettingsError};
use crate::error::Hint as _;
use crate::net::interfaces::interfaces;
use webrtc_box_turn::credential::Credential;

use here::Host;
use judge::addresses;
use judge::host::Clock;
use knock::{Door, OnDisk};
use probe::host;
use probe::names;
use probe::roots::Roots;
use target::{Target, reach_elsewhere, reach_here};

pub use here::at_start;
pub use report::{Finding, Group, Mark, Report};

/// The box that is looked at.
#[derive(Clone, Debug)]
pub enum Subject {
    /// One that these settings set up on this host.
    Here(Box<Settings>),
    /// One of which only the name is known: on another machine, or started with flags that are not given here.
    Elsewhere {
        /// Its name.
        name: String,
        /// For the ports alone.
        settings: Box<Settings>,
    },
}

/// Looks at everything; ends within about twenty seconds, whatever does not answer. `stun` (`HOST:PORT`)
/// is asked where it sees this host.
pub async fn check(subject: &Result<Subject, SettingsError>, stun: Option<&str>) -> Report {
    match subject {
        Ok(Subject::Here(settings)) => here(settings, stun).await,
        Ok(Subject::Elsewhere { name, settings }) => elsewhere(name, settings).await,
        Err(error) => {
            let finding = Finding::complaint(Group::Settings, Mark::Fail, &error.with_hint());
            Report::new(vec![finding], None)
        }
    }
}

async fn here(settings: &Settings, stun: Option<&str>) -> Report {
    let roots = Roots::load();
    let host = Host::look(settings, &roots, stun).await;
    let target = Target::new(settings, target::name_of(settings));
    let resolved = host.resolved().unwrap_or_default();
    let interfaces: Vec<_> = host.seen.known.interfaces.iter().map(|interface| interface.ip).collect();
    let addresses = reach_here(&settings.listen, &interfaces, resolved);
    let door = Door { target: &target, addresses: &addresses, roots: &roots, here: true };
    let knocked = door.knock(|| here::spare_credential(settings)).await;
    let mut findings = host.judge(settings, knocked.is_running(), knocked.clock);
    findings.extend(knocked.judge(&door, host.on_disk()));
    let unseen = (!target.try_out).then(|| {
        let name = &target.name;
        format!("What firewalls before this host let in shows from another machine only: webrtc-box check --domain {name}")
    });
    Report::new(findings, unseen)
}

async fn elsewhere(name: &str, settings: &Settings) -> Report {
    let resolved = names::resolve(name).await;
    let own = interfaces();
    let leads_here = resolved.iter().flatten().any(|ip| own.iter().any(|own| own.ip == *ip));
    let mut findings =
        vec![addresses::judge_name_alone(name, leads_here), addresses::judge_elsewhere(name, &resolved)];
    let Ok(resolved) = resolved else { return Report::new(findings, None) };
    let (roots, target) = (Roots::load(), Target::new(settings, Some(name)));
    let addresses = reach_elsewhere(&resolved);
    let door = Door { target: &target, addresses: &addresses, roots: &roots, here: false };
    let no_credential = || Err::<Credential, _>("the page hands out none".to_owned());
    let (knocked, synchronised) = tokio::join!(door.knock(no_credential), host::synchronised());
    let now = host::unix(SystemTime::now()).unwrap_or(0);
    findings.push(Clock { now, synchronised, theirs: knocked.clock, ..Clock::default() }.judge());
    findings.extend(knocked.judge(&door, OnDisk::default()));
    Report::new(findings, None)
}
