// Full screen and the floating picture, by whichever way this browser has; what it has not is not offered.

import { find } from './elements.js';

/**
 * @param {object} parts
 * @param {Document} parts.document
 * @param {HTMLVideoElement & {webkitEnterFullscreen?: () => void}} parts.remote
 * @param {() => void} parts.before what makes room first
 * @returns {{full: () => void, pip: () => void, end: () => void}}
 */
export function makeWide({ document, remote, before }) {
  const page = document.documentElement;
  find(document, `[data-act='pip']`).hidden = !document.pictureInPictureEnabled || !remote.requestPictureInPicture;
  // An iPhone gives the whole screen to a video, but to no page.
  find(document, `[data-act='full']`).hidden = !page.requestFullscreen && !remote.webkitEnterFullscreen;

  function end() {
    if (document.fullscreenElement) document.exitFullscreen().catch(() => {});
  }

  return {
    full() {
      before();
      if (document.fullscreenElement) end();
      else if (page.requestFullscreen) page.requestFullscreen().catch(() => {});
      else remote.webkitEnterFullscreen?.();
    },
    pip() {
      before();
      if (document.pictureInPictureElement) document.exitPictureInPicture().catch(() => {});
      else remote.requestPictureInPicture?.().catch(() => {});
    },
    end() {
      end();
      if (document.pictureInPictureElement) document.exitPictureInPicture().catch(() => {});
    },
  };
}
