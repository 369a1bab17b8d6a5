// Every page in every theme and width: axe-core, sizes of targets and of text, nothing that scrolls sideways, no motion.

import { axeSource } from './packages.mjs';
import { expect } from './report.mjs';

export const THEMES = ['light', 'dark'];
export const WIDTHS = { 1280: 800, 320: 640 };

/** Looks at the open page and returns what is wrong with it. */
export async function faults(page) {
  await page.evaluate(axeSource);
  const violations = await page.evaluate(async () => {
    const { violations } = await window.axe.run(document, { resultTypes: ['violations'] });
    return violations.flatMap(({ id, nodes }) => nodes.map((node) => `axe ${id}: ${node.html.slice(0, 160)} ${node.failureSummary?.split('\n')[1] ?? ''}`));
  });
  return [...violations, ...(await page.evaluate(measure))];
}

/** Runs in the page. */
function measure() {
  const found = [];
  const short = (element) => element.outerHTML.slice(0, 140);
  const isShown = (element) => element.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true });
  const scroller = document.scrollingElement;
  if (scroller.scrollWidth > innerWidth) {
    const widest = [...document.querySelectorAll('body *')].filter((element) => element.getBoundingClientRect().right > innerWidth + 1);
    found.push(`scrolls sideways: ${scroller.scrollWidth} px; ${widest.slice(-2).map(short).join(' | ')}`);
  }

  // WCAG 2.5.8: a link in a sentence, whose size the line gives, is excepted.
  const inSentence = (element) => {
    if (getComputedStyle(element).display !== 'inline') return false;
    const block = element.closest('p, li, td, dd, label, legend, .prose, .hint, h1, h2, h3') ?? element.parentElement;
    return block.textContent.trim().length > element.textContent.trim().length;
  };
  const targets = 'a[href], button, input:not([type=hidden]), select, textarea, summary, [role=button]';
  for (const element of document.querySelectorAll(targets)) {
    const box = element.getBoundingClientRect();
    if (!isShown(element) || box.right <= 0 || inSentence(element)) continue;
    if (box.width < 24 || box.height < 24) found.push(`a target of ${Math.round(box.width)} × ${Math.round(box.height)} px: ${short(element)}`);
  }

  const small = new Set();
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const parent = texts.currentNode.parentElement;
    if (!texts.currentNode.textContent.trim() || !isShown(parent) || parent.closest('script, style, option, [aria-hidden=true]')) continue;
    if (parseFloat(getComputedStyle(parent).fontSize) < 14) small.add(parent);
  }
  for (const element of small) found.push(`text of ${getComputedStyle(element).fontSize}: ${short(element)}`);

  // What one cannot see to be cut off: text wider than its box.
  for (const element of document.querySelectorAll('main :is(p, li, h1, h2, h3, dd, dt, button, .button, .tag, strong, time)')) {
    if (isShown(element) && element.scrollWidth > element.clientWidth + 1 && element.clientWidth > 0 && getComputedStyle(element).overflowX !== 'auto') {
      found.push(`text is wider than its box: ${short(element)}`);
    }
  }
  if (matchMedia('(prefers-reduced-motion: reduce)').matches) {
    for (const element of document.querySelectorAll('body, body *')) {
      const { transitionDuration, animationDuration, animationName, scrollBehavior } = getComputedStyle(element);
      const moves = [transitionDuration, animationName === 'none' ? '0s' : animationDuration];
      if (moves.some((times) => times.split(',').some((time) => parseFloat(time) > 0)) || scrollBehavior === 'smooth') {
        found.push(`moves although less motion is asked for: ${short(element)}`);
      }
    }
  }
  return found;
}

/** Runs `look(theme, width)` with the page shown so. */
export async function inEveryLook(page, look) {
  for (const [width, height] of Object.entries(WIDTHS)) {
    for (const theme of THEMES) {
      await page.setViewportSize({ width: Number(width), height });
      await page.emulateMedia({ colorScheme: theme, reducedMotion: 'reduce' });
      await look(theme, width);
    }
  }
}

export async function expectNoFaults(page, name) {
  const looks = new Map();
  await inEveryLook(page, async (theme, width) => {
    for (const fault of await faults(page)) looks.set(fault, [...(looks.get(fault) ?? []), `${theme} ${width}`]);
  });
  const lines = [...looks].map(([fault, where]) => `${where.length === 4 ? 'always' : where.join(', ')}: ${fault}`);
  expect(lines.length === 0, `${name} has ${lines.length} faults`, ...lines.slice(0, 30));
}
