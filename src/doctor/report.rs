//! What a check has found: findings in groups, each marked, and a verdict in one sentence.
//!
//! Pure. A finding is a sentence; one that is not well has a second half, the cure.

use std::fmt;

use serde::Serialize;

/// Characters of a text; ours are a third of it.
const LONGEST: usize = 1000;

/// How well something is. Later is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mark {
    /// As it should be.
    Ok,
    /// Calls work, but not for everybody or not for long.
    Warn,
    /// Calls fail.
    Fail,
}

/// What a finding is about, in the order of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// What was typed.
    Settings,
    /// Listeners of this host.
    Ports,
    /// The `cert` and `key` files.
    Certificate,
    /// The domain and the addresses behind it.
    Addresses,
    /// The wall clock.
    Clock,
    /// Descriptors and socket buffers.
    Limits,
    /// The page over HTTPS.
    Page,
    /// The WebSocket.
    Signaling,
    /// STUN and TURN.
    Relay,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// What it is about.
    pub group: Group,
    /// How well it is.
    pub mark: Mark,
    /// What was found; no end of its own.
    pub text: String,
    /// What to do about it; `None` where it is well.
    pub cure: Option<String>,
    /// How long a packet took there and back, in milliseconds, where one was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round_trip_ms: Option<f64>,
}

/// Everything that was found, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    findings: Vec<Finding>,
    /// What no check made here can see, as a sentence.
    unseen: Option<String>,
}

/// The report as `--json` prints it.
#[derive(Serialize)]
struct Json<'a> {
    verdict: Mark,
    sentence: String,
    findings: &'a [Finding],
}

impl Finding {
    /// Something that is well.
    pub fn ok(group: Group, text: impl Into<String>) -> Self {
        Self { group, mark: Mark::Ok, text: printable(&text.into()), cure: None, round_trip_ms: None }
    }

    /// Something that should not stay like this.
    pub fn warn(group: Group, text: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { mark: Mark::Warn, cure: Some(printable(&cure.into())), ..Self::ok(group, text) }
    }

    /// Something that does not work.
    pub fn fail(group: Group, text: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { mark: Mark::Fail, ..Self::warn(group, text, cure) }
    }

    /// The line it is in a report, with its end.
    pub fn line(&self) -> String {
        format!("  {:<4}  {self}\n", self.mark)
    }

    /// A complaint of ours, whose cure stands behind its last semicolon.
    pub fn complaint(group: Group, mark: Mark, sentence: &str) -> Self {
        match sentence.rsplit_once("; ") {
            Some((text, cure)) => Self { mark, ..Self::warn(group, text, cure) },
            None => Self { mark, ..Self::ok(group, sentence) },
        }
    }
}

