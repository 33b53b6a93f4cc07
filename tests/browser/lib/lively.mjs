// Something to see and to hear that never rests, in place of the made-up devices, whose pictures hardly move and
// whose sounds have gaps: what a line carries of it can be told. And a screen full of text to share.
//
// Both run inside the page and must not use anything of this file. Chromium needs AUDIBLE as its flags.

export const AUDIBLE = ['--autoplay-policy=no-user-gesture-required'];

export const LIVELY = `${function lively() {
  if (!navigator.mediaDevices) return;
  const native = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);

  navigator.mediaDevices.getUserMedia = async ({ audio, video }) => {
    const stream = new MediaStream();
    if (audio) stream.addTrack(await tone());
    if (video) stream.addTrack(dance());
    return stream;
  };
  navigator.mediaDevices.getDisplayMedia = async () => new MediaStream([pages()]);

  async function tone() {
    // Firefox's own sounds without a gap, and its AudioContext not without a touch.
    if (/Firefox/.test(navigator.userAgent)) return (await native({ audio: true })).getAudioTracks()[0];
    const context = new AudioContext();
    const sound = context.createOscillator();
    const out = context.createMediaStreamDestination();
    sound.connect(out);
    sound.start();
    return out.stream.getAudioTracks()[0];
  }

  function dance() {
    return film(640, 360, 20, (ink, turn) => {
      for (let one = 0; one < 40; one += 1) {
        ink.fillStyle = `hsl(${(one * 37 + turn * 5) % 360} 70% 50%)`;
        ink.fillRect((one * 83 + turn * (3 + (one % 5))) % 640, (one * 61 + turn * (one % 4)) % 360, 30 + one * 2, 20 + one);
      }
    });
  }

  function pages() {
    return film(1600, 900, 15, (ink, turn) => {
      ink.fillStyle = '#fff';
      ink.fillRect(0, 0, 1600, 900);
      ink.fillStyle = '#000';
      ink.font = '20px monospace';
      for (let line = 0; line < 30; line += 1) ink.fillText(`line ${line + Math.floor(turn / 15)} of a text that goes on and on`, 40, 40 + line * 28);
    });
  }

  function film(width, height, rate, draw) {
    const canvas = Object.assign(document.createElement('canvas'), { width, height });
    const ink = canvas.getContext('2d');
    let turn = 0;
    setInterval(() => draw(ink, (turn += 1)), 1000 / rate);
    return canvas.captureStream(rate).getVideoTracks()[0];
  }
}}`;
