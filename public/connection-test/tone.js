// The tone: two notes for the speaker, made here; no file is fetched.

const NOTES = [523.25, 659.25];
const NOTE_S = 0.45;
const START_WITHIN_MS = 2000;

/**
 * @param {() => AudioContext} newContext
 * @returns {Promise<boolean>} whether it could be played
 */
export async function playTone(newContext) {
  try {
    const context = newContext();
    // Without any output some browsers never answer this.
    await Promise.race([context.resume(), pause(START_WITHIN_MS)]);
    if (context.state !== 'running') throw new Error('no output');
    const loud = context.createGain();
    loud.connect(context.destination);
    const start = context.currentTime + 0.05;
    for (const [i, note] of NOTES.entries()) {
      const voice = context.createOscillator();
      const from = start + i * NOTE_S;
      voice.frequency.value = note;
      voice.connect(loud);
      voice.start(from);
      voice.stop(from + NOTE_S);
    }
    // Comes and goes without a click.
    loud.gain.setValueAtTime(0, start);
    loud.gain.linearRampToValueAtTime(0.25, start + 0.05);
    loud.gain.setValueAtTime(0.25, start + NOTES.length * NOTE_S - 0.1);
    loud.gain.linearRampToValueAtTime(0, start + NOTES.length * NOTE_S);
    await pause((NOTES.length * NOTE_S + 0.2) * 1000);
    await context.close();
    return true;
  } catch {
    return false;
  }
}

/** @param {number} ms */
function pause(ms) {
  return new Promise((done) => { setTimeout(done, ms); });
}
