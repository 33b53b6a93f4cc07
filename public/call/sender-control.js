// Sender control: applies the bitrate adaptation to the senders of one connection and reports reduced or paused video.
//
// It sets only parameters that differ, so that a new track or another negotiation gets them again. If a browser rejects
// the full set, only the limits are tried; if it rejects these too, it is left alone until the parameters change.

import {
  adapt, afterInterruption, afterPathChange, audioParameters, initialBitrate, isAnnouncedPaused, isSettled, outgoingVideoOf, videoParameters,
} from './bitrate-adaptation.js';
import { feedbackOf } from './rtcp-feedback.js';

/**
 * @typedef {'full' | 'reduced' | 'paused'} OutgoingVideo
 * @typedef {object} SenderControl
 * @property {(report: import('./selected-path.js').Report) => void} update evaluates the connection's statistics
 * @property {() => void} interrupted the path was down or has changed
 * @property {() => Promise<void>} apply sets parameters that differ
 * @property {() => OutgoingVideo} outgoingVideo
 * @property {() => number | null} carriedBitrate what the path can carry, in bits per second; null while it is not known
 * @property {() => boolean} isAnnouncedPaused whether video is paused, or is a screen and was paused until a moment ago
 */

/**
 * @param {object} parts
 * @param {(kind: 'audio' | 'video') => RTCRtpSender | undefined} parts.sender
 * @param {() => void} parts.changed after a change of `outgoingVideo` or `isAnnouncedPaused`
 * @returns {SenderControl}
 */
export function makeSenderControl({ sender, changed }) {
  let state = initialBitrate();
  /** @type {import('./rtcp-feedback.js').Feedback | undefined} */
  let last;
  /** Parameters in effect, as JSON. @type {WeakMap<RTCRtpSender, string>} */
  const applied = new WeakMap();
  /** @type {WeakMap<RTCRtpSender, string>} */
  const rejected = new WeakMap();

  const announced = () => `${outgoingVideoOf(state)} ${isAnnouncedPaused(state)}`;

  async function apply() {
    const video = sender('video');
    const audio = sender('audio');
    const { width, height } = video?.track?.getSettings?.() ?? {};
    await Promise.all([
      applyTo(audio, audioParameters(state, audio?.track?.contentHint === 'music', last?.available)),
      applyTo(video, videoParameters(state, { content: contentOf(video), width, height })),
    ]);
  }

  /**
   * @param {RTCRtpSender | undefined} target
   * @param {{encoding: Record<string, any>, degradationPreference?: string}} parameters
   */
  async function applyTo(target, { encoding, ...rest }) {
    const whole = JSON.stringify([encoding, rest]);
    const { active, maxBitrate } = encoding;
    for (const part of [{ encoding, rest }, { encoding: { active, maxBitrate }, rest: {} }]) {
      const current = /** @type {any} */ (target?.getParameters?.());
      const [first] = current?.encodings ?? [];
      // Before the first negotiation there is no encoding.
      if (!target || !first || rejected.get(target) === whole) return;
      if (applied.get(target) === whole && first.active === active && first.maxBitrate === maxBitrate) return;
      Object.assign(first, part.encoding);
      if (active) delete first.codec;
      else if (part.rest === rest) first.codec = otherCodec(current.codecs);
      const error = await target.setParameters({ ...current, ...part.rest }).then(() => null, ({ name }) => String(name));
      if (error === null) return void applied.set(target, whole);
      // The state is wrong and not the parameters, e.g. during a negotiation: the next reading tries again.
      if (error === 'InvalidStateError') return;
    }
    if (target) rejected.set(target, whole);
  }

  return {
    update(report) {
      const before = announced();
      const path = last?.path;
      last = feedbackOf(report, last);
      if (path && path !== last.path) state = afterPathChange(state);
      state = adapt(state, last, contentOf(sender('video')));
      apply().catch(() => {});
      if (announced() !== before) changed();
    },
    interrupted: () => { state = afterInterruption(state); },
    apply,
    outgoingVideo: () => outgoingVideoOf(state),
    carriedBitrate: () => (last?.sending && isSettled(state) ? last.available : null),
    isAnnouncedPaused: () => isAnnouncedPaused(state),
  };
}

/** @param {RTCRtpSender | undefined} video */
function contentOf(video) {
  return video?.track?.contentHint === 'text' ? 'text' : 'motion';
}

/**
 * Paused video is switched to another codec, which sends nothing either: with its own codec a browser would continue
 * retransmissions for ten seconds and more over a congested path. Browsers without this parameter ignore it.
 * @param {{mimeType: string}[]} [codecs] as negotiated
 */
function otherCodec(codecs = []) {
  return codecs.find(({ mimeType }) => mimeType !== codecs[0].mimeType && !/\/(rtx|red|ulpfec|flexfec.*)$/i.test(mimeType));
}
