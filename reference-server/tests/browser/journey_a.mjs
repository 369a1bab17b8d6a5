// Journey A: from the first run to a human's answer that an agent goes on with, in a minute of clock.

import { expect } from './report.mjs';
import { PASSWORD } from './server.mjs';
import * as hand from './hands.mjs';

const LIMIT_MS = 60_000;
const QUESTION = 'Which colour should the button have?';

const SCRIPT = [
  { tool: 'createTask', arguments: { title: QUESTION, body: 'Red or **blue**: the design says nothing.', assignee: 'human' } },
  { tool: 'getTask', arguments: { taskId: '{task}', includeConversation: true }, wait: true },
  { tool: 'reply', arguments: { chatId: '{task}', text: 'Thank you, I make it blue.' } },
  { tool: 'updateTaskStatus', arguments: { taskId: '{task}', status: 'completed' } },
];

/** Goes all the way with the given hands: those on a mouse, or those on a keyboard. */
async function walk(world, { fill, press, mark, follow }) {
  const claude = world.claudeCode();
  const server = await world.server();
  const ada = await world.visitor(server);
  const started = performance.now();

  await ada.page.goto(await server.setupLink());
  await fill(ada, ada.field('Your name'), 'Ada');
  await fill(ada, ada.page.locator('input[type=password]'), PASSWORD);
  await press(ada, ada.button('Make the account'));
  await ada.sees('You have no workspace yet.');

  await fill(ada, ada.field('Name'), 'Shop');
  await press(ada, ada.button('Create'));
  await ada.page.locator('#secret').waitFor();
  const secret = await ada.secret();
  const file = await ada.page.locator('#file-claude-code').innerText();
  const { url } = Object.values(JSON.parse(file).mcpServers)[0];
  await mark(ada, ada.page.locator('[data-gate]'));
  await follow(ada, ada.link('Wait for the first connection'));
  await ada.sees('Waiting for the first connection');
  await ada.holdsNowhere(secret);

  claude.play(url, secret, SCRIPT);
  await ada.sees(/Claude Code [\d.]+ connected/);
  await claude.reached(1);

  await follow(ada, ada.page.getByRole('link', { name: /^Needs you/ }).first());
  const need = ada.page.locator('article', { hasText: QUESTION });
  await need.waitFor();
  await fill(ada, need.getByLabel('Your answer'), 'Blue, as the **logo** is.');
  await press(ada, need.getByRole('button', { name: 'Answer' }));
  await ada.sees('Your message was sent.');
  await ada.sees('Nothing waits for you.');

  await follow(ada, ada.link('Board'));
  await follow(ada, ada.link(QUESTION));
  await ada.sees('Blue, as the');
  claude.goOn();
  await ada.sees('Thank you, I make it blue.', ada.page.locator('#thread'));
  await ada.sees('Completed', ada.page.locator('#head'));
  const end = await claude.finished();
  const took = performance.now() - started;
  expect(end.code === 0, 'Claude Code came to its end', end.output);
  expect(end.shown[1].includes('Blue, as the **logo** is.'), 'the agent was shown the answer', end.shown);
  expect(end.shown.every((text) => !text.startsWith('error')), 'every call worked', end.shown);
  expect(took <= LIMIT_MS, `it takes a minute at most, not ${Math.round(took / 1000)} s`);
}

export const checks = {
  'from the first run to an answered agent, with Claude Code': (world) => walk(world, hand.mouse),
  'the same with the keyboard alone': (world) => walk(world, hand.keyboard),
};
