// Tools that run as tasks, as the extension io.modelcontextprotocol/tasks has it (SEP-2663). The SDK routes its methods and
// passes its results; what a task is, is here.

import { randomUUID } from 'node:crypto';
import { acceptedContent, CLIENT_CAPABILITIES_META_KEY, inputRequired, ProtocolError } from '@modelcontextprotocol/server';
import { z } from 'zod';
import { JOBS, POLL_MS } from './jobs.mjs';

export const TASKS = 'io.modelcontextprotocol/tasks';

const INVALID_PARAMS = -32602;
const INTERNAL_ERROR = -32603;
const MISSING_CAPABILITY = -32021;
const TTL_MS = 600_000;

/** All tasks of this process: requests share no connection. */
const known = new Map();

class Task {
    #id = randomUUID();
    #status = 'working';
    #createdAt = new Date().toISOString();
    #lastUpdatedAt = this.#createdAt;
    #outcome = {};
    #asked = new Map();

    constructor(job, args) {
        known.set(this.#id, this);
        job.run(args, this).then(
            result => this.#end('completed', { result }),
            ({ message }) => this.#end('failed', { error: { code: INTERNAL_ERROR, message } })
        );
    }

    static find(id) {
        const task = known.get(id);
        if (task === undefined) {
            throw new ProtocolError(INVALID_PARAMS, 'no such task');
        }
        return task;
    }

    get created() {
        return {
            taskId: this.#id,
            status: this.#status,
            createdAt: this.#createdAt,
            lastUpdatedAt: this.#lastUpdatedAt,
            ttlMs: TTL_MS,
            pollIntervalMs: POLL_MS
        };
    }

    get detailed() {
        const asked = [...this.#asked].map(([key, { request }]) => [key, request]);
        const inputs = asked.length > 0 && { inputRequests: Object.fromEntries(asked) };
        return { ...this.created, ...this.#outcome, ...inputs };
    }

    ask(message, requestedSchema) {
        const request = { method: 'elicitation/create', params: { mode: 'form', message, requestedSchema } };
        this.#becomes('input_required');
        return new Promise(answer => this.#asked.set(randomUUID(), { request, answer }));
    }

    update(answers) {
        for (const [key, value] of Object.entries(answers)) {
            this.#asked.get(key)?.answer(value);
            this.#asked.delete(key);
        }
        if (this.#status === 'input_required' && this.#asked.size === 0) {
            this.#becomes('working');
        }
    }

    cancel() {
        this.#asked.clear();
        this.#end('cancelled', {});
    }

    #becomes(status) {
        this.#status = status;
        this.#lastUpdatedAt = new Date().toISOString();
    }

    #end(status, outcome) {
        if (['working', 'input_required'].includes(this.#status)) {
            this.#outcome = outcome;
            this.#becomes(status);
        }
    }
}

const declares = context =>
    context.mcpReq.envelope?.[CLIENT_CAPABILITIES_META_KEY]?.extensions?.[TASKS] !== undefined;

function demand(context) {
    if (!declares(context)) {
        const requiredCapabilities = { extensions: { [TASKS]: {} } };
        throw new ProtocolError(MISSING_CAPABILITY, 'the client takes no tasks', { requiredCapabilities });
    }
}

async function call(job, args, context) {
    const name = acceptedContent(context.mcpReq.inputResponses, job.asksFirst?.key)?.name;
    if (job.asksFirst && name === undefined) {
        const { key, message, form } = job.asksFirst;
        return inputRequired({ inputRequests: { [key]: inputRequired.elicit({ message, requestedSchema: form }) } });
    }
    const given = { ...args, name };
    return declares(context) ? { resultType: 'task', ...new Task(job, given).created } : job.run(given);
}

export function modernTasks(server) {
    for (const [name, job] of Object.entries(JOBS)) {
        const { description, inputSchema } = job;
        server.registerTool(name, { description, inputSchema }, async (args, context) => call(job, args, context));
    }
    refuseWithoutTasks(server.server);
    const params = z.looseObject({ taskId: z.string() });
    const method = (name, run) =>
        server.server.setRequestHandler(name, { params }, async (given, context) => {
            demand(context);
            return run(Task.find(given.taskId), context) ?? {};
        });
    method('tasks/get', task => task.detailed);
    method('tasks/update', (task, { mcpReq }) => task.update(mcpReq.inputResponses));
    method('tasks/cancel', task => task.cancel());
}

/** What a tool throws, McpServer makes a result of; an error of the protocol has to come from in front of it. */
function refuseWithoutTasks(server) {
    const inner = server._requestHandlers.get('tools/call');
    server._requestHandlers.set('tools/call', async (request, context) => {
        if (JOBS[request.params.name]?.isTaskOnly) {
            demand(context);
        }
        return inner(request, context);
    });
}
