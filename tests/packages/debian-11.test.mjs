// The Debian package on Debian 11, whose C library is older than that of the machine that builds it.

import { testInstallation } from './installation.mjs';

await testInstallation('bullseye');
