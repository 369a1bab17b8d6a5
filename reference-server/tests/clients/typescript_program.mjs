// Does with the client of the TypeScript SDK what it reads, a JSON command a line, and reports.
//
//     node typescript_program.mjs FOLDER_OF_THE_SDK
//
// Each command is answered with one line: {"ok": …} or {"error": …}.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const sdk = createRequire(`${process.argv[2]}/package.json`);
const { Client } = sdk("@modelcontextprotocol/sdk/client/index.js");
const { StreamableHTTPClientTransport } = sdk("@modelcontextprotocol/sdk/client/streamableHttp.js");

let client;
let transport;

const verbs = {
  async connect({ url, token }) {
    await verbs.disconnect({});
    const headers = token === null ? {} : { Authorization: `Bearer ${token}` };
    transport = new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } });
    client = new Client({ name: "typescript-check", version: "1" });
    await client.connect(transport);
    return transport.protocolVersion;
  },

  async list_tools() {
    return (await client.listTools()).tools.map((tool) => tool.name);
  },

  async call({ tool, arguments: given }) {
    const result = await client.callTool({ name: tool, arguments: given });
    const text = result.content.map((block) => block.text).join("\n");
    if (result.isError) throw new Error(text);
    return text;
  },

  async session() {
    return transport.sessionId;
  },

  async disconnect() {
    await client?.close();
    client = undefined;
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { do: verb, ...given } = JSON.parse(line);
  let answer;
  try {
    answer = { ok: (await verbs[verb](given)) ?? null };
  } catch (error) {
    answer = { error: `${error.name} ${error.code ?? ""}: ${error.message}` };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
process.exit();
