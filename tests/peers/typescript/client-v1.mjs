// The same as client.mjs on the 1.x line of the official TypeScript SDK, which has the legacy eras only.

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {
    CallToolResultSchema,
    CreateMessageRequestSchema,
    ElicitRequestSchema,
    ListRootsRequestSchema,
    McpError
} from '@modelcontextprotocol/sdk/types.js';
import { talk } from './talk.mjs';

const REQUESTS = {
    'elicitation/create': ElicitRequestSchema,
    'sampling/createMessage': CreateMessageRequestSchema,
    'roots/list': ListRootsRequestSchema
};

await talk({
    Http: StreamableHTTPClientTransport,
    Sse: SSEClientTransport,
    Stdio: StdioClientTransport,
    ProtocolError: McpError,
    client: (info, capabilities) => new Client(info, { capabilities }),
    setRequestHandler: (client, method, run) => client.setRequestHandler(REQUESTS[method], run),
    callTool: (client, params, options) => client.callTool(params, CallToolResultSchema, options),
    // It tells nobody but its transport what was agreed on, and only that of Streamable HTTP.
    version: client => client.transport.protocolVersion ?? null
});
