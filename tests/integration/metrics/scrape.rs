//! A strict parser of Prometheus' text format 0.0.4; it panics on any deviation.

use std::collections::{BTreeMap, BTreeSet};

/// One scrape.
#[derive(Clone, Debug, PartialEq)]
pub struct Scrape {
    /// Values by name and labels, as they are in the text.
    samples: BTreeMap<String, f64>,
}

/// The metric whose samples are parsed.
struct Family<'t> {
    name: &'t str,
    kind: &'t str,
}

impl Scrape {
    pub fn parse(text: &str) -> Self {
        assert!(
            text.ends_with('\n') && !text.contains('\r') && !text.contains("\n\n"),
            "lines end in one \\n"
        );
        let (mut samples, mut names) = (BTreeMap::new(), BTreeSet::new());
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            let (name, help) = comment(line, "HELP");
            assert!(!help.is_empty() && !help.contains('\\'), "{line}");
            assert!(names.insert(name), "{name} occurs twice");
            let (again, kind) = comment(lines.next().unwrap_or_default(), "TYPE");
            assert_eq!(name, again, "TYPE follows HELP");
            let family = Family { name, kind };
            family.check();
            let mut values = Vec::new();
            while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
                let (series, value) = family.sample(line);
                assert_eq!(samples.insert(series.to_owned(), value), None, "{series} occurs twice");
                values.push((series, value));
            }
            assert!(!values.is_empty(), "{name} has no value");
            if kind == "histogram" {
                check_histogram(name, &values);
            }
        }
        Self { samples }
    }

    /// The value of an existing series.
    pub fn value(&self, series: &str) -> f64 {
        *self.samples.get(series).unwrap_or_else(|| panic!("no {series} in {:#?}", self.samples))
    }

    pub fn series(&self) -> Vec<&str> {
        self.samples.keys().map(String::as_str).collect()
    }

    /// Changes of series since `before`, without those of the process and of lag.
    pub fn since(&self, before: &Self) -> BTreeMap<&str, f64> {
        let other = |series: &&&str| !before.samples.contains_key(**series);
        let (now, new) = (self.series(), self.series().iter().filter(other).copied().collect::<Vec<_>>());
        assert!(new.is_empty() && now.len() == before.samples.len(), "series were added or removed: {new:?}");
        let counted = self.samples.iter().filter(|(series, _)| is_counted(series));
        let change = counted.map(|(series, value)| (series.as_str(), value - before.value(series)));
        change.filter(|(_, change)| *change != 0.0).collect()
    }
}

fn is_counted(series: &str) -> bool {
    !series.starts_with("process_") && !series.starts_with("webrtc_box_lag_seconds")
}

fn comment<'t>(line: &'t str, kind: &str) -> (&'t str, &'t str) {
    let rest = line.strip_prefix("# ").and_then(|rest| rest.strip_prefix(kind));
    let rest = rest.and_then(|rest| rest.strip_prefix(' ')).unwrap_or_else(|| panic!("no {kind}: {line}"));
    rest.split_once(' ').unwrap_or_else(|| panic!("{line}"))
}

impl<'t> Family<'t> {
    fn check(&self) {
        let Self { name, kind } = self;
        assert!(is_name(name, true), "{name}");
        assert!(name.starts_with("webrtc_box_") || name.starts_with("process_"), "{name}");
        assert!(["counter", "gauge", "histogram"].contains(kind), "{kind}");
        assert_eq!(name.ends_with("_total"), *kind == "counter", "{name} is a {kind}");
    }

    /// Series and value of a line without timestamp.
    fn sample(&self, line: &'t str) -> (&'t str, f64) {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').unwrap_or_else(|| panic!("{line}"))),
            None => (series, ""),
        };
        let suffix = name.strip_prefix(self.name).unwrap_or_else(|| panic!("{line} is not {}", self.name));
        let suffixes: &[&str] = if self.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        assert!(suffixes.contains(&suffix), "{line}");
        check_labels(labels);
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
        assert!(value.is_finite() && (self.kind == "gauge" || value >= 0.0), "{line}");
        (series, value)
    }
}

/// Checks labels such as `a="b",c="d"`, without escapes.
fn check_labels(labels: &str) {
    let mut names = BTreeSet::new();
    for label in labels.split(',').filter(|label| !label.is_empty()) {
        let (name, value) = label.split_once('=').unwrap_or_else(|| panic!("{labels}"));
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        let value = value.unwrap_or_else(|| panic!("{labels}"));
        assert!(is_name(name, false) && names.insert(name), "{labels}");
        assert!(!value.is_empty() && !value.contains(['"', '\\', '\n']), "{labels}");
    }
}

fn is_name(name: &str, colons: bool) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_' || (colons && c == ':');
    name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit())
}

/// Checks that buckets are cumulative and that the last one equals the count.
fn check_histogram(name: &str, values: &[(&str, f64)]) {
    let bucket = format!("{name}_bucket{{");
    let mut last = (f64::NEG_INFINITY, 0.0);
    for (series, value) in values {
        if let Some(labels) = series.strip_prefix(&bucket) {
            let bound = labels.rsplit_once("le=\"").unwrap().1.trim_end_matches("\"}");
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap() };
            assert!(bound > last.0 && *value >= last.1, "{series}");
            last = (bound, *value);
        } else if series.starts_with(&format!("{name}_count")) {
            assert_eq!(last, (f64::INFINITY, *value), "{series}");
            last = (f64::NEG_INFINITY, 0.0);
        }
    }
    assert_eq!(last.0, f64::NEG_INFINITY, "{name} ends with a count");
}
