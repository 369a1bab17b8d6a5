// How a person works a page: with a mouse, or with the keyboard alone.

import { expect } from './report.mjs';

const MOST_TABS = 150;

export const mouse = {
  fill: (_, field, text) => field.fill(text),
  press: (_, control) => control.click(),
  follow: (_, link) => link.click(),
  mark: (_, box) => box.check(),
  choose: (_, select, value) => select.selectOption(value),
};

/** Only Tab, arrows, Enter, Space and letters; each thing that is reached shows that it has the focus. */
export const keyboard = {
  async fill(visitor, field, text) {
    await reach(visitor, field);
    await visitor.page.keyboard.press('ControlOrMeta+A');
    await visitor.page.keyboard.type(text);
  },
  async press(visitor, control) {
    await reach(visitor, control);
    await visitor.page.keyboard.press('Enter');
  },
  /** Ticks a box, or goes to one of several with the arrows. */
  async mark(visitor, box) {
    if (await box.getAttribute('type') === 'radio') {
      const name = await box.getAttribute('name');
      const group = visitor.page.locator(`input[type=radio][name="${name}"]`);
      const checked = group.and(visitor.page.locator(':checked'));
      await reach(visitor, (await checked.count()) ? checked : group.first());
      await visitor.page.keyboard.press('Space');
      for (let step = 0; step < await group.count() && !(await box.isChecked()); step += 1) {
        await visitor.page.keyboard.press('ArrowDown');
      }
    } else {
      await reach(visitor, box);
      await visitor.page.keyboard.press('Space');
    }
    expect(await box.isChecked(), 'the keys choose it');
  },
  async follow(visitor, link) {
    await reach(visitor, link);
    await visitor.page.keyboard.press('Enter');
  },
  async choose(visitor, select, value) {
    await reach(visitor, select);
    const label = await select.locator(`option[value="${value}"]`).innerText();
    await visitor.page.keyboard.type(label);
    expect(await select.inputValue() === value, `typing "${label}" chooses it`);
  },
};

/** Tabs forward until `target` has the focus, and looks that one sees it there. */
export async function reach(visitor, target) {
  await target.waitFor();
  const wanted = await target.elementHandle();
  for (let tabs = 0; tabs <= MOST_TABS; tabs += 1) {
    if (await wanted.evaluate((element) => element === document.activeElement)) return seesFocus(wanted);
    await visitor.page.keyboard.press('Tab');
  }
  const place = await wanted.evaluate((element) => element.outerHTML.slice(0, 200));
  expect(false, `Tab leads to ${place}`);
}

async function seesFocus(handle) {
  const look = await handle.evaluate((element) => {
    const style = getComputedStyle(element);
    const box = element.getBoundingClientRect();
    const inView = box.bottom > 0 && box.right > 0 && box.top < innerHeight && box.left < innerWidth;
    const top = inView && document.elementFromPoint(
      Math.min(Math.max(box.left + box.width / 2, 0), innerWidth - 1),
      Math.min(Math.max(box.top + box.height / 2, 0), innerHeight - 1),
    );
    return {
      what: element.outerHTML.slice(0, 120),
      outline: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2,
      inView,
      covered: Boolean(top && !element.contains(top) && !top.contains(element)),
    };
  });
  expect(look.outline, 'what has the focus shows it', look);
  expect(look.inView, 'what has the focus is in view', look);
  expect(!look.covered, 'what has the focus is not covered', look);
}
