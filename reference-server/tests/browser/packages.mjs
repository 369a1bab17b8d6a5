// The installed packages, which lie in the build's folder and not beside these files.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

export const plan = JSON.parse(process.argv[2]);

const require = createRequire(join(plan.packages, 'here.js'));
export const { chromium } = require('playwright-core');
export const axeSource = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
