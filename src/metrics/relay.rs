//! The relay's counters: allocations, refusals, relayed and lost packets.

use std::fmt;

use webrtc_box_relay::{PacketLoss, RelayStats};
use webrtc_box_turn::addr::Transport;
use webrtc_box_turn::response::Refusal;
use webrtc_box_turn::server::CloseReason;
use webrtc_box_turn::stats::{AllocationCounts, Direction, RelayedFamilies, ServerStats};

use super::scrape::ScrapeWriter;

/// Writes all counters of the relay.
pub(super) fn write(out: &mut ScrapeWriter<'_>, stats: &RelayStats) -> fmt::Result {
    allocations(out, &stats.server_stats)?;
    refusals(out, &stats.server_stats)?;
    payloads(out, &stats.server_stats)?;
    let mut lost = out.counters(
        "webrtc_box_packets_lost",
        "Outgoing packets lost, by the full queue or socket",
        ["cause"],
    )?;
    PacketLoss::ALL
        .into_iter()
        .zip(stats.lost)
        .try_for_each(|(loss, count)| lost.counter([cause(loss)], count))?;
    out.counter(
        "webrtc_box_receive_errors",
        "Failed reads of UDP sockets; rises continuously if the server cannot receive",
        stats.receive_errors,
    )?;
    out.counter(
        "webrtc_box_relay_sockets_failed",
        "Relay sockets that could not be bound; most cause a 508 reply (relay-scope public)",
        stats.bind_errors,
    )
}

fn allocations(out: &mut ScrapeWriter<'_>, stats: &ServerStats) -> fmt::Result {
    let labels = ["transport", "family"];
    let mut open = out.gauges("webrtc_box_allocations", "Open allocations", labels)?;
    for_each(stats, |labels, count| open.gauge(labels, count.open))?;
    let mut opened = out.counters("webrtc_box_allocations_opened", "Allocations opened", labels)?;
    for_each(stats, |labels, count| opened.counter(labels, count.opened))?;
    let mut ended =
        out.counters("webrtc_box_allocations_ended", "Allocations ended, by reason", ["reason"])?;
    CloseReason::ALL
        .into_iter()
        .zip(stats.ended)
        .try_for_each(|(end, count)| ended.counter([reason(end)], count))
}

fn for_each(
    stats: &ServerStats,
    mut write: impl FnMut([&str; 2], AllocationCounts) -> fmt::Result,
) -> fmt::Result {
    for (transport, by_family) in Transport::ALL.into_iter().zip(stats.allocations) {
        for (relayed, count) in RelayedFamilies::ALL.into_iter().zip(by_family) {
            write([transport_label(transport), family(relayed)], count)?;
        }
    }
    Ok(())
}

fn refusals(out: &mut ScrapeWriter<'_>, stats: &ServerStats) -> fmt::Result {
    let mut refused = out.counters(
        "webrtc_box_stun_refusals",
        "STUN error replies by code; every allocation begins with a 401, which requests the credential",
        ["code"],
    )?;
    let codes = Refusal::CODES.iter().zip(stats.refused);
    codes.into_iter().try_for_each(|(code, count)| refused.counter([&code.to_string()], count))?;
    out.counter(
        "webrtc_box_stun_unanswered",
        "Unauthenticated requests not answered because of unauth-reply-rate",
        stats.unanswered,
    )
}

fn payloads(out: &mut ScrapeWriter<'_>, stats: &ServerStats) -> fmt::Result {
    let mut packets = out.counters("webrtc_box_relayed_packets", "Packets relayed", ["way"])?;
    Direction::ALL
        .into_iter()
        .zip(stats.relayed)
        .try_for_each(|(one, count)| packets.counter([way(one)], count.packets))?;
    let mut bytes = out.counters("webrtc_box_relayed_bytes", "Payload bytes relayed", ["way"])?;
    Direction::ALL
        .into_iter()
        .zip(stats.relayed)
        .try_for_each(|(one, count)| bytes.counter([way(one)], count.bytes))
}

fn transport_label(transport: Transport) -> &'static str {
    match transport {
        Transport::Udp => "udp",
        Transport::Tcp => "tcp",
        Transport::Tls => "tls",
    }
}

fn family(relayed: RelayedFamilies) -> &'static str {
    match relayed {
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
