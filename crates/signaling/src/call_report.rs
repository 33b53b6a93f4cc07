//! What a page tells of its call, for whoever looks after the box: a few numbers, within bounds, that
//! go to nobody else.

use std::time::Duration;

use serde::Deserialize;

use super::error::Malformed;

/// Which way the media goes, as the page says it.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Path {
    /// From browser to browser.
    Direct,
    /// Through a relay that is reached over UDP.
    RelayUdp,
    /// Through a relay that is reached over TCP.
    RelayTcp,
    /// Through a relay that is reached over TLS.
    RelayTls,
}

/// What one page knows of its call by now. What it leaves out it does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Report {
    /// Which way the media goes.
    pub path: Option<Path>,
    /// From the wish to talk, or from the other's coming, to the connection.
    pub setup: Option<Duration>,
    /// The round trip.
    pub rtt: Option<Duration>,
    /// Which share of the other's packets did not arrive, from 0 to 1.
    pub lost: Option<f64>,
    /// Bytes of media, both ways.
    pub bytes: Option<u64>,
}

/// The frame; times in milliseconds.
#[derive(Deserialize)]
struct Frame {
    path: Option<Path>,
    setup: Option<f64>,
    rtt: Option<f64>,
    lost: Option<f64>,
    bytes: Option<u64>,
}

/// An hour; who takes longer to connect has slept.
const LONGEST_SETUP: f64 = 3_600_000.0;
/// A minute.
const LONGEST_RTT: f64 = 60_000.0;
/// As far as a browser counts exactly.
const MOST_BYTES: u64 = 1 << 53;

impl Path {
    /// All of them, in the order of counts.
    pub const ALL: [Self; 4] = [Self::Direct, Self::RelayUdp, Self::RelayTcp, Self::RelayTls];

    /// As on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::RelayUdp => "relay-udp",
            Self::RelayTcp => "relay-tcp",
            Self::RelayTls => "relay-tls",
        }
    }
}

impl Report {
    pub(super) fn parse(text: &str) -> Result<Self, Malformed> {
        let frame: Frame = serde_json::from_str(text).map_err(|_| Malformed::WrongShape)?;
        Ok(Self {
            path: frame.path,
            setup: milliseconds(frame.setup, LONGEST_SETUP)?,
            rtt: milliseconds(frame.rtt, LONGEST_RTT)?,
            lost: within(frame.lost, 1.0)?,
            bytes: frame.bytes.map(|bytes| bytes.min(MOST_BYTES)),
        })
    }

    /// What this one says, and where it says nothing, what the one before said; how long it took to
    /// connect is said once.
    pub(super) fn over(self, before: Self) -> Self {
        Self {
            path: self.path.or(before.path),
            setup: before.setup.or(self.setup),
            rtt: self.rtt.or(before.rtt),
            lost: self.lost.or(before.lost),
            bytes: self.bytes.or(before.bytes),
        }
    }
}

fn milliseconds(number: Option<f64>, most: f64) -> Result<Option<Duration>, Malformed> {
    Ok(within(number, most)?.map(|number| Duration::from_secs_f64(number / 1000.0)))
}

fn within(number: Option<f64>, most: f64) -> Result<Option<f64>, Malformed> {
    match number {
        Some(number) if !(0.0..=most).contains(&number) => Err(Malformed::WrongShape),
        _ => Ok(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_it_knows() {
        let text =
            r#"{"type":"report","path":"relay-tls","setup":412.5,"rtt":31,"lost":0.02,"bytes":123456}"#;
        let report = Report::parse(text).unwrap();
        assert_eq!(report.path, Some(Path::RelayTls));
        assert_eq!(report.setup, Some(Duration::from_micros(412_500)));
        assert_eq!(report.rtt, Some(Duration::from_millis(31)));
        assert_eq!((report.lost, report.bytes), (Some(0.02), Some(123_456)));
        assert_eq!(Report::parse(r#"{"type":"report"}"#), Ok(Report::default()));
        assert_eq!(Report::parse(r#"{"type":"report","more":[1]}"#), Ok(Report::default()));
    }

    #[test]
    fn numbers_out_of_bounds_are_malformed() {
        for field in [
            r#""path":"wire""#,
            r#""path":7"#,
            r#""setup":-1"#,
            r#""setup":1e300"#,
            r#""setup":"1""#,
            r#""rtt":60001"#,
            r#""lost":1.01"#,
            r#""lost":-0.5"#,
            r#""bytes":-1"#,
            r#""bytes":1.5"#,
            r#""bytes":1e300"#,
        ] {
            let text = format!(r#"{{"type":"report",{field}}}"#);
            assert_eq!(Report::parse(&text), Err(Malformed::WrongShape), "{text}");
        }
        let text = r#"{"type":"report","bytes":18446744073709551615}"#;
        assert_eq!(Report::parse(text).unwrap().bytes, Some(MOST_BYTES));
    }

    #[test]
    fn every_path_stands_at_its_place_under_its_name() {
        for (at, path) in Path::ALL.into_iter().enumerate() {
            assert_eq!(path as usize, at);
            let text = format!(r#"{{"type":"report","path":"{}"}}"#, path.name());
            assert_eq!(Report::parse(&text).unwrap().path, Some(path));
        }
    }
}
