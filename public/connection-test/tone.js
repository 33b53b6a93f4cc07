// Tone: two notes to test the speaker, generated in the page.

const NOTES_HZ = [523.25, 659.25];
const NOTE_S = 0.45;
const START_TIMEOUT_MS = 2000;

/**
 * @param {() => AudioContext} newContext
 * @returns {Promise<boolean>} whether it was played
 */
export async function playTone(newContext) {
  try {
    const context = newContext();
    // Without an output device some browsers never resolve this.
    await Promise.race([context.resume(), pause(START_TIMEOUT_MS)]);
    if (context.state !== 'running') throw new Error('no output');
    const volume = context.createGain();
    volume.connect(context.destination);
    const start = context.currentTime + 0.05;
    for (const [i, frequency] of NOTES_HZ.entries()) {
      const note = context.createOscillator();
      const from = start + i * NOTE_S;
      note.frequency.value = frequency;
      note.connect(volume);
      note.start(from);
      note.stop(from + NOTE_S);
    }
    // Fades in and out: a sudden change would click.
    volume.gain.setValueAtTime(0, start);
    volume.gain.linearRampToValueAtTime(0.25, start + 0.05);
    volume.gain.setValueAtTime(0.25, start + NOTES_HZ.length * NOTE_S - 0.1);
    volume.gain.linearRampToValueAtTime(0, start + NOTES_HZ.length * NOTE_S);
    await pause((NOTES_HZ.length * NOTE_S + 0.2) * 1000);
    await context.close();
    return true;
  } catch {
    return false;
  }
}

/** @param {number} ms */
function pause(ms) {
  return new Promise((resolve) => { setTimeout(resolve, ms); });
}
