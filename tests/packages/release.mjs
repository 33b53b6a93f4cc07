// The files of the release, as packaging/release.sh has left them in dist/, and systems to install them on.

import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { findInDocs, root, run } from '../browser/lib/workspace.mjs';

const [ARCHITECTURE, DEBIAN_ARCHITECTURE] = { x64: ['x86_64', 'amd64'], arm64: ['aarch64', 'arm64'] }[process.arch];

/** The folder of the release. */
export const dist = path.join(root, 'dist');

/** The stripped program for this machine. */
export const program = path.join(root, 'target/release-build', ARCHITECTURE, 'webrtc-box');

/** The one file of the release whose name ends like this. */
export async function releaseFile(ending) {
  const files = (await readdir(dist).catch(() => [])).filter((name) => name.endsWith(ending));
  if (files.length !== 1) throw new Error(`dist has ${files.length} files *${ending}: run packaging/release.sh first`);
  return path.join(dist, files[0]);
}

/** The Debian package for this machine. */
export const debianPackage = () => releaseFile(`_${DEBIAN_ARCHITECTURE}.deb`);

/** The archive for this machine. */
export const archive = () => releaseFile(`-${ARCHITECTURE}-linux.tar.gz`);

/** Makes a package of the same program with another version. */
export async function packageWithVersion(version, folder) {
  await run(path.join(root, 'packaging/deb.sh'), [program, ARCHITECTURE, version, folder]);
  return path.join(folder, `webrtc-box_${version}_${DEBIAN_ARCHITECTURE}.deb`);
}

/** The folder of a new Debian or Ubuntu, or the reason why there is none. */
export async function system(suite) {
  return run(path.join(root, 'tests/packages/system.sh'), [suite]).then(({ stdout }) => ({ files: stdout.trim() }), (error) => ({ reason: error.stderr.trim() }));
}

/** The documented commands of a code block that contains `pattern`, for box.test and files in /root. */
export async function documentedCommands(pattern) {
  const [, block] = await findInDocs(new RegExp(`\`\`\`sh\\n((?:(?!\`\`\`)[^])*${pattern.source}[^]*?)\`\`\``));
  return block.replaceAll('sudo ', '').replaceAll('call.example.com', 'box.test').replaceAll('you@example.com', 'admin@box.test')
    .replaceAll(/webrtc-box[-_]\d\S*(\.deb|\.tar\.gz)/g, 'webrtc-box$1').replaceAll(/webrtc-box-\d\S+/g, 'webrtc-box-*/');
}
