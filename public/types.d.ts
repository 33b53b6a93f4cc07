// Messages between the modules of the page and between the page and the server, as discriminated unions.

import type { ChatChannel } from './call/chat.js';
import type { LivenessState } from './call/liveness.js';
import type { Path } from './call/selected-path.js';
import type { OutgoingVideo } from './call/sender-control.js';
import type { Verification } from './call/verification.js';
import type { MuteState } from './media/mute-state.js';

/** Names a peer connection, and the round of offers where it is known; see call/negotiation.js. */
type CallId = string;

export interface Description {
  type: 'offer' | 'answer';
  sdp: string;
}

/** An offer, an answer or an ICE candidate before the signaling client sends it to `target`. */
export type NegotiationMessage =
  | { type: 'offer'; sdp: Description; call: CallId }
  | { type: 'answer'; sdp: Description; call: CallId }
  | { type: 'candidate'; candidate: RTCIceCandidateInit | null; call: CallId };

/** How a call goes, for the operator's log and metrics. Times in milliseconds, `lost` from 0 to 1. */
export interface ReportMessage {
  type: 'report';
  path?: Path;
  setup?: number;
  rtt?: number;
  lost?: number;
  bytes?: number;
}

export interface JoinOptions {
  /** The host key. */
  key?: string;
  /** Ours, for the other participant. */
  name?: string;
  /** One-time token with which another device gives us its seat. */
  transfer?: string;
  /** Takes the seat of another tab of this browser. */
  takeOver?: boolean;
}

/** `waited`: we were waiting for it. */
export type Seat = JoinOptions & { room: string; id?: string; resume?: string; waited?: boolean };

/** Messages that wait in the outbox while the socket is down. */
export type OutboxMessage = (NegotiationMessage & { target: string }) | ReportMessage;

/** What the page sends to the server. */
export type ClientMessage =
  | OutboxMessage
  /** `wait`: in front of a full room, or one that only a host key opens, wait instead of an error. */
  /** `fence`: that of the redirect that brought us to this server. */
  | { type: 'join'; room: string; features: string[]; resume?: string; key?: string; name?: string; wait?: true; fence?: number }
  /** Answers to a knock. */
  | { type: 'admit' | 'decline'; id: string }
  /** Asks for a one-time token with which another device takes our seat. */
  | { type: 'transfer' }
  | { type: 'leave' }
  | { type: 'look'; room: string; resume?: string }
  | { type: 'ice-servers' }
  | { type: 'ping' }
  | { type: 'pong' };

/** What the other participant sends, passed on by the server unread. */
export type PeerMessage = NegotiationMessage & { from: string };

/** What the server sends. Only `type` is checked when a message is parsed. */
export type ServerMessage =
  | PeerMessage
  | { type: 'resp-join'; id: string; room: string; peer: string | null; peerName?: string | null; peerFeatures?: string[]; iceServers: RTCIceServer[]; ttl: number; resume: string; resumed: boolean; nodes?: string[] }
  /** `name`: of the other participant, only for who has a seat there. */
  | { type: 'room'; room: string; seats: number; name?: string | null }
  /** We wait to be let in; sent again when the position (from 1 on) changes. */
  | { type: 'waiting'; position: number }
  /** Somebody waits to be let in; `gone`: no longer. */
  | { type: 'knock'; id: string; name?: string | null; gone?: boolean }
  | { type: 'transfer'; token: string; ttl: number }
  | { type: 'new-peer'; id: string; name?: string | null; features?: string[] }
  | { type: 'peer-leave'; id: string }
  | { type: 'peer-away'; id: string; closing?: boolean }
  /** `name`: which it has now. */
  | { type: 'peer-back'; id: string; name?: string | null; features?: string[] }
  | { type: 'ice-servers'; iceServers: RTCIceServer[]; ttl: number }
  | { type: 'ping' }
  | { type: 'pong' }
  /** Another server of the same name has the room. */
  | { type: 'redirect'; url: string; room: string; fence: number }
  /** `retry`: seconds after which the same request may succeed. */
  | { type: 'error'; code: string; message: string; retry?: number };

/** What the signaling client emits. */
export type SignalingEvent =
  | Exclude<ServerMessage, { type: 'ping' | 'pong' | 'redirect' }>
  /** Nothing is known of a new room name yet. */
  | { type: 'room'; room: string; seats: null; name?: undefined }
  /** Whether another tab of this browser has a seat in the room named in the lobby. */
  | { type: 'elsewhere'; room: string; elsewhere: boolean }
  | { type: 'socket'; open: boolean }
  /** The join failed for good. */
  | { type: 'refused'; code: string }
  /** Another tab took the seat. */
  | { type: 'replaced' };

/** What a call emits. */
export type CallEvent =
  /** `none`: there is no peer connection. */
  | { type: 'connection-state'; state: RTCPeerConnectionState | 'none' }
  | { type: 'verification'; verification: Verification }
  | { type: 'remote-stream'; stream: MediaStream }
  /** Whether packets of the peer arrive. */
  | { type: 'liveness'; state: LivenessState }
  /** Whether our video is sent in full, reduced or paused because of the network. */
  | { type: 'outgoing-video'; state: OutgoingVideo }
  /** What the peer sends. `weak`: its network carries no video for now; `still`: what is paused is a shared screen. */
  | ({ type: 'mute-state' } & MuteState & { weak: boolean; still: boolean })
  /** Null: the peer has none. */
  | { type: 'chat-channel'; channel: ChatChannel | null; peer: string }
  /** The peer has hung up. */
  | { type: 'hang-up' }
  /** The browser cannot create a peer connection. */
  | { type: 'unsupported' }
  /** The browser finds no ICE candidate. */
  | { type: 'no-candidates' }
  /** The two browsers have no codec in common for this kind. */
  | { type: 'no-common-codec'; kind: 'audio' | 'video' }
  /** A path that carried no media is avoided from now on. */
  | { type: 'path-avoided' }
  /** For the log. */
  | { type: 'error'; error: unknown };
