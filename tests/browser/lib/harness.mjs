// Set-up shared by all browser tests: one work folder, one certificate authority, one server, and the participants of
// each scenario. Participants are closed when their scenario ends; a failure saves a screenshot of every page first.

import path from 'node:path';
import test, { after } from 'node:test';
import { createBrowserPool } from './browsers.mjs';
import { createCertificateAuthority } from './certificate-authority.mjs';
import { createParticipant } from './participant.mjs';
import { startServer } from './server.mjs';
import { createWorkDir } from './workspace.mjs';

// The relay listens on 127.0.0.1; without this preference Firefox reaches it over TCP only.
export const LOOPBACK_ICE = { 'media.peerconnection.ice.loopback': true };

/** The page's states after a call: call-ended screen, lobby, or waiting for another participant. */
export const ENDED_STATES = ['idle', 'preview', 'waiting'];

/** What a scenario is repeated with: `essential`, such as one browser in each role; with E2E_MATRIX=full also `others`. */
export const matrix = (essential, others) => (process.env.E2E_MATRIX === 'full' ? [...essential, ...others] : essential);

/**
 * Creates the harness of one test file; it lives until the file ends.
 * `server`: options of `startServer`; `start(dir, authority)` replaces `startServer`.
 * `launch(kind, options)`: creates a participant outside the harness's pool of browsers, which saves their start in most
 * scenarios; `defaults`: its options unless a scenario overrides them.
 * `authority`: an existing certificate authority.
 */
export async function createHarness(name, { server: serverOptions = {}, launch, defaults = { prefs: LOOPBACK_ICE },
  authority: existing, start = (dir, authority) => startServer({ dir, authority, ...serverOptions }) } = {}) {
  const dir = await createWorkDir(name);
  const authority = existing ?? (await createCertificateAuthority(path.join(dir, 'authority')));
  const server = await start(path.join(dir, 'server'), authority);
  after(() => server.stop());
  const pool = createBrowserPool();
  after(() => pool.close());
  /** The participants of the current scenario, and the browsers of those from the pool. */
  const participants = new Map();
  let rooms = 0;

  /** `initScript`: a function as text that runs before the page's own scripts; the other options as in `launch`. */
  async function participant(kind, { initScript, ...options } = {}) {
    const launchOptions = { dir, ca: authority.ca, ...defaults, ...options };
    const browser = launch ? null : await pool.acquire(kind, launchOptions);
    const created = await (browser ? createParticipant(browser, launchOptions) : launch(kind, launchOptions));
    participants.set(created, browser);
    if (initScript) await created.addInitScript(initScript);
    return created;
  }

  /** Opens the page. On a busy machine a browser sometimes hangs right after its start, on any page; such a browser is
   *  replaced once. */
  async function openPage(opening, kindAndOptions, url) {
    try {
      await opening.open(url);
      return opening;
    } catch (error) {
      if (await opening.isResponsive(10_000)) throw error;
      console.error(`a browser hangs before it has loaded the page (${error.message}); starting another one`);
      participants.delete(opening);
      await opening.close();
      const replacement = await participant(...[kindAndOptions].flat());
      await replacement.open(url);
      return replacement;
    }
  }

  async function endParticipants() {
    await Promise.all([...participants].map(async ([each, browser]) => {
      if (browser && (await each.closeContext())) pool.release(browser);
      else await each.close().catch(() => {});
    }));
    participants.clear();
  }

  return {
    dir,
    authority,
    server,
    participant,
    /** The address of a room that no other scenario uses. */
    roomUrl: (query = '') => `${server.origin}/r/room-${(rooms += 1)}${query}`,

    /** Two participants that have joined one room. Each of `kinds` is a browser's name, or `[name, options]`. */
    async joinPair(kinds, url) {
      const pair = await Promise.all(kinds.map((kind) => participant(...[kind].flat())));
      pair[0] = await openPage(pair[0], kinds[0], url);
      await pair[0].join();
      await pair[0].waitForState('waiting');
      pair[1] = await openPage(pair[1], kinds[1], url);
      await pair[1].join();
      return pair;
    },

    /** Waits until video and audio keep arriving at each participant. */
    expectMedia: (some) => Promise.all(some.map((each) => each.expectMedia())),

    /** Defines one test. */
    scenario(title, body, timeout = 180_000) {
      test(title, { timeout }, async (context) => {
        try {
          await body(context);
        } catch (error) {
          let number = 0;
          for (const each of participants.keys()) await saveFailureEvidence(each, path.join(dir, `failed-${(number += 1)}.png`));
          throw error;
        } finally {
          await endParticipants();
        }
      });
    },
  };
}

/** Saves a screenshot; prints the page's state, its statistics and its console messages. */
async function saveFailureEvidence(participant, file) {
  await participant.screenshot(file).catch(() => {});
  const state = await participant.state().catch((error) => error.message);
  const stats = await participant.stats().catch((error) => error.message);
  console.error(`${file}: state ${state}, ${JSON.stringify(stats)}`);
  for (const line of await participant.consoleMessages().catch((error) => [error.message])) console.error(`  ${line}`);
}
