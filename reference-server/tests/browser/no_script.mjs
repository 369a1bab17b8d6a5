// Without JavaScript: logging in, creating, regenerating, answering.

import { expect } from './report.mjs';
import { PASSWORD } from './server.mjs';

export const checks = {
  async 'the setup link is pasted, and everything after it works'(world) {
    const client = world.pythonClient();
    const server = await world.server();
    const ada = await world.visitor(server, { javaScriptEnabled: false });
    await ada.go('/setup');
    await ada.page.locator('[data-link]').fill(await server.setupLink());
    await ada.field('Your name').fill('Ada');
    await ada.page.locator('input[type=password]').fill(PASSWORD);
    await ada.button('Make the account').click();
    await ada.sees('You have no workspace yet.');
    await ada.button('Log out').click();
    await ada.logIn('Ada', PASSWORD);
    await ada.field('Name').fill('Shop');
    await ada.button('Create').click();
    const first = await ada.secret();
    expect(await ada.page.locator('[data-pick]:visible').count() === 7, 'every client is shown');
    await ada.link('Wait for the first connection').click();
    await ada.sees('Waiting for the first connection');
    const id = ada.path().split('/')[2];
    const url = `${server.url}/mcp/${id}`;
    await client.connect(url, first);
    const task = (await client.call('createTask', { title: 'May I?', body: 'Say so.', assignee: 'human' })).split('id=')[1];
    await ada.page.reload();
    await ada.sees('connected');

    // The tab counts what waits.
    await ada.page.getByRole('link', { name: /^Needs you/ }).first().click();
    await ada.field('Your answer').fill('You may.');
    await ada.button('Answer').click();
    await ada.sees('Your message was sent.');
    const told = await client.call('getTask', { taskId: task, includeConversation: true });
    expect(told.includes('You may.'), 'the agent reads the answer', told);

    await ada.link('Tokens').click();
    await ada.link('Regenerate MCP Token primary').click();
    await ada.page.getByLabel('routine').check();
    await ada.button('Regenerate MCP Token').click();
    const second = await ada.secret();
    expect(await client.refused('getWorkspace'), 'the old token is dead');
    await client.connect(url, second);

    await ada.link('Board').click();
    await ada.field('Title').fill('Write it down');
    await ada.page.getByLabel(/^What is to be done/).fill('All of it.');
    await ada.button('Create task').click();
    await ada.sees('The task was created.');
    await ada.page.getByLabel(/^Message/).fill('From a page without scripts.');
    await ada.button('Send').click();
    await ada.sees('From a page without scripts.');
  },
};
