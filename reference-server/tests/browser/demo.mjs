// `wst serve --demo`: what a newcomer sees from the setup link on, and the scripted agent that works beside them.

import { expectNoFaults } from './accessibility.mjs';
import { expect } from './report.mjs';
import { PASSWORD } from './server.mjs';

const TAG = 'demo: its agent is a script';
const BERTHS = 'Give the berths names that nobody mixes up';

/** Opens the setup link, makes the first account, and goes to the workspace. */
async function newcomer(world, options) {
  const server = await world.server('--demo');
  const ada = await world.visitor(server, options);
  await ada.page.goto(await server.setupLink());
  await ada.sees(TAG);
  if (options?.javaScriptEnabled === false) await ada.page.locator('[name=link]').fill(await server.setupLink());
  await ada.field('Your name').fill('Ada');
  await ada.page.locator('input[type=password]').fill(PASSWORD);
  await ada.button('Make the account').click();
  await ada.sees('Demo: harbour office');
  return { server, ada };
}

export const checks = {
  async 'the setup link leads to pages that are full, and an answer leads the agent on'(world) {
    const { ada } = await newcomer(world);
    await expectNoFaults(ada.page, 'the first page of a demo');
    await ada.link('Demo: harbour office').click();
    await ada.sees('Letters or birds');
    await ada.sees('Read the light sensors of the breakwater');
    await ada.sees('I am blocked');
    await expectNoFaults(ada.page, 'what needs somebody in a demo');

    const board = await ada.tab(`${ada.path()}/board`);
    const column = (name) => board.locator('section', { has: board.getByRole('heading', { name }) });
    await column(/^In progress|^Ongoing/).getByText(BERTHS).waitFor();
    for (const heading of await board.locator('#board h2').all()) {
      const count = await heading.locator('.tag').innerText();
      expect(Number(count) > 0, 'no column is empty', await board.locator('#board').innerText());
    }

    const question = ada.page.locator('article', { hasText: 'Letters or birds' });
    await question.getByLabel('Your answer').fill('Birds, please.');
    await question.getByRole('button', { name: 'Answer', exact: true }).click();
    await column(/^Completed|^Done/).getByText(BERTHS).waitFor();
    await board.getByText(BERTHS).click();
    await board.getByText('I have your answer').waitFor();
    await board.getByText('Scripted agent of the demo:').first().waitFor();

    const permission = ada.page.locator('article', { hasText: 'Read the light sensors' });
    await permission.getByRole('button', { name: 'Allow', exact: true }).click();
    await permission.waitFor({ state: 'detached' });
  },

  async 'a regenerated token cuts the agent off, and its retries are shown'(world) {
    const { ada } = await newcomer(world);
    await ada.link('Demo: harbour office').click();
    await ada.sees('Letters or birds');
    await ada.link('Tokens').click();
    await ada.sees('1 connected');
    await ada.link('Regenerate MCP Token build-agent').click();
    await ada.sees(/Demo agent [\d.]+ at 127\.0\.0\.1/);
    await ada.page.getByLabel('somebody else may have it').check();
    await ada.button('Regenerate MCP Token').click();
    await ada.page.locator('#secret').waitFor();
    await ada.sees('not back yet', ada.page.locator('#cut > li', { hasText: 'Demo agent' }));
    await ada.page.locator('[data-gate]').check();
    await ada.link('To the tokens').click();
    await ada.sees('Old tokens that are still tried');
    await ada.sees(/Demo agent/, ada.page.locator('#trail'));
  },

  async 'without scripts, a task that a person makes is taken and completed'(world) {
    const { ada } = await newcomer(world, { javaScriptEnabled: false });
    await ada.link('Demo: harbour office').click();
    await ada.link('Board').click();
    await ada.field('Title').fill('Count the gulls');
    await ada.button('Create task').click();
    const thread = ada.path();
    expect(thread.includes('/tasks/'), 'the new task is shown', thread);
    const deadline = performance.now() + 30_000;
    while (!(await ada.page.getByText('done, that is: nothing was done').count())) {
      expect(performance.now() < deadline, 'the agent completes the task', await ada.page.locator('main').innerText());
      await ada.page.waitForTimeout(300);
      await ada.go(thread);
    }
    await ada.sees('I am a scripted agent of the demo');
  },
};
