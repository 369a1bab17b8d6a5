// Open pages keep themselves up to date, for everybody who looks, and take nothing from under anybody's hands.

import { expect } from './report.mjs';

async function shop(world) {
  const { server, cookie, ada } = await world.administrator();
  const made = await server.api(cookie, 'POST', '/workspaces', { name: 'Shop' });
  return { server, cookie, ada, made, id: made.workspace.id };
}

const ask = (server, cookie, id, title) =>
  server.api(cookie, 'POST', `/workspaces/${id}/tasks`, { title, body: 'Which one?', assignee: 'human' });

export const checks = {
  async 'two tabs and two people see tasks, messages and answers without a reload'(world) {
    const { server, cookie, ada, id } = await shop(world);
    const benCookie = await server.person('Ben');
    await server.api(cookie, 'POST', `/workspaces/${id}/members`, { user: 'Ben', role: 'member' });
    const ben = await world.visitor(server, { cookie: benCookie });
    await ada.go(`/w/${id}`);
    const board = await ada.tab(`/w/${id}/board`);
    await ben.go(`/w/${id}`);
    const { task } = await ask(server, cookie, id, 'Red or blue?');
    await Promise.all([ada.sees('Red or blue?'), ben.sees('Red or blue?'), board.getByText('Red or blue?').waitFor()]);
    const thread = await world.visitor(server, { cookie });
    await thread.go(`/w/${id}/tasks/${task.id}`);
    await ben.field('Your answer').fill('Blue, says **Ben**.');
    await ben.button('Answer').click();
    await thread.sees('Blue, says Ben.');
    await ada.sees('Nothing waits for you.');
    expect(await thread.page.locator('#thread strong', { hasText: 'Ben' }).count() >= 1, 'Markdown is rendered');
  },

  async 'an update leaves what is typed, the caret and the focus alone'(world) {
    const { server, cookie, ada, made, id } = await shop(world);
    const { task } = await ask(server, cookie, id, 'The first question');
    await ada.go(`/w/${id}`);
    const answer = ada.field('Your answer').first();
    await answer.click();
    await ada.page.keyboard.type('Half of an ans');
    await ada.page.keyboard.press('ArrowLeft');
    await ask(server, cookie, id, 'The second question');
    await ada.sees('The second question');
    const agent = await world.wireClient(made.mcp_url, made.secret);
    await agent.call('reply', { chatId: task.id, text: 'One more word.' });
    await ada.sees('One more word.');
    const state = await answer.evaluate((field) => [field.value, field.selectionStart, document.activeElement === field]);
    expect(JSON.stringify(state) === '["Half of an ans",13,true]', 'text, caret and focus stay', state);
    await ada.page.keyboard.type('X');
    expect(await answer.inputValue() === 'Half of an anXs', 'typing goes on where it was');

    await ada.go(`/w/${id}/tasks/${task.id}`);
    const message = ada.page.getByLabel(/^Message/);
    await message.focus();
    await ada.page.keyboard.type('I am still wri');
    await server.text(['task', 'reply', '--workspace', id, '--task', task.id, '--text', 'Meanwhile, another message.']);
    await ada.sees('Meanwhile, another message.');
    expect(await message.inputValue() === 'I am still wri', 'the message stays');
    expect(await message.evaluate((field) => document.activeElement === field), 'the focus stays');
  },

  async 'a half-typed answer outlives the answer of somebody else, and can be sent or thrown away'(world) {
    const { server, cookie, ada, id } = await shop(world);
    const benCookie = await server.person('Ben');
    await server.api(cookie, 'POST', `/workspaces/${id}/members`, { user: 'Ben', role: 'member' });
    const ben = await world.visitor(server, { cookie: benCookie });
    const tasks = [];
    for (const title of ['Nobody types', 'Ada sends', 'Ada discards', 'Still open']) tasks.push((await ask(server, cookie, id, title)).task.id);
    const card = (index) => ada.page.locator(`#need-${tasks[index]}`);
    const says = (index) => card(index).getByText('Somebody answered this meanwhile. Your text is still here.');
    const answers = async (index, text) => {
      await ben.go(`/w/${id}`);
      await ben.page.locator(`#need-${tasks[index]}`).getByLabel('Your answer').fill(text);
      await ben.page.locator(`#need-${tasks[index]}`).getByRole('button', { name: 'Answer' }).click();
      await ben.sees('Your message was sent.');
    };
    await ada.go(`/w/${id}`);
    await card(2).getByLabel('Your answer').fill('Not this.');
    const field = card(1).getByLabel('Your answer');
    await field.click();
    await ada.page.keyboard.type('Ada was slower.');
    await ada.page.keyboard.press('ArrowLeft');
    await answers(0, 'An answer to the first.');
    await card(0).waitFor({ state: 'detached' });
    await answers(1, 'Ben was faster.');
    await says(1).waitFor();
    const state = await field.evaluate((element) => [element.value, element.selectionStart, document.activeElement === element]);
    expect(JSON.stringify(state) === '["Ada was slower.",14,true]', 'text, caret and focus stay', state);
    const told = await ada.page.locator('[aria-live=polite]').allInnerTexts();
    expect(told.includes('Ada sends: Somebody answered this meanwhile. Your text is still here.'), 'it is announced', told);
    expect(await card(1).getByRole('link', { name: 'See what was said' }).getAttribute('href') === `/w/${id}/tasks/${tasks[1]}`, 'the notice leads to the task');
    await answers(2, 'Ben again.');
    await says(2).waitFor();
    // Another update changes nothing of it.
    await answers(3, 'Ben once more.');
    await card(3).waitFor({ state: 'detached' });
    expect(await says(1).count() === 1 && await says(2).count() === 1, 'each says so once');
    const order = await ada.page.locator('#needs article').evaluateAll((cards) => cards.map((element) => element.id));
    expect(order.join() === [1, 2].map((index) => `need-${tasks[index]}`).join(), 'the cards stay where they were', order);
    await card(2).getByRole('button', { name: 'Discard my text' }).click();
    await card(2).waitFor({ state: 'detached' });
    await card(1).getByRole('button', { name: 'Answer' }).click();
    await ada.sees('Your message was sent.');
    expect(await card(1).count() === 0, 'what was sent is gone');
    await ada.go(`/w/${id}/tasks/${tasks[1]}`);
    await ada.sees('Ben was faster.');
    await ada.sees('Ada was slower.');
  },

  async 'a kept answer is a plain one again when the agent asks again'(world) {
    const { server, cookie, ada, made, id } = await shop(world);
    const { task } = await ask(server, cookie, id, 'Red or blue?');
    const agent = await world.wireClient(made.mcp_url, made.secret);
    await ada.go(`/w/${id}`);
    await ada.field('Your answer').fill('Bl');
    await server.text(['task', 'reply', '--workspace', id, '--task', task.id, '--text', 'Red.']);
    await ada.sees('Somebody answered this meanwhile.');
    await agent.call('reply', { chatId: task.id, text: 'Which red?' });
    await ada.sees('Which red?');
    expect(await ada.page.locator('[data-answered]').count() === 0, 'the card asks again');
    expect(await ada.field('Your answer').inputValue() === 'Bl', 'the text stays');
  },

  async 'a refresh that is refused takes nothing from the page'(world) {
    const { server, cookie, ada, id } = await shop(world);
    await ask(server, cookie, id, 'The first question');
    ada.provokes(429);
    await ada.go(`/w/${id}`);
    await ada.field('Your answer').fill('Half of it');
    let refused = 0;
    await ada.page.route(`**/w/${id}`, (route) => {
      refused += 1;
      return refused === 1 ? route.fulfill({ status: 429, contentType: 'text/html', body: '<main>Too fast</main>' }) : route.continue();
    });
    await ask(server, cookie, id, 'The second question');
    while (!refused) await new Promise((resolve) => setTimeout(resolve, 50));
    await ask(server, cookie, id, 'The third question');
    await ada.sees('The third question');
    expect(await ada.field('Your answer').first().inputValue() === 'Half of it', 'the text stays');
  },

  async 'what is typed into a task outlives its state and its end'(world) {
    const { server, cookie, ada, id } = await shop(world);
    const { task } = await ask(server, cookie, id, 'Red or blue?');
    await ada.go(`/w/${id}/tasks/${task.id}`);
    const message = ada.page.getByLabel(/^Message/);
    await message.focus();
    await ada.page.keyboard.type('I am still wri');
    for (const status of ['blocked', 'completed']) {
      await server.api(cookie, 'POST', `/workspaces/${id}/tasks/${task.id}/status`, { status });
      await ada.sees(new RegExp(`moved it .* to ${status === 'blocked' ? 'blocked' : 'completed|done'}`, 'i'));
      const state = await message.evaluate((field) => [field.value, document.activeElement === field]);
      expect(JSON.stringify(state) === '["I am still wri",true]', `text and focus stay when it is ${status}`, state);
    }
    await ada.page.keyboard.type('ting.');
    await ada.button('Send').click();
    await ada.sees('I am still writing.', ada.page.locator('#thread'));
  },

  async 'a chosen row keeps the focus while its list is renewed'(world) {
    const { server, cookie, ada, id } = await shop(world);
    await ada.go(`/w/${id}/tokens`);
    const button = ada.link('Regenerate MCP Token primary');
    await button.focus();
    await server.api(cookie, 'POST', `/workspaces/${id}/tokens`, { name: 'another' });
    await ada.link('Regenerate MCP Token another').waitFor();
    expect(await button.evaluate((link) => document.activeElement === link), 'the focus stays on its link');
  },

  async 'what the reader has opened stays open when it is renewed'(world) {
    const { server, cookie, ada, id } = await shop(world);
    await server.api(cookie, 'POST', `/workspaces/${id}/tokens`, { name: 'old' });
    await server.command('token', 'revoke', '--workspace', id, '--name', 'old');
    await ada.go(`/w/${id}/tokens`);
    await ada.page.locator('summary', { hasText: '1 revoked' }).click();
    await server.api(cookie, 'POST', `/workspaces/${id}/tokens`, { name: 'another' });
    await ada.link('Regenerate MCP Token another').waitFor();
    expect(await ada.page.locator('#tokens details').evaluate((details) => details.open), 'the list stays open');
  },

  async 'a page that lost its server catches up when that is back'(world) {
    const { server, cookie, ada, id } = await shop(world);
    await ada.go(`/w/${id}/board`);
    const port = new URL(server.url).port;
    ada.losesTheServer();
    await server.stop();
    await ada.sees('The server cannot be reached');
    server.options = ['--listen', `127.0.0.1:${port}`];
    await server.start();
    await ask(server, cookie, id, 'Asked after the restart');
    await ada.sees('Asked after the restart');
    expect(await ada.page.locator('#stale').isHidden(), 'the page no longer says that it may be out of date');
  },

  async 'an agent asks for permission, a person allows it in the page, and the agent hears of it'(world) {
    const { server, cookie, ada, made, id } = await shop(world);
    const agent = await world.wireClient(made.mcp_url, made.secret, 'claude-code', '2.1.330');
    await ada.go(`/w/${id}`);
    const asks = (request_id, tool_name) => agent.notify('notifications/claude/channel/permission_request', {
      request_id, tool_name, description: 'List the files', input_preview: 'ls <b>-la</b>',
    });
    await asks('abcde', 'Bash');
    await ada.sees('ls <b>-la</b>');
    await ada.button('Allow').click();
    await ada.sees('Answered. The agent was told.');
    const first = await agent.hears('notifications/claude/channel/permission');
    expect(first.request_id === 'abcde' && first.behavior === 'allow', 'the agent hears that it may', first);
    agent.pushed.length = 0;
    await asks('fghij', 'Read');
    await ada.page.getByRole('button', { name: /^Always allow Read/ }).click();
    await agent.hears('notifications/claude/channel/permission');
    agent.pushed.length = 0;
    await asks('klmno', 'Read');
    const third = await agent.hears('notifications/claude/channel/permission');
    expect(third.request_id === 'klmno' && third.behavior === 'allow', 'the rule answers from then on', third);
    await ada.page.getByRole('button', { name: /^Ask again/ }).click();
    await ada.sees('you will be asked again');
  },

  async 'a page whose scripts come late and one by one hears of changes all the same'(world) {
    const { server, cookie, ada, id } = await shop(world);
    let scripts = 0;
    await ada.page.route('**/*.js', async (route) => {
      scripts += 1;
      await new Promise((resolve) => setTimeout(resolve, scripts * 400));
      await route.continue();
    });
    await ada.go(`/w/${id}/board`);
    await ask(server, cookie, id, 'Late but not lost');
    await ada.sees('Late but not lost');
  },

  async 'connections appear and go by themselves, and one is ended from the page'(world) {
    const client = world.pythonClient();
    const { ada, made, id } = await shop(world);
    await ada.go(`/w/${id}/connections`);
    await ada.sees('Nobody is connected.');
    await client.connect(made.mcp_url, made.secret);
    await ada.page.locator('#connections > ul > li').waitFor();
    await ada.page.getByRole('button', { name: /^Disconnect/ }).click();
    await ada.sees('The connection was ended.');
    await client.connect(made.mcp_url, made.secret);
    await ada.page.locator('#connections > ul > li').waitFor();
    await client.do('disconnect');
    await ada.sees('Nobody is connected.');
  },
};
