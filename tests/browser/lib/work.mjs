// Where tests keep what they make, and how they wait.
//
// Everything goes under tests/.work (ignored by git). Nothing here knows browsers or the box.

import { execFile } from 'node:child_process';
import { mkdir, rm } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import path from 'node:path';
import { promisify } from 'node:util';

/** The project's own folder. */
export const root = fileURLToPath(new URL('../../..', import.meta.url));

/** Runs a program to its end; a non-zero exit throws with its stderr. */
export const run = promisify(execFile);

/** A fresh folder for one test file. */
export async function workDir(name) {
  const dir = path.join(root, 'tests/.work', name);
  await rm(dir, { recursive: true, force: true, maxRetries: 5 });
  await mkdir(dir, { recursive: true });
  return dir;
}

/**
 * Asks until the answer is truthy and gives it back; after `ms` fails, saying what was awaited and what
 * was seen last. A question that throws counts as "not yet": pages reload under us.
 */
export async function until(what, ask, ms = 30_000) {
  const deadline = Date.now() + ms;
  let last;
  for (;;) {
    try {
      const answer = await ask();
      if (answer) return answer;
      last = answer;
    } catch (error) {
      last = error;
    }
    if (Date.now() > deadline) {
      throw new Error(`waited ${ms} ms for ${what}; last seen: ${last instanceof Error ? last.message : JSON.stringify(last)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
