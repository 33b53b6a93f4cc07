// The Debian package on Debian 12, from the first installation through upgrades to the purge.

import assert from 'node:assert/strict';
import { debianPackage, documentedCommands, packageWithVersion } from './release.mjs';
import { testInstallation } from './installation.mjs';
import { createWorkDir } from '../browser/lib/workspace.mjs';

const SETTINGS = '/etc/webrtc-box/webrtc-box.toml';
const previous = async () => packageWithVersion('0.0.1', await createWorkDir('packages-previous'));
const host = await testInstallation('bookworm', { deb: previous });
if (host) defineLifecycle(host);

function defineLifecycle({ vps, harness, shell, httpStatus, waitForPage }) {
  const scenario = harness.scenario;
  const apt = (command) => shell(`DEBIAN_FRONTEND=noninteractive apt-get ${command} -y 2>&1`);
  const mainPid = async () => (await shell('systemctl show -P MainPID webrtc-box')).trim();
  const installedVersion = () => shell('dpkg-query -f \'${db:Status-Abbrev}${Version}\' -W webrtc-box');
  /** Settings, secrets, keys and certificates with their checksums. */
  const kept = () => shell(`sha256sum ${SETTINGS}; cd /var/lib/webrtc-box && find . -type f ! -name '*.lock' | sort | xargs sha256sum`);

  scenario('an upgrade restarts the box; settings, keys and a running call stay', async () => {
    await shell(`sed -i 's|^#drain-timeout = .*|drain-timeout = 3|' ${SETTINGS} && systemctl reload webrtc-box`);
    const pair = await harness.joinPair([['chromium', { host: 'a1' }], ['chromium', { host: 'b1' }]], `${harness.roomUrl()}?relay=1`);
    await harness.expectMedia(pair);
    const [before, pid] = [await kept(), await mainPid()];
    await vps.copy(await debianPackage(), '/root/webrtc-box.deb');
    await apt('install /root/webrtc-box.deb');
    assert.doesNotMatch(await installedVersion(), /0\.0\.1/);
    assert.notEqual(await mainPid(), pid, 'the new program runs');
    assert.equal(await kept(), before);
    await harness.expectMedia(pair);
  });

  scenario('a version that rejects the settings leaves the running box as it is', async () => {
    const pid = await mainPid();
    await shell(`echo 'no-such-setting = 1' >>${SETTINGS}`);
    await assert.rejects(apt('install --reinstall /root/webrtc-box.deb'), (error) => /no-such-setting/.test(error.stdout) && /rejects the settings/.test(error.stdout));
    assert.equal(await mainPid(), pid);
    assert.equal(await httpStatus(), '200');
    await shell(`sed -i '/^no-such-setting/d' ${SETTINGS} && dpkg --configure webrtc-box`);
    assert.notEqual(await mainPid(), pid);
    assert.equal(await httpStatus(), '200');
  });

  scenario('a removal keeps settings, keys and user; the next installation starts again', async () => {
    const before = await kept();
    await apt('remove webrtc-box');
    assert.equal(await httpStatus(), '000');
    assert.equal(await shell('ls /usr/bin/webrtc-box /usr/lib/systemd/system/webrtc-box.service 2>/dev/null || true'), '');
    assert.equal(await kept(), before);
    await shell('id webrtc-box');
    await apt('install /root/webrtc-box.deb');
    await waitForPage();
    assert.equal(await kept(), before);
  });

  scenario('a stopped box stays stopped over an upgrade', async () => {
    await shell('systemctl disable --now webrtc-box');
    await apt('install --reinstall /root/webrtc-box.deb');
    assert.equal(await shell('systemctl is-enabled webrtc-box || true; systemctl is-active webrtc-box || true'), 'disabled\ninactive\n');
  });

  scenario('the socket unit works as documented', async () => {
    await shell('systemctl enable --now webrtc-box');
    await waitForPage();
    await shell(await documentedCommands(/examples\/socket\.conf/));
    await waitForPage();
    const pid = await mainPid();
    await apt('install --reinstall /root/webrtc-box.deb');
    assert.notEqual(await mainPid(), pid);
    assert.equal(await httpStatus(), '200');
  });

  scenario('a purge leaves nothing', async () => {
    await apt('purge webrtc-box');
    assert.equal(await httpStatus(), '000');
    await shell('rm -r /etc/systemd/system/webrtc-box.service.d');
    assert.equal(await shell('find / /etc/systemd/system -xdev -name "*webrtc-box*" -not -path "/root/*" -not -path "/proc/*" 2>/dev/null | sort'), '');
    await assert.rejects(shell('id webrtc-box'));
    assert.equal(await shell('systemctl list-units --all --plain --no-legend "webrtc-box*"'), '', 'systemd knows no unit of it');
  });
}
