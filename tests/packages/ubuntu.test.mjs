// The Debian package on Ubuntu 22.04.

import { testInstallation } from './installation.mjs';

await testInstallation('jammy');
