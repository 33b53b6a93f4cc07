//! Rooms, calls and doors.

use std::fmt;

use super::sheet::Sheet;
use crate::http::{Figures, Handshake, SETUP_BOUNDS, Setups};
use webrtc_box_signaling::{MediaPath, Refusal};

pub(super) fn write(sheet: &mut Sheet<'_>, figures: &Figures) -> fmt::Result {
    sheet.gauge("webrtc_box_rooms", "Rooms somebody sits in", figures.rooms as u64)?;
    sheet.gauge("webrtc_box_seats", "Seats taken, kept ones included", figures.seats as u64)?;
    sheet.gauge("webrtc_box_websockets", "Open WebSockets", figures.sockets as u64)?;
    joins(sheet, figures)?;
    calls(sheet, figures)?;
    let mut handshakes = sheet.counters("webrtc_box_tls_handshakes", "TLS handshakes", ["outcome"])?;
    for (how, count) in Handshake::ALL.into_iter().zip(figures.handshakes) {
        handshakes.counter([name(how)], count)?;
    }
    sheet.counter(
        "webrtc_box_connections_refused",
        "Connections of sources that had all they may have",
        figures.crowded_out,
    )?;
    sheet.counter(
        "webrtc_box_websockets_given_up",
        "WebSockets closed because their client did not read",
        figures.given_up,
    )
}

fn joins(sheet: &mut Sheet<'_>, figures: &Figures) -> fmt::Result {
    let mut joins = sheet.counters("webrtc_box_joins", "Seats taken anew or taken back", ["outcome"])?;
    joins.counter(["fresh"], figures.joins[0])?;
    joins.counter(["resumed"], figures.joins[1])?;
    let mut refused = sheet.counters(
        "webrtc_box_join_refusals",
        "Joins refused, by the code of the error frame",
        ["code"],
    )?;
    Refusal::CODES
        .iter()
        .zip(figures.turned_away)
        .try_for_each(|(code, count)| refused.counter([code], count))
}

fn calls(sheet: &mut Sheet<'_>, figures: &Figures) -> fmt::Result {
    let mut setups = sheet.histograms(
        "webrtc_box_call_setup_seconds",
        "How long calls took to connect, as pages say",
        ["path"],
    )?;
    for (path, times) in MediaPath::ALL.into_iter().zip(&figures.setups) {
        setups.histogram([path.name()], times.sum, &buckets(times))?;
    }
    let mut ended = sheet.counters(
        "webrtc_box_calls_ended",
        "Calls that have ended; path none: no page said that it was connected; unreported: no page said anything",
        ["path"],
    )?;
    let paths = MediaPath::ALL.into_iter().map(MediaPath::name).chain(["none", "unreported"]);
    paths.zip(figures.calls).try_for_each(|(path, count)| ended.counter([path], count))
}

fn buckets(times: &Setups) -> Vec<(f64, u64)> {
    SETUP_BOUNDS.into_iter().chain([f64::INFINITY]).zip(times.counts).collect()
}

fn name(how: Handshake) -> &'static str {
    match how {
        Handshake::Done => "ok",
        Handshake::Failed => "failed",
        Handshake::TooSlow => "timeout",
        Handshake::Refused => "refused",
    }
}
