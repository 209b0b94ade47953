// An agent's test with the server unplugged: `shadowcat mock` answers from a tape, over Streamable HTTP.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { afterAll, beforeAll, expect, test } from 'vitest';

const TAPE = fileURLToPath(new URL('../memory.tape.jsonl', import.meta.url));
const SHADOWCAT = process.env.SHADOWCAT_BIN ?? 'shadowcat';

let mock, url;

beforeAll(async () => {
    mock = spawn(SHADOWCAT, ['mock', TAPE, '--listen', '127.0.0.1:0'], { stdio: ['ignore', 'ignore', 'pipe'] });
    for await (const line of createInterface({ input: mock.stderr })) {
        url = line.match(/ready on (\S+)/)?.[1];
        if (url) break;
    }
});

afterAll(async () => {
    mock.kill();
    await once(mock, 'exit');
});

// What the agent would be given in earnest: a client of its server.
async function memory() {
    const client = new Client({ name: 'agent', version: '1' });
    await client.connect(new StreamableHTTPClientTransport(new URL(url)));
    return client;
}

async function names(client) {
    const graph = await client.callTool({ name: 'read_graph', arguments: {} });
    return JSON.parse(graph.content[0].text).entities.map(entity => entity.name);
}

// The agent: adds who is missing, and says who is known.
async function remember(client, name, fact) {
    if (!(await names(client)).includes(name)) {
        const entity = { name, entityType: 'person', observations: [fact] };
        await client.callTool({ name: 'create_entities', arguments: { entities: [entity] } });
    }
    return names(client);
}

test('who is missing is added', async () => {
    const client = await memory();
    expect(await remember(client, 'Ada', 'writes programs')).toEqual(['Ada']);
    await client.close();
});

test('what is not on the tape fails by name', async () => {
    const client = await memory();
    await expect(remember(client, 'Bob', 'writes programs')).rejects.toThrow('recorded "Ada", asked "Bob"');
    await client.close();
});
