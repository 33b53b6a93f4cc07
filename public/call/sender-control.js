// Sending: tells the senders of one connection what thrift has decided, and says when the picture is reduced or paused.
//
// It sets only what is not so already, so that a new track or another round of offers gets its parameters again.
// What a browser does not know of them it leaves aside; where it refuses them, the bare limits are tried, and where it
// refuses these too, it is left alone until something else is wished for.

import { feedbackOf } from './rtcp-feedback.js';
import { elsewhere, excused, pictureOf, pictureParameters, soundParameters, thriftAtFirst, waits, weigh } from './bitrate-adaptation.js';

/**
 * @typedef {'full' | 'reduced' | 'paused'} Picture
 * @typedef {object} Sending
 * @property {(report: import('./selected-path.js').Report) => void} hear what the connection's statistics say now
 * @property {() => void} excuse the path was broken, or is another one
 * @property {() => Promise<void>} dress sets what is not so
 * @property {() => Picture} picture
 * @property {() => boolean} waits whether the picture is paused, or is a screen and has been until a moment ago
 */

/**
 * @param {object} parts
 * @param {(kind: 'audio' | 'video') => RTCRtpSender | undefined} parts.sender
 * @param {() => void} parts.changed the picture has become another, or waits no more
 * @returns {Sending}
 */
export function makeSending({ sender, changed }) {
  let thrift = thriftAtFirst();
  /** @type {import('./rtcp-feedback.js').Feedback | undefined} */
  let last;
  /** @type {WeakMap<RTCRtpSender, string>} */
  const worn = new WeakMap();
  /** @type {WeakMap<RTCRtpSender, string>} */
  const refused = new WeakMap();

  const said = () => `${pictureOf(thrift)} ${waits(thrift)}`;

  async function dress() {
    const video = sender('video');
    const content = contentOf(video);
    const { width, height } = video?.track?.getSettings?.() ?? {};
    await Promise.all([
      put(sender('audio'), soundParameters(thrift)),
      put(video, pictureParameters(thrift, { content, width, height })),
    ]);
  }

  /**
   * @param {RTCRtpSender | undefined} one
   * @param {{encoding: Record<string, any>, degradationPreference?: string}} wish
   */
  async function put(one, { encoding, ...rest }) {
    const whole = JSON.stringify([encoding, rest]);
    const { active, maxBitrate } = encoding;
    for (const part of [{ encoding, rest }, { encoding: { active, maxBitrate }, rest: {} }]) {
      const now = /** @type {any} */ (one?.getParameters?.());
      const [place] = now?.encodings ?? [];
      // Before anything is negotiated there is no place for it.
      if (!one || !place || refused.get(one) === whole) return;
      if (worn.get(one) === whole && place.active === active && place.maxBitrate === maxBitrate) return;
      Object.assign(place, part.encoding);
      if (active) delete place.codec;
      else if (part.rest === rest) place.codec = another(now.codecs);
      const trouble = await one.setParameters({ ...now, ...part.rest }).then(() => null, ({ name }) => String(name));
      if (trouble === null) return void worn.set(one, whole);
      // The moment was wrong, not the wish, e.g. in the middle of a negotiation: the next reading asks again.
      if (trouble === 'InvalidStateError') return;
    }
    if (one) refused.set(one, whole);
  }

  return {
    hear(report) {
      const before = said();
      const path = last?.path;
      last = feedbackOf(report, last);
      if (path && path !== last.path) thrift = elsewhere(thrift);
      thrift = weigh(thrift, last, contentOf(sender('video')));
      dress().catch(() => {});
      if (said() !== before) changed();
    },
    excuse() {
      thrift = excused(thrift);
    },
    dress,
    picture: () => pictureOf(thrift),
    waits: () => waits(thrift),
  };
}

/** @param {RTCRtpSender | undefined} video */
function contentOf(video) {
  return video?.track?.contentHint === 'text' ? 'text' : 'motion';
}

/**
 * A paused picture is put to another codec, which sends nothing either: with its own, a browser would go on for ten
 * seconds and more to repeat what was lost, over a path that is full of that. Where it does not know the wish, it does.
 * @param {{mimeType: string}[]} [codecs] as negotiated
 */
function another(codecs = []) {
  return codecs.find(({ mimeType }) => mimeType !== codecs[0].mimeType && !/\/(rtx|red|ulpfec|flexfec.*)$/i.test(mimeType));
}
