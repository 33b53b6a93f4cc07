//! Calls: two participants in one room, and what their pages reported.
//!
//! A report holds a few numbers for the operator, checked against limits. No other client receives it.

use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::error::Malformed;
use crate::seat::{SEATS_PER_ROOM, SeatId};

/// The path of the media, as the page reports it.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Hash)]
#[serde(rename_all = "kebab-case")]
pub enum MediaPath {
    /// From browser to browser.
    Direct,
    /// Through a relay that is reached over UDP.
    RelayUdp,
    /// Through a relay that is reached over TCP.
    RelayTcp,
    /// Through a relay that is reached over TLS.
    RelayTls,
}

/// The statistics of one page. An absent field is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CallReport {
    /// The path of the media.
    pub path: Option<MediaPath>,
    /// Time from the join, or from the peer's arrival, to the connection.
    pub setup: Option<Duration>,
    /// Round-trip time.
    pub rtt: Option<Duration>,
    /// Share of lost packets of the peer, 0 to 1.
    pub lost: Option<f64>,
    /// Bytes of media in both directions.
    pub bytes: Option<u64>,
}

/// A call that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct CallSummary {
    /// The room name.
    pub room: String,
    /// How long two participants were in the room.
    pub duration: Duration,
    /// The server stopped during the call. The pages resume it after the restart.
    pub server_stopped: bool,
    /// A page sent any report. A client that knows only the eight basic messages sends none.
    pub reported: bool,
    /// The worse of both pages' values: longer times and greater loss; path and bytes come from the page that
    /// counted more bytes.
    pub report: CallReport,
}

/// A call in progress.
#[derive(Debug)]
pub(crate) struct Call {
    started: Instant,
    reports: [Option<(SeatId, CallReport)>; SEATS_PER_ROOM],
}

/// The JSON frame; times in milliseconds.
#[derive(Deserialize)]
struct ReportFrame {
    path: Option<MediaPath>,
    setup: Option<f64>,
    rtt: Option<f64>,
    lost: Option<f64>,
    bytes: Option<u64>,
}

/// One hour: a device that takes longer to connect was asleep.
const MAX_SETUP_MS: f64 = 3_600_000.0;
/// One minute.
const MAX_RTT_MS: f64 = 60_000.0;
/// The greatest integer that a browser counts exactly.
const MAX_BYTES: u64 = 1 << 53;

impl MediaPath {
    /// All values, in declaration order.
    pub const ALL: [Self; 4] = [Self::Direct, Self::RelayUdp, Self::RelayTcp, Self::RelayTls];

    /// The name in frames, logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::RelayUdp => "relay-udp",
            Self::RelayTcp => "relay-tcp",
            Self::RelayTls => "relay-tls",
        }
    }
}

impl CallReport {
    pub(crate) fn parse(text: &str) -> Result<Self, Malformed> {
        let frame: ReportFrame = serde_json::from_str(text).map_err(|_| Malformed::WrongShape)?;
        Ok(Self {
            path: frame.path,
            setup: milliseconds(frame.setup, MAX_SETUP_MS)?,
            rtt: milliseconds(frame.rtt, MAX_RTT_MS)?,
            lost: within(frame.lost, 1.0)?,
            bytes: frame.bytes.map(|bytes| bytes.min(MAX_BYTES)),
        })
    }

    /// This report, with absent fields from `before`. The first setup time stays.
    fn merge(self, before: Self) -> Self {
        Self {
            path: self.path.or(before.path),
            setup: before.setup.or(self.setup),
            rtt: self.rtt.or(before.rtt),
            lost: self.lost.or(before.lost),
            bytes: self.bytes.or(before.bytes),
        }
    }

    /// The worse values of both.
    fn worse(self, other: Self) -> Self {
        let (more, less) = if self.bytes >= other.bytes { (self, other) } else { (other, self) };
        Self {
            path: more.path.or(less.path),
            setup: more.setup.max(less.setup),
            rtt: more.rtt.max(less.rtt),
            lost: more.lost.into_iter().chain(less.lost).reduce(f64::max),
            bytes: more.bytes,
        }
    }
}

impl Call {
    pub(crate) fn new(now: Instant) -> Self {
        Self { started: now, reports: [None; SEATS_PER_ROOM] }
    }

    /// Stores a report of the page in `seat`. Returns the path and setup time with the first report that has both.
    pub(crate) fn record(&mut self, seat: SeatId, report: CallReport) -> Option<(MediaPath, Duration)> {
        let is_own = |slot: &&mut Option<(SeatId, CallReport)>| slot.is_none_or(|(id, _)| id == seat);
        let slot = self.reports.iter_mut().find(is_own)?;
        let before = slot.take().map_or(CallReport::default(), |(_, before)| before);
        *slot = Some((seat, report.merge(before)));
        report.path.zip(report.setup).filter(|_| before.setup.is_none())
    }

    /// Whether its media may be relayed: no page has reported a direct path.
    pub(crate) fn may_relay(&self) -> bool {
        let reports = self.reports.iter().flatten().map(|(_, report)| *report);
        reports.reduce(CallReport::worse).and_then(|report| report.path) != Some(MediaPath::Direct)
    }

    /// The summary of a call in `room` that ends at `now`.
    pub(crate) fn summary(&self, room: &str, now: Instant) -> CallSummary {
        let reports = self.reports.iter().flatten().map(|(_, report)| *report);
        let report = reports.reduce(CallReport::worse);
        CallSummary {
            room: room.to_owned(),
            duration: now.saturating_duration_since(self.started),
            server_stopped: false,
            reported: report.is_some(),
            report: report.unwrap_or_default(),
        }
    }
}

fn milliseconds(number: Option<f64>, max: f64) -> Result<Option<Duration>, Malformed> {
    Ok(within(number, max)?.map(|number| Duration::from_secs_f64(number / 1000.0)))
}

fn within(number: Option<f64>, max: f64) -> Result<Option<f64>, Malformed> {
    match number {
        Some(number) if !(0.0..=max).contains(&number) => Err(Malformed::WrongShape),
        _ => Ok(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_may_omit_any_field() {
        let text =
            r#"{"type":"report","path":"relay-tls","setup":412.5,"rtt":31,"lost":0.02,"bytes":123456}"#;
        let report = CallReport::parse(text).unwrap();
        assert_eq!(report.path, Some(MediaPath::RelayTls));
        assert_eq!(report.setup, Some(Duration::from_micros(412_500)));
        assert_eq!(report.rtt, Some(Duration::from_millis(31)));
        assert_eq!((report.lost, report.bytes), (Some(0.02), Some(123_456)));
        assert_eq!(CallReport::parse(r#"{"type":"report"}"#), Ok(CallReport::default()));
        assert_eq!(CallReport::parse(r#"{"type":"report","more":[1]}"#), Ok(CallReport::default()));
    }

    #[test]
    fn numbers_out_of_range_are_malformed() {
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
            assert_eq!(CallReport::parse(&text), Err(Malformed::WrongShape), "{text}");
        }
        let text = r#"{"type":"report","bytes":18446744073709551615}"#;
        assert_eq!(CallReport::parse(text).unwrap().bytes, Some(MAX_BYTES));
    }

    #[test]
    fn every_media_path_has_its_index_and_wire_name() {
        for (at, path) in MediaPath::ALL.into_iter().enumerate() {
            assert_eq!(path as usize, at);
            let text = format!(r#"{{"type":"report","path":"{}"}}"#, path.name());
            assert_eq!(CallReport::parse(&text).unwrap().path, Some(path));
        }
    }
}
