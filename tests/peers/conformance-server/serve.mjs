// How a server of either SDK comes onto the loopback: the legacy transports, and the port.

import { createServer } from 'node:http';
import { once } from 'node:events';
import { randomUUID } from 'node:crypto';
import { localhostHostValidation, localhostOriginValidation } from '@modelcontextprotocol/node';
import { EventLog } from './event-log.mjs';

const RETRY_MS = 500;

/** Legacy Streamable HTTP, with sessions and resumption: one transport and one server for each session. */
export function sessions(Transport, offer) {
    const transports = new Map();
    const unknown = () =>
        Response.json({ jsonrpc: '2.0', id: null, error: { code: -32001, message: 'Session not found' } }, { status: 404 });

    async function open() {
        const transport = new Transport({
            sessionIdGenerator: randomUUID,
            eventStore: new EventLog(),
            retryInterval: RETRY_MS,
            onsessioninitialized: id => void transports.set(id, transport),
            onsessionclosed: id => void transports.delete(id)
        });
        await offer().connect(transport);
        return transport;
    }

    return async request => {
        const id = request.headers.get('mcp-session-id');
        const transport = id === null ? await open() : transports.get(id);
        return transport === undefined ? unknown() : transport.handleRequest(request);
    };
}

/** The HTTP+SSE transport of 2024-11-05: a connection for each GET of /sse. */
export function httpWithSse(Transport, offer) {
    const transports = new Map();
    return async (request, response) => {
        const url = new URL(request.url, 'http://localhost');
        if (request.method === 'GET' && url.pathname === '/sse') {
            const transport = new Transport('/messages', response);
            transports.set(transport.sessionId, transport);
            response.on('close', () => transports.delete(transport.sessionId));
            await offer().connect(transport);
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

/** Listens behind the checks that keep a browser's rebound name out, and says on which port. */
export async function listen(port, handler) {
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
