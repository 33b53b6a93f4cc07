// The switches: buttons for microphone, camera, screen and the other camera, and what the big button promises.

import { joinLabel } from '../app/status.js';
import { find, flag, label } from './elements.js';

/**
 * @typedef {import('../media/media.js').MediaState} MediaState
 */

/**
 * @param {{document: Document, say: import('../locales/index.js').Say}} parts
 * @returns {{show: (media: MediaState) => void, joinKey: (media: MediaState) => string}}
 */
export function makeSwitches({ document, say }) {
  const share = find(document, `[data-act='share']`);
  const flip = find(document, `[data-act='flip']`);

  return {
    show(media) {
      for (const [act, key, on] of /** @type {const} */ ([['mic', 'M', media.mic], ['cam', 'V', media.cam]])) {
        for (const button of document.querySelectorAll(`[data-act='${act}']`)) {
          label(button, say(`bar.${act}${on ? 'Off' : 'On'}`), key);
          flag(button, 'data-off', !on || media.interrupted[act]);
        }
      }
      share.hidden = !media.canShare;
      label(share, say(media.screen ? 'bar.shareStop' : 'bar.share'), 'S');
      flag(share, 'data-on', media.screen);
      flip.hidden = !media.canFlip || media.screen;
    },

    joinKey: (media) => `door.${joinLabel(media)}`,
  };
}
