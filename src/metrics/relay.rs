//! Allocations, what is refused, what passes and what is lost.

use std::fmt;

use super::sheet::Sheet;
use webrtc_box_relay::{PacketLoss, RelayStats};
use webrtc_box_turn::addr::Transport;
use webrtc_box_turn::error::Refusal;
use webrtc_box_turn::server::CloseReason;
use webrtc_box_turn::stats::{AllocationCounts, Direction, RelayedFamilies, ServerStats};

pub(super) fn write(sheet: &mut Sheet<'_>, stats: &RelayStats) -> fmt::Result {
    allocations(sheet, &stats.server_stats)?;
    refusals(sheet, &stats.server_stats)?;
    payloads(sheet, &stats.server_stats)?;
    let mut lost = sheet.counters(
        "webrtc_box_packets_lost",
        "Packets lost on their way out of the box, by the queue or socket that had no room",
        ["cause"],
    )?;
    PacketLoss::ALL
        .into_iter()
        .zip(stats.lost)
        .try_for_each(|(loss, count)| lost.counter([cause(loss)], count))?;
    sheet.counter(
        "webrtc_box_receive_errors",
        "Reads of a UDP socket that failed; without pause where nothing can be received",
        stats.receive_errors,
    )?;
    sheet.counter(
        "webrtc_box_relay_sockets_failed",
        "Relay sockets that could not be bound, most of which cost a client a 508 (relay-scope public)",
        stats.bind_errors,
    )
}

fn allocations(sheet: &mut Sheet<'_>, server_stats: &ServerStats) -> fmt::Result {
    let labels = ["transport", "family"];
    let mut open = sheet.gauges("webrtc_box_allocations", "Allocations there are", labels)?;
    for_each(server_stats, |labels, count| open.gauge(labels, count.open))?;
    let mut opened = sheet.counters("webrtc_box_allocations_opened", "Allocations opened", labels)?;
    for_each(server_stats, |labels, count| opened.counter(labels, count.opened))?;
    let mut ended =
        sheet.counters("webrtc_box_allocations_ended", "Allocations that have ended", ["reason"])?;
    CloseReason::ALL
        .into_iter()
        .zip(server_stats.ended)
        .try_for_each(|(end, count)| ended.counter([reason(end)], count))
}

fn for_each(
    server_stats: &ServerStats,
    mut deed: impl FnMut([&str; 2], AllocationCounts) -> fmt::Result,
) -> fmt::Result {
    for (transport, by_family) in Transport::ALL.into_iter().zip(server_stats.allocations) {
        for (lent, count) in RelayedFamilies::ALL.into_iter().zip(by_family) {
            deed([over(transport), family(lent)], count)?;
        }
    }
    Ok(())
}

fn refusals(sheet: &mut Sheet<'_>, server_stats: &ServerStats) -> fmt::Result {
    let mut refused = sheet.counters(
        "webrtc_box_stun_refusals",
        "STUN error replies by code; every allocation begins with a 401, which asks for the credential",
        ["code"],
    )?;
    let codes = Refusal::CODES.iter().zip(server_stats.refused);
    codes.into_iter().try_for_each(|(code, count)| refused.counter([&code.to_string()], count))?;
    sheet.counter(
        "webrtc_box_stun_unanswered",
        "Requests of strangers left without an answer by unauth-reply-rate",
        server_stats.unanswered,
    )
}

fn payloads(sheet: &mut Sheet<'_>, server_stats: &ServerStats) -> fmt::Result {
    let mut packets = sheet.counters("webrtc_box_relayed_packets", "Payloads relayed", ["way"])?;
    Direction::ALL
        .into_iter()
        .zip(server_stats.relayed)
        .try_for_each(|(one, count)| packets.counter([way(one)], count.packets))?;
    let mut bytes = sheet.counters("webrtc_box_relayed_bytes", "Bytes of payloads relayed", ["way"])?;
    Direction::ALL
        .into_iter()
        .zip(server_stats.relayed)
        .try_for_each(|(one, count)| bytes.counter([way(one)], count.bytes))
}

fn over(transport: Transport) -> &'static str {
    match transport {
        Transport::Udp => "udp",
        Transport::Tcp => "tcp",
        Transport::Tls => "tls",
    }
}

fn family(lent: RelayedFamilies) -> &'static str {
    match lent {
        RelayedFamilies::V4 => "ipv4",
        RelayedFamilies::V6 => "ipv6",
        RelayedFamilies::Both => "both",
    }
}

fn reason(end: CloseReason) -> &'static str {
    match end {
        CloseReason::Expired => "expired",
        CloseReason::Deleted => "deleted",
        CloseReason::PrincipalLeft => "seat-left",
        CloseReason::Evicted => "gave-way",
        CloseReason::Disconnected => "disconnected",
    }
}

fn way(way: Direction) -> &'static str {
    match way {
        Direction::ClientToClient => "across",
        Direction::ClientToPeer => "out",
        Direction::PeerToClient => "back",
    }
}

fn cause(loss: PacketLoss) -> &'static str {
    match loss {
        PacketLoss::SocketFull => "socket-full",
        PacketLoss::SocketError => "socket-error",
        PacketLoss::InboxFull => "inbox-full",
        PacketLoss::HandoverFull => "handover-full",
        PacketLoss::StreamFull => "stream-full",
        PacketLoss::StreamLate => "stream-late",
    }
}
