// The server that the official conformance suite talks to, directly and through Shadowcat.
//
//   node server.mjs [--modern] --http PORT   /mcp, sessions and resumption for the legacy eras, stateless for 2026-07-28
//   node server.mjs --sse PORT               the 2024-11-05 pair at /sse and /messages
//   node server.mjs [--modern] --stdio       one connection on standard input and output
//
// With --modern it refuses whatever is not 2026-07-28. PORT may be 0. When the port is open, one line `ready PORT` goes
// to standard output. Its counterpart without 2026-07-28 is legacy-server.mjs.

import {
    createMcpHandler,
    isLegacyRequest,
    WebStandardStreamableHTTPServerTransport
} from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import { toNodeHandler } from '@modelcontextprotocol/node';
import { SSEServerTransport } from '@modelcontextprotocol/server-legacy/sse';
import { offer } from './offer.mjs';
import { httpWithSse, listen, sessions } from './serve.mjs';

const legacyOffer = () => offer('legacy');

/** Both eras at one path: whoever claims a modern envelope is served by the modern handler. */
function streamableHttp(modernOnly) {
    const modern = createMcpHandler(({ era }) => offer(era, modern.notify), { legacy: 'reject' });
    const legacy = sessions(WebStandardStreamableHTTPServerTransport, legacyOffer);
    return toNodeHandler({
        fetch: async (request, options) =>
            !modernOnly && (await isLegacyRequest(request)) ? legacy(request) : modern.fetch(request, options)
    });
}

const words = process.argv.slice(2);
const modernOnly = words[0] === '--modern';
const [mode, port] = modernOnly ? words.slice(1) : words;
switch (mode) {
    case '--http':
        await listen(port, streamableHttp(modernOnly));
        break;
    case '--sse':
        await listen(port, httpWithSse(SSEServerTransport, legacyOffer));
        break;
    case '--stdio':
        serveStdio(({ era }) => offer(era), { legacy: modernOnly ? 'reject' : 'serve' });
        break;
    default:
        console.error('usage: server.mjs [--modern] --http PORT | --sse PORT | [--modern] --stdio');
        process.exitCode = 2;
}
