// One factory for both eras: every name that the conformance suite calls.

import { McpServer } from '@modelcontextprotocol/server';
import { tools } from './tools.mjs';
import { legacyTools } from './legacy-tools.mjs';
import { modernTools, requestState } from './modern-tools.mjs';
import { prompts } from './prompts.mjs';
import { resources } from './resources.mjs';

const CAPABILITIES = {
    tools: { listChanged: true },
    resources: { subscribe: true, listChanged: true },
    prompts: { listChanged: true },
    logging: {},
    completions: {}
};

/**
 * A server for one connection (legacy, stdio) or one request (modern HTTP).
 * `notify` reaches the open subscriptions of a server whose requests share no connection.
 */
export function offer(era, notify) {
    const server = new McpServer(
        { name: 'conformance-server', version: '1.0.0' },
        { capabilities: CAPABILITIES, requestState: { verify: requestState.verify } }
    );
    tools(server);
    resources(server, era);
    prompts(server, era);
    if (era === 'modern') {
        modernTools(server, notify);
    } else {
        legacyTools(server);
    }
    return server;
}