/// Some of it was said by whoever answered: it writes no lines of its own and steers no terminal.
fn printable(said: &str) -> String {
    said.chars().take(LONGEST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

impl Report {
    /// Puts findings in order; `unseen` says what the check could not see from where it ran.
    pub fn new(mut findings: Vec<Finding>, unseen: Option<String>) -> Self {
        findings.sort_by_key(|finding| finding.group);
        Self { findings, unseen }
    }

    /// All of them, in order.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The worst mark.
    pub fn verdict(&self) -> Mark {
        self.findings.iter().map(|finding| finding.mark).max().unwrap_or(Mark::Ok)
    }

    /// For the shell: 0 all is well, 1 something is to be minded, 2 something does not work.
    pub fn exit_code(&self) -> u8 {
        match self.verdict() {
            Mark::Ok => 0,
            Mark::Warn => 1,
            Mark::Fail => 2,
        }
    }

    /// One object on one line: `verdict` (`ok`, `warn`, `fail`), `sentence`, and `findings`, each with
    /// `group`, `mark`, `text`, `cure` (a text or null) and, where a packet was sent, `round_trip_ms`.
    ///
    /// # Errors
    /// Never in practice: all of it is text and numbers.
    pub fn json(&self) -> serde_json::Result<String> {
        let json = Json { verdict: self.verdict(), sentence: self.sentence(), findings: &self.findings };
        serde_json::to_string(&json)
    }

    fn sentence(&self) -> String {
        let all = self.findings.len();
        let marked = |mark| self.findings.iter().filter(move |finding| finding.mark == mark);
        let (failed, warned) = (marked(Mark::Fail).count(), marked(Mark::Warn).count());
        let verdict = match (failed, warned) {
            (0, 0) => format!("All {all} findings are well."),
            (0, 1) => format!("Nothing fails; 1 of {all} findings is a warning."),
            (0, _) => format!("Nothing fails; {warned} of {all} findings are warnings."),
            (1, _) => format!("1 of {all} findings is a failure: mend that first."),
            _ => format!("{failed} of {all} findings are failures: mend the first of them first."),
        };
        self.unseen.iter().fold(verdict, |verdict, unseen| format!("{verdict} {unseen}"))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        self.cure.iter().try_for_each(|cure| write!(f, "; {cure}"))
    }
}

impl fmt::Display for Report {
    /// A heading for each group, a line for each finding, and the verdict as the last line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = None;
        for finding in &self.findings {
            if before.replace(finding.group) != Some(finding.group) {
                writeln!(f, "{}", finding.group)?;
            }
            f.write_str(&finding.line())?;
        }
        write!(f, "{}", self.sentence())
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        })
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Settings => "Settings",
            Self::Ports => "Ports",
            Self::Certificate => "Certificate",
            Self::Addresses => "Addresses",
            Self::Clock => "Clock",
            Self::Limits => "Limits",
            Self::Page => "Page",
            Self::Signaling => "Signaling",
            Self::Relay => "Relay",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(findings: &[Finding]) -> Report {
        Report::new(findings.to_vec(), None)
    }

    fn three() -> [Finding; 3] {
        [
            Finding { round_trip_ms: Some(1.5), ..Finding::ok(Group::Relay, "UDP works") },
            Finding::warn(Group::Clock, "nobody keeps the clock", "switch NTP on"),
            Finding::fail(Group::Ports, "port 80 is taken", "stop nginx"),
        ]
    }

    #[test]
    fn each_finding_is_a_line_under_its_group_and_the_verdict_is_the_last() {
        let text = report(&three()).to_string();
        let lines = "Ports\n  fail  port 80 is taken; stop nginx\nClock\n  warn  nobody keeps the clock; \
            switch NTP on\nRelay\n  ok    UDP works\n1 of 3 findings is a failure: mend that first.";
        assert_eq!(text, lines);
    }

    #[test]
    fn the_worst_mark_is_the_verdict_and_the_exit_code() {
        let [ok, warn, fail] = three();
        for (findings, verdict, code) in [
            (vec![], Mark::Ok, 0),
            (vec![ok.clone()], Mark::Ok, 0),
            (vec![warn.clone(), ok], Mark::Warn, 1),
            (vec![fail, warn], Mark::Fail, 2),
        ] {
            let report = report(&findings);
            assert_eq!((report.verdict(), report.exit_code()), (verdict, code));
        }
    }

    #[test]
    fn scripts_get_one_object() {
        let json: serde_json::Value = serde_json::from_str(&report(&three()).json().unwrap()).unwrap();
        assert_eq!(json["verdict"], "fail");
        assert_eq!(json["findings"][0]["group"], "ports");
        assert_eq!(json["findings"][0]["cure"], "stop nginx");
        assert_eq!(json["findings"][1]["mark"], "warn");
        assert_eq!(json["findings"][2]["round_trip_ms"], 1.5);
        assert!(json["findings"][2]["cure"].is_null());
    }

    #[test]
    fn what_cannot_be_seen_from_here_stands_in_the_verdict() {
        let report = Report::new(vec![], Some("Look from outside too.".to_owned()));
        assert_eq!(report.to_string(), "All 0 findings are well. Look from outside too.");
    }

    #[test]
    fn what_a_stranger_answered_steers_no_terminal() {
        let said = Finding::warn(Group::Page, format!("leads to \x1b[2J\n{}", "x".repeat(5000)), "a\tb");
        assert!(!said.to_string().chars().any(char::is_control) && said.text.len() < 1100, "{said}");
    }

    #[test]
    fn a_complaint_is_taken_apart_at_its_cure() {
        let finding = Finding::complaint(Group::Settings, Mark::Fail, "a is bad; b; swap them");
        assert_eq!((finding.text.as_str(), finding.cure.as_deref()), ("a is bad; b", Some("swap them")));
    }
}
