// View of the connection test: draws its model and calls the actions of the person.

import { browserNames } from '../lib/browser.js';
import { errorKey } from '../locales/index.js';
import { mayRetry } from '../media/media-errors.js';
import { createElement, find, preventDrops, removeStartFailure, setChildren, setText, translateElements } from '../ui/elements.js';
import { LanguageMenu } from '../ui/language-menu.js';
import { resultTexts, probeName, probeResult, verdictSentences } from './report.js';

/**
 * @import { Clock } from '../lib/clock.js'
 * @import { Translate } from '../locales/index.js'
 * @import { Language } from '../locales/languages.js'
 * @import { MediaState } from '../media/media.js'
 * @import { RunState } from './run.js'
 *
 * @typedef {object} Model
 * @property {RunState} run
 * @property {boolean} pageFailed an error of the page itself
 * @property {MediaState} media
 * @property {boolean} testsDevices the camera and microphone are being tried
 * @property {string} deviceText
 * @property {boolean} playsTone
 * @property {boolean} asksTone whether the tone was heard
 * @property {string} toneText
 * @property {string} report
 *
 * @typedef {object} Actions
 * @property {() => void} restart
 * @property {() => void} toggleDevices
 * @property {() => void} retryDevices
 * @property {() => void} playTone
 * @property {(heard: boolean) => void} answerTone
 * @property {(language: Language) => void} chooseLanguage
 *
 * @typedef {object} ViewParts
 * @property {Document} document
 * @property {Navigator} navigator
 * @property {Translate} translate
 * @property {Language} language in use
 * @property {readonly Language[]} languages to choose from
 * @property {Clock} clock
 * @property {Actions} actions
 */

const COPIED_MS = 2000;

export class TestView {
  #document;
  #translate;
  #browser;
  #languageMenu;
  /** @type {HTMLVideoElement} */
  #video;
  /** @type {HTMLTextAreaElement} */
  #report;
  /** @type {HTMLButtonElement} */
  #restart;
  /** @type {HTMLButtonElement} */
  #tone;

  /** @param {ViewParts} parts */
  constructor({ document, navigator, translate, language, languages, clock, actions }) {
    this.#document = document;
    this.#translate = translate;
    this.#browser = browserNames(navigator);
    preventDrops(document);
    this.#languageMenu = new LanguageMenu({ document, languages, choose: actions.chooseLanguage });
    this.setLanguage(language);
    this.#video = find(document, '#picture');
    const report = this.#report = find(document, '#report');
    this.#restart = find(document, '#btnAgain');
    this.#tone = find(document, '#btnTone');
    const listen = (/** @type {string} */ id, /** @type {() => void} */ action) => this.#find(id).addEventListener('click', action);
    listen('btnAgain', actions.restart);
    listen('btnTone', actions.playTone);
    listen('btnDevices', actions.toggleDevices);
    listen('btnRetry', actions.retryDevices);
    listen('btnHeard', () => actions.answerTone(true));
    listen('btnUnheard', () => actions.answerTone(false));
    listen('btnCopy', async () => {
      const copied = await navigator.clipboard?.writeText(report.value).then(() => true, () => false);
      if (!copied) return report.select();
      setText(this.#find('copyWord'), translate('test.copied'));
      clock.after(() => setText(this.#find('copyWord'), translate('test.copy')), COPIED_MS);
    });
  }

  /** @param {Model} model */
  show(model) {
    this.#showVerdict(model.run, model.pageFailed);
    this.#showNetwork(model.run);
    this.#showDevices(model);
    if (this.#report.value !== model.report) this.#report.value = model.report;
    removeStartFailure(this.#document);
  }

  /** Shows the words that `translate` has now, which are of this language. @param {Language} language */
  setLanguage(language) {
    this.#document.documentElement.lang = language.tag;
    this.#document.title = this.#translate('title');
    translateElements(this.#document, this.#translate);
    this.#languageMenu.show(language);
  }

  /** The level of the microphone. @param {number} level 0 to 1 */
  showLevel(level) {
    find(this.#document, '#level i').style.transform = `scaleX(${level.toFixed(3)})`;
  }

  /** @param {string} id */
  #find(id) {
    return find(this.#document, `#${id}`);
  }

  /** @param {RunState} run @param {boolean} pageFailed */
  #showVerdict({ phase, verdict }, pageFailed) {
    const isBusy = !pageFailed && ['asking', 'probing', 'calling', 'idle'].includes(phase);
    const [sentence, ...notes] = verdict ? verdictSentences(verdict, this.#translate)
      : [this.#translate(pageFailed ? 'error.unknown' : `phase.${phase}`)];
    const card = this.#find('verdict');
    card.dataset.tone = verdict?.tone ?? (isBusy ? 'none' : 'poor');
    card.dataset.code = verdict?.code ?? phase;
    card.setAttribute('aria-busy', String(isBusy));
    this.#restart.disabled = isBusy;
    setText(this.#find('sentence'), sentence);
    setChildren(this.#find('notes'), notes.map((note) => createElement(this.#document, 'li', {}, note)));
  }

  /** @param {RunState} run */
  #showNetwork({ phase, rows, figures }) {
    this.#find('network').hidden = rows.length === 0;
    setChildren(this.#find('ways'), rows.map((row) => this.#row(row)));
    this.#find('callPart').hidden = figures === null;
    if (!figures || phase !== 'done') return;
    Object.assign(this.#find('figures').dataset, figures);
    setChildren(this.#find('figures'), resultTexts(figures, this.#translate).flatMap(([name, value]) => (
      [createElement(this.#document, 'dt', {}, name), createElement(this.#document, 'dd', {}, value)])));
  }

  /** @param {RunState['rows'][number]} of */
  #row({ probe, result }) {
    const row = createElement(this.#document, 'tr', { 'data-probe': `${probe.name} ${probe.port} ${probe.family}` });
    const text = result ? probeResult(result, this.#translate) : this.#translate('test.waiting');
    const state = result ? (result.ok ? 'open' : 'shut') : 'open?';
    row.append(createElement(this.#document, 'th', { scope: 'row' }, probeName(probe, this.#translate)),
      createElement(this.#document, 'td', { 'data-is': state }, text));
    return row;
  }

  /** @param {Model} model */
  #showDevices({ media, testsDevices, deviceText, playsTone, asksTone, toneText }) {
    const translate = this.#translate;
    const error = testsDevices ? media.error : null;
    this.#find('trouble').hidden = error === null;
    setText(this.#find('troubleText'), error ? translate(errorKey(error, translate, this.#browser), { device: media.label }) : '');
    this.#find('trouble').dataset.code = error ?? '';
    this.#find('btnRetry').hidden = !error || !mayRetry(error);
    this.#find('mirror').hidden = !testsDevices || !media.stream;
    if (this.#video.srcObject !== media.stream) this.#video.srcObject = media.stream;
    setText(this.#find('devicesSaid'), deviceText);
    setText(this.#find('btnDevices'), translate(testsDevices ? 'test.stop' : 'test.try'));
    this.#tone.disabled = playsTone;
    this.#find('question').hidden = !asksTone;
    setText(this.#find('toneSaid'), toneText);
  }
}
