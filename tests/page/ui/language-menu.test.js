import assert from 'node:assert/strict';
import { test } from 'node:test';
import { languages } from '../../../public/locales/languages.js';
import { LanguageMenu } from '../../../public/ui/language-menu.js';

class FakeSelect extends EventTarget {
  value = '';
  options = [];
  replaceChildren(...options) { this.options = options; }
}

test('every menu lists each language in itself and follows a choice in another', () => {
  const selects = [new FakeSelect(), new FakeSelect()];
  const document = {
    querySelectorAll: () => selects,
    createElement: () => ({ setAttribute(name, value) { this[name] = value; } }),
  };
  const chosen = [];
  const menu = new LanguageMenu({ document, languages, choose: (language) => chosen.push(language.code) });
  for (const { options } of selects) {
    assert.deepEqual(options.map(({ value, lang, textContent }) => [value, lang, textContent]), languages.map(({ code, tag, name }) => [code, tag, name]));
  }
  menu.show(languages[1]);
  assert.deepEqual(selects.map(({ value }) => value), ['zh', 'zh']);
  selects[0].value = 'en';
  selects[0].dispatchEvent(new Event('change'));
  selects[0].value = 'no such code';
  selects[0].dispatchEvent(new Event('change'));
  assert.deepEqual(chosen, ['en']);
});
