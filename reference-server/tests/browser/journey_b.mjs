// Journey B: regenerating a token while it streams. The cut is shown, the old token's retries leave a trail, the new one works.

import * as hand from './hands.mjs';
import { expect } from './report.mjs';

const LOOK = { tool: 'getWorkspace' };

async function walk(world, { press, mark, follow }) {
  const claude = world.claudeCode();
  const { server, cookie, ada } = await world.administrator();
  const made = await server.api(cookie, 'POST', '/workspaces', { name: 'Shop' });
  const tokens = `/w/${made.workspace.id}/tokens`;
  claude.play(made.mcp_url, made.secret, [LOOK, { ...LOOK, wait: true }]);
  await claude.reached(1);

  await ada.go(tokens);
  await ada.sees('1 connected');
  const trail = await world.visitor(server, { cookie });
  await trail.go(tokens);
  await follow(ada, ada.link('Regenerate MCP Token primary'));
  await ada.sees('1 live connection');
  await ada.sees(/Claude Code [\d.]+ at 127\.0\.0\.1/);
  await mark(ada, ada.page.getByLabel('somebody else may have it'));
  await press(ada, ada.button('Regenerate MCP Token'));
  await ada.page.locator('#secret').waitFor();
  const secret = await ada.secret();
  expect(secret !== made.secret, 'the token is a new one');
  await ada.sees(/1 session and \d+ streams? were cut in [\d.]+ ms/);
  const cut = ada.page.locator('#cut > li', { hasText: 'Claude Code' });
  await ada.sees('ctrl+c, then claude', cut);
  await ada.sees('not back yet', cut);

  claude.goOn();
  const refused = await claude.finished();
  expect(/token|401|Authorization/i.test(refused.shown[1]), 'the agent was told that its token is dead', refused.shown);
  await trail.sees('Old tokens that are still tried');
  await trail.sees(/Claude Code/, trail.page.locator('#trail'));
  await trail.sees('127.0.0.1', trail.page.locator('#trail'));
  await ada.sees(/old token tried (once|\d+ times) from 127\.0\.0\.1/, ada.page.locator('#tried'));

  claude.play(made.mcp_url, secret, [LOOK]);
  await ada.sees('back', cut.getByText('back', { exact: true }));
  const worked = await claude.finished();
  expect(worked.shown[0]?.startsWith('Workspace:'), 'the new token works', worked.shown);
  await mark(ada, ada.page.locator('[data-gate]'));
  await follow(ada, ada.link('To the tokens'));
  await ada.sees('generation 2');
  await follow(ada, ada.link('primary'));
  await ada.sees('somebody else may have it');
  await ada.holdsNowhere(secret);
}

export const checks = {
  'regenerate while Claude Code streams': (world) => walk(world, hand.mouse),
  'the same with the keyboard alone': (world) => walk(world, hand.keyboard),

  async 'replace without a gap: both hold until the second is in use'(world) {
    const client = world.pythonClient();
    const { server, cookie, ada } = await world.administrator();
    const made = await server.api(cookie, 'POST', '/workspaces', { name: 'Shop' });
    await ada.go(`/w/${made.workspace.id}/tokens/primary/regenerate`);
    await ada.button('Make a second token').click();
    await ada.page.locator('#secret').waitFor();
    const second = await ada.secret();
    await client.connect(made.mcp_url, made.secret);
    await ada.go(`/w/${made.workspace.id}/tokens`);
    await ada.sees('has not connected yet');
    await client.connect(made.mcp_url, second);
    await ada.sees('can go');
    await ada.link('Revoke primary').first().click();
    await ada.page.getByLabel(/^Type primary/).fill('primary');
    await ada.button('Revoke').click();
    await ada.sees('The token was revoked.');
    expect((await client.call('getWorkspace')).startsWith('Workspace:'), 'the second goes on without a gap');
  },
};
