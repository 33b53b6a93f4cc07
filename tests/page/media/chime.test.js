import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { Chime } from '../../../public/media/chime.js';
import { settle } from '../harness/fakes.js';

/** A browser whose AudioContext runs, unless `runs` is false; it records the notes and where they go. */
function makeBrowser({ runs = true, touched = true, throws = false } = {}) {
  const browser = { notes: [], sinks: [], open: 0, contexts: 0 };
  const gain = () => ({ gain: { setValueAtTime() {}, linearRampToValueAtTime() {} }, connect(output) { this.output = output; } });
  const newContext = () => {
    if (throws) throw new Error('too many contexts');
    browser.open += 1;
    browser.contexts += 1;
    return {
      state: 'suspended', currentTime: 0, destination: 'default',
      resume() { return runs ? Promise.resolve(this.state = 'running') : new Promise(() => {}); },
      createGain: gain,
      createMediaStreamDestination: () => ({ stream: 'stream' }),
      createOscillator() {
        return { frequency: {}, connect(to) { this.to = to; }, stop() {}, start() { browser.notes.push([this.frequency.value, this.to.output]); } };
      },
      async close() { browser.open -= 1; },
    };
  };
  const newAudio = () => ({ async setSinkId(id) { browser.sinks.push(id); }, async play() { browser.playing = this.srcObject; } });
  browser.chime = new Chime({ newContext, newAudio, mayPlay: () => touched });
  return browser;
}

/** Plays with timers that the test advances. @returns {Promise<boolean | 'pending'>} */
async function play(browser, ...args) {
  mock.timers.enable({ apis: ['setTimeout'] });
  try {
    let result = 'pending';
    browser.chime.play(...args).then((played) => { result = played; });
    await settle();
    mock.timers.tick(3000);
    await settle();
    mock.timers.tick(3000);
    await settle();
    return result;
  } finally {
    mock.timers.reset();
  }
}

test('each kind has a sound of its own, and the audio ends with it', async () => {
  const sounds = [];
  for (const kind of ['joined', 'left', 'knock', 'test']) {
    const browser = makeBrowser();
    assert.equal(await play(browser, kind), true, kind);
    assert.equal(browser.open, 0, kind);
    sounds.push(browser.notes.map(([frequency]) => frequency).join());
  }
  assert.equal(new Set(sounds).size, 4, sounds.join(' '));
});

test('before the page is touched no audio is started', async () => {
  const browser = makeBrowser({ touched: false });
  assert.equal(await play(browser, 'joined'), false);
  assert.equal(browser.contexts, 0);
});

test('where sound is refused or fails, nothing is thrown and nothing stays open', async () => {
  for (const options of [{ runs: false }, { throws: true }]) {
    const browser = makeBrowser(options);
    assert.equal(await play(browser, 'joined'), false);
    assert.deepEqual([browser.open, browser.notes], [0, []]);
    // The next one is tried again.
    assert.equal(await play(browser, 'joined'), false);
    assert.equal(browser.contexts, options.throws ? 0 : 2);
  }
});

test('a selected speaker gets the sound, a missing one gives way to the default', async () => {
  const browser = makeBrowser();
  assert.equal(await play(browser, 'test', 'headset'), true);
  assert.deepEqual(browser.sinks, ['headset']);
  assert.equal(browser.playing, 'stream');
  const other = makeBrowser();
  assert.equal(await play(other, 'test'), true);
  assert.deepEqual([...new Set(other.notes.map(([, output]) => output))], ['default']);
});

test('of many sounds at once one is played', async () => {
  const browser = makeBrowser();
  mock.timers.enable({ apis: ['setTimeout'] });
  try {
    const first = browser.chime.play('knock');
    await settle();
    assert.deepEqual(await Promise.all(['knock', 'knock', 'joined'].map((kind) => browser.chime.play(kind))), [false, false, false]);
    mock.timers.tick(5000);
    await settle();
    assert.deepEqual([await first, browser.contexts], [true, 1]);
  } finally {
    mock.timers.reset();
  }
});
