// Every name that the conformance suite calls, in the way of either era.

import { McpServer } from '@modelcontextprotocol/server';
import { tools } from './tools.mjs';
import { legacyTools } from './legacy-tools.mjs';
import { modernTasks, TASKS } from './modern-tasks.mjs';
import { modernTools, requestState } from './modern-tools.mjs';
import { prompts } from './prompts.mjs';
import { resources } from './resources.mjs';

export const INFO = { name: 'conformance-server', version: '1.0.0' };

export const CAPABILITIES = {
    tools: { listChanged: true },
    resources: { subscribe: true, listChanged: true },
    prompts: { listChanged: true },
    logging: {},
    completions: {}
};

/** Gives a server, of either SDK, all that is offered in an era. */
export function equip(server, era, notify) {
    tools(server);
    resources(server, era);
    prompts(server, era);
    if (era === 'modern') {
        modernTools(server, notify);
        modernTasks(server);
    } else {
        legacyTools(server);
    }
}

/**
 * A server for one connection (legacy, stdio) or one request (modern HTTP).
 * `notify` reaches the open subscriptions of a server whose requests share no connection.
 */
export function offer(era, notify) {
    const extensions = era === 'modern' && { extensions: { [TASKS]: {} } };
    const server = new McpServer(INFO, {
        capabilities: { ...CAPABILITIES, ...extensions },
        requestState: { verify: requestState.verify }
    });
    equip(server, era, notify);
    return server;
}
