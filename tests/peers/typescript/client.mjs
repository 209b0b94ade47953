// A client on the official TypeScript SDK (2.x).

import { Client, ProtocolError, SSEClientTransport, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { talk } from './talk.mjs';

const NAMED = ['legacy', 'auto'];

await talk({
    Http: StreamableHTTPClientTransport,
    Sse: SSEClientTransport,
    Stdio: StdioClientTransport,
    ProtocolError,
    client: (info, capabilities, mode) =>
        new Client(info, { capabilities, versionNegotiation: { mode: NAMED.includes(mode) ? mode : { pin: mode } } }),
    setRequestHandler: (client, method, run) => client.setRequestHandler(method, run),
    callTool: (client, params, options) => client.callTool(params, options),
    version: client => client.getNegotiatedProtocolVersion()
});
