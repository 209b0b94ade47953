// The TypeScript SDK 1.x behind the few calls of 2.x that the tools, prompts and resources here are written against.

import { InMemoryTaskMessageQueue, InMemoryTaskStore } from '@modelcontextprotocol/sdk/experimental/tasks';
import { McpServer, ResourceTemplate } from '@modelcontextprotocol/sdk/server/mcp.js';
import {
    CallToolRequestSchema,
    ElicitResultSchema,
    ErrorCode,
    ListRootsResultSchema,
    ListToolsRequestSchema,
    McpError,
    SubscribeRequestSchema,
    UnsubscribeRequestSchema
} from '@modelcontextprotocol/sdk/types.js';
import { text } from './content.mjs';
import { POLL_MS } from './jobs.mjs';

const REQUESTS = { 'resources/subscribe': SubscribeRequestSchema, 'resources/unsubscribe': UnsubscribeRequestSchema };

/** Longer than any client thinks. */
const ANSWER_MS = 3_600_000;

const failure = message => ({ content: [text(message)], isError: true });

/** A server of SDK 1.x; it asks its client on the stream of the call, or on the standing one. */
export class LegacyServer {
    #inner;
    #tools = new Map();
    #asksStanding;

    constructor(info, { capabilities, asksStanding }) {
        const [taskStore, taskMessageQueue] = [new InMemoryTaskStore(), new InMemoryTaskMessageQueue()];
        this.#inner = new McpServer(info, { capabilities, taskStore, taskMessageQueue });
        this.#asksStanding = asksStanding;
        // The tools' schemas are JSON Schema already, which McpServer of 1.x does not take.
        this.server.setRequestHandler(ListToolsRequestSchema, async () => ({
            tools: [...this.#tools].map(([name, { description, inputSchema, execution }]) => ({
                name,
                description,
                execution,
                inputSchema: inputSchema?.['~standard'].jsonSchema.input() ?? { type: 'object' }
            }))
        }));
        this.server.setRequestHandler(CallToolRequestSchema, ({ params }, extra) => this.#call(params, extra));
    }

    get server() {
        const { server } = this.#inner;
        return {
            setRequestHandler: (request, run) => server.setRequestHandler(REQUESTS[request] ?? request, run),
            getClientCapabilities: () => server.getClientCapabilities()
        };
    }

    connect(transport) {
        return this.#inner.connect(transport);
    }

    registerTool(name, { description, inputSchema }, run) {
        this.#tools.set(name, { description, inputSchema, run });
    }

    /** A tool that runs as a task only. */
    registerJob(name, job) {
        this.#tools.set(name, { ...job, execution: { taskSupport: 'required' }, run: (args, context) => this.#begin(job, args, context) });
    }

    registerResource(name, where, metadata, read) {
        const resource = typeof where === 'string' ? where : new ResourceTemplate(where.uriTemplate.toString(), { list: undefined });
        this.#inner.registerResource(name, resource, metadata, read);
    }

    registerPrompt(name, { description, argsSchema }, get) {
        const run = argsSchema ? (args, extra) => get(args, this.#context(extra)) : extra => get(this.#context(extra));
        this.#inner.registerPrompt(name, { description, argsSchema: argsSchema?.shape }, run);
    }

    async sendToolListChanged() {
        await this.#inner.server.sendToolListChanged();
    }

    async sendPromptListChanged() {
        await this.#inner.server.sendPromptListChanged();
    }

    async #call({ name, arguments: given = {} }, extra) {
        const tool = this.#tools.get(name);
        if (tool === undefined) {
            throw new McpError(ErrorCode.InvalidParams, `Tool ${name} not found`);
        }
        const issues = (await tool.inputSchema?.['~standard'].validate(given))?.issues;
        if (issues) {
            return failure(issues.map(issue => issue.message).join('; '));
        }
        const context = this.#context(extra);
        if (tool.execution && context.taskRequestedTtl === undefined) {
            throw new McpError(ErrorCode.MethodNotFound, `${name} runs as a task only`);
        }
        try {
            return await (tool.inputSchema ? tool.run(given, context) : tool.run(context));
        } catch (error) {
            return failure(error.message);
        }
    }

    async #begin(job, args, { taskStore, taskRequestedTtl, mcpReq }) {
        const { message, form } = job.asksFirst ?? {};
        const { name } = job.asksFirst ? (await mcpReq.elicitInput({ mode: 'form', message, requestedSchema: form })).content : {};
        const task = await taskStore.createTask({ ttl: taskRequestedTtl, pollInterval: POLL_MS });
        // Behind the answer that makes the task known.
        setTimeout(() => this.#carryOut(job, { ...args, name }, task.taskId, taskStore).catch(() => {}), POLL_MS).unref();
        return { task };
    }

    /** To its end; storing what comes of it fails where it was cancelled. */
    async #carryOut(job, args, taskId, store) {
        const options = { relatedTask: { taskId }, timeout: ANSWER_MS };
        let open = 0;
        const ask = async (message, requestedSchema) => {
            open += 1;
            await store.updateTaskStatus(taskId, 'input_required');
            const params = { mode: 'form', message, requestedSchema };
            const request = this.#inner.server.request({ method: 'elicitation/create', params }, ElicitResultSchema, options);
            const answer = await request;
            open -= 1;
            if (open === 0) {
                await store.updateTaskStatus(taskId, 'working');
            }
            return answer;
        };
        let result;
        try {
            result = await job.run(args, { ask });
        } catch (error) {
            await store.updateTaskStatus(taskId, 'failed', error.message);
            return;
        }
        await store.storeTaskResult(taskId, result.isError ? 'failed' : 'completed', result);
    }

    #context(extra) {
        const { server } = this.#inner;
        const options = this.#asksStanding ? {} : { relatedRequestId: extra.requestId };
        return {
            taskStore: extra.taskStore,
            taskRequestedTtl: extra.taskRequestedTtl,
            mcpReq: {
                _meta: extra._meta,
                notify: notification => extra.sendNotification(notification),
                log: (level, data) => extra.sendNotification({ method: 'notifications/message', params: { level, data } }),
                elicitInput: params => server.elicitInput(params, options),
                requestSampling: params => server.createMessage(params, options),
                send: request => server.request(request, ListRootsResultSchema, options)
            },
            http: { closeSSE: extra.closeSSEStream }
        };
    }
}
