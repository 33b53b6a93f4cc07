// Browser: name and platform, for sentences about the browser's own buttons, and missing features.
//
// Behaviour never depends on the name: features are detected.

/**
 * @typedef {'chrome' | 'chrome-android' | 'firefox' | 'firefox-android' | 'safari' | 'ios' | 'safari-ios' | 'in-app'} Family
 * @typedef {'windows' | 'mac' | 'android' | 'ios' | 'other'} System
 */

const IN_APP = /MicroMessenger|\bQQ\/|DingTalk|Weibo|AlipayClient|FBAN|FBAV|Instagram|\bLine\/|TikTok|musical_ly|Snapchat|; wv\)|\bGSA\//i;

/**
 * The error code of a feature without which no call works; a setting, an extension or an app may disable one.
 * @param {any} scope
 * @returns {'no-webrtc' | null}
 */
export function missingFeature({ RTCPeerConnection, MediaStream }) {
  const has = ['addTransceiver', 'createDataChannel', 'getStats', 'getTransceivers'].every((method) => typeof RTCPeerConnection?.prototype?.[method] === 'function');
  return has && typeof MediaStream === 'function' ? null : 'no-webrtc';
}

/**
 * @param {{userAgent: string, maxTouchPoints?: number}} navigator
 * @returns {{family: Family, system: System}}
 */
export function browserOf({ userAgent: agent, maxTouchPoints = 0 }) {
  const system = systemOf(agent, maxTouchPoints);
  return { family: familyOf(agent, system), system };
}

/**
 * The names a sentence may be written for, the most specific first.
 * @param {{userAgent: string, maxTouchPoints?: number}} navigator
 */
export function browserNames(navigator) {
  const { family, system } = browserOf(navigator);
  return [family, system, ...(system === 'android' || system === 'ios' ? ['phone'] : [])];
}

/** @param {{userAgent: string, maxTouchPoints?: number}} navigator */
export function isMac({ userAgent: agent, maxTouchPoints = 0 }) {
  return systemOf(agent, maxTouchPoints) === 'mac';
}

/**
 * @param {string} agent
 * @param {number} touches
 * @returns {System}
 */
function systemOf(agent, touches) {
  // An iPad identifies as a Macintosh; no Macintosh has a touch screen.
  if (/iPhone|iPad|iPod/.test(agent) || (/Macintosh/.test(agent) && touches > 1)) return 'ios';
  if (/Android/.test(agent)) return 'android';
  if (/Macintosh/.test(agent)) return 'mac';
  return /Windows/.test(agent) ? 'windows' : 'other';
}

/**
 * @param {string} agent
 * @param {System} system
 * @returns {Family}
 */
function familyOf(agent, system) {
  if (IN_APP.test(agent)) return 'in-app';
  // All browsers on iOS use Safari's engine, but only Safari has its own permission button.
  if (system === 'ios') return /CriOS|FxiOS|EdgiOS|OPT\/|DuckDuckGo/.test(agent) ? 'ios' : 'safari-ios';
  const firefox = /Firefox\//.test(agent);
  if (system === 'android') return firefox ? 'firefox-android' : 'chrome-android';
  if (firefox) return 'firefox';
  return /Safari\//.test(agent) && !/Chrom(e|ium)\//.test(agent) ? 'safari' : 'chrome';
}
