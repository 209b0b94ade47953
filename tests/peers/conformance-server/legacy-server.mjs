// What server.mjs offers, from the TypeScript SDK 1.x: a server that never heard of 2026-07-28.
//
//   node legacy-server.mjs [--standing] --http PORT | --sse PORT | --stdio
//
// It asks its client on the stream of the call that needs the answer; with --standing on the standing stream.

import { SSEServerTransport } from '@modelcontextprotocol/sdk/server/sse.js';
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import { WebStandardStreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/webStandardStreamableHttp.js';
import { toNodeHandler } from '@modelcontextprotocol/node';
import { CAPABILITIES, equip, INFO } from './offer.mjs';
import { JOBS } from './jobs.mjs';
import { LegacyServer } from './sdk-1.mjs';
import { httpWithSse, listen, sessions } from './serve.mjs';

const words = process.argv.slice(2);
const asksStanding = words[0] === '--standing';
const [mode, port] = asksStanding ? words.slice(1) : words;

function offer() {
    const tasks = { cancel: {}, list: {}, requests: { tools: { call: {} } } };
    const server = new LegacyServer(INFO, { capabilities: { ...CAPABILITIES, tasks }, asksStanding });
    equip(server, 'legacy');
    for (const [name, job] of Object.entries(JOBS)) {
        server.registerJob(name, job);
    }
    return server;
}

switch (mode) {
    case '--http':
        await listen(port, toNodeHandler({ fetch: sessions(WebStandardStreamableHTTPServerTransport, offer) }));
        break;
    case '--sse':
        await listen(port, httpWithSse(SSEServerTransport, offer));
        break;
    case '--stdio':
        await offer().connect(new StdioServerTransport());
        break;
    default:
        console.error('usage: legacy-server.mjs [--standing] --http PORT | --sse PORT | --stdio');
        process.exitCode = 2;
}
