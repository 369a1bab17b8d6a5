// Runs every check, one after the other, each with servers and windows of its own.

import { everyPage } from './every_page.mjs';
import { plan } from './packages.mjs';
import { expect, Report } from './report.mjs';
import { launch, World } from './world.mjs';

const SUITES = ['first_run', 'people', 'secrets', 'live', 'journey_a', 'journey_b', 'journey_c', 'journey_d', 'no_script', 'administration', 'demo'];

const CHECK_MS = 120_000;
const PAGES_MS = 400_000;
const END_MS = 30_000;

const report = new Report();
let browser = await launch();

/** Waits for `work` no longer than that, so that a browser which hangs is a failure and not the end. */
function within(milliseconds, work, what) {
  let late;
  const limit = new Promise((_, reject) => (late = setTimeout(() => reject(new Error(`${what} after ${milliseconds / 1000} s`)), milliseconds)));
  return Promise.race([work, limit]).finally(() => clearTimeout(late));
}

async function inWorld(work, milliseconds = CHECK_MS) {
  const world = new World(browser);
  try {
    await within(milliseconds, work(world), 'it had not come to its end');
    expect(world.problems().length === 0, 'no page did what it should not', ...world.problems());
  } finally {
    await within(END_MS, world.end(), 'the windows had not closed').catch(async () => {
      await within(END_MS, browser.close(), 'the browser had not closed').catch(() => {});
      browser = await launch();
    });
  }
}

for (const suite of SUITES) {
  const { checks } = await import(`./${suite}.mjs`);
  for (const [name, check] of Object.entries(checks)) {
    const label = `${suite}: ${name}`;
    if (label.includes(plan.only)) await report.check(label, () => inWorld(check));
  }
}
if (!plan.only || 'every_page'.startsWith(plan.only.split(':')[0])) {
  // What a page shows is made once for all of them; each is a check by itself.
  const each = (name, run) => report.check(`every_page: ${name}`, run);
  await inWorld((world) => everyPage(world, each), PAGES_MS).catch((error) => report.fail('every_page', error));
}
await within(END_MS, browser.close(), 'the browser had not closed').catch(() => {});
process.exit(report.end());
