// The view of the test page: draws its model and passes on what a person does.

import { browserNames } from '../lib/browser.js';
import { mayRetry } from '../media/media-errors.js';
import { find, putWords, refuseDrops, setChildren, setText, started } from '../ui/elements.js';
import { figuresOf, nameOf, resultOf, sentencesOf } from './report.js';
import { errorKey } from '../locales/index.js';

const COPIED_MS = 2000;

/**
 * @typedef {object} Model
 * @property {import('./run.js').State} run
 * @property {boolean} broken something of the page itself went wrong
 * @property {import('../media/media.js').MediaState} media
 * @property {boolean} watching the camera and microphone are being tried
 * @property {string} devicesSaid
 * @property {boolean} playing
 * @property {boolean} asked whether the tone was heard
 * @property {string} toneSaid
 * @property {string} report
 *
 * @typedef {{again: () => void, devices: () => void, retry: () => void, tone: () => void, heard: (yes: boolean) => void}} Actions
 */

/**
 * @param {object} parts
 * @param {Document} parts.document
 * @param {Navigator} parts.navigator
 * @param {import('../locales/index.js').Say} parts.say
 * @param {import('../locales/languages.js').Language} parts.language
 * @param {import('../lib/clock.js').Clock} parts.clock
 * @param {Actions} parts.actions
 * @returns {{show: (model: Model) => void, level: (loud: number) => void}}
 */
export function makeTestView({ document, navigator, say, language, clock, actions }) {
  document.documentElement.lang = language.tag;
  putWords(document, say);
  refuseDrops(document);
  const browser = browserNames(navigator);
  /** @param {string} id */
  const el = (id) => find(document, `#${id}`);
  /** @type {HTMLVideoElement} */
  const picture = find(document, '#picture');
  /** @type {HTMLTextAreaElement} */
  const report = find(document, '#report');
  /** @type {HTMLButtonElement} */
  const again = find(document, '#btnAgain');
  /** @type {HTMLButtonElement} */
  const tone = find(document, '#btnTone');

  again.addEventListener('click', actions.again);
  tone.addEventListener('click', actions.tone);
  el('btnDevices').addEventListener('click', actions.devices);
  el('btnRetry').addEventListener('click', actions.retry);
  el('btnHeard').addEventListener('click', () => actions.heard(true));
  el('btnUnheard').addEventListener('click', () => actions.heard(false));
  el('btnCopy').addEventListener('click', async () => {
    const copied = await navigator.clipboard?.writeText(report.value).then(() => true, () => false);
    if (!copied) return report.select();
    setText(el('copyWord'), say('test.copied'));
    clock.after(() => setText(el('copyWord'), say('test.copy')), COPIED_MS);
  });

  /** @param {import('./run.js').State} run @param {boolean} broken */
  function showVerdict({ phase, verdict }, broken) {
    const busy = !broken && ['asking', 'probing', 'calling', 'idle'].includes(phase);
    const [sentence, ...notes] = verdict ? sentencesOf(verdict, say) : [say(broken ? 'error.unknown' : `phase.${phase}`)];
    el('verdict').dataset.tone = verdict?.tone ?? (busy ? 'none' : 'poor');
    el('verdict').dataset.code = verdict?.code ?? phase;
    el('verdict').setAttribute('aria-busy', String(busy));
    again.disabled = busy;
    setText(el('sentence'), sentence);
    setChildren(el('notes'), notes.map((note) => made('li', note)));
  }

  /** @param {import('./run.js').State} run */
  function showNetwork({ phase, rows, figures }) {
    el('network').hidden = rows.length === 0;
    setChildren(el('ways'), rows.map(({ probe, reach }) => {
      const row = made('tr');
      const name = made('th', nameOf(probe, say));
      const result = made('td', reach ? resultOf(reach, say) : say('test.waiting'));
      name.setAttribute('scope', 'row');
      row.dataset.probe = `${probe.name} ${probe.port} ${probe.family}`;
      result.dataset.is = reach ? (reach.ok ? 'open' : 'shut') : 'open?';
      row.append(name, result);
      return row;
    }));
    el('callPart').hidden = figures === null;
    if (!figures || phase !== 'done') return;
    Object.assign(el('figures').dataset, figures);
    setChildren(el('figures'), figuresOf(figures, say).flatMap(([name, value]) => [made('dt', name), made('dd', value)]));
  }

  /** @param {Model} model */
  function showDevices({ media, watching, devicesSaid, playing, asked, toneSaid }) {
    const trouble = watching ? media.error : null;
    el('trouble').hidden = trouble === null;
    setText(el('troubleText'), trouble ? say(errorKey(trouble, say, browser), { device: media.label }) : '');
    el('trouble').dataset.code = trouble ?? '';
    el('btnRetry').hidden = !trouble || !mayRetry(trouble);
    el('mirror').hidden = !watching || !media.stream;
    if (picture.srcObject !== media.stream) picture.srcObject = media.stream;
    setText(el('devicesSaid'), devicesSaid);
    setText(el('btnDevices'), say(watching ? 'test.stop' : 'test.try'));
    tone.disabled = playing;
    el('question').hidden = !asked;
    setText(el('toneSaid'), toneSaid);
  }

  /** @param {string} name @param {string} [text] */
  function made(name, text = '') {
    const element = document.createElement(name);
    element.textContent = text;
    return element;
  }

  return {
    show(model) {
      showVerdict(model.run, model.broken);
      showNetwork(model.run);
      showDevices(model);
      if (report.value !== model.report) report.value = model.report;
      started(document);
    },
    level(loud) {
      find(document, '#level i').style.transform = `scaleX(${loud.toFixed(3)})`;
    },
  };
}
