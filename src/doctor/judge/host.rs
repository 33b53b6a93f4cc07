//! The host's clock, descriptors and socket buffers.

use crate::clock::UnixSeconds;
use crate::doctor::report::{Finding, Group};

/// What tells the time.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::doctor) struct Clock {
    /// What it says.
    pub(in crate::doctor) now: UnixSeconds,
    /// Whether something keeps it in step, where this host says so.
    pub(in crate::doctor) synchronised: Option<bool>,
    /// When the program was put where it is.
    pub(in crate::doctor) installed: Option<UnixSeconds>,
    /// When the certificate begins to be valid.
    pub(in crate::doctor) certificate: Option<UnixSeconds>,
    /// What the box said in its reply.
    pub(in crate::doctor) theirs: Option<UnixSeconds>,
}

/// What the system grants.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::doctor) struct Limits {
    /// Open files of one process.
    pub(in crate::doctor) descriptors: Option<u64>,
    /// Whether that is the running box's own limit, not this shell's.
    pub(in crate::doctor) of_the_box: bool,
    /// `net.core.rmem_max`, bytes.
    pub(in crate::doctor) receive: Option<u64>,
    /// `net.core.wmem_max`, bytes.
    pub(in crate::doctor) send: Option<u64>,
}

/// What the relay asks for: about 30 ms at 1 Gbit/s.
const BUFFER: u64 = 4 << 20;
/// A thousand people and what the box needs for itself.
const DESCRIPTORS: u64 = 4096;
/// A credential that is made a little early or late still works.
const CLOCK_SLACK: UnixSeconds = 60;
const KEEP_TIME: &str = "switch NTP on: timedatectl set-ntp true";

impl Clock {
    pub(in crate::doctor) fn judge(&self) -> Finding {
        let before = |moment: Option<UnixSeconds>| moment.is_some_and(|moment| self.now < moment);
        if before(self.certificate) {
            return Finding::fail(Group::Clock, "the clock is before the certificate's first day", KEEP_TIME);
        }
        if before(self.installed) {
            return Finding::fail(Group::Clock, "the clock is before this program was installed", KEEP_TIME);
        }
        let apart = self.theirs.map_or(0, |theirs| theirs.abs_diff(self.now));
        if apart > CLOCK_SLACK {
            let text = format!("the box's clock and this machine's are {apart} seconds apart");
            return Finding::warn(Group::Clock, text, format!("on the one that is wrong, {KEEP_TIME}"));
        }
        match self.synchronised {
            Some(true) => Finding::ok(Group::Clock, "kept in step by NTP"),
            Some(false) => Finding::warn(Group::Clock, "nothing keeps the clock in step", KEEP_TIME),
            None => Finding::ok(Group::Clock, "plausible; this host does not say whether NTP keeps it"),
        }
    }
}

impl Limits {
    pub(in crate::doctor) fn judge(&self) -> Vec<Finding> {
        let descriptors = self.descriptors.map(|limit| self.judge_descriptors(limit));
        descriptors.into_iter().chain(self.judge_buffers()).collect()
    }

    fn judge_descriptors(&self, limit: u64) -> Finding {
        let whose = if self.of_the_box { "the running box" } else { "a process started from here" };
        let text = format!("{whose} may open {limit} files");
        if limit >= DESCRIPTORS {
            return Finding::ok(Group::Limits, text);
        }
        let cure =
            "set LimitNOFILE=65536 in the unit, or raise the hard limit of the shell it is started from";
        Finding::warn(Group::Limits, format!("{text}, one for each visitor"), cure)
    }

    fn judge_buffers(&self) -> Option<Finding> {
        let limits = [("rmem_max", self.receive?), ("wmem_max", self.send?)];
        let small: Vec<_> = limits.iter().filter(|(_, limit)| *limit < BUFFER).collect();
        if small.is_empty() {
            let text = "socket buffers may have the 4 MiB that the relay asks for";
            return Some(Finding::ok(Group::Limits, text));
        }
        let each = |words: &dyn Fn(&str, u64) -> String| {
            small.iter().map(|(name, limit)| words(name, *limit)).collect::<Vec<_>>()
        };
        let found = each(&|name, limit| format!("net.core.{name} is {limit}")).join(", ");
        let cure = each(&|name, _| format!("net.core.{name}={BUFFER}")).join(" ");
        let text = format!("{found}: under load the relay would lose packets");
        Some(Finding::warn(Group::Limits, text, format!("sysctl -w {cure}, and the same in /etc/sysctl.d/")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::Mark;

    const NOON: UnixSeconds = 1_800_000_000;

    fn clock() -> Clock {
        Clock { now: NOON, synchronised: Some(true), ..Clock::default() }
    }

    #[test]
    fn a_clock_before_the_certificate_or_the_program_is_wrong() {
        assert_eq!(clock().judge().mark, Mark::Ok);
        let early = [
            Clock { certificate: Some(NOON + 1), ..clock() },
            Clock { installed: Some(NOON + 1), ..clock() },
        ];
        for wrong in early {
            let finding = wrong.judge();
            assert_eq!(finding.mark, Mark::Fail, "{finding}");
            assert!(finding.cure.unwrap().contains("set-ntp"));
        }
    }

    #[test]
    fn a_clock_that_nothing_keeps_or_that_differs_from_the_boxs_is_minded() {
        let adrift = Clock { synchronised: Some(false), ..clock() };
        assert_eq!(adrift.judge().mark, Mark::Warn);
        let apart = Clock { theirs: Some(NOON - 3600), ..clock() }.judge();
        assert!(apart.text.contains("3600 seconds apart"), "{apart}");
        let near = Clock { theirs: Some(NOON + 2), synchronised: None, ..clock() };
        assert_eq!(near.judge().mark, Mark::Ok);
    }

    #[test]
    fn small_limits_are_named_with_what_to_set() {
        let small =
            Limits { descriptors: Some(1024), of_the_box: true, receive: Some(212_992), send: Some(BUFFER) };
        let [files, buffers] = small.judge().try_into().unwrap();
        assert_eq!(files.text, "the running box may open 1024 files, one for each visitor");
        assert_eq!(buffers.text, "net.core.rmem_max is 212992: under load the relay would lose packets");
        let cure = "sysctl -w net.core.rmem_max=4194304, and the same in /etc/sysctl.d/";
        assert_eq!(buffers.cure.unwrap(), cure);
        let large = Limits { descriptors: Some(65_536), receive: Some(BUFFER), send: Some(BUFFER), ..small };
        assert!(large.judge().iter().all(|finding| finding.mark == Mark::Ok));
    }
}
