import assert from 'node:assert/strict';
import { test } from 'node:test';
import { browserNames, browserOf, missingFeature } from '../../../public/lib/browser.js';

const WEBKIT = 'AppleWebKit/605.1.15 (KHTML, like Gecko)';
const BLINK = 'AppleWebKit/537.36 (KHTML, like Gecko)';

test('browsers are identified by their user agent', () => {
  for (const [family, system, userAgent, maxTouchPoints] of [
    ['chrome', 'windows', `Mozilla/5.0 (Windows NT 10.0; Win64; x64) ${BLINK} Chrome/142.0.0.0 Safari/537.36`],
    ['chrome', 'windows', `Mozilla/5.0 (Windows NT 10.0; Win64; x64) ${BLINK} Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0`, 10],
    ['chrome', 'other', `Mozilla/5.0 (X11; Linux x86_64) ${BLINK} HeadlessChrome/142.0.0.0 Safari/537.36`],
    ['firefox', 'mac', 'Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:145.0) Gecko/20100101 Firefox/145.0', 0],
    ['safari', 'mac', `Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) ${WEBKIT} Version/26.0 Safari/605.1.15`, 0],
    ['safari-ios', 'ios', `Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) ${WEBKIT} Version/26.0 Mobile/15E148 Safari/604.1`, 5],
    ['safari-ios', 'ios', `Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) ${WEBKIT} Version/26.0 Safari/605.1.15`, 5],
    ['ios', 'ios', `Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) ${WEBKIT} CriOS/142.0.0.0 Mobile/15E148 Safari/604.1`, 5],
    ['chrome-android', 'android', `Mozilla/5.0 (Linux; Android 10; K) ${BLINK} Chrome/142.0.0.0 Mobile Safari/537.36`, 5],
    ['firefox-android', 'android', 'Mozilla/5.0 (Android 15; Mobile; rv:145.0) Gecko/145.0 Firefox/145.0', 5],
    ['in-app', 'ios', `Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) ${WEBKIT} Mobile/15E148 MicroMessenger/8.0.60(0x18003c2f)`, 5],
    ['in-app', 'android', `Mozilla/5.0 (Linux; Android 14; SM-S901B; wv) ${BLINK} Version/4.0 Chrome/142.0.0.0 Mobile Safari/537.36 [FB_IAB/FB4A;FBAV/487.0]`, 5],
    ['chrome', 'other', ''],
  ]) assert.deepEqual(browserOf({ userAgent, maxTouchPoints }), { family, system }, userAgent);
});

test('a phone\'s sentence comes after those of its browser and system', () => {
  const names = (userAgent) => browserNames({ userAgent, maxTouchPoints: 5 });
  assert.deepEqual(names(`Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) ${WEBKIT} Version/26.0 Mobile/15E148 Safari/604.1`), ['safari-ios', 'ios', 'phone']);
  assert.deepEqual(names('Mozilla/5.0 (Android 15; Mobile; rv:145.0) Gecko/145.0 Firefox/145.0'), ['firefox-android', 'android', 'phone']);
  assert.deepEqual(names(`Mozilla/5.0 (Windows NT 10.0; Win64; x64) ${BLINK} Chrome/142.0.0.0 Safari/537.36`), ['chrome', 'windows']);
});

test('missing required features are reported before a join', () => {
  class RTCPeerConnection { addTransceiver() {} createDataChannel() {} getStats() {} getTransceivers() {} }
  const all = { RTCPeerConnection, MediaStream: class {} };
  assert.equal(missingFeature(all), null);
  assert.equal(missingFeature({ ...all, RTCPeerConnection: undefined }), 'no-webrtc');
  assert.equal(missingFeature({ ...all, RTCPeerConnection: class {} }), 'no-webrtc');
  assert.equal(missingFeature({ ...all, MediaStream: null }), 'no-webrtc');
});
