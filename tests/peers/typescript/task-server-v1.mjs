// Tools that only run as tasks of 2025-11-25, from the TypeScript SDK 1.x.
//
//   node task-server-v1.mjs [--log FILE] (--http PORT | --sse PORT | --stdio)
//
// `wait` ends after its `ms`, `ask` when its client has answered `question`, `fail` with a result that is an error,
// `break` with an error, `forever` when it is cancelled. `at_once` is no task. Each call of a task is a line of the log.

import { appendFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { InMemoryTaskMessageQueue, InMemoryTaskStore } from '@modelcontextprotocol/sdk/experimental/tasks';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { SSEServerTransport } from '@modelcontextprotocol/sdk/server/sse.js';
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import { WebStandardStreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/webStandardStreamableHttp.js';
import { ElicitResultSchema } from '@modelcontextprotocol/sdk/types.js';
import { toNodeHandler } from '@modelcontextprotocol/node';
import { z } from 'zod';
import { httpWithSse, listen, sessions } from '../conformance-server/serve.mjs';

const words = process.argv.slice(2);
const log = words[0] === '--log' ? words[1] : '/dev/null';
const [mode, port] = words[0] === '--log' ? words.slice(2) : words;

const POLL_MS = 100;
const TEXT = text => ({ content: [{ type: 'text', text }] });

/** What each task does until it ends; the store is that of the call, and tells the client of every change. */
const WORK = {
    async wait({ ms }, task, store) {
        await sleep(ms);
        await store.storeTaskResult(task, 'completed', TEXT(`waited ${ms}`));
    },
    async ask({ question }, task, store, server) {
        await store.updateTaskStatus(task, 'input_required');
        const schema = { type: 'object', properties: { answer: { type: 'string' } }, required: ['answer'] };
        const params = { mode: 'form', message: question, requestedSchema: schema };
        const answer = await server.request({ method: 'elicitation/create', params }, ElicitResultSchema, {
            relatedTask: { taskId: task },
            timeout: 3_600_000
        });
        await store.updateTaskStatus(task, 'working', 'answered');
        await sleep(POLL_MS * 3);
        await store.storeTaskResult(task, 'completed', TEXT(JSON.stringify(answer)));
    },
    async fail(_, task, store) {
        await store.storeTaskResult(task, 'failed', { ...TEXT('it did not work'), isError: true });
    },
    async break(_, task, store) {
        await store.updateTaskStatus(task, 'failed', 'it broke');
    },
    async forever() {}
};

const ARGUMENTS = { wait: { ms: z.number() }, ask: { question: z.string() }, fail: {}, break: {}, forever: {} };

function offer() {
    const tasks = { cancel: {}, list: {}, requests: { tools: { call: {} } } };
    const server = new McpServer(
        { name: 'task-server', version: '1' },
        {
            capabilities: { tools: {}, tasks },
            taskStore: new InMemoryTaskStore(),
            taskMessageQueue: new InMemoryTaskMessageQueue()
        }
    );
    server.registerTool('at_once', { inputSchema: {} }, async () => TEXT('at once'));
    for (const [name, work] of Object.entries(WORK)) {
        server.experimental.tasks.registerToolTask(
            name,
            { inputSchema: ARGUMENTS[name], execution: { taskSupport: 'required' } },
            {
                async createTask(args, { taskStore, taskRequestedTtl }) {
                    appendFileSync(log, `tools/call ${name}\n`);
                    const task = await taskStore.createTask({ ttl: taskRequestedTtl, pollInterval: POLL_MS });
                    // Behind the answer that makes the task known.
                    setTimeout(() => {
                        work(args, task.taskId, taskStore, server.server).catch(error => console.error(error));
                    }, POLL_MS);
                    return { task };
                },
                getTask: (_, { taskId, taskStore }) => taskStore.getTask(taskId),
                getTaskResult: (_, { taskId, taskStore }) => taskStore.getTaskResult(taskId)
            }
        );
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
        console.error('usage: task-server-v1.mjs [--log FILE] (--http PORT | --sse PORT | --stdio)');
        process.exitCode = 2;
}
