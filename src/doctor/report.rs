//! The result of a check: findings by subject, and a verdict. Printed as text or JSON.
//!
//! Pure.

use std::fmt;

use serde::Serialize;

use crate::error::Hint;

/// The longest text of a finding, in characters; our own texts are a third of it.
const MAX_TEXT: usize = 1000;

/// How good a finding is, from the best to the worst. The number is the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Works as intended.
    Ok = 0,
    /// Calls work, but not for every participant or not for long.
    Warn = 1,
    /// Calls fail.
    Fail = 2,
}

/// What a finding is about, in the order of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// The settings and the files they name.
    Settings,
    /// Listeners on this host.
    Ports,
    /// The `cert` and `key` files.
    Certificate,
    /// The domain and its addresses.
    Addresses,
    /// The system clock.
    Clock,
    /// Open files and socket buffers.
    Limits,
    /// The page over HTTPS.
    Page,
    /// The WebSocket.
    Signaling,
    /// STUN and TURN.
    Relay,
    /// The store and the other boxes.
    Cluster,
}

/// One result of a check.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// What it is about.
    #[serde(rename = "group")]
    pub subject: Subject,
    /// How good it is.
    #[serde(rename = "mark")]
    pub level: Level,
    /// What was found, without a full stop.
    pub text: String,
    /// What to do; `None` if nothing.
    #[serde(rename = "cure")]
    pub hint: Option<String>,
    /// Round-trip time of a packet in milliseconds, if one came back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round_trip_ms: Option<f64>,
}

/// All findings in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    findings: Vec<Finding>,
    /// What a check from this host cannot observe, as a sentence.
    not_observed: Option<String>,
}

/// The report as `--json` prints it.
#[derive(Serialize)]
struct Json<'a> {
    verdict: Level,
    sentence: String,
    findings: &'a [Finding],
}

impl Subject {
    /// A finding that something works.
    pub fn ok(self, text: impl Into<String>) -> Finding {
        Finding {
            subject: self,
            level: Level::Ok,
            text: sanitized(&text.into()),
            hint: None,
            round_trip_ms: None,
        }
    }

    /// Something works, but needs attention; `hint` is what to do.
    pub fn warn(self, text: impl Into<String>, hint: impl Into<String>) -> Finding {
        Finding { level: Level::Warn, hint: Some(sanitized(&hint.into())), ..self.ok(text) }
    }

    /// Something does not work.
    pub fn fail(self, text: impl Into<String>, hint: impl Into<String>) -> Finding {
        Finding { level: Level::Fail, ..self.warn(text, hint) }
    }

    /// An error of the program with its hint, if it has one.
    pub(super) fn error(self, error: &impl Hint) -> Finding {
        let failure = self.fail(error.to_string(), error.hint());
        Finding { hint: failure.hint.filter(|hint| !hint.is_empty()), ..failure }
    }
}

impl Finding {
    /// The line of the text report, with its line end.
    pub fn line(&self) -> String {
        format!("  {:<4}  {self}\n", self.level)
    }
}

/// Part of a text may come from the network: it must not add lines or control the terminal.
fn sanitized(text: &str) -> String {
    text.chars().take(MAX_TEXT).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

impl Report {
    /// Sorts findings by subject.
    pub fn new(mut findings: Vec<Finding>, not_observed: Option<String>) -> Self {
        findings.sort_by_key(|finding| finding.subject);
        Self { findings, not_observed }
    }

    /// All findings in order.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The worst level.
    pub fn verdict(&self) -> Level {
        self.findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok)
    }

    /// 0 if all is ok, 1 for a warning, 2 for a failure.
    pub fn exit_code(&self) -> u8 {
        self.verdict() as u8
    }

    /// The report for scripts, on one line.
    ///
    /// # Errors
    /// None in practice: it consists of texts and numbers.
    pub fn json(&self) -> serde_json::Result<String> {
        let json = Json { verdict: self.verdict(), sentence: self.sentence(), findings: &self.findings };
        serde_json::to_string(&json)
    }

    fn sentence(&self) -> String {
        let count = |level| self.findings.iter().filter(|finding| finding.level == level).count();
        let all = self.findings.len();
        let verdict = match (count(Level::Fail), count(Level::Warn)) {
            (0, 0) => format!("All {all} findings are ok."),
            (0, 1) => format!("No failure; 1 of {all} findings is a warning."),
            (0, warned) => format!("No failure; {warned} of {all} findings are warnings."),
            (1, _) => format!("1 of {all} findings is a failure: fix it first."),
            (failed, _) => format!("{failed} of {all} findings are failures: fix the first one first."),
        };
        self.not_observed.iter().fold(verdict, |verdict, sentence| format!("{verdict} {sentence}"))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        self.hint.iter().try_for_each(|hint| write!(f, "; {hint}"))
    }
}

impl fmt::Display for Report {
    /// A heading for each subject, a line for each finding, and the verdict as the last line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut heading = None;
        for finding in &self.findings {
            if heading.replace(finding.subject) != Some(finding.subject) {
                writeln!(f, "{}", finding.subject)?;
            }
            f.write_str(&finding.line())?;
        }
        f.write_str(&self.sentence())
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        })
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The headings are the names of the variants.
        fmt::Debug::fmt(self, f)
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
            Finding { round_trip_ms: Some(1.5), ..Subject::Relay.ok("UDP works") },
            Subject::Clock.warn("the clock is not synchronized", "enable NTP"),
            Subject::Ports.fail("port 80 is in use", "stop nginx"),
        ]
    }

    #[test]
    fn the_text_has_a_line_per_finding_under_its_subject() {
        let text = report(&three()).to_string();
        let lines = "Ports\n  fail  port 80 is in use; stop nginx\nClock\n  warn  the clock is not synchronized; \
            enable NTP\nRelay\n  ok    UDP works\n1 of 3 findings is a failure: fix it first.";
        assert_eq!(text, lines);
    }

    #[test]
    fn the_worst_level_is_the_verdict_and_the_exit_code() {
        let [ok, warn, fail] = three();
        for (findings, verdict, code) in [
            (vec![], Level::Ok, 0),
            (vec![ok.clone()], Level::Ok, 0),
            (vec![warn.clone(), ok], Level::Warn, 1),
            (vec![fail, warn], Level::Fail, 2),
        ] {
            let report = report(&findings);
            assert_eq!((report.verdict(), report.exit_code()), (verdict, code));
        }
    }

    #[test]
    fn json_is_one_object() {
        let json: serde_json::Value = serde_json::from_str(&report(&three()).json().unwrap()).unwrap();
        assert_eq!(json["verdict"], "fail");
        assert_eq!(json["findings"][0]["group"], "ports");
        assert_eq!(json["findings"][0]["cure"], "stop nginx");
        assert_eq!(json["findings"][1]["mark"], "warn");
        assert_eq!(json["findings"][2]["round_trip_ms"], 1.5);
        assert!(json["findings"][2]["cure"].is_null());
    }

    #[test]
    fn the_verdict_names_what_this_host_cannot_observe() {
        let report = Report::new(vec![], Some("Check from outside too.".to_owned()));
        assert_eq!(report.to_string(), "All 0 findings are ok. Check from outside too.");
    }

    #[test]
    fn text_from_the_network_cannot_control_the_terminal() {
        let text = format!("leads to \x1b[2J\n{}", "x".repeat(5000));
        let finding = Subject::Page.warn(text, "a\tb");
        assert!(!finding.to_string().chars().any(char::is_control) && finding.text.len() < 1100, "{finding}");
    }
}
