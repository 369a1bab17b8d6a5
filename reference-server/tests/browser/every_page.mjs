// Every page, as it looks after some weeks of work, in both themes and at two widths; with `--screenshots`, as pictures.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { expectNoFaults, inEveryLook } from './accessibility.mjs';
import { plan } from './packages.mjs';
import { expect } from './report.mjs';
import { pages, seed } from './seed.mjs';

/** A list may go on below the picture. */
const TALLEST = 3000;

/** One server for all of them: `check(name, run)` reports each page by itself. */
export async function everyPage(world, check) {
  const demo = await seed(world);
  const people = { ada: demo.ada, ben: demo.ben, stranger: await world.visitor(demo.server) };
  for (const page of pages(demo)) {
    const visitor = people[page.by ?? 'ada'];
    await check(page.name, async () => {
      if (page.status) visitor.provokes(page.status);
      const before = visitor.problems.length;
      await visitor.page.setViewportSize({ width: 1280, height: 800 });
      const status = await visitor.go(page.path);
      expect(status === (page.prepare ? 200 : (page.status ?? 200)), `the page is there, not ${status}`);
      await page.prepare?.(visitor);
      await visitor.page.waitForFunction(() => document.readyState === 'complete');
      if (plan.screenshots) await takePictures(visitor, page.name);
      await expectNoFaults(visitor.page, page.name);
      expect(visitor.problems.length === before, 'the page did nothing that it should not', ...visitor.problems.splice(before));
    });
  }
}

/** WebP, which shows such pages well at a third of what PNG takes. */
async function takePictures(visitor, name) {
  mkdirSync(plan.screenshots, { recursive: true });
  // No token is ever in a picture, not even one of a server that is gone.
  await visitor.page.evaluate(() => {
    for (const secret of document.querySelectorAll('[data-secret]')) {
      secret.value = secret.value.replace(/(?<=#)[\w-]{20,}/, '… (the link ends here, this once)').replace(/eyJ[\w.-]+/, 'eyJhbGciOiJIUzI1NiIs… (the token stands here, this once)');
    }
  });
  const session = await visitor.context.newCDPSession(visitor.page);
  await inEveryLook(visitor.page, async (theme, width) => {
    const clip = { x: 0, y: 0, scale: 1, width: Number(width), height: Math.min(TALLEST, await visitor.page.evaluate(() => document.scrollingElement.scrollHeight)) };
    const shot = await session.send('Page.captureScreenshot', { format: 'webp', quality: 60, captureBeyondViewport: true, clip });
    writeFileSync(join(plan.screenshots, `${name}-${theme}-${width}.webp`), Buffer.from(shot.data, 'base64'));
  });
  await session.detach();
}
