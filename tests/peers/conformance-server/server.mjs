// The server that the official conformance suite talks to, directly and through Shadowcat.
//
//   node server.mjs --http PORT   /mcp, sessions and resumption for the legacy eras, stateless for 2026-07-28
//   node server.mjs --sse PORT    the 2024-11-05 pair at /sse and /messages
//   node server.mjs --stdio       one connection on standard input and output
//
// PORT may be 0. When the port is open, one line `ready PORT` goes to standard output.

import { createServer } from 'node:http';
import { once } from 'node:events';
import { randomUUID } from 'node:crypto';
import {
    createMcpHandler,
    isLegacyRequest,
    WebStandardStreamableHTTPServerTransport
} from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import { localhostHostValidation, localhostOriginValidation, toNodeHandler } from '@modelcontextprotocol/node';
import { SSEServerTransport } from '@modelcontextprotocol/server-legacy/sse';
import { EventLog } from './event-log.mjs';
import { offer } from './offer.mjs';

const RETRY_MS = 500;

/** Legacy requests: one transport and one server for each session. */
function sessions() {
    const transports = new Map();
    const unknown = () =>
        Response.json({ jsonrpc: '2.0', id: null, error: { code: -32001, message: 'Session not found' } }, { status: 404 });

    async function open() {
        const transport = new WebStandardStreamableHTTPServerTransport({
            sessionIdGenerator: randomUUID,
            eventStore: new EventLog(),
            retryInterval: RETRY_MS,
            onsessioninitialized: id => void transports.set(id, transport),
            onsessionclosed: id => void transports.delete(id)
        });
        await offer('legacy').connect(transport);
        return transport;
    }

    return async request => {
        const id = request.headers.get('mcp-session-id');
        const transport = id === null ? await open() : transports.get(id);
        return transport === undefined ? unknown() : transport.handleRequest(request);
    };
}

/** Both eras at one path: whoever claims a modern envelope is served by the modern handler. */
function streamableHttp() {
    const modern = createMcpHandler(({ era }) => offer(era, modern.notify), { legacy: 'reject' });
    const legacy = sessions();
    return toNodeHandler({
        fetch: async (request, options) =>
            (await isLegacyRequest(request)) ? legacy(request) : modern.fetch(request, options)
    });
}

/** The HTTP+SSE transport of 2024-11-05. */
function httpWithSse() {
    const transports = new Map();
    return async (request, response) => {
        const url = new URL(request.url, 'http://localhost');
        if (request.method === 'GET' && url.pathname === '/sse') {
            const transport = new SSEServerTransport('/messages', response);
            transports.set(transport.sessionId, transport);
            response.on('close', () => transports.delete(transport.sessionId));
            await offer('legacy').connect(transport);
            return;
        }
        const transport = transports.get(url.searchParams.get('sessionId'));
        if (request.method === 'POST' && url.pathname === '/messages' && transport !== undefined) {
            await transport.handlePostMessage(request, response);
            return;
        }
        response.writeHead(404).end();
    };
}

/** Listens on the loopback, behind the checks that keep a browser's rebound name out. */
async function listen(port, handler) {
    const hostIsLocal = localhostHostValidation();
    const originIsLocal = localhostOriginValidation();
    const server = createServer((request, response) => {
        if (hostIsLocal(request, response) && originIsLocal(request, response)) {
            handler(request, response).catch(error => {
                console.error(error);
                response.destroy(error);
            });
        }
    });
    server.listen(Number(port), '127.0.0.1');
    await once(server, 'listening');
    console.log(`ready ${server.address().port}`);
}

const [mode, port] = process.argv.slice(2);
switch (mode) {
    case '--http':
        await listen(port, streamableHttp());
        break;
    case '--sse':
        await listen(port, httpWithSse());
        break;
    case '--stdio':
        serveStdio(({ era }) => offer(era));
        break;
    default:
        console.error('usage: server.mjs --http PORT | --sse PORT | --stdio');
        process.exitCode = 2;
}
