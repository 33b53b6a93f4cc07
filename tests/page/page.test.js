import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { posix } from 'node:path';
import { test } from 'node:test';

const publicFolder = new URL('../../public/', import.meta.url);
const source = (name) => readFileSync(new URL(name, publicFolder), 'utf8');
const html = source('index.html');
const files = readdirSync(publicFolder, { recursive: true });
const modules = files.filter((name) => name.endsWith('.js')).sort();
const styles = files.filter((name) => name.endsWith('.css'));
const pages = files.filter((name) => name.endsWith('.html'));

/** The modules that a page loads, with those that they import; with `later`, dynamic imports too. Paths are relative to public/. */
function modulesOf(page, { later = false } = {}) {
  const found = new Set([...source(page).matchAll(/<script[^>]*\ssrc="\/([^"]+)"/g)].map(([, name]) => name));
  for (const name of found) {
    const imports = [...source(name).matchAll(/^(?:import|export) (?:[^;]*? from )?'(\.[^']+)'/gm)];
    if (later) imports.push(...source(name).matchAll(/\bimport\('(\.[^']+)'\)(?!\.)/g));
    for (const [, other] of imports) found.add(posix.join(posix.dirname(name), other));
  }
  return found;
}

test('each page has a place for the preload lines of the build', () => {
  for (const page of pages) {
    const at = source(page).indexOf('\n<!-- modulepreload -->\n');
    assert.ok(at > 0 && at < source(page).indexOf('main.js"'), page);
  }
});

test('every module is used by a page', () => {
  const needed = new Set(pages.flatMap((page) => [...modulesOf(page, { later: true })]));
  assert.deepEqual([...needed].sort(), modules);
});

test('no multi-line literal looks like a comment to the build', () => {
  for (const name of [...modules, ...styles]) {
    let open = false;
    for (const line of source(name).split('\n')) {
      if (open) assert.doesNotMatch(line, /^(\s|\/[/*])/, `${name}: ${line}`);
      // Backticks within comments come in pairs.
      if ((line.match(/(?<!\\)`/g) ?? []).length % 2) open = !open;
    }
    assert.ok(!open, name);
    // Code behind a block comment that starts a line would be removed with it.
    assert.doesNotMatch(source(name).replace(/^\s*\/\/.*$/gm, ''), /^\s*\/\*(?:(?!\*\/)[^])*\n(?:(?!\*\/)[^])*\*\/[ \t]*\S/m, name);
  }
});

test('the page has no inline script, style or handler and no other host', () => {
  for (const page of pages) {
    assert.doesNotMatch(source(page), /<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=/, page);
    assert.doesNotMatch(source(page), /(?:src|href)="(?!\/[^/])/, page);
  }
  for (const name of styles) assert.doesNotMatch(source(name), /url\(|@import/, name);
});

test('each language has a manifest with icons', () => {
  const manifests = ['manifest.webmanifest', 'manifest.zh.webmanifest', 'manifest.zh-Hant.webmanifest'].map((name) => JSON.parse(source(name)));
  for (const { name, short_name: short, start_url: start, display, icons } of manifests) {
    assert.ok(name && short && short.length <= 12 && start === '/' && display === 'standalone');
    for (const { src, sizes, type } of icons) {
      // Relative to the manifest, whose address has the version of the page.
      assert.doesNotMatch(src, /^\/|:/);
      const bytes = readFileSync(new URL(src, publicFolder));
      if (type === 'image/png') assert.equal(`${bytes.readUInt32BE(16)}x${bytes.readUInt32BE(20)}`, sizes, src);
    }
    const sizes = icons.filter(({ purpose }) => !purpose).map((icon) => icon.sizes);
    assert.ok(sizes.includes('192x192') && sizes.includes('512x512'));
    assert.ok(icons.some(({ purpose }) => purpose === 'maskable'));
  }
  assert.equal(new Set(manifests.map(({ name }) => name)).size, manifests.length);
  assert.equal(new Set(manifests.map(({ id }) => id)).size, 1);
});

test('the lobby form is disabled until the page is ready', () => {
  const buttons = /<form[^>]*id="door"[^]*?<\/form>/.exec(html)[0].match(/<button type="submit"[^>]*>/g);
  assert.deepEqual(buttons.map((button) => /\sdisabled[\s>]/.test(button)), [true]);
});

test('each dialog has a live region of its own: an open one makes the others inert', () => {
  const dialogs = html.match(/<dialog [^]*?<\/dialog>/g);
  assert.ok(dialogs.length > 1);
  for (const dialog of dialogs) assert.match(dialog, /class="[^"]*\bannouncer\b[^"]*" aria-live="polite"><\/p>/);
});

test('only ui/ uses the DOM, and each browser interface has one module', () => {
  for (const name of modules) {
    const code = source(name).replace(/^\s*(\/\/|\*|\/\*\*).*$/gm, '');
    const isView = name.startsWith('ui/') || name === 'connection-test/view.js';
    if (!isView) assert.doesNotMatch(code, /querySelector|createElement|classList/, name);
    if (name !== 'signaling/transport.js') assert.doesNotMatch(code, /new WebSocket/, name);
    if (name !== 'call/call.js' && name !== 'connection-test/main.js') assert.doesNotMatch(code, /new RTCPeerConnection/, name);
    if (name !== 'media/capture.js') assert.doesNotMatch(code, /getUserMedia\(/, name);
    assert.doesNotMatch(code, /innerHTML|outerHTML|insertAdjacentHTML|\beval\(|new Function/, name);
  }
});

test('every module starts with a comment and is short', () => {
  for (const name of modules) {
    assert.match(source(name), /^\/\/ /, name);
    assert.ok(source(name).split('\n').length <= 400, name);
  }
});

test('every element used by the code is in the page', () => {
  const ids = new Set([...html.matchAll(/\sid="([^"]+)"/g), ...source('ui/controls.js').matchAll(/\bid: '(btn\w+)'/g)].map(([, id]) => id));
  for (const name of [...modulesOf('index.html')].filter((each) => each.startsWith('ui/'))) {
    for (const [, id] of source(name).matchAll(/'#([A-Za-z]+)'/g)) assert.ok(ids.has(id), `${name}: ${id}`);
  }
  for (const id of ['room', 'btnJoin', 'btnLeave', 'local', 'remote', 'status', 'path', 'error']) assert.ok(ids.has(id), id);
});

test('start failures are worded in the HTML of each page in every language', () => {
  for (const page of pages) {
    const [, noscript] = /<noscript>([^]*?)<\/noscript>/.exec(source(page));
    const [, late] = /<div class="start-failure" id="startFailure"[^>]*>([^]*?)<\/div>/.exec(source(page));
    for (const words of [noscript, late]) assert.match(words, /lang="en">[A-Z][^]*lang="zh-CN">\p{Script=Han}[^]*lang="zh-Hant">\p{Script=Han}/u, page);
    assert.ok(source(page).indexOf('id="startFailure"') < source(page).indexOf('data-word'), 'first of all');
  }
  // Reduced motion must not hide the text.
  assert.match(source('assets/style.css'), /\.start-failure \{[^}]*animation: [^;}]*!important/);
});
