// Journey D: a backup, its restoration into a second data directory, and new keys, while people and clients go on.

import { copyFileSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

import { expect } from './report.mjs';
import { PASSWORD } from './server.mjs';

export const checks = {
  async 'backup, restore on a second data directory, key rotation'(world) {
    const client = world.pythonClient();
    const { server, cookie, ada } = await world.administrator();
    const made = await server.api(cookie, 'POST', '/workspaces', { name: 'Shop' });
    await server.api(cookie, 'POST', `/workspaces/${made.workspace.id}/tasks`, { title: 'Keep this', body: 'As it is.', assignee: 'human' });
    await client.connect(made.mcp_url, made.secret);
    const file = world.path('backup');
    await server.text(['backup', file]);
    await ada.go(`/w/${made.workspace.id}/board`);
    await ada.sees('Keep this');
    ada.losesTheServer();
    await server.stop();

    const second = world.idleServer();
    mkdirSync(second.dataDir, { mode: 0o700 });
    const keys = readdirSync(server.dataDir).filter((name) => name.endsWith('.keys'));
    expect(keys.length === 1, 'the keys lie in one file of the data directory', keys);
    for (const name of keys) copyFileSync(join(server.dataDir, name), join(second.dataDir, name));
    await second.text(['restore', file, '--keep-tokens']);
    await second.start();
    const again = await world.visitor(second);
    await again.go('/login');
    await again.logIn('Ada', PASSWORD);
    await again.sees('Shop');
    await again.link('Shop').click();
    await again.sees('Keep this');
    const url = made.mcp_url.replace(server.url, second.url);
    await client.connect(url, made.secret);
    expect((await client.call('getWorkspace')).startsWith('Workspace:'), 'the token holds on the second server');

    await second.text(['key', 'rotate']);
    await second.text(['key', 'rewrap']);
    expect((await client.call('getWorkspace')).startsWith('Workspace:'), 'the token holds with the new keys');
    await again.go(`/w/${made.workspace.id}/tokens`);
    await again.sees('generation 1');
    await again.field('Name').fill('after the rotation');
    await again.button('Create token').click();
    await again.page.locator('#secret').waitFor();
    await client.connect(url, await again.secret());
  },
};
