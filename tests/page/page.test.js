import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

const home = new URL('../../public/', import.meta.url);
const html = readFileSync(new URL('index.html', home), 'utf8');
const modules = readdirSync(home).filter((name) => name.endsWith('.js'));
/** The connection test is a page of its own. */
const ofTheTest = modules.filter((name) => /^(test|view-test|words-test)\b/.test(name));
const source = (name) => readFileSync(new URL(name, home), 'utf8');

test('every module is asked for at once, none is asked for in vain', () => {
  const asked = [...html.matchAll(/modulepreload" href="\/([^"]+)"/g)].map(([, name]) => name);
  assert.deepEqual(asked.sort(), [...modules.filter((name) => !ofTheTest.includes(name)), 'vendor/uqr.js'].sort());
});

test('the page holds no inline script, style or handler', () => {
  assert.doesNotMatch(html, /<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=/);
});

test('only the view knows elements, and each edge has one file', () => {
  for (const name of modules) {
    const code = source(name).replace(/^\s*(\/\/|\*|\/\*\*).*$/gm, '');
    const isView = name.startsWith('view');
    if (!isView) assert.doesNotMatch(code, /querySelector|createElement|classList/, name);
    if (name !== 'signaling.js') assert.doesNotMatch(code, /new WebSocket/, name);
    if (name !== 'call.js' && name !== 'test.js') assert.doesNotMatch(code, /new RTCPeerConnection/, name);
    if (name !== 'media.js') assert.doesNotMatch(code, /getUserMedia\(/, name);
    assert.doesNotMatch(code, /innerHTML|outerHTML|insertAdjacentHTML|\beval\(|new Function/, name);
  }
});

test('every file opens with its promise and stays small', () => {
  for (const name of modules) {
    assert.match(source(name), /^\/\/ /, name);
    assert.ok(source(name).split('\n').length <= 350, name);
  }
});

test('every element the code looks for is in the page', () => {
  const ids = new Set([...html.matchAll(/\sid="([^"]+)"/g)].map(([, id]) => id));
  for (const name of modules.filter((each) => each.startsWith('view') && !ofTheTest.includes(each))) {
    for (const [, id] of source(name).matchAll(/(?:el\('|'#)([A-Za-z]+)'/g)) assert.ok(ids.has(id), `${name}: ${id}`);
  }
  for (const id of ['room', 'btnJoin', 'btnLeave', 'local', 'remote', 'status', 'path', 'error']) assert.ok(ids.has(id), id);
});
