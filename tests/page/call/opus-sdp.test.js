import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withOpusParameters, withStereoPlayback } from '../../../public/call/opus-sdp.js';

const lines = (...all) => all.map((line) => `${line}\r\n`).join('');

test('FEC and DTX are added to the description', () => {
  const result = withOpusParameters(lines('v=0', 'm=audio 9 UDP/TLS/RTP/SAVPF 111 63', 'a=rtpmap:111 opus/48000/2', 'a=fmtp:111 minptime=10;useinbandfec=1',
    'a=rtpmap:63 red/48000/2', 'a=fmtp:63 111/111', 'm=video 9 UDP/TLS/RTP/SAVPF 96', 'a=rtpmap:96 VP8/90000'));
  assert.equal(result, lines('v=0', 'm=audio 9 UDP/TLS/RTP/SAVPF 111 63', 'a=rtpmap:111 opus/48000/2', 'a=fmtp:111 minptime=10;useinbandfec=1;usedtx=1',
    'a=rtpmap:63 red/48000/2', 'a=fmtp:63 111/111', 'm=video 9 UDP/TLS/RTP/SAVPF 96', 'a=rtpmap:96 VP8/90000'));
});

test('FEC and DTX are added to the parameters of Firefox', () => {
  const read = (fmtp) => withOpusParameters(lines('m=audio 9 X 109', 'a=rtpmap:109 opus/48000/2', `a=fmtp:109 ${fmtp}`)).split('\r\n')[2].slice('a=fmtp:109 '.length);
  assert.equal(read('maxplaybackrate=48000;stereo=1;useinbandfec=1'), 'maxplaybackrate=48000;useinbandfec=1;usedtx=1', 'speech is mono');
  assert.equal(read('stereo=1'), 'useinbandfec=1;usedtx=1');
});

test('music is asked for in stereo, with a high bitrate and without DTX', () => {
  const read = (fmtp) => withOpusParameters(lines('m=audio 9 X 111', 'a=rtpmap:111 opus/48000/2', `a=fmtp:111 ${fmtp}`), true).split('\r\n')[2].slice('a=fmtp:111 '.length);
  assert.equal(read('minptime=10;useinbandfec=1'), 'minptime=10;useinbandfec=1;stereo=1;maxaveragebitrate=128000');
  assert.equal(read('usedtx=1'), 'useinbandfec=1;stereo=1;maxaveragebitrate=128000');
  assert.equal(read('stereo=0;maxaveragebitrate=20000'), 'stereo=0;maxaveragebitrate=20000;useinbandfec=1', 'what the peer has set stays');
});

test('our own description asks for stereo once, and for nothing else', () => {
  const own = (fmtp) => lines('v=0', 'm=audio 9 X 111 63', 'a=rtpmap:111 opus/48000/2', `a=fmtp:111 ${fmtp}`, 'a=rtpmap:63 red/48000/2', 'a=fmtp:63 111/111');
  assert.equal(withStereoPlayback(own('minptime=10;useinbandfec=1')), own('minptime=10;useinbandfec=1;stereo=1'));
  assert.equal(withStereoPlayback(own('stereo=1;useinbandfec=1')), own('stereo=1;useinbandfec=1'), 'Firefox');
  assert.equal(withStereoPlayback(undefined), undefined);
});

test('parameters that are already set stay', () => {
  for (const sent of ['usedtx=0;useinbandfec=0', 'useinbandfec=1; usedtx=1', 'USEDTX=1;UseInbandFec=1']) {
    const sdp = lines('m=audio 9 X 111', 'a=rtpmap:111 OPUS/48000/2', `a=fmtp:111 ${sent}`);
    assert.equal(withOpusParameters(sdp), sdp);
  }
});

test('a payload type is Opus only within its own section', () => {
  const sdp = lines('m=audio 9 X 111', 'a=rtpmap:111 PCMU/8000', 'a=fmtp:111 a=1', 'm=video 9 X 96', 'a=rtpmap:96 opus/48000/2', 'a=fmtp:96 b=2',
    'm=audio 9 X 96', 'a=rtpmap:96 G722/8000', 'a=fmtp:96 c=3');
  assert.equal(withOpusParameters(sdp), sdp);
});

test('a description of another shape is unchanged', () => {
  for (const sdp of ['', 'broken', 'm=', 'm=audio ', lines('m=audio 9 X 111', 'a=rtpmap:111 opus/48000/2'), lines('m=audio 9 X 111', 'a=fmtp:111 ', 'a=rtpmap:111 opus/48000/2'),
    'm=audio 9 X 0\na=rtpmap:0 PCMU/8000\n', lines('m=audio 9 X 111', 'a=rtpmap:999999 opus/48000/2', 'a=fmtp:x y')]) {
    assert.equal(withOpusParameters(sdp), sdp);
  }
  assert.equal(withOpusParameters(undefined), undefined);
  assert.equal(withOpusParameters('m=audio 9 X 5\na=rtpmap:5 opus/48000/2\na=fmtp:5 stereo=1\n'), 'm=audio 9 X 5\na=rtpmap:5 opus/48000/2\na=fmtp:5 useinbandfec=1;usedtx=1\n');
});
