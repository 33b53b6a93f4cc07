// Defines the tests of every page state in one language: layout at three sizes (six with E2E_MATRIX=full), reachable controls
// on small and zoomed windows, axe-core, and contrast over the video. All checks share one walk through the states.
//
// What does not depend on the words is checked in English only, whose texts are the longest, unless E2E_MATRIX=full checks it
// in every language. The full matrix also saves screenshots of both color schemes to tests/.work/page-states-LANGUAGE.

import assert from 'node:assert/strict';
import path from 'node:path';
import { injectAxe, seriousAxeViolations } from './accessibility.mjs';
import { createHarness, matrix } from './harness.mjs';
import { finishAnimations, layoutFaults, lowContrastControls, SMALL_VIEWPORTS, unreachableControls } from './page-checks.mjs';
import { colorSchemes, visitPageStates } from './page-states.mjs';

const SIZES = matrix([[390, 844], [844, 390], [1440, 900]], [[360, 640], [667, 375], [1920, 1080]]);
const [savesScreenshots] = matrix([], [true]);

export async function testPageStates(language) {
  // The checks of one state may take longer than the default grace period of a lost peer.
  const harness = await createHarness(`page-states-${language}`, { server: { flags: ['--room-grace', '120'] } });
  const isComplete = language === 'en' || savesScreenshots;
  const viewports = isComplete ? SMALL_VIEWPORTS : SMALL_VIEWPORTS.slice(0, 1);
  const faults = { layout: [], reach: [], accessibility: [] };
  const checks = { layout: 0, reach: 0, accessibility: 0 };
  const record = (kind, where, found) => {
    checks[kind] += 1;
    faults[kind].push(...found.map((fault) => `${where}: ${fault}`));
  };

  async function checkAccessibility(participant, state) {
    await participant.setViewport(800, 600);
    await injectAxe(participant);
    for (const scheme of colorSchemes(state)) {
      await participant.setColorScheme(scheme);
      await participant.movePointer();
      await participant.evaluate(finishAnimations);
      record('accessibility', `${state}-${scheme}`, [...await seriousAxeViolations(participant), ...await participant.evaluate(`${lowContrastControls}`)]);
    }
    await participant.setColorScheme('light');
  }

  async function checkReach(participant, state) {
    for (const [width, height] of viewports) {
      await participant.setViewport(width, height);
      await participant.movePointer();
      await participant.evaluate(finishAnimations);
      record('reach', `${state} ${width}x${height}`, await participant.evaluate(`${unreachableControls}`));
    }
  }

  async function checkLayout(participant, state) {
    for (const [width, height] of SIZES) {
      await participant.setViewport(width, height);
      await participant.movePointer();
      await participant.evaluate(finishAnimations);
      const where = `${state}-${language}-${width}x${height}`;
      record('layout', where, await participant.evaluate(`${layoutFaults}`));
      if (savesScreenshots) await saveScreenshots(participant, state, where);
    }
  }

  async function saveScreenshots(participant, state, where) {
    for (const scheme of colorSchemes(state)) {
      await participant.setColorScheme(scheme);
      await participant.movePointer();
      await participant.evaluate(finishAnimations);
      await participant.screenshot(path.join(harness.dir, `${where}-${scheme}.png`));
    }
    await participant.setColorScheme('light');
  }

  harness.scenario(`every page state is reached (${language})`, () => visitPageStates(harness, language, async (participant, state) => {
    await checkLayout(participant, state);
    await checkReach(participant, state);
    if (isComplete) await checkAccessibility(participant, state);
    await participant.setViewport(1280, 800);
  }), 900_000);

  harness.scenario(`nothing is cut off, covered or too wide in any state (${language})`, async () => {
    assert.deepEqual(faults.layout, []);
    assert.ok(checks.layout >= 80, `${checks.layout} checks`);
  });

  harness.scenario(`every control is reachable down to 280 pixels and at 400 % (${language})`, async () => {
    assert.deepEqual(faults.reach, []);
    assert.ok(checks.reach >= 27 * viewports.length, `${checks.reach} checks`);
  });

  if (isComplete) harness.scenario(`axe and the contrast check find no serious fault (${language})`, async () => {
    assert.deepEqual(faults.accessibility, []);
    assert.ok(checks.accessibility >= 38, `${checks.accessibility} checks`);
  });
}
