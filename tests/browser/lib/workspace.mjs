// The project's folders and how to run a program. Tests write to tests/.work only (ignored by git).

import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import path from 'node:path';
import { promisify } from 'node:util';

/** The project's root folder. */
export const root = fileURLToPath(new URL('../../..', import.meta.url));

/** Runs a program to its end; a non-zero exit rejects with an error that has its stdout and stderr. */
export const run = promisify(execFile);

/** Creates an empty folder for one test file. */
export async function createWorkDir(name) {
  const dir = path.join(root, 'tests/.work', name);
  await rm(dir, { recursive: true, force: true, maxRetries: 5 });
  await mkdir(dir, { recursive: true });
  return dir;
}

/** The first match of `pattern` in README.md or docs/*.md: tests run the commands and configurations that users copy. */
export async function findInDocs(pattern) {
  const docs = (await readdir(path.join(root, 'docs'))).filter((name) => name.endsWith('.md')).map((name) => path.join('docs', name));
  for (const file of ['README.md', ...docs]) {
    const match = pattern.exec(await readFile(path.join(root, file), 'utf8'));
    if (match) return match;
  }
  throw new Error(`neither README.md nor docs/ contains ${pattern}`);
}
