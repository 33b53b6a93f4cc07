// Every state of the page in English; see lib/page-state-tests.mjs. One file per language, which may run at the same time.

import { testPageStates } from './lib/page-state-tests.mjs';

await testPageStates('en');
