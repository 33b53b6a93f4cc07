// Local media: the microphone and the camera of this page, requested before the rest of the page is there.
//
// A small script of its own in the HTML: the person answers the browser's question while the rest still loads.

import { missingFeature } from '../lib/browser.js';
import { browserClock as clock } from '../lib/clock.js';
import { makeStore } from '../lib/storage.js';
import { policyOf } from '../media/capture.js';
import { Media } from '../media/media.js';
import { makeMuteToggles } from '../media/mute-state.js';

export const tabStorage = makeStore(() => sessionStorage);
export const browserStorage = makeStore(() => localStorage);
/** The code of a missing feature without which there is no call. */
export const missing = missingFeature(globalThis);
/** What the rest of the page does, once it is there. */
export const listeners = { changed() {}, toggleFailed() {} };

export const media = new Media({
  devices: navigator.mediaDevices, secure: isSecureContext, permissions: navigator.permissions, allowed: policyOf(document),
  storage: browserStorage, newStream: () => new MediaStream(), clock, now: () => performance.now(), hidden: () => document.hidden,
  changed: () => listeners.changed(),
});
export const toggles = makeMuteToggles({ media, storage: tabStorage, failed: () => listeners.toggleFailed() });

if (!missing) media.start(toggles.saved());
